/**
 * Bar charts as SVG. They have a background of their own, light or dark as the reader's system is: on GitHub a picture cannot know the
 * colour of the page. No script, no font and no file from elsewhere, which GitHub would not load.
 */

export interface Bar {
  readonly name: string
  readonly value: number
  /** Ends of the whisker, if there is one. */
  readonly low?: number
  readonly high?: number
  /** What stands behind the bar: the value, with its unit. */
  readonly label: string
  /** The one that the chart is about. */
  readonly own: boolean
}

/** Bars with a scale of their own, from 0. */
export interface Panel {
  readonly title: string
  readonly bars: readonly Bar[]
}

export const WIDTH = 760
const LEFT = 150
/** Room for the labels. */
const RIGHT = 130
const HEAD = 48
const TITLE = 26
const ROW = 22
const GAP = 14
/** A whisker that is so many times as long as the longest bar is cut there, and has no end: outliers would leave no room for the bars. */
const CUT = 1.5

const STYLE = `
.page{fill:#ffffff}.bar{fill:#9aa4af}.own{fill:#0969da}.whisker{stroke:#59636e}.axis{stroke:#d1d9e0}
text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold}.note{fill:#59636e}
@media (prefers-color-scheme: dark){.page{fill:#0d1117}.bar{fill:#6e7681}.own{fill:#4493f8}.whisker{stroke:#c9d1d9}
.axis{stroke:#3d444d}text{fill:#f0f6fc}.note{fill:#9198a1}}`

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char]!)
const number = (value: number): string => value.toFixed(1)

export function barChart(title: string, note: string, panels: readonly Panel[]): string {
  const shapes: string[] = []
  const text = (x: number, y: number, words: string, attributes = '') =>
    shapes.push(`<text x="${number(x)}" y="${number(y)}"${attributes}>${escaped(words)}</text>`)
  text(14, 22, title, ' class="title"')
  text(14, 40, note, ' class="note"')
  let y = HEAD
  for (const panel of panels) {
    const longest = Math.max(...panel.bars.map(({ value }) => value))
    const most = Math.min(Math.max(longest, ...panel.bars.map(({ high = 0 }) => high)), longest * CUT) || 1
    const scale = (WIDTH - LEFT - RIGHT) / most
    text(14, y + TITLE - 9, panel.title, ' class="title"')
    y += TITLE
    shapes.push(`<path class="axis" d="M${LEFT} ${y}v${panel.bars.length * ROW}"/>`)
    for (const { name, value, low, high, label, own } of panel.bars) {
      text(LEFT - 8, y + 15, name, ' text-anchor="end"')
      const width = Math.max(1, value * scale)
      shapes.push(
        `<rect class="${own ? 'own' : 'bar'}" x="${LEFT}" y="${y + 4}" width="${number(width)}" height="${ROW - 8}"/>`,
      )
      let end = width
      if (low !== undefined && high !== undefined) {
        const [from, to] = [Math.min(low, most) * scale, Math.min(high, most) * scale]
        end = Math.max(width, to)
        const ends = [from, ...(high > most ? [] : [to])].map((x) => `M${number(LEFT + x)} ${y + 8}v6`)
        shapes.push(
          `<path class="whisker" d="M${number(LEFT + from)} ${y + 11}H${number(LEFT + to)}${ends.join('')}"/>`,
        )
      }
      text(LEFT + end + 8, y + 15, label)
      y += ROW
    }
    y += GAP
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${WIDTH}" height="${y}"/>`,
    ...shapes,
    '</svg>',
    '',
  ].join('\n')
}
