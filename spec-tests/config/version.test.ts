/** runtime-spec, config.md: "Specification version", "Extensibility". What is refused: errors/config. */
import * as assert from 'uvu/assert'
import { type Bundle, bundle, container, heading, ok } from '../harness.ts'

const { test, run } = heading('config/version')

const runs = (made: Bundle): void => {
  made.config.process.args = ['echo', 'ran']
  made.write()
  assert.is(ok(container(made).run()).stdout, 'ran\n')
}

for (const version of ['1.0.0', '1.0.2', '1.0.2-dev', '1.1.0+dev', '1.2.0', '1.3.0'])
  test(`a configuration of version ${version} is taken`, () => {
    runs(
      bundle((config) => {
        config.ociVersion = version
      }),
    )
  })

test('the version of the state is one of the specification', () => {
  const c = container()
  ok(c.create())
  assert.match(c.state().ociVersion, /^1\.\d+\.\d+/)
})

test('properties that nobody knows are passed over, on every level', () => {
  runs(
    bundle((config) => {
      config.unknown = { deep: [1, { er: null }] }
      config.process.unknown = 'x'
      config.linux.unknown = []
      Object.assign(config.root, { unknown: 1 })
      Object.assign(config.mounts[0]!, { unknown: true })
      config.linux.resources = { ...config.linux.resources, unknown: { limit: 1 } }
    }),
  )
})

test('properties of other platforms are passed over', () => {
  runs(
    bundle((config) => {
      config.windows = { layerFolders: ['C:\\Layers\\layer1'] }
      config.solaris = { milestone: 'svc:/milestone/container:default' }
      config.vm = { kernel: { path: '/kernel' } }
      config.zos = {}
    }),
  )
})

run()
