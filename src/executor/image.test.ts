import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Machine } from '../base/platform.ts'
import { arm64 } from './arm64.ts'
import {
  add,
  and,
  assemble,
  branch,
  type Encoder,
  type Instruction,
  jump,
  label,
  left,
  listing,
  load,
  move,
  right,
  set,
  stack,
  store,
  subtract,
  syscall,
} from './assembler.ts'
import { launcherImage, launcherProgram, stageImage, stageProgram } from './elf.ts'
import { ARENA, DATA_END, DATA_OFFSET, TEXT } from './protocol.ts'
import { x86_64 } from './x86-64.ts'

const test = suite('executor images')

const encoders: Record<Machine, Encoder> = { x86_64, aarch64: arm64 }
const machines = ['x86_64', 'aarch64'] as const
const goldens = { x86_64: 'x86-64', aarch64: 'arm64' }

/** Each with what a disassembler makes of it on x86-64 and on arm64. */
const encodings: [Instruction, string[], string[]][] = [
  [set('a0', 0), ['mov edi, 0'], ['mov x0, #0']],
  [set('end', 0xffff_ffff), ['mov r13d, 4294967295'], ['mov x21, #65535', 'movk x21, #65535, lsl #16']],
  [set('number', -1), ['mov rax, -1'], ['mov x8, #-1']],
  [set('t1', -0x8000_0000), ['mov r11, -2147483648'], ['mov x10, #-65536', 'movk x10, #32768, lsl #16']],
  [
    set('t1', 0x1234_5678_9abc_def0n),
    ['movabs r11, 1311768467463790320'],
    ['mov x10, #57072', 'movk x10, #39612, lsl #16', 'movk x10, #22136, lsl #32', 'movk x10, #4660, lsl #48'],
  ],
  [
    set('op', -0x1234_5678_0001n),
    ['movabs rbp, -20015998304257'],
    ['mov x19, #-1450704897', 'movk x19, #60875, lsl #32'],
  ],
  [stack('base'), ['mov r15, rsp'], ['mov x23, sp']],
  [move('cell', 'a1'), ['mov r12, rsi'], ['mov x20, x1']],
  [load(8, 't0', 'cell', 1), ['movzx ecx, byte ptr [r12 + 1]'], ['ldrb w9, [x20, #1]']],
  [load(16, 'a3', 'end'), ['movzx r10d, word ptr [r13]'], ['ldrh w3, [x21]']],
  [load(32, 'a2', 'op', 58), ['mov edx, dword ptr [rbp + 58]'], ['ldur w2, [x19, #58]']],
  [load(-32, 'a4', 'reply', 128), ['movsxd r8, dword ptr [r14 + 128]'], ['ldrsw x4, [x22, #128]']],
  [load(64, 'a5', 'op'), ['mov r9, qword ptr [rbp]'], ['ldr x5, [x19]']],
  [store(8, 'a0', 'a1', 3), ['mov byte ptr [rsi + 3], dil'], ['strb w0, [x1, #3]']],
  [store(16, 't1', 'cell', 2), ['mov word ptr [r12 + 2], r11w'], ['strh w10, [x20, #2]']],
  [store(32, 'a1', 'a0'), ['mov dword ptr [rdi], esi'], ['str w1, [x0]']],
  [store(64, 'result', 't1', 4096), ['mov qword ptr [r11 + 4096], rbx'], ['str x6, [x10, #4096]']],
  [store(64, 'result', 't1', 5), ['mov qword ptr [r11 + 5], rbx'], ['stur x6, [x10, #5]']],
  [add('a0', 127), ['add rdi, 127'], ['add x0, x0, #127']],
  [add('end', 4095), ['add r13, 4095'], ['add x21, x21, #4095']],
  [add('t0', 'base'), ['add rcx, r15'], ['add x9, x9, x23']],
  [subtract('t0', 1), ['sub rcx, 1'], ['sub x9, x9, #1']],
  [subtract('end', 'a0'), ['sub r13, rdi'], ['sub x21, x21, x0']],
  [and('t0', 3), ['and rcx, 3'], ['and x9, x9, #0x3']],
  [and('a0', 0xff0), ['and rdi, 4080'], ['and x0, x0, #0xff0']],
  [left('end', 6), ['shl r13, 6'], ['lsl x21, x21, #6']],
  [right('a0', 8), ['shr rdi, 8'], ['lsr x0, x0, #8']],
  [branch('a0', 'equal', 'end', 'here'), ['cmp rdi, r13', 'je 0'], ['cmp x0, x21', 'b.eq #4']],
  [branch('t0', 'not-equal', 255, 'here'), ['cmp rcx, 255', 'jne 0'], ['cmp x9, #255', 'b.ne #4']],
  [branch('t0', 'less', -4, 'here'), ['cmp rcx, -4', 'jl 0'], ['cmn x9, #4', 'b.lt #4']],
  [branch('result', 'at-or-above', -4095, 'here'), ['cmp rbx, -4095', 'jae 0'], ['cmn x6, #4095', 'b.hs #4']],
  [branch('a0', 'below', 'a1', 'here'), ['cmp rdi, rsi', 'jb 0'], ['cmp x0, x1', 'b.lo #4']],
  [jump('here'), ['jmp 0'], ['b #4']],
  [syscall, ['syscall', 'mov rbx, rax'], ['svc #0', 'mov x6, x0']],
]

/** What LLVM reads in machine code; null where LLVM is not installed. */
function disassemble(machine: Machine, bytes: Uint8Array): string[] | null {
  const input = [...bytes].map((byte) => `0x${byte.toString(16)}`).join(' ')
  const { stdout, stderr, error } = spawnSync(
    'llvm-mc',
    ['--disassemble', `--triple=${machine}`, '--output-asm-variant=1'],
    { input, encoding: 'utf8' },
  )
  if (error) return null
  assert.is(stderr, '')
  return stdout
    .split('\n')
    .map((line) => line.trim().replace(/\s+/g, ' '))
    .filter((line) => line !== '' && !line.startsWith('.'))
}

for (const machine of machines) {
  for (const [instruction, x86, arm] of encodings) {
    const expected = machine === 'x86_64' ? x86 : arm
    test(`${machine}: ${expected.join('; ')}`, () => {
      const { bytes } = assemble([instruction, label('here')], encoders[machine], TEXT)
      const found = disassemble(machine, bytes)
      if (found !== null) assert.equal(found, expected)
    })
  }

  test(`the program on ${machine} is as its golden listing`, () => {
    const golden = new URL(`testing/${goldens[machine]}.golden.txt`, import.meta.url)
    const text = listing(stageProgram(machine))
    if (process.env.UPDATE_GOLDEN) writeFileSync(golden, text)
    assert.fixture(text, readFileSync(golden, 'utf8'))
  })

  test(`a disassembler can read the whole program on ${machine}`, () => {
    for (const program of [stageProgram(machine), launcherProgram(machine)]) {
      const code = program.lines.filter(({ instruction }) => instruction.name !== 'data').flatMap(({ bytes }) => bytes)
      disassemble(machine, Uint8Array.from(code))
    }
  })

  test(`both images on ${machine} have the two segments of the protocol, neither writable and executable`, () => {
    const bootBatch = Uint8Array.of(1, 2, 3)
    const [R, W, X] = [4, 2, 1]
    for (const [image, textSize, dataSize] of [
      [stageImage(machine), 0xa00, 0],
      [launcherImage(machine, bootBatch), 0x1400, 3],
    ] as const) {
      const view = new DataView(image.buffer)
      const segments = [0, 1, 2].map((index) => {
        const at = 64 + index * 56
        const [offset, address, , fileSize, memorySize] = [8, 16, 24, 32, 40].map((word) =>
          Number(view.getBigUint64(at + word, true)),
        )
        return { flags: view.getUint32(at + 4, true), offset, address, fileSize, memorySize }
      })
      assert.equal(segments, [
        { flags: R | X, offset: 0, address: TEXT, fileSize: textSize, memorySize: textSize },
        { flags: R | W, offset: DATA_OFFSET, address: ARENA, fileSize: dataSize, memorySize: DATA_END - ARENA },
        { flags: R | W, offset: 0, address: 0, fileSize: 0, memorySize: 0 },
      ])
      assert.equal(image.slice(DATA_OFFSET), dataSize === 0 ? new Uint8Array() : bootBatch)
    }
    assert.is(ARENA % 0x10000, DATA_OFFSET)
  })
}

test('a label must be there exactly once', () => {
  assert.throws(() => assemble([jump('nowhere')], x86_64, 0), 'label nowhere is missing')
  assert.throws(() => assemble([label('a'), label('a')], x86_64, 0), 'label a is there twice')
})

test('arm64 refuses what it cannot encode', () => {
  assert.throws(() => assemble([add('a0', 4096)], arm64, 0), 'cannot encode the constant 4096')
  assert.throws(() => assemble([and('a0', 5)], arm64, 0), 'cannot encode the mask 5')
  assert.throws(() => assemble([load(64, 'a0', 'a0', 257)], arm64, 0), 'cannot encode the offset 257')
})

test.run()
