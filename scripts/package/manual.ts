/** Manual pages in roff (man(7)), made from the table of commands: one for runt, one for each command. */

import { VERSION } from '../../src/base/version.ts'
import { type CommandEntry, commands, globalOptions, HELP, type OptionEntry } from '../../src/cli/commands.ts'
import { exitStatus, texts } from './manual-texts.ts'

/** File name, such as `runt-create.8`, to text. */
export function manualPages(): Map<string, string> {
  const pages = new Map([['runt.8', mainPage()]])
  for (const entry of commands) if (entry.name !== 'help') pages.set(`runt-${entry.name}.8`, commandPage(entry))
  return pages
}

function mainPage(): string {
  const names = commands.filter(({ name }) => name !== 'help')
  return [
    ...head('runt', 'OCI container runtime'),
    '.SH SYNOPSIS',
    `.B runt\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]`,
    '.SH DESCRIPTION',
    ...paragraphs(texts.runt),
    '.SH COMMANDS',
    ...names.flatMap(({ name, summary }) => ['.TP', `\\fBrunt\\-${roff(name)}\\fR(8)`, roff(sentence(summary))]),
    '.SH GLOBAL OPTIONS',
    ...[HELP, ...globalOptions].flatMap(option),
    '.SH EXIT STATUS',
    ...paragraphs(exitStatus.default),
    '.SH ENVIRONMENT',
    ...definitions(texts.environment),
    '.SH FILES',
    ...definitions(texts.files),
    ...seeAlso(names.map(({ name }) => `runt-${name}`)),
  ].join('\n')
}

function commandPage(entry: CommandEntry): string {
  const name = `runt-${entry.name}`
  const operands = entry.arguments.map((argument) => {
    const text = `\\fI${roff(argument.name)}\\fR${argument.variadic ? ' ...' : ''}`
    return argument.optional ? `[${text}]` : text
  })
  return [
    ...head(name, entry.summary),
    '.SH SYNOPSIS',
    `.B runt ${roff(entry.name)}\n[\\fIoptions\\fR] ${operands.join(' ')}`.trimEnd(),
    '.SH DESCRIPTION',
    roff(sentence(entry.summary)),
    ...paragraphs(['', ...(texts.commands[entry.name] ?? [])]).slice(1),
    ...(entry.arguments.length > 0 ? ['.SH ARGUMENTS'] : []),
    ...entry.arguments.flatMap((argument) => [
      '.TP',
      `\\fI${roff(argument.name)}\\fR`,
      roff(sentence(argument.summary)),
    ]),
    '.SH OPTIONS',
    ...[HELP, ...entry.options].flatMap(option),
    '.SH EXIT STATUS',
    ...paragraphs(exitStatus[entry.name] ?? exitStatus.default),
    ...seeAlso(['runt']),
  ].join('\n')
}

function head(name: string, summary: string): string[] {
  // Without a date: two builds give the same bytes.
  return [
    `.TH ${name.toUpperCase().replaceAll('-', '\\-')} 8 "" "runt ${VERSION}" "runt"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(summary)}`,
  ]
}

function option({ name, short, value, summary, choices, ...entry }: OptionEntry): string[] {
  const flag = `${short ? `\\fB\\-${short}\\fR, ` : ''}\\fB\\-\\-${roff(name)}\\fR`
  const notes = []
  if (choices) notes.push(`one of ${choices.join(', ')}`)
  if (entry.default !== undefined && entry.default !== 0) notes.push(`default: ${entry.default}`)
  if (entry.repeatable) notes.push('may be given several times')
  const text = notes.length > 0 ? `${summary} (${notes.join('; ')})` : summary
  return ['.TP', value === undefined ? flag : `${flag} \\fI${roff(value)}\\fR`, roff(sentence(text))]
}

function paragraphs(list: readonly string[]): string[] {
  return list.flatMap((text, index) => (index === 0 ? [roff(text)] : ['.PP', roff(text)]))
}

function definitions(list: Readonly<Record<string, string>>): string[] {
  return Object.entries(list).flatMap(([term, text]) => ['.TP', `\\fB${roff(term)}\\fR`, roff(text)])
}

function seeAlso(names: readonly string[]): string[] {
  const sorted = [...names].sort()
  const pages = sorted.map((name, index) => `.BR ${roff(name)} (8)${index < sorted.length - 1 ? ',' : ''}`)
  return ['.SH SEE ALSO', ...pages, '']
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.:]$/.test(text) ? '' : '.'}`
}

/** Text as roff shows it: hyphens stay hyphens that can be copied, and no line begins a request. */
export function roff(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./gm, '\\&.')
}
