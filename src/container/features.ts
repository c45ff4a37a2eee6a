/** The `features` command (features.md): taken from the tables that do what they say. */

import type { Machine } from '../base/platform.ts'
import { SPEC_VERSION } from '../base/version.ts'
import type { Features } from '../config/types.ts'
import { CAPABILITIES, MEMORY_POLICIES, MEMORY_POLICY_FLAGS } from '../linux/constants.ts'
import { ABIS } from '../seccomp/abis.ts'
import { FILTER_FLAGS, RET } from '../seccomp/kernel.ts'
import { unsafeAnnotations } from './annotations.ts'
import { hookKinds } from './hooks.ts'
import { knownMountOptions } from './mount-options.ts'
import { namespaceFlags } from './namespaces.ts'

/** What runt can do on this machine. */
export function features(machine: Machine): Features {
  const flags = Object.keys(FILTER_FLAGS).sort()
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: SPEC_VERSION,
    hooks: [...hookKinds],
    mountOptions: knownMountOptions(),
    linux: {
      namespaces: Object.keys(namespaceFlags).sort(),
      capabilities: [...CAPABILITIES],
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
      seccomp: {
        enabled: true,
        actions: Object.keys(RET).sort(),
        operators: [
          'SCMP_CMP_EQ',
          'SCMP_CMP_GE',
          'SCMP_CMP_GT',
          'SCMP_CMP_LE',
          'SCMP_CMP_LT',
          'SCMP_CMP_MASKED_EQ',
          'SCMP_CMP_NE',
        ],
        archs: [...new Set(ABIS[machine].map(({ arch }) => arch))].sort(),
        knownFlags: flags,
        supportedFlags: flags,
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      memoryPolicy: { modes: Object.keys(MEMORY_POLICIES).sort(), flags: Object.keys(MEMORY_POLICY_FLAGS).sort() },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    potentiallyUnsafeConfigAnnotations: [...unsafeAnnotations].sort(),
  }
}
