/*
 * Runs commands and measures them, with as little of its own in the numbers as possible: posix_spawn (vfork inside), one
 * wait4 per process, no interpreter. It is static and small because ru_maxrss of a child starts with the RSS of the
 * process it was spawned from (kernel: exec_mmap keeps the old mm's high-water mark in signal->maxrss).
 *
 * The plan comes on standard input, one directive a line, arguments separated by tabs:
 *
 *   settle USEC          sleep before each sample (default 0): namespaces of the last container end in the background
 *   timeout SECONDS      per sample (default 10)
 *   log FILE             takes the commands' stderr; standard output goes to /dev/null
 *   alternative NAME     starts the definition of a sample: the lines below up to the next alternative
 *   cold FILE...         before the sample, these files leave the page cache (posix_fadvise(2), POSIX_FADV_DONTNEED): a page that
 *                        some process has mapped stays
 *   step ARGV...         a timed command
 *   with ARGV...         one more, started at the same time as the step above; the step ends when all have ended
 *   drain                wait for the orphans of the commands so far (the container's init); timed
 *   undo ARGV...         run after a sample that failed; not timed, its status does not matter
 *   order I J ...        one round: takes a sample of each of these alternatives (counted from 0), except of those
 *                        that have failed three times
 *
 * The driver is a child subreaper. So the init that `create` leaves behind ends as a child of the driver's, its end is an
 * event instead of something to poll for, and its CPU time counts.
 *
 * Each sample is one line of JSON on standard output: for each step and drain wall_ns, cpu_us (user and system time of all processes
 * that ended meanwhile), rss_kib (their largest ru_maxrss) and faults (their minor page faults); warm_kib, what of the `cold` files
 * was still in memory; and error (null or text).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ALTERNATIVES = 16, ACTIONS = 32, ARGUMENTS = 40, FAILURES = 3 };

struct action {
  enum { COLD, STEP, WITH, DRAIN, UNDO } kind;
  char *argv[ARGUMENTS + 1];
};

struct alternative {
  char *name;
  int actions, failures;
  struct action action[ACTIONS];
};

struct usage {
  int64_t cpu_us;
  long rss_kib, faults;
};

extern char **environ;
static struct alternative alternatives[ALTERNATIVES];
static int alternative_count, round_number, timeout_seconds = 10;
static useconds_t settle_us;
static int null_fd, log_fd = -1;
static volatile sig_atomic_t timed_out;

static void die(const char *what) {
  fprintf(stderr, "driver: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void on_alarm(int signal) {
  (void)signal;
  timed_out = 1;
}

/* The timer repeats, so that an expiry between a check and wait4 is not lost. */
static void set_timer(int seconds) {
  timed_out = 0;
  struct itimerval timer = {.it_value.tv_sec = seconds, .it_interval.tv_sec = seconds ? 1 : 0};
  setitimer(ITIMER_REAL, &timer, NULL);
}

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int64_t microseconds(struct timeval time) { return time.tv_sec * INT64_C(1000000) + time.tv_usec; }

/*
 * Reaps children until these have ended, or until there are none left if `count` is 0. Gives the first wait status of theirs that is
 * not 0, or -1 after the timeout.
 */
static int reap(const pid_t *pids, int count, struct usage *usage) {
  int left = count, first = 0;
  for (;;) {
    int status;
    struct rusage spent;
    pid_t ended = wait4(-1, &status, 0, &spent);
    if (ended > 0) {
      usage->cpu_us += microseconds(spent.ru_utime) + microseconds(spent.ru_stime);
      if (spent.ru_maxrss > usage->rss_kib) usage->rss_kib = spent.ru_maxrss;
      usage->faults += spent.ru_minflt;
      for (int i = 0; i < count; i++)
        if (ended == pids[i]) {
          if (!first) first = status;
          if (--left == 0) return timed_out ? -1 : first;
        }
    } else if (errno == ECHILD) {
      return count ? -1 : 0;
    } else if (errno == EINTR && timed_out) {
      if (!count) return -1;
      for (int i = 0; i < count; i++) kill(pids[i], SIGKILL);
    }
  }
}

/* Runs a command, and those `with` it. */
static int run(const struct action *action, const struct action *end, struct usage *usage) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, null_fd, 0);
  posix_spawn_file_actions_adddup2(&files, null_fd, 1);
  posix_spawn_file_actions_adddup2(&files, log_fd, 2);
  pid_t pids[ACTIONS];
  int count = 0, error = 0;
  do error = posix_spawnp(&pids[count], action->argv[0], &files, NULL, action->argv, environ);
  while (!error && ++count < ACTIONS && ++action < end && action->kind == WITH);
  posix_spawn_file_actions_destroy(&files);
  int status = count ? reap(pids, count, usage) : 0;
  return error ? 127 << 8 : status;
}

/* Gives how many KiB of a file are in memory. */
static long resident_kib(int fd) {
  struct stat status;
  if (fstat(fd, &status) || !status.st_size) return 0;
  size_t pages = ((size_t)status.st_size + 4095) / 4096;
  void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
  unsigned char *in_memory = malloc(pages);
  long kib = 0;
  if (map != MAP_FAILED && in_memory && !mincore(map, (size_t)status.st_size, in_memory))
    for (size_t i = 0; i < pages; i++) kib += (in_memory[i] & 1) * 4;
  if (map != MAP_FAILED) munmap(map, (size_t)status.st_size);
  free(in_memory);
  return kib;
}

static long drop_pages(char *const *files) {
  long kib = 0;
  for (; *files; files++) {
    int fd = open(*files, O_RDONLY | O_CLOEXEC);
    if (fd < 0) die(*files);
    /* What has not been written yet cannot be dropped. */
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    kib += resident_kib(fd);
    close(fd);
  }
  return kib;
}

static void put_json_text(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte == '"' || byte == '\\') printf("\\%c", byte);
    else if (byte < 0x20) printf("\\u%04x", byte);
    else putchar(byte);
  }
  putchar('"');
}

static void put_error(const struct action *action, int status) {
  char text[1024], log[600] = "";
  ssize_t length = pread(log_fd, log, sizeof log - 1, 0);
  while (length > 0 && log[length - 1] == '\n') length--;
  log[length > 0 ? length : 0] = 0;
  const char *what = action->kind == DRAIN ? "waiting for the container" : action->argv[0];
  if (status == -1) snprintf(text, sizeof text, "%s: timed out: %s", what, log);
  else if (WIFSIGNALED(status)) snprintf(text, sizeof text, "%s: signal %d: %s", what, WTERMSIG(status), log);
  else snprintf(text, sizeof text, "%s: status %d: %s", what, WEXITSTATUS(status), log);
  put_json_text(text);
}

static void sample(struct alternative *alternative) {
  struct action *action = alternative->action, *end = action + alternative->actions, *failed = NULL;
  struct usage ignored = {0};
  long warm_kib = 0;
  int status = 0;
  if (settle_us) usleep(settle_us);
  if (ftruncate(log_fd, 0)) die("log");
  printf("{\"round\":%d,\"name\":", round_number);
  put_json_text(alternative->name);
  printf(",\"steps\":[");
  for (bool first = true; action < end && !failed; action++) {
    if (action->kind == COLD) warm_kib += drop_pages(action->argv);
    if (action->kind != STEP && action->kind != DRAIN) continue;
    struct usage usage = {0};
    set_timer(timeout_seconds);
    int64_t begin = now_ns();
    status = action->kind == STEP ? run(action, end, &usage) : reap(NULL, 0, &usage);
    printf("%s{\"wall_ns\":%lld,\"cpu_us\":%lld,\"rss_kib\":%ld,\"faults\":%ld}", first ? "" : ",",
           (long long)(now_ns() - begin), (long long)usage.cpu_us, usage.rss_kib, usage.faults);
    first = false;
    if (status) {
      failed = action;
      alternative->failures++;
    }
  }
  printf("],\"warm_kib\":%ld,\"error\":", warm_kib);
  if (failed) put_error(failed, status);
  else printf("null");
  printf("}\n");
  fflush(stdout);
  for (action = alternative->action; action < end && failed; action++) {
    set_timer(timeout_seconds);
    if (action->kind == UNDO) run(action, end, &ignored);
  }
  set_timer(timeout_seconds);
  if (reap(NULL, 0, &ignored)) {
    errno = ETIMEDOUT;
    die(alternative->name);
  }
  set_timer(0);
}

static void add_action(int kind, char *rest) {
  if (!alternative_count) errno = EINVAL, die("action before the first alternative");
  struct alternative *alternative = &alternatives[alternative_count - 1];
  if (alternative->actions == ACTIONS) errno = E2BIG, die("actions");
  struct action *action = &alternative->action[alternative->actions++];
  action->kind = kind;
  int count = 0;
  for (char *word = strtok(rest, "\t"); word; word = strtok(NULL, "\t")) {
    if (count == ARGUMENTS) errno = E2BIG, die("arguments");
    action->argv[count++] = strdup(word);
  }
  if (kind != DRAIN && !count) errno = EINVAL, die("empty command");
}

static void directive(char *line) {
  char *rest = strchr(line, '\t');
  if (rest) *rest++ = 0;
  else rest = line + strlen(line);
  if (!strcmp(line, "settle")) settle_us = (useconds_t)atoi(rest);
  else if (!strcmp(line, "timeout")) timeout_seconds = atoi(rest);
  else if (!strcmp(line, "log")) {
    log_fd = open(rest, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) die(rest);
  } else if (!strcmp(line, "alternative")) {
    if (alternative_count == ALTERNATIVES) errno = E2BIG, die("alternatives");
    alternatives[alternative_count++].name = strdup(rest);
  } else if (!strcmp(line, "cold")) add_action(COLD, rest);
  else if (!strcmp(line, "step")) add_action(STEP, rest);
  else if (!strcmp(line, "with")) add_action(WITH, rest);
  else if (!strcmp(line, "drain")) add_action(DRAIN, rest);
  else if (!strcmp(line, "undo")) add_action(UNDO, rest);
  else if (!strcmp(line, "order")) {
    if (log_fd < 0) errno = EINVAL, die("order before log");
    char *position;
    for (char *word = strtok_r(rest, "\t", &position); word; word = strtok_r(NULL, "\t", &position)) {
      int index = atoi(word);
      if (index < 0 || index >= alternative_count) errno = EINVAL, die("order");
      if (alternatives[index].failures < FAILURES) sample(&alternatives[index]);
    }
    round_number++;
  } else errno = EINVAL, die(line);
}

int main(int argc, char **argv) {
  /* `driver nothing` ends at once: what a sample costs in which nothing is done. */
  if (argc == 2 && !strcmp(argv[1], "nothing")) return 0;
  null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0) die("/dev/null");
  if (prctl(PR_SET_CHILD_SUBREAPER, 1)) die("PR_SET_CHILD_SUBREAPER");
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  char *line = NULL;
  size_t capacity = 0;
  for (ssize_t length; (length = getline(&line, &capacity, stdin)) > 0;) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    directive(line);
  }
  return 0;
}
