/*
 * The floor of the benchmark: the kernel's work for the container of bench/bundle.ts and nothing else. No config is read,
 * nothing is checked, no state is kept, no value is looked up that the author knew. How far a runtime is above the floor is
 * what the runtime itself costs. On cgroup v1 most of the wall time, and nearly all of its scatter, is the first write to
 * cgroup.procs: it waits for an RCU grace period (kernel: cgroup_threadgroup_rwsem). The floor does one thing after the
 * other; a runtime that did other work during that wait could end up below it.
 *
 *   floor run    BUNDLE NAME LIMIT MOUNT...
 *   floor create BUNDLE NAME LIMIT MOUNT...
 *   floor start  BUNDLE
 *   floor delete BUNDLE NAME LIMIT MOUNT...
 *
 * NAME is the container's directory below each MOUNT, the mount points of the cgroup hierarchies. A single MOUNT is cgroup2.
 * LIMIT is the memory limit in bytes, 0 for none. The process is /bin/true, or `sleep 60` if BUNDLE/sleep exists.
 * On cgroup2 no device program is loaded. The loopback interface stays down: the spec does not ask for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
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
static bool unified;

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

static const char *controller(int hierarchy) { return strrchr(hierarchies[hierarchy], '/') + 1; }

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
    if (!strcmp(controller(i), "cpuset")) {
      inherit(i, "cpuset.cpus");
      inherit(i, "cpuset.mems");
    } else if (!strcmp(controller(i), "devices")) {
      put(in_cgroup(i, "devices.deny"), "a");
      for (size_t k = 0; k < sizeof allowed / sizeof *allowed; k++) put(in_cgroup(i, "devices.allow"), allowed[k]);
    }
    if (strcmp(limit, "0") && (unified || !strcmp(controller(i), "memory")))
      put(in_cgroup(i, unified ? "memory.max" : "memory.limit_in_bytes"), limit);
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
    snprintf(target, sizeof target, "sys/fs/cgroup/%s", controller(i));
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

static void mount_all(void) {
  const unsigned long none = MS_NOSUID | MS_NOEXEC | MS_NODEV;
  CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
  CHECK(chdir(bundle));
  CHECK(mount("rootfs", "rootfs", NULL, MS_BIND | MS_REC, NULL));
  CHECK(chdir("rootfs"));
  CHECK(mount("proc", "proc", "proc", 0, NULL));
  CHECK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
  CHECK(mkdir("dev/pts", 0755));
  CHECK(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
  CHECK(mkdir("dev/shm", 0755));
  CHECK(mount("shm", "dev/shm", "tmpfs", none, "mode=1777,size=65536k"));
  CHECK(mkdir("dev/mqueue", 0755));
  CHECK(mount("mqueue", "dev/mqueue", "mqueue", none, NULL));
  CHECK(mount("sysfs", "sys", "sysfs", none | MS_RDONLY, NULL));
  mount_cgroups();
  make_devices();
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
  CHECK(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
}

static void drop_rights(void) {
  const unsigned kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
  for (int i = 0; i <= LAST_CAPABILITY; i++)
    if (i >= 32 || !(kept >> i & 1)) CHECK(prctl(PR_CAPBSET_DROP, i, 0, 0, 0));
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}};
  CHECK(syscall(SYS_capset, &header, data));
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* The container's init. `fifo` is where it waits for `start`, or -1. `ready` closes when it waits. */
static void init(int fifo, int ready) {
  char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
  const struct rlimit files = {1024, 1024};
  bool sleeps = !faccessat(AT_FDCWD, "sleep", F_OK, 0);
  for (int i = 0; i < hierarchy_count; i++) put(in_cgroup(i, "cgroup.procs"), "0");
  if (unified) CHECK(unshare(CLONE_NEWCGROUP));
  CHECK(setsid());
  umask(0);
  CHECK(sethostname("runt", 4));
  mount_all();
  hide_paths();
  CHECK(setrlimit(RLIMIT_NOFILE, &files));
  drop_rights();
  if (fifo >= 0) {
    struct pollfd started = {.fd = fifo, .events = POLLIN};
    close(ready);
    CHECK(poll(&started, 1, -1));
  }
  char *const quick[] = {"/bin/true", NULL}, *const slow[] = {"/bin/sleep", "60", NULL};
  execve(sleeps ? slow[0] : quick[0], sleeps ? slow : quick, environment);
  die("execve");
}

static pid_t spawn_init(int fifo, int ready) {
  const unsigned long flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | SIGCHLD;
  pid_t pid = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
  if (pid < 0) die("clone");
  if (!pid) init(fifo, ready);
  return pid;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  bundle = argv[2];
  CHECK(chdir(bundle));
  if (!strcmp(argv[1], "start")) {
    put("fifo", "x");
    return 0;
  }
  if (argc < 6) return 2;
  name = argv[3];
  limit = argv[4];
  hierarchies = argv + 5;
  hierarchy_count = argc - 5;
  unified = hierarchy_count == 1;
  if (!strcmp(argv[1], "delete")) {
    CHECK(unlink("fifo"));
    remove_cgroup();
    return 0;
  }
  make_cgroup();
  if (!strcmp(argv[1], "run")) {
    int status;
    CHECK(waitpid(spawn_init(-1, -1), &status, 0));
    remove_cgroup();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  int ready[2];
  char byte;
  CHECK(mkfifo("fifo", 0600));
  int fifo = open("fifo", O_RDWR | O_CLOEXEC);
  CHECK(fifo);
  CHECK(pipe2(ready, O_CLOEXEC));
  pid_t pid = spawn_init(fifo, ready[1]);
  close(ready[1]);
  CHECK(read(ready[0], &byte, 1));
  return waitpid(pid, NULL, WNOHANG) != 0;
}
