/**
 * Where a runtime is known to differ from what a test expects, and why: runtime, heading, test, reason. The
 * test still runs; its failure counts as known. The list is about released versions (runc 1.1.5, crun 1.8.1).
 * runt has no entry: what it does differently is a bug.
 */
export const differences: Record<string, Record<string, Record<string, string>>> = {
  runc: {
    'runtime/lifecycle': {
      'create with an id in use fails, names the id, and does not harm the container':
        'the message says "container with given ID already exists" without the id',
    },
    'runtime/run': {
      'run with an id in use fails and does not harm the other container':
        'the message says "container with given ID already exists" without the id',
      'the descriptors of the program of run are the very files of the caller':
        'in the foreground runc copies between pipes of its own and the descriptors of the caller',
    },
  },
  crun: {},
}
