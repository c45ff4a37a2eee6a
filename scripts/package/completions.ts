/** Completions for bash, zsh and fish, made from the table of commands. */
import {
  type ArgumentEntry,
  type CommandEntry,
  commands,
  globalOptions,
  HELP,
  type OptionEntry,
} from '../../src/cli/commands.ts'

/** What the value of an option or an argument is. */
type Kind = 'file' | 'folder' | 'id' | 'command' | 'any' | readonly string[]

function kindOf({ value, choices }: OptionEntry): Kind {
  if (choices) return choices
  if (value === 'folder') return 'folder'
  return value === 'file' || value === 'path' ? 'file' : 'any'
}

function argumentKind({ name }: ArgumentEntry): Kind {
  if (name === 'id') return 'id'
  return name === 'command' ? 'command' : 'any'
}

const flagsOf = ({ name, short }: OptionEntry): string[] => (short ? [`-${short}`, `--${name}`] : [`--${name}`])
const withHelp = (options: readonly OptionEntry[]): OptionEntry[] => [...options, HELP]

/** Single quotes for any shell of the three. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

const IDS_OF_ROOT = `Ids of the containers below the --root of the command line.`

/** The script for bash. It needs no bash-completion. */
export function bashCompletion(): string {
  const values = (options: readonly OptionEntry[]): string =>
    options
      .filter(({ value }) => value !== undefined)
      .map((entry) => `      ${flagsOf(entry).join('|')}) ${bashReply(kindOf(entry))}; return ;;`)
      .join('\n')
  const words = (options: readonly OptionEntry[]): string => withHelp(options).flatMap(flagsOf).join(' ')
  const takingValue = globalOptions.filter(({ value }) => value !== undefined).flatMap(flagsOf)
  return `# bash completion for runt; made from its table of commands
_runt_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
_runt_files() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); }
_runt_folders() { compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); }
# ${IDS_OF_ROOT}
_runt_ids() { _runt_words "$(runt \${root:+--root "$root"} list --quiet 2>/dev/null)"; }

_runt() {
  local cur=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command= root= operands=0 i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      --root) root=\${COMP_WORDS[++i]} ;;
      ${takingValue.filter((flag) => flag !== '--root').join('|')}) ((++i)) ;;
      -*) ;;
      *) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  if [[ -z $command ]]; then
    case $previous in
${values(globalOptions)}
    esac
    if [[ $cur == -* ]]; then _runt_words ${quoted(words(globalOptions))}
    else _runt_words ${quoted(commands.map(({ name }) => name).join(' '))}; fi
    return
  fi
  case $command in
${commands.map((entry) => bashCommand(entry, values(entry.options), words(entry.options))).join('\n')}
  esac
}
complete -F _runt runt
`
}

function bashReply(kind: Kind): string {
  if (kind === 'file') return '_runt_files'
  if (kind === 'folder') return '_runt_folders'
  if (kind === 'id') return '_runt_ids'
  if (kind === 'any') return ':'
  if (kind === 'command') return `_runt_words ${quoted(commands.map(({ name }) => name).join(' '))}`
  return `_runt_words ${quoted(kind.join(' '))}`
}

function bashCommand(entry: CommandEntry, values: string, words: string): string {
  const [first] = entry.arguments
  const operand = first ? bashReply(argumentKind(first)) : ':'
  return `  ${entry.name})
    case $previous in
${values || '      --) ;;'}
    esac
    if [[ $cur == -* ]]; then _runt_words ${quoted(words)}
    else ${operand}; fi ;;`
}

/** The function for zsh. */
export function zshCompletion(): string {
  const spec = (entry: OptionEntry): string => {
    const flags = flagsOf(entry)
    const value =
      entry.value === undefined ? '' : `:${entry.value.replaceAll(/[:[\]]/g, ' ')}:${zshAction(kindOf(entry))}`
    const many = entry.repeatable ? '*' : ''
    const text = `[${zshText(entry.summary)}]${value}`
    return flags.map((flag) => `      ${quoted(`${many || `(${flags.join(' ')})`}${flag}${text}`)} \\`).join('\n')
  }
  const command = (entry: CommandEntry): string => {
    const operands = entry.arguments.map((argument) => {
      const action = argument.variadic && argument.name === 'command' ? '_normal' : zshAction(argumentKind(argument))
      const where = argument.variadic ? '*:' : argument.optional ? '::' : ':'
      return `      ${quoted(`${where === '*:' && action === '_normal' ? '*::' : where}${argument.name}:${action}`)} \\`
    })
    return `    ${entry.name})\n    _arguments -S \\\n${[...withHelp(entry.options).map(spec), ...operands].join('\n')}\n      && return ;;`
  }
  return `#compdef runt
# zsh completion for runt; made from its table of commands
# ${IDS_OF_ROOT}
_runt_ids() {
  local -a ids
  ids=(\${(f)"$(_call_program ids runt \${opt_args[--root]:+--root \${(q)opt_args[--root]}} list --quiet 2>/dev/null)"})
  compadd -a ids
}

_runt_commands() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`).join('\n')}
  )
  _describe command commands
}

_runt() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C -S \\
${withHelp(globalOptions).map(spec).join('\n')}
      '1:command:_runt_commands' \\
      '*::argument:->arguments' && return
  case $words[1] in
${commands.map(command).join('\n')}
  esac
}

_runt "$@"
`
}

function zshAction(kind: Kind): string {
  if (kind === 'file') return '_files'
  if (kind === 'folder') return '_files -/'
  if (kind === 'id') return '_runt_ids'
  if (kind === 'command') return '_runt_commands'
  return kind === 'any' ? ' ' : `(${kind.join(' ')})`
}

function zshText(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, '\\$&')
}

/** The script for fish. */
export function fishCompletion(): string {
  const option = (entry: OptionEntry, condition: string): string => {
    const kind = kindOf(entry)
    const parts = ['complete -c runt', `-n ${quoted(condition)}`]
    if (entry.short) parts.push(`-s ${entry.short}`)
    parts.push(`-l ${entry.name}`)
    if (entry.value !== undefined) {
      if (kind === 'file') parts.push('-r -F')
      else if (kind === 'folder') parts.push("-x -a '(__fish_complete_directories)'")
      else if (typeof kind === 'string') parts.push('-x')
      else parts.push(`-x -a ${quoted(kind.join(' '))}`)
    }
    return [...parts, `-d ${quoted(entry.summary)}`].join(' ')
  }
  const names = commands.map(({ name }) => name).join(' ')
  const none = `not __fish_seen_subcommand_from ${names}`
  const lines = [
    '# fish completion for runt; made from its table of commands',
    `# ${IDS_OF_ROOT}`,
    'function __runt_ids',
    '  set -l words (commandline -opc)',
    '  set -l root',
    '  if set -l at (contains -i -- --root $words)',
    '    set root --root $words[(math $at + 1)]',
    '  end',
    '  runt $root list --quiet 2>/dev/null',
    'end',
    'complete -c runt -f',
    ...withHelp(globalOptions).map((entry) => option(entry, none)),
  ]
  for (const entry of commands) {
    const seen = `__fish_seen_subcommand_from ${entry.name}`
    lines.push(`complete -c runt -n ${quoted(none)} -a ${entry.name} -d ${quoted(entry.summary)}`)
    const first = entry.arguments[0]
    if (first?.name === 'id') lines.push(`complete -c runt -n ${quoted(seen)} -a '(__runt_ids)'`)
    if (first?.name === 'command') lines.push(`complete -c runt -n ${quoted(seen)} -a ${quoted(names)}`)
    lines.push(...withHelp(entry.options).map((each) => option(each, seen)))
  }
  return `${lines.join('\n')}\n`
}
