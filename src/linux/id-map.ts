/** Maps of ids, as /proc/PID/uid_map and gid_map show them; user_namespaces(7). */

/** Whether it is the map of the initial user namespace, which has all ids in one line: who reads it has no other below the host's. */
export const mapsAllIds = (map: string): boolean => /^\s*0\s+0\s+4294967295\s*$/.test(map)
