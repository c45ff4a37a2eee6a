import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bar, barChart, WIDTH } from './chart.ts'

const bar = (name: string, value: number, more: Partial<Bar> = {}): Bar => ({
  name,
  value,
  label: `${value} ms`,
  own: false,
  ...more,
})
const widths = (svg: string) =>
  [...svg.matchAll(/class="(?:bar|own)"[^/]* width="([\d.]+)"/g)].map(([, text]) => Number(text))

test('bars are as long as their values, in each panel by a scale of its own', () => {
  const svg = barChart('a', 'b', [
    { title: 'x', bars: [bar('one', 10, { own: true }), bar('two', 20)] },
    { title: 'y', bars: [bar('one', 5), bar('two', 1000)] },
  ])
  const [a, b, c, d] = widths(svg) as [number, number, number, number]
  assert.ok(Math.abs(b - 2 * a) < 0.2)
  assert.is(b, d)
  assert.ok(c < 3)
  assert.is(svg.match(/class="own"/g)!.length, 1)
})

test('whiskers make room for themselves; one that is far longer than the bars is cut and has no end', () => {
  const whisker = (high: number) => {
    const svg = barChart('a', 'b', [{ title: 'x', bars: [bar('one', 10, { low: 8, high })] }])
    const [, from, to, ends] = /whisker" d="M([\d.]+) \d+H([\d.]+)([^"]*)"/.exec(svg)!
    return { bar: widths(svg)[0]!, from: Number(from) - 150, to: Number(to) - 150, ends: ends!.match(/M/g)!.length }
  }
  const whole = whisker(14)
  assert.ok(Math.abs(whole.to / whole.from - 14 / 8) < 0.01)
  assert.ok(Math.abs(whole.to / whole.bar - 1.4) < 0.01)
  assert.ok(whole.to <= WIDTH - 150 - 130)
  assert.is(whole.ends, 2)
  const cut = whisker(400)
  assert.ok(Math.abs(cut.to / cut.bar - 1.5) < 0.01)
  assert.is(cut.ends, 1)
})

test('nothing that is measured makes a number that is none', () => {
  for (const panels of [[], [{ title: 'x', bars: [bar('nothing', 0)] }]])
    assert.not.match(barChart('a', 'b', panels), /NaN|Infinity/)
})

test('names are text, whatever they contain', () => {
  const svg = barChart('<a> & "b"', '', [{ title: '</svg>', bars: [bar('<script>', 1)] }])
  assert.match(svg, '<title>&lt;a&gt; &amp; &quot;b&quot;</title>')
  assert.not.match(svg, '<script')
  assert.is(svg.match(/<\/svg>/g)!.length, 1)
})

test('light and dark are there, and nothing is fetched', () => {
  const svg = barChart('a', 'b', [{ title: 'x', bars: [bar('one', 1)] }])
  const [light, dark] = svg.split('@media (prefers-color-scheme: dark)') as [string, string]
  for (const part of [light, dark]) for (const name of ['.page', '.bar', '.own', 'text']) assert.match(part, `${name}{`)
  assert.match(svg, /<rect class="page" width="760" height="\d+"\/>/)
  assert.not.match(
    svg.replace('xmlns="http://www.w3.org/2000/svg"', ''),
    /http|href|url\(|@import|<script|<foreignObject/,
  )
})

test.run()
