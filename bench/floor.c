/*
 * The floor of the benchmark: the kernel's work for the containers of bench/bundle.ts and nothing else, one thing after the other. No
 * config is read, nothing is checked, no state is kept, no value is looked up that the author knew. How far a runtime is above the
 * floor is what the runtime itself costs. The container's process joins its cgroup in the way that does not wait for an RCU grace
 * period: on cgroup v1 by `tasks`, on v2 by CLONE_INTO_CGROUP.
 *
 *   floor run    BUNDLE NAME LIMIT MOUNT...
 *   floor create BUNDLE NAME LIMIT MOUNT...
 *   floor start  BUNDLE
 *   floor state  BUNDLE
 *   floor exec   BUNDLE NAME LIMIT MOUNT...      /bin/true in the container
 *   floor delete BUNDLE NAME LIMIT MOUNT...
 *
 * NAME is the container's directory below each MOUNT, the mount points of the cgroup hierarchies. A single MOUNT is cgroup2.
 * LIMIT is the memory limit in bytes, 0 for none. The process is /bin/true, or `sleep 100000` if BUNDLE/sleep exists. If BUNDLE/filter
 * exists the container is the docker-like one, and that is its seccomp filter: an array of struct sock_filter.
 * On cgroup2 no device program is loaded. The loopback interface stays down: the spec does not ask for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LAST_CAPABILITY = 40 };

static const char *bundle, *name, *limit;
static char **hierarchies;
static int hierarchy_count;
static bool unified, docker;

static void die(const char *what) {
  dprintf(2, "floor: %s: %s\n", what, strerror(errno));
  _exit(1);
}

#define CHECK(call) do { if ((call) < 0) die(#call); } while (0)

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
  close(fd);
}

static const char *in_cgroup(int hierarchy, const char *file) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s/%s", hierarchies[hierarchy], name, file);
  return path;
}

static bool has(int hierarchy, const char *controller) {
  const char *mount = strrchr(hierarchies[hierarchy], '/') + 1, *found = strstr(mount, controller);
  const char after = found ? found[strlen(controller)] : 'x';
  return unified || (found && (found == mount || found[-1] == ',') && (!after || after == ','));
}

static void limit_cgroup(int i, const char *controller, const char *file_v1, const char *v1, const char *file_v2, const char *v2) {
  const char *file = unified ? file_v2 : file_v1;
  if (has(i, controller) && file) put(in_cgroup(i, file), unified ? v2 : v1);
}

/* A cpuset without CPUs takes no process, so a new one gets its parent's. */
static void inherit(int hierarchy, const char *file) {
  char text[256], parent[512];
  snprintf(parent, sizeof parent, "%s/%.*s/%s", hierarchies[hierarchy], (int)(strrchr(name, '/') - name), name, file);
  int fd = open(parent, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (length < 0) die(parent);
  close(fd);
  text[length] = 0;
  put(in_cgroup(hierarchy, file), text);
}

static void make_cgroup(void) {
  static const char *const allowed[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                        "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"};
  for (int i = 0; i < hierarchy_count; i++) {
    CHECK(mkdir(in_cgroup(i, ""), 0755));
    if (!unified && has(i, "cpuset")) {
      inherit(i, "cpuset.cpus");
      inherit(i, "cpuset.mems");
    } else if (!unified && has(i, "devices")) {
      put(in_cgroup(i, "devices.deny"), "a");
      for (size_t k = 0; k < sizeof allowed / sizeof *allowed; k++) put(in_cgroup(i, "devices.allow"), allowed[k]);
    }
    if (strcmp(limit, "0")) limit_cgroup(i, "memory", "memory.limit_in_bytes", limit, "memory.max", limit);
    if (!docker) continue;
    limit_cgroup(i, "memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864");
    limit_cgroup(i, "pids", "pids.max", "50", "pids.max", "50");
    limit_cgroup(i, "cpu", "cpu.shares", "512", "cpu.weight", "59");
    limit_cgroup(i, "cpu", "cpu.cfs_period_us", "100000", NULL, NULL);
    limit_cgroup(i, "cpu", "cpu.cfs_quota_us", "200000", "cpu.max", "200000 100000");
  }
}

static void remove_cgroup(void) {
  for (int i = 0; i < hierarchy_count; i++) {
    int tries = 1000;
    while (rmdir(in_cgroup(i, ""))) {
      if (errno != EBUSY || !tries--) die("rmdir of the cgroup");
      usleep(100);
    }
  }
}

static void mount_cgroups(void) {
  const unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME;
  if (unified) {
    CHECK(mount("cgroup", "sys/fs/cgroup", "cgroup2", flags | MS_RDONLY, NULL));
    return;
  }
  CHECK(mount("cgroup", "sys/fs/cgroup", "tmpfs", flags, "mode=755"));
  for (int i = 0; i < hierarchy_count; i++) {
    char target[256];
    snprintf(target, sizeof target, "sys/fs/cgroup/%s", strrchr(hierarchies[i], '/') + 1);
    CHECK(mkdir(target, 0755));
    CHECK(mount(in_cgroup(i, ""), target, NULL, MS_BIND, NULL));
    CHECK(mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL));
  }
  CHECK(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL));
}

static void make_devices(void) {
  static const struct { const char *path; int major, minor; } devices[] = {
      {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
  for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
    CHECK(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
  CHECK(symlink("pts/ptmx", "dev/ptmx"));
  CHECK(symlink("/proc/self/fd", "dev/fd"));
  CHECK(symlink("/proc/self/fd/0", "dev/stdin"));
  CHECK(symlink("/proc/self/fd/1", "dev/stdout"));
  CHECK(symlink("/proc/self/fd/2", "dev/stderr"));
}

static void bind(const char *source, const char *target, bool readonly) {
  CHECK(mount(source, target, NULL, MS_BIND | MS_REC, NULL));
  CHECK(mount(NULL, target, NULL, MS_REC | MS_PRIVATE, NULL));
  if (readonly) CHECK(mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_RELATIME, NULL));
}

static void bind_docker(void) {
  static const char *const files[] = {"resolv.conf", "hostname", "hosts"};
  char source[64], target[64];
  for (int i = 0; i < 13; i++) {
    char volume[16];
    snprintf(volume, sizeof volume, "volume%d", i - 3);
    snprintf(source, sizeof source, "../sources/%s", i < 3 ? files[i] : volume);
    snprintf(target, sizeof target, "%s%s", i < 3 ? "etc/" : "", i < 3 ? files[i] : volume);
    bind(source, target, i >= 3 && i % 2 == 0);
  }
}

static void mount_all(void) {
  const unsigned long none = MS_NOSUID | MS_NOEXEC | MS_NODEV;
  CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
  CHECK(chdir(bundle));
  CHECK(mount("rootfs", "rootfs", NULL, MS_BIND | MS_REC, NULL));
  CHECK(chdir("rootfs"));
  CHECK(mount("proc", "proc", "proc", docker ? none : 0, NULL));
  CHECK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
  CHECK(mkdir("dev/pts", 0755));
  CHECK(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
  CHECK(mkdir("dev/shm", 0755));
  CHECK(mount("shm", "dev/shm", "tmpfs", none, "mode=1777,size=65536k"));
  CHECK(mkdir("dev/mqueue", 0755));
  CHECK(mount("mqueue", "dev/mqueue", "mqueue", none, NULL));
  CHECK(mount("sysfs", "sys", "sysfs", none | MS_RDONLY, NULL));
  mount_cgroups();
  if (docker) bind_docker();
  make_devices();
  if (docker) {
    put("proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    put("proc/sys/net/ipv4/ping_group_range", "0 2147483647");
  }
  CHECK(syscall(SYS_pivot_root, ".", "."));
  CHECK(umount2(".", MNT_DETACH));
  CHECK(chdir("/"));
}

static void hide_paths(void) {
  static const char *const masked[] = {"/proc/acpi",       "/proc/asound",      "/proc/kcore",       "/proc/keys",    "/proc/latency_stats",
                                       "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"};
  static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
    if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) && errno == ENOTDIR)
      CHECK(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
  for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++)
    if (!mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL))
      CHECK(mount(NULL, readonly[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_RELATIME, NULL));
  if (!docker) CHECK(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
}

/* `fd` has the filter, or is -1. */
static void drop_rights(int fd) {
  static struct sock_filter instructions[BPF_MAXINSNS];
  const unsigned few = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
  const unsigned many = few | 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FSETID | 1u << CAP_FOWNER | 1u << CAP_MKNOD | 1u << CAP_NET_RAW |
                        1u << CAP_SETGID | 1u << CAP_SETUID | 1u << CAP_SETFCAP | 1u << CAP_SETPCAP | 1u << CAP_SYS_CHROOT;
  const unsigned kept = docker ? many : few;
  const struct rlimit files = {1024, docker ? 4096 : 1024}, core = {0, 0};
  const gid_t group = 0;
  CHECK(setrlimit(RLIMIT_NOFILE, &files));
  if (docker) {
    CHECK(setrlimit(RLIMIT_CORE, &core));
    CHECK(setgroups(1, &group));
    ssize_t length = read(fd, instructions, sizeof instructions);
    CHECK(length);
    struct sock_fprog program = {.len = (unsigned short)((size_t)length / sizeof *instructions), .filter = instructions};
    CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    close(fd);
  }
  for (int i = 0; i <= LAST_CAPABILITY; i++)
    if (i >= 32 || !(kept >> i & 1)) CHECK(prctl(PR_CAPBSET_DROP, i, 0, 0, 0));
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}};
  CHECK(syscall(SYS_capset, &header, data));
  if (!docker) CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void execute(bool sleeps) {
  char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
  char *const quick[] = {"/bin/true", NULL}, *const slow[] = {"/bin/sleep", "100000", NULL};
  execve(sleeps ? slow[0] : quick[0], sleeps ? slow : quick, environment);
  die("execve");
}

static void join_cgroup(void) {
  for (int i = 0; i < hierarchy_count && !unified; i++) put(in_cgroup(i, "tasks"), "0");
}

/* On cgroup2 the folder that a process is to be born in, else -1. */
static int cgroup_folder(void) {
  int fd = unified ? open(in_cgroup(0, ""), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (unified) CHECK(fd);
  return fd;
}

static pid_t fork_into(int folder, unsigned long long flags) {
  struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
  if (folder >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (unsigned long long)folder;
  }
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) die("clone3");
  return pid;
}

/* The container's init. `fifo` is where it waits for `start`, or -1. `ready` closes when it waits. */
static void init(int fifo, int ready) {
  bool sleeps = !faccessat(AT_FDCWD, "sleep", F_OK, 0);
  int filter = docker ? open("filter", O_RDONLY | O_CLOEXEC) : -1;
  join_cgroup();
  if (unified) CHECK(unshare(CLONE_NEWCGROUP));
  if (docker) put("/proc/self/oom_score_adj", "100");
  CHECK(setsid());
  umask(0);
  CHECK(sethostname("runt", 4));
  mount_all();
  hide_paths();
  drop_rights(filter);
  if (fifo >= 0) {
    struct pollfd started = {.fd = fifo, .events = POLLIN};
    close(ready);
    CHECK(poll(&started, 1, -1));
  }
  execute(sleeps);
}

static pid_t spawn_init(int fifo, int ready) {
  pid_t pid = fork_into(cgroup_folder(), CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS);
  if (!pid) init(fifo, ready);
  return pid;
}

static pid_t saved_pid(void) {
  char text[32] = "";
  int fd = open("pid", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) < 1) die("pid");
  close(fd);
  return (pid_t)atoi(text);
}

static int finish(pid_t pid) {
  int status;
  CHECK(waitpid(pid, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int state(void) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", saved_pid());
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text);
  if (length < 0) die(path);
  return write(1, text, (size_t)length) != length;
}

static int exec(void) {
  int filter = docker ? open("filter", O_RDONLY | O_CLOEXEC) : -1;
  int container = (int)syscall(SYS_pidfd_open, saved_pid(), 0);
  CHECK(container);
  int folder = cgroup_folder();
  join_cgroup();
  CHECK(setns(container, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS));
  pid_t pid = fork_into(folder, 0);
  if (pid) return finish(pid);
  if (unified) CHECK(setns(container, CLONE_NEWCGROUP));
  close(container);
  drop_rights(filter);
  execute(false);
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  bundle = argv[2];
  CHECK(chdir(bundle));
  docker = !faccessat(AT_FDCWD, "filter", F_OK, 0);
  if (!strcmp(argv[1], "start")) {
    put("fifo", "x");
    return 0;
  }
  if (!strcmp(argv[1], "state")) return state();
  if (argc < 6) return 2;
  name = argv[3];
  limit = argv[4];
  hierarchies = argv + 5;
  hierarchy_count = argc - 5;
  unified = hierarchy_count == 1;
  if (!strcmp(argv[1], "delete")) {
    CHECK(unlink("fifo"));
    CHECK(unlink("pid"));
    remove_cgroup();
    return 0;
  }
  if (!strcmp(argv[1], "exec")) return exec();
  make_cgroup();
  if (!strcmp(argv[1], "run")) {
    int status = finish(spawn_init(-1, -1));
    remove_cgroup();
    return status;
  }
  int ready[2];
  char byte;
  CHECK(mkfifo("fifo", 0600));
  int fifo = open("fifo", O_RDWR | O_CLOEXEC);
  CHECK(fifo);
  CHECK(pipe2(ready, O_CLOEXEC));
  pid_t pid = spawn_init(fifo, ready[1]);
  close(ready[1]);
  int fd = open("pid", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || dprintf(fd, "%d", pid) < 0) die("pid");
  close(fd);
  CHECK(read(ready[0], &byte, 1));
  return waitpid(pid, NULL, WNOHANG) != 0;
}
