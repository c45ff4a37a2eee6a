/*
 * The part of host.c that is compiled into the rehearsal only; see "Heat" there.
 *
 *   rehearsal SCRIPT HEAT TAPE...
 *
 * evaluates SCRIPT as the build does, but gives each block of the heap pages of its own. Then it plays each TAPE
 * (scripts/rehearsal.ts) in a process of its own, to which these pages are closed: the first access to one is seen, and the
 * first write. HEAT gets a `struct plan` and, for each block in the order of allocation, where it shall lie.
 */
#include <signal.h>
#include <sys/wait.h>

#define PAGE ((size_t)4096)
#define SPREAD_PAGES ((size_t)1 << 20) /* address space for the blocks */
/* Always the same: QuickJS hashes addresses, and what is touched depends on that. */
#define SPREAD_ADDRESS ((void *)0x100000000000)
#define CHUNKS_ADDRESS ((uint8_t *)0x180000000000)

static struct {
  uint8_t *start, *next;
  uint32_t count; /* blocks */
  uint32_t *block; /* page -> number of its block */
  uint32_t *size; /* block -> bytes */
  uint8_t *access; /* page -> enum heat */
  uint8_t *heat; /* block -> enum heat, in this process */
  uint8_t *tapes[WRITTEN + 1]; /* block -> how many tapes read or write it, how many write; shared with those who play */
} spread;

static void quit(const char *what) {
  dprintf(2, "rehearsal: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static void *pages_at(void *address, size_t size, int sharing) {
  void *start = mmap(address, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) quit("mmap");
  return start;
}

static void *pages(size_t size, int sharing) {
  return pages_at(NULL, size, sharing);
}

static struct block *place(size_t size) {
  if (spread.start == NULL) {
    spread.start = spread.next = pages_at(SPREAD_ADDRESS, SPREAD_PAGES * PAGE, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
    spread.block = pages(SPREAD_PAGES * sizeof *spread.block, MAP_PRIVATE);
    spread.size = pages(SPREAD_PAGES * sizeof *spread.size, MAP_PRIVATE);
    spread.access = pages(SPREAD_PAGES, MAP_PRIVATE);
    spread.heat = pages(SPREAD_PAGES, MAP_PRIVATE);
    for (enum heat heat = READ; heat <= WRITTEN; heat++) spread.tapes[heat] = pages(SPREAD_PAGES, MAP_SHARED);
  }
  size_t first = (spread.next - spread.start) / PAGE, end = first + (size + 8 + PAGE - 1) / PAGE;
  if (end > SPREAD_PAGES) return NULL;
  for (size_t page = first; page < end; page++) spread.block[page] = spread.count;
  spread.size[spread.count++] = size;
  spread.next = spread.start + end * PAGE;
  return (struct block *)(spread.start + first * PAGE + 8);
}

/* SIGSEGV: a page is opened for reading first, so the second time it is a write. */
static void touched(int signal, siginfo_t *info, void *context) {
  uint8_t *at = info->si_addr;
  (void)context;
  if (at < spread.start || at >= spread.next) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(signal, &usual, NULL);
    return;
  }
  size_t page = (at - spread.start) / PAGE;
  uint32_t block = spread.block[page];
  uint8_t access = ++spread.access[page];
  while (spread.heat[block] < access) spread.tapes[++spread.heat[block]][block]++;
  if (mprotect(spread.start + page * PAGE, PAGE, access == READ ? PROT_READ : PROT_READ | PROT_WRITE) < 0)
    quit("mprotect");
}

/* { u32 kind; u32 length; bytes }: arguments, environment, and messages by the descriptor that they come from. */
enum { ARGUMENT = 1, ENVIRONMENT = 2, FIRST_SESSION = 3, SESSIONS = 3 };

static struct {
  uint8_t *start, *end;
  uint8_t *next[FIRST_SESSION + SESSIONS]; /* where to look for the next record of a kind */
} tape;

/* The next record of a kind; NULL at the end of the tape. */
static uint8_t *record(unsigned kind, uint32_t *length) {
  while (tape.next[kind] < tape.end) {
    uint32_t head[2];
    uint8_t *bytes = tape.next[kind] + sizeof head;
    memcpy(head, tape.next[kind], sizeof head);
    tape.next[kind] = bytes + head[1];
    *length = head[1];
    if (head[0] == kind) return bytes;
  }
  return NULL;
}

static ssize_t tape_recv(int fd, void *buffer, size_t size, int flags) {
  uint32_t length;
  (void)flags;
  uint8_t *bytes = fd >= FIRST_SESSION && fd < FIRST_SESSION + SESSIONS ? record(fd, &length) : NULL;
  if (bytes == NULL || length > size) {
    dprintf(2, "rehearsal: the tape of session %d ends before the command\n", fd);
    _exit(1);
  }
  memcpy(buffer, bytes, length);
  return length;
}

static ssize_t tape_send(int fd, const void *buffer, size_t size, int flags) {
  (void)fd, (void)buffer, (void)flags;
  return size;
}

static ssize_t tape_write(int fd, const void *buffer, size_t size) {
  return fd == 2 ? write(fd, buffer, size) : (ssize_t)size;
}

static int tape_poll(struct pollfd *set, nfds_t count, int timeout) {
  (void)set, (void)timeout;
  return count;
}

static void *tape_mmap(void *address, size_t size, int access, int flags, int fd, off_t offset) {
  static uint8_t *next = CHUNKS_ADDRESS;
  (void)address;
  void *start = mmap(next, size, access, flags | MAP_FIXED_NOREPLACE, fd, offset);
  next += (size + PAGE - 1) & ~(PAGE - 1);
  return start;
}

/* Always the same time, so that two rehearsals touch the same. */
static int tape_clock_gettime(clockid_t clock, struct timespec *now) {
  (void)clock;
  *now = (struct timespec){.tv_sec = 1700000000, .tv_nsec = 123456789};
  return 0;
}

static int tape_close(int fd) {
  return fd < 0 ? -1 : 0;
}

/* The strings of a kind, as argv and environ have them. */
static char **tape_strings(unsigned kind) {
  char **list = pages(PAGE, MAP_PRIVATE);
  uint32_t length;
  uint8_t *bytes;
  for (size_t i = 0; i < PAGE / sizeof *list - 1 && (bytes = record(kind, &length)) != NULL; i++) {
    list[i] = pages(length + 1, MAP_PRIVATE);
    memcpy(list[i], bytes, length);
  }
  return list;
}

static int perform(char **argv);

/* Plays one tape; returns in the caller's process, after the other one has ended. */
static void play(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC), status;
  off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  if (size < 0) quit(path);
  tape.start = pages(size + 1, MAP_PRIVATE);
  if (pread(fd, tape.start, size, 0) != size) quit(path);
  close(fd);
  tape.end = tape.start + size;
  for (unsigned kind = 0; kind < FIRST_SESSION + SESSIONS; kind++) tape.next[kind] = tape.start;
  char **argv = tape_strings(ARGUMENT);
  environ = tape_strings(ENVIRONMENT);

  pid_t child = fork();
  if (child == 0) {
    struct sigaction action = {.sa_sigaction = touched, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    if (mprotect(spread.start, spread.next - spread.start, PROT_NONE) < 0) quit("mprotect");
    _exit(perform(argv));
  }
  if (child < 0 || waitpid(child, &status, 0) < 0) quit(path);
  if (status == 0) return;
  dprintf(2, "rehearsal: %s ended with status 0x%x\n", path, status);
  _exit(1);
}

/* What most tapes touch comes first. Of a large block only a part is needed: it comes last. */
static unsigned rank(uint32_t block) {
  return spread.size[block] > PAGE ? 0 : spread.tapes[READ][block];
}

static int compare(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  unsigned of_a = rank(a), of_b = rank(b);
  return of_a != of_b ? (of_a < of_b) - (of_a > of_b) : (a > b) - (a < b);
}

/* Writes what was found. `tapes`: how many were played. */
static void report(const char *path, unsigned tapes) {
  struct plan plan = {0};
  uint32_t *places = pages(spread.count * sizeof *places, MAP_PRIVATE);
  uint32_t *order = pages(spread.count * sizeof *order, MAP_PRIVATE);
  memset(places, 0xff, spread.count * sizeof *places);
  for (enum heat heat = WRITTEN; heat > COLD; heat--) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < spread.count; i++)
      if (spread.tapes[heat][i] > 0 && places[i] == ELSEWHERE) order[count++] = i;
    qsort(order, count, sizeof *order, compare);
    /* What is written and what is only read share no page. */
    plan.size = (plan.size + PAGE - 1) & ~(PAGE - 1);
    for (uint32_t i = 0; i < count; i++) {
      places[order[i]] = plan.size;
      plan.size += spread.size[order[i]];
      unsigned played = rank(order[i]);
      if (heat == WRITTEN && played * 4 >= tapes * 3) plan.usual = plan.size;
      if (heat == WRITTEN && played * 4 >= tapes) plan.setup = plan.size;
    }
  }
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ssize_t size = spread.count * sizeof *places;
  if (fd < 0 || write(fd, &plan, sizeof plan) != sizeof plan || write(fd, places, size) != size || close(fd) < 0)
    quit(path);
}

/* From here on the brain hears the tape, and nobody hears the brain. */
#define recv tape_recv
#define send tape_send
#define write tape_write
#define poll tape_poll
#define close tape_close
#define mmap tape_mmap
#define clock_gettime tape_clock_gettime
