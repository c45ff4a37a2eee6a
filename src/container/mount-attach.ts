/** What all mounts have in common once they are made, and their target is open: they are attached, and get what holds for a tree. */
import * as k from '../linux/constants.ts'
import { type Batch, slot } from '../session/batch.ts'
import * as c from '../session/calls.ts'
import type { MountOptions } from './mount-options.ts'
import { coverFolder } from './paths.ts'
import { planRefuseProc } from './proc-guard.ts'
import { InitSlot } from './slots.ts'

const MOUNT = slot(InitSlot.MOUNT)
const TARGET = slot(InitSlot.TARGET)

/** Plans to attach MOUNT to TARGET, to apply propagation, and to close both. */
export function planAttach(b: Batch, about: string, destination: string, options: MountOptions): void {
  planMove(b, about, destination)
  planAttached(b, destination, options)
}

/** Attaches MOUNT to TARGET. */
export function planMove(b: Batch, about: string, destination: string): void {
  planRefuseProc(b, about, destination)
  c.attachMount(b, MOUNT, TARGET)
}

/** Plans what is left to do once MOUNT is attached, and closes MOUNT and TARGET. */
export function planAttached(b: Batch, destination: string, options: MountOptions): void {
  coverFolder(b, destination)
  for (const flag of options.propagation) planPropagation(b, MOUNT, flag)
  c.close(b, MOUNT)
  c.close(b, TARGET)
}

/** The options with an r in front (`rro`): for the mount in slot MOUNT, or another, and all below it. */
export function planRecursiveAttributes(b: Batch, options: MountOptions, mount = MOUNT): void {
  if (options.recursiveSet || options.recursiveClear)
    c.mountSetattr(b, mount, k.AT_RECURSIVE, { set: options.recursiveSet, clear: options.recursiveClear })
}

/** `flag`: MS_SHARED and so on, with MS_REC for all below it too. */
export function planPropagation(b: Batch, mount: typeof MOUNT, flag: number): void {
  c.mountSetattr(b, mount, flag & k.MS_REC ? k.AT_RECURSIVE : 0, { propagation: flag & ~k.MS_REC })
}
