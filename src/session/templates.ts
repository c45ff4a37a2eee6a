/**
 * Pieces of plan that most containers share (default mounts, masked paths, devices), prepared once. On QuickJS that happens when the
 * program is built, and the result is part of its image: planning a usual container is then mostly copying.
 */
import type { Machine } from '../base/platform.ts'
import { Batch, type Template } from './batch.ts'

const prepared = new Map<string, Template>()

/** Prepares `plan` under a key. The plan must depend on nothing but what the key says. */
export function prepare(machine: Machine, key: string, plan: (b: Batch) => void): void {
  const b = new Batch(machine)
  plan(b)
  prepared.set(machine + key, b.template())
}

/** Plans what the key stands for if there is a template of it. `fillings`: texts for its blanks. */
export function planIfPrepared(b: Batch, key: string, fillings?: readonly string[]): boolean {
  const template = prepared.get(b.machine + key)
  if (template) b.insert(template, fillings)
  return template !== undefined
}

/** Plans what the key stands for: by the prepared template if there is one, else by `plan`. */
export function planPrepared(b: Batch, key: string, plan: (b: Batch) => void): void {
  if (!planIfPrepared(b, key)) plan(b)
}
