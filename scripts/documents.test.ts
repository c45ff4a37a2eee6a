/** What the documents point to is there: links, their anchors, and paths of the source. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { root } from './tools.ts'

const documents = ['', 'docs', 'docs/bench', 'docs/engines'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, folder, name)),
)

/** The anchors of a document's headings, as GitHub and others make them. */
function anchorsOf(path: string): string[] {
  const headings = readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)
  return [...headings].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

for (const path of documents) {
  const name = relative(root, path)
  const text = readFileSync(path, 'utf8')

  test(`links of ${name} lead somewhere`, () => {
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link!)) continue
      const [file, anchor] = link!.split('#')
      const target = file ? join(dirname(path), file) : path
      assert.ok(existsSync(target), `${link} is not there`)
      if (anchor !== undefined) assert.ok(anchorsOf(target).includes(anchor), `${link}: no such heading`)
    }
  })

  test(`files that ${name} names are there`, () => {
    const folders = [...readdirSync(join(root, 'src')), 'src', 'spec-tests', 'scripts', 'bench', 'schema', 'docs']
    const files = new RegExp(`\`((?:${folders.join('|')})/[\\w./-]+\\.(?:ts|c|md))\``, 'g')
    for (const [, file] of text.matchAll(files))
      assert.ok(existsSync(join(root, file!)) || existsSync(join(root, 'src', file!)), `${file} is not there`)
  })
}

test.run()
