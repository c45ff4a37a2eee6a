/**
 * Brings arguments into the one form that commander reads without doubt: `--name=value` for options with a value,
 * `--name` for flags.
 *
 * Engines call runtimes as Go programs are called (package flag): one dash is as good as two, `-log-format=json` and
 * `--debug=true` are fine, a value may start with a dash. Unknown flags and missing values are refused here.
 */
import { RuntError } from '../base/errors.ts'
import { type CommandEntry, HELP, type OptionEntry } from './commands.ts'

/** The command line itself is wrong. Nothing has been done. */
export class UsageError extends RuntError {
  /** `command` is null for what stands before the command. */
  constructor(command: string | null, message: string) {
    super(command === null ? `${message} (try 'runt --help')` : `${command}: ${message} (try 'runt ${command} --help')`)
  }
}

/** Text from the command line, for a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)
}

/** What strconv.ParseBool takes. */
const TRUE = /^(1|t|T|true|TRUE|True)$/
const FALSE = /^(0|f|F|false|FALSE|False)$/

/** Reads the options at the start of `args`. The rest starts with the command. */
export function normaliseGlobals(
  args: readonly string[],
  options: readonly OptionEntry[],
): { options: string[]; rest: readonly string[] } {
  const found: string[] = []
  let at = 0
  while (at < args.length && isOption(args[at]!)) {
    if (args[at] === '--') {
      at++
      break
    }
    at = take(args, at, options, null, found)
  }
  return { options: found, rest: args.slice(at) }
}

/** Options may stand before, between and after the arguments, until `--` or the words of a program. */
export function normaliseCommand(
  args: readonly string[],
  command: CommandEntry,
): { options: string[]; operands: string[] } {
  const options: string[] = []
  const operands: string[] = []
  for (let at = 0; at < args.length; ) {
    const arg = args[at]!
    if (operands.length === command.literalAfter) {
      operands.push(...args.slice(at))
      break
    }
    if (arg === '--') {
      operands.push(...args.slice(at + 1))
      break
    }
    if (isOption(arg)) at = take(args, at, command.options, command.name, options)
    else {
      operands.push(arg)
      at++
    }
  }
  return { options, operands }
}

/** `-` alone is an argument. */
function isOption(arg: string): boolean {
  return arg.length > 1 && arg.startsWith('-')
}

/** Reads the option at `at` into `found`; returns where to go on. */
function take(
  args: readonly string[],
  at: number,
  options: readonly OptionEntry[],
  command: string | null,
  found: string[],
): number {
  const arg = args[at]!
  const equals = arg.indexOf('=')
  const name = arg.slice(arg.startsWith('--') ? 2 : 1, equals < 0 ? undefined : equals)
  const value = equals < 0 ? undefined : arg.slice(equals + 1)
  const option = optionOf(name, options)
  if (!option) {
    const short = arg.startsWith('--') ? [] : shortForms(arg, options)
    if (short.length === 0) throw new UsageError(command, `unknown flag ${shown(arg)}`)
    found.push(...short)
    return at + 1
  }
  if (option.value !== undefined) {
    const given = value ?? args[at + 1]
    if (given === undefined) throw new UsageError(command, `flag --${option.name} needs a value`)
    found.push(`--${option.name}=${given}`)
    return value === undefined ? at + 2 : at + 1
  }
  const flag = `--${option.name}`
  if (value === undefined || TRUE.test(value)) found.push(flag)
  else if (FALSE.test(value)) {
    for (let i = found.length - 1; i >= 0; i--) if (found[i] === flag) found.splice(i, 1)
  } else throw new UsageError(command, `flag ${flag}: ${quote(value)} is neither true nor false`)
  return at + 1
}

/** What crun's users ask for help with (argp). */
const otherHelp = new Set(['?', 'usage'])

function optionOf(name: string, options: readonly OptionEntry[]): OptionEntry | undefined {
  for (const option of options)
    if (option.name === name || option.short === name || option.alias === name) return option
  return HELP.name === name || HELP.short === name || otherHelp.has(name) ? HELP : undefined
}

/**
 * The forms of getopt(3) that crun takes: several flags behind one dash, and a value behind its letter. A value that begins with a
 * letter must be one of the choices: `-bundel` is a misspelt flag.
 */
function shortForms(arg: string, options: readonly OptionEntry[]): string[] {
  const find = (letter: string) => options.find(({ short }) => short === letter)
  const first = find(arg[1]!)
  const value = arg.slice(2)
  if (first?.value !== undefined)
    return /^[a-z]/i.test(value) && !first.choices?.includes(value) ? [] : [`--${first.name}=${value}`]
  const flags = [...arg.slice(1)].map(find)
  return flags.every((option) => option && option.value === undefined) ? flags.map((option) => `--${option!.name}`) : []
}

/** The flag of an argument as the user wrote it. */
function shown(arg: string): string {
  const name = arg.replace(/=.*/s, '')
  return /^[\w-]{1,64}$/.test(name) ? name : quote(name)
}
