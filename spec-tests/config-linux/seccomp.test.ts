/** runtime-spec, config-linux.md: "Seccomp". */
import * as assert from 'uvu/assert'
import { container, heading, inside } from '../harness.ts'

const { test, run } = heading('config-linux/seccomp')

const filter = (seccomp: Record<string, unknown>) => (config: { linux: Record<string, unknown> }) => {
  config.linux.seccomp = seccomp
}
const deny = (rule: Record<string, unknown>) => filter({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] })

test('without seccomp there is no filter', () => {
  assert.match(inside('grep "^Seccomp:" /proc/self/status'), /\t0\n/)
})

test('a filter is in force', () => {
  assert.match(
    inside('grep "^Seccomp:" /proc/self/status', deny({ names: ['chroot'], action: 'SCMP_ACT_ERRNO' })),
    /\t2\n/,
  )
})

test('a denied call fails with EPERM', () => {
  const text = inside('mkdir /dev/shm/d 2>&1; true', deny({ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }))
  assert.match(text, /Operation not permitted/)
})

test('a denied call fails with the errno of the rule', () => {
  const text = inside(
    'mkdir /dev/shm/d 2>&1; true',
    deny({ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }),
  )
  assert.match(text, /No space left/)
})

test('a rule with arguments holds for these only', () => {
  const text = inside(
    'kill -0 $$ && echo zero; kill -10 1 2>&1; true',
    deny({ names: ['kill'], action: 'SCMP_ACT_ERRNO', args: [{ index: 1, value: 10, op: 'SCMP_CMP_EQ' }] }),
  )
  assert.match(text, /^zero\n.*not permitted/s)
})

test('an unknown system call is passed over', () => {
  assert.is(inside('echo ran', deny({ names: ['no_such_call', 'chroot'], action: 'SCMP_ACT_ERRNO' })), 'ran\n')
})

test('a filter holds without noNewPrivileges too', () => {
  const text = inside('grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status', (config) => {
    config.process.noNewPrivileges = false
    deny({ names: ['chroot'], action: 'SCMP_ACT_ERRNO' })(config)
  })
  assert.match(text, /NoNewPrivs:\t0\nSeccomp:\t2\n/)
})

test('SCMP_ACT_KILL_PROCESS ends the program', () => {
  const c = container((config) => {
    config.process.args = ['sh', '-c', 'mkdir /dev/shm/d; echo $?']
    deny({ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_KILL_PROCESS' })(config)
  })
  assert.match(c.run().stdout, /^(159|-?\d{2,3})\n/)
})

test('a filter that allows nothing but what it lists starts the program', () => {
  const names =
    'execve exit exit_group write writev read brk arch_prctl set_tid_address set_robust_list rseq prlimit64 mprotect mmap munmap getrandom readlink readlinkat newfstatat fstat ioctl rt_sigaction rt_sigprocmask getuid getgid geteuid getegid getppid getpid getcwd stat uname prctl close futex capget capset chdir fchdir setuid setgid setgroups setresuid setresgid openat openat2 fcntl epoll_ctl epoll_wait epoll_pwait nanosleep tgkill gettid sigaltstack statfs fstatfs getdents64 lseek dup dup3 dup2 faccessat2 faccessat access pipe2 sched_yield clone clone3 madvise eventfd2 epoll_create1 seccomp recvmsg sendmsg recvfrom sendto ppoll poll close_range keyctl fchown umask rt_sigreturn kill wait4 waitid execveat setsid pread64'.split(
      ' ',
    )
  const c = container((config) => {
    config.process.args = ['echo', 'ran']
    filter({
      defaultAction: 'SCMP_ACT_ERRNO',
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
      syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }],
    })(config)
  })
  assert.is(c.run().stdout, 'ran\n')
})

for (const noNewPrivileges of [true, false])
  test(`a filter need not allow what the runtime does, ${noNewPrivileges ? 'with' : 'without'} noNewPrivileges`, () => {
    const text = inside('echo ran', (config) => {
      config.process.noNewPrivileges = noNewPrivileges
      config.linux.seccomp = {
        defaultAction: 'SCMP_ACT_KILL_PROCESS',
        syscalls: [
          {
            names:
              'execve exit_group brk mprotect write arch_prctl set_tid_address set_robust_list rseq prlimit64 readlink readlinkat prctl getrandom getuid getpid getppid rt_sigaction newfstatat uname getcwd ioctl'.split(
                ' ',
              ),
            action: 'SCMP_ACT_ALLOW',
          },
        ],
      }
    })
    assert.is(text, 'ran\n')
  })

run()
