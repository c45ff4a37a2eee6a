/** Reads the command line: what is right by the table of commands, what is not with commander, which says what is wrong. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { RuntError } from '../base/errors.ts'
import {
  type ArgumentEntry,
  type CommandEntry,
  type CommandName,
  commands,
  globalOptions,
  HELP,
  type OptionEntry,
} from './commands.ts'
import { normaliseCommand, normaliseGlobals, quote, UsageError } from './normalise.ts'

/** Values of options by their long names. */
export class Options {
  readonly #values: Readonly<Record<string, unknown>>

  /** `values` as commander names them. */
  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values
  }

  /** commander reads `--no-pivot` as `pivot`, true until the flag is given. */
  flag(name: string): boolean {
    return name.startsWith('no-')
      ? this.#values[attribute(name.slice(3))] === false
      : this.#values[attribute(name)] === true
  }

  /** null when neither given nor defaulted. */
  text(name: string): string | null {
    const value = this.#values[attribute(name)]
    return typeof value === 'string' ? value : null
  }

  /** Values of a repeatable option, in order. */
  list<T extends string | number = string>(name: string): readonly T[] {
    const value = this.#values[attribute(name)]
    return Array.isArray(value) ? value : []
  }

  count(name: string): number {
    const value = this.#values[attribute(name)]
    return typeof value === 'number' ? value : 0
  }
}

const COUNT = /^\d{1,9}$/

/** commander's names of options: `pidFile` for `pid-file`. Found out once: each start asks for all of them. */
const attributes = new Map<string, string>()
const attribute = (name: string): string => attributes.get(name) ?? name

export interface Globals {
  options: Options
  /** From the command on. */
  rest: readonly string[]
}

export interface Invocation {
  command: CommandName
  options: Options
  operands: readonly string[]
}

/*
 * The parsers are made when the module is loaded. On QuickJS that is at build time (src/engine-quickjs/host.c); there
 * they would cost more than a millisecond at each start.
 */
const globalParser = addOptions(new Command('runt'), globalOptions)
const parsers: ReadonlyMap<string, Command> = new Map(commands.map((entry) => [entry.name, build(entry)]))
const program = describe(
  addOptions(new Command('runt'), globalOptions)
    .usage('[global options] <command> [options] [arguments]')
    .description('An OCI container runtime.')
    .helpCommand(false),
)
for (const parser of parsers.values()) program.addCommand(parser)

/** What `byTable` needs of a list of options. */
interface Table {
  readonly defaults: Readonly<Record<string, unknown>>
  readonly byName: ReadonlyMap<string, OptionEntry>
}

const globalTable = tableOf(globalOptions)
const tables: ReadonlyMap<string, Table> = new Map(commands.map((entry) => [entry.name, tableOf(entry.options)]))

function tableOf(entries: readonly OptionEntry[]): Table {
  const defaults: Record<string, unknown> = {}
  for (const entry of entries) if (entry.default !== undefined) defaults[attribute(entry.name)] = entry.default
  return { defaults, byName: new Map(entries.map((entry) => [entry.name, entry])) }
}

/** Reads the flags before the command. Throws a UsageError. */
export function parseGlobals(args: readonly string[]): Globals {
  const { options, rest } = normaliseGlobals(args, globalOptions)
  if (options.includes(`--${HELP.name}`)) return { options: new Options({ [HELP.name]: true }), rest }
  return { options: byTable(null, options, []) ?? byCommander(null, options, []), rest }
}

/**
 * Reads a command and what follows it: the command to carry out, or a help text to print. Throws a UsageError.
 */
export function parseCommand(args: readonly string[]): Invocation | string {
  const [name, ...rest] = args
  if (name === undefined) return programHelp()
  const entry = find(name)
  // With --help too: by its status podman finds out whether a runtime can do it.
  if (entry.refused !== undefined) throw new RuntError(`${entry.name}: ${entry.refused}`)
  const { options, operands } = normaliseCommand(rest, entry)
  if (options.includes(`--${HELP.name}`)) return commandHelp(entry)
  const values = byTable(entry, options, operands) ?? byCommander(entry, options, operands)
  if (entry.name === 'help') return operands[0] === undefined ? programHelp() : commandHelp(find(operands[0]))
  return { command: entry.name, options: values, operands }
}

function find(name: string): (typeof commands)[number] {
  const entry = commands.find((candidate) => candidate.name === name)
  if (!entry) throw new UsageError(null, `unknown command ${quote(name)}`)
  return entry
}

/** What `runt --help` prints. */
export function programHelp(): string {
  return `${program.helpInformation()}\nrunt COMMAND --help lists the options of a command.\n`
}

/** What `runt COMMAND --help` prints. */
function commandHelp(entry: CommandEntry): string {
  return parsers.get(entry.name)!.helpInformation()
}

function build(entry: CommandEntry): Command {
  const command = new Command(entry.name).summary(entry.summary).description(`${capital(entry.summary)}.`)
  for (const argument of entry.arguments) {
    const name = argument.variadic ? `${argument.name}...` : argument.name
    command.argument(argument.optional ? `[${name}]` : `<${name}>`, argument.summary)
  }
  return describe(addOptions(command, entry.options))
}

/** How help looks, whatever the terminal. */
function describe(command: Command): Command {
  return command
    .helpOption(`-${HELP.short}, --${HELP.name}`, HELP.summary)
    .configureOutput({ getOutHelpWidth: () => 100, getOutHasColors: () => false })
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}

function addOptions(command: Command, entries: readonly OptionEntry[]): Command {
  for (const entry of entries) {
    const flags = `${entry.short ? `-${entry.short}, ` : ''}--${entry.name}${entry.value ? ` <${entry.value}>` : ''}`
    const option = new Option(flags, entry.repeatable ? `${entry.summary} (may be given several times)` : entry.summary)
    if (entry.default !== undefined) option.default(entry.default)
    if (entry.choices) option.choices(entry.choices)
    else if (entry.value !== undefined) {
      const one: (value: string) => string | number = entry.type === 'count' ? count : text
      if (entry.repeatable) option.argParser((value: string, before: unknown[] = []) => [...before, one(value)])
      else option.argParser(one)
    }
    const own = option.attributeName()
    option.attributeName = () => own
    attributes.set(entry.name.replace(/^no-/, ''), own)
    command.addOption(option)
  }
  return command.exitOverride().configureOutput({ writeErr: () => {} })
}

function count(value: string): number {
  if (!COUNT.test(value)) throw new InvalidArgumentError('It must be a number, 0 or more.')
  return Number(value)
}

function text(value: string): string {
  if (value === '') throw new InvalidArgumentError('It must not be empty.')
  return value
}

/**
 * What normalised arguments say, by the table of commands; null where something is not as it should be. `entry` is null for the flags
 * before the command. A test compares it with `byCommander`, which takes ten times as long: a quarter of the whole time of `state`.
 */
export function byTable(
  entry: CommandEntry | null,
  options: readonly string[],
  operands: readonly string[],
): Options | null {
  if (entry && !takes(entry.arguments, operands.length)) return null
  const { defaults, byName } = entry ? tables.get(entry.name)! : globalTable
  const values = { ...defaults }
  for (const option of options) {
    const end = option.indexOf('=')
    const { name, value, choices, type, repeatable } = byName.get(end < 0 ? option.slice(2) : option.slice(2, end))!
    if (value === undefined) {
      if (name.startsWith('no-')) values[attribute(name.slice(3))] = false
      else values[attribute(name)] = true
      continue
    }
    const given = option.slice(end + 1)
    if (given === '' || (choices && !choices.includes(given)) || (type === 'count' && !COUNT.test(given))) return null
    const own = attribute(name)
    const one = type === 'count' ? Number(given) : given
    values[own] = repeatable ? [...((values[own] as unknown[] | undefined) ?? []), one] : one
  }
  return new Options(values)
}

/** Whether a command takes so many arguments. */
function takes(all: readonly ArgumentEntry[], count: number): boolean {
  if (count > all.length && !all.at(-1)?.variadic) return false
  return all.every(({ optional }, index) => optional || index < count)
}

/** As `byTable`; throws a UsageError that says what is wrong. */
export function byCommander(
  entry: CommandEntry | null,
  options: readonly string[],
  operands: readonly string[],
): Options {
  const command = entry ? parsers.get(entry.name)! : globalParser
  try {
    command.parse([...options, '--', ...operands], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) throw new UsageError(entry?.name ?? null, explain(error, command))
    throw error
  }
  return new Options(command.opts())
}

function explain(error: CommanderError, command: Command): string {
  if (error.code === 'commander.excessArguments') {
    const extra = command.args[command.registeredArguments.length]
    return `unexpected argument ${quote(extra ?? '')}`
  }
  return error.message.replace(/^error: /, '').replace(/\.$/, '')
}
