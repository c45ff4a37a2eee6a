/**
 * Compiles schema/*.json to validators: src/config/generated/{config,state,features}.js and their types; and to the names that config.json
 * may have, names.js.
 *
 * The validators run at each start of a container on an interpreter, so they are made small: two keywords of our
 * own replace whole groups of JSON Schema's (`integer` with its range, `enum`), and errors hold only what
 * src/config/validate.ts makes its sentences of.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { _, Ajv, type KeywordCxt } from 'ajv'
import { _Code } from 'ajv/dist/compile/codegen/code.js'
import standalone from 'ajv/dist/standalone/index.js'
import { buildSync } from 'esbuild'

const project = dirname(dirname(fileURLToPath(import.meta.url)))
const out = join(project, 'src/config/generated')

/** The validators and the schemas that each is made of, the entry last. */
const validators = {
  config: ['defs.json', 'config-linux.json', 'config.json'],
  state: ['defs.json', 'state.json'],
  features: ['defs.json', 'features.json'],
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/**
 * Integer types by their range in the schema; `test` is the code of a predicate. Not with BigInt.asUintN:
 * QuickJS 2025-04-26 says that of 2^64 - 1 it is -1.
 */
const integers: Record<string, { minimum: number; maximum: number; test: string }> = {
  int32: { minimum: -(2 ** 31), maximum: 2 ** 31 - 1, test: 'v=>typeof v=="number"&&(v|0)===v' },
  uint16: { minimum: 0, maximum: 2 ** 16 - 1, test: 'v=>typeof v=="number"&&(v&65535)===v' },
  uint32: { minimum: 0, maximum: 2 ** 32 - 1, test: 'v=>typeof v=="number"&&v>>>0===v' },
  int64: {
    minimum: -(2 ** 63),
    maximum: 2 ** 63,
    test: 'v=>typeof v=="number"?Number.isSafeInteger(v):typeof v=="bigint"&&v>=-(2n**63n)&&v<2n**63n',
  },
  uint64: {
    minimum: 0,
    maximum: 2 ** 64,
    test: 'v=>typeof v=="number"?v>=0&&Number.isSafeInteger(v):typeof v=="bigint"&&v>=0n&&v<2n**64n',
  },
}

function load(name: string): { [key: string]: Json } {
  const schema = JSON.parse(readFileSync(join(project, 'schema', name), 'utf8'))
  delete schema.$schema
  return rewrite(schema) as { [key: string]: Json }
}

/** Replaces `{type: integer, minimum, maximum}` by `{range: NAME}`, and `enum` by `words`. */
function rewrite(node: Json): Json {
  if (Array.isArray(node)) return node.map(rewrite)
  if (typeof node !== 'object' || node === null) return node
  if (node.type === 'integer') {
    const range = Object.keys(integers).find(
      (name) => integers[name]!.minimum === node.minimum && integers[name]!.maximum === node.maximum,
    )
    if (range === undefined) throw new Error(`no integer type has the range of ${JSON.stringify(node)}`)
    return { range }
  }
  if (Array.isArray(node.enum)) return { words: node.enum }
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, rewrite(value)]))
}

/** One validator with everything it needs, minified: `export { validate, failure }`, see the .d.ts below. */
function compile(files: readonly string[]): string {
  const ajv = new Ajv({
    messages: false,
    meta: false,
    validateSchema: false,
    inlineRefs: 2,
    code: { source: true, esm: true, optimize: 3 },
  })
  ajv.removeKeyword('enum')
  ajv.addKeyword({
    keyword: 'range',
    schemaType: 'string',
    error: { message: '', params: ({ schema }) => _`{range: ${schema}}` },
    code(cxt: KeywordCxt) {
      const test = integers[cxt.schema]!.test
      const func = cxt.gen.scopeValue('func', { key: cxt.schema, ref: test, code: new _Code(test) })
      cxt.fail(_`!${func}(${cxt.data})`)
    },
  })
  ajv.addKeyword({
    keyword: 'words',
    schemaType: 'array',
    error: { message: '', params: ({ params }) => _`{words: ${params.list}}` },
    code(cxt: KeywordCxt) {
      const code = new _Code(JSON.stringify(cxt.schema))
      const list = cxt.gen.scopeValue('obj', { key: code.toString(), ref: cxt.schema, code })
      cxt.setParams({ list })
      cxt.fail(_`!${list}.includes(${cxt.data})`)
    },
  })
  for (const file of files) ajv.addSchema(load(file))
  return minify(slim(standalone.default(ajv, ajv.getSchema(files.at(-1)!)!)))
}

/**
 * Takes out of ajv's code what serves errors after the first: every failure returns at once and is kept in one
 * variable, so the counters and flags that ajv carries along are constants; minifying removes what hangs on them.
 * Paths go down as strings instead of objects.
 */
const slimming: [RegExp, string][] = [
  [/^"use strict";export const validate = (validate\d+);export default \1;/, 'export const validate = $1;'],
  [/schemaPath:"[^"]*",/g, ''],
  [/\{instancePath="", parentData, parentDataProperty, rootData=data\}=\{\}/g, 'instancePath=""'],
  [/\{instancePath:((?:[^{}"]|"[^"]*")*?),parentData:\w+,parentDataProperty:[^{}]*?,rootData\}/g, '$1'],
  [/validate\d+\.errors = \[\{instancePath,/g, 'validate.errors = [{instancePath:instancePath,'],
  [
    /validate\w*\.errors = \[\{instancePath:((?:[^{}"]|"[^"]*")*?),keyword:("\w+"),params:(\{[^{}]*\})\}\];\s*return false;/g,
    'return fail($1,$2,$3);',
  ],
  [
    /vErrors = vErrors === null \? (\w+)\.errors : vErrors\.concat\(\1\.errors\);errors = vErrors\.length;/g,
    'return false;',
  ],
  [/validate\d+\.errors = vErrors;return errors === 0;/g, 'return true;'],
  [/let vErrors = null;let errors = 0;/g, ''],
  [/const _errs\d+ = errors;/g, ''],
  [/errors === (?:0|_errs\d+)|_errs\d+ === errors/g, 'true'],
  [/(?:let|var) valid\d+ = true;/g, ''],
  [/if\(!valid\d+\)\{break;\}/g, ''],
  [/if\(valid\d+\)/g, 'if(true)'],
]

function slim(code: string): string {
  const slimmed = slimming.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), code)
  const left = /.{0,80}(?:_errs|vErrors|\berrors\b|valid\d|schemaPath|parentData|require\().{0,80}/.exec(slimmed)
  if (left !== null) throw new Error(`ajv's code is not as expected: ${left[0]}`)
  return `export let failure;function fail(path,keyword,params){failure={path,keyword,params};return false}${slimmed}`
}

function minify(code: string): string {
  const { outputFiles } = buildSync({
    stdin: { contents: code, loader: 'js' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2023',
    write: false,
  })
  return outputFiles[0]!.text
}

/** What a schema says of names: `fields` of an object, or what holds for `each` item or value; null where it says nothing. */
function namesIn(schema: Json, file: string): Json {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return null
  if (typeof schema.$ref === 'string') {
    const [other, place] = schema.$ref.split('#')
    const target = other || file
    const path = (place ?? '').split('/').filter((key) => key !== '')
    return namesIn(
      path.reduce((node, key) => (node as { [key: string]: Json })[key]!, load(target) as Json),
      target,
    )
  }
  const each = schema.items ?? schema.additionalProperties
  if (each !== undefined) {
    const names = namesIn(each, file)
    return names && { each: names }
  }
  if (typeof schema.properties !== 'object') return null
  const entries = Object.entries(schema.properties as { [key: string]: Json })
  return { fields: Object.fromEntries(entries.map(([name, node]) => [name, namesIn(node, file)])) }
}

const types = `/** Why \`validate\` returned false the last time. \`path\` is a JSON pointer. */
export interface Failure {
  path: string
  keyword: string
  params: { type?: string; missingProperty?: string; limit?: number; range?: string; words?: string[] }
}
export declare const failure: Failure
export declare function validate(value: unknown): boolean
`

/** Renames into place: a program that imports the file at the same time sees the old one or the new one. */
function write(name: string, text: string): void {
  const path = join(out, name)
  writeFileSync(`${path}.${process.pid}`, text)
  renameSync(`${path}.${process.pid}`, path)
}

mkdirSync(out, { recursive: true })
for (const [name, files] of Object.entries(validators)) {
  write(`${name}.js`, compile(files))
  write(`${name}.d.ts`, types)
}
write('names.js', `export const names = ${JSON.stringify(namesIn(load('config.json'), 'config.json'))}\n`)
write('names.d.ts', "import type { Names } from '../no-effect.ts'\nexport declare const names: Names\n")
