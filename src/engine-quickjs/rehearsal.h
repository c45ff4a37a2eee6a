/*
 * The part of host.c that is compiled into the rehearsal only; see "Heat" there.
 *
 *   rehearsal SCRIPT HEAT TAPE...
 *
 * evaluates SCRIPT as the build does, but gives each block of the heap pages of its own. Then it plays each TAPE
 * (scripts/rehearsal.ts) in a process of its own, to which these pages are closed: the first access to one is seen, and the
 * first write. HEAT gets a `struct plan` and, for each block in the order of allocation, where it shall lie.
 *
 * It is run twice. If HEAT is there, only what lies in chains has pages of its own, and all else the place that it shall have:
 * so the chains are the final ones, and what is found is in which order their blocks shall lie.
 */
#include <signal.h>
#include <sys/wait.h>

#define PAGE ((size_t)4096)
#define SPREAD_PAGES ((size_t)1 << 20) /* address space for the blocks */
/* Always the same: QuickJS hashes addresses, and what is touched depends on that. */
#define SPREAD_ADDRESS ((void *)0x100000000000)
#define CHUNKS_ADDRESS ((uint8_t *)0x180000000000)
#define STRANGERS (1u << 16) /* many more than there are chains */

static struct {
  uint8_t *start, *next;
  uint32_t count; /* blocks, whether they have pages of their own or not */
  uint32_t *block; /* page -> number of its block */
  uint32_t *size; /* block -> bytes */
  uint8_t *access; /* page -> enum heat */
  uint8_t *heat; /* block -> enum heat, in this process */
  /* Block -> how many tapes read or write it, how many write, and whether it lies in a chain; shared with those who play. */
  uint8_t *tapes[CHAINED + 1];
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
    for (enum heat heat = READ; heat <= CHAINED; heat++) spread.tapes[heat] = pages(SPREAD_PAGES, MAP_SHARED);
  }
  size_t first = (spread.next - spread.start) / PAGE, end = first + (size + 8 + PAGE - 1) / PAGE;
  if (end > SPREAD_PAGES || spread.count == SPREAD_PAGES) return NULL;
  uint32_t own = spread.count++;
  spread.size[own] = size;
  if (places != NULL) {
    spread.tapes[CHAINED][own] = own < place_count && places[own] != ELSEWHERE && places[own] >= image.plan.chains;
    if (!spread.tapes[CHAINED][own]) return planned(own);
  }
  for (size_t page = first; page < end; page++) spread.block[page] = own;
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

/* Lets a process of its own do something, and sees what that touches. Returns when it has ended. */
static void watch(const char *what, int (*act)(char **), char **argv) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    struct sigaction action = {.sa_sigaction = touched, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    if (mprotect(spread.start, spread.next - spread.start, PROT_NONE) < 0) quit("mprotect");
    _exit(act(argv));
  }
  if (child < 0 || waitpid(child, &status, 0) < 0) quit(what);
  if (status == 0) return;
  dprintf(2, "rehearsal: %s ended with status 0x%x\n", what, status);
  _exit(1);
}

/* Looks for so many names and shapes that are new that QuickJS goes through all chains. What this touches counts as chained. */
static int meet_strangers(char **argv) {
  (void)argv;
  spread.tapes[READ] = spread.tapes[WRITTEN] = spread.tapes[CHAINED];
  for (unsigned i = 0; i < STRANGERS; i++) {
    char name[20];
    snprintf(name, sizeof name, "stranger %u", i);
    if (JS_SetPropertyStr(image.context, JS_NewObject(image.context), name, JS_UNDEFINED) < 0) return 1;
  }
  return 0;
}

static int perform(char **argv);

/* Plays one tape. */
static void play(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  if (size < 0) quit(path);
  tape.start = pages(size + 1, MAP_PRIVATE);
  if (pread(fd, tape.start, size, 0) != size) quit(path);
  close(fd);
  tape.end = tape.start + size;
  for (unsigned kind = 0; kind < FIRST_SESSION + SESSIONS; kind++) tape.next[kind] = tape.start;
  char **argv = tape_strings(ARGUMENT);
  environ = tape_strings(ENVIRONMENT);
  watch(path, perform, argv);
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

/* Gives all blocks of a kind that have none yet their places, on pages of their own. `tapes`: how many were played. */
static void lay(struct plan *plan, enum heat heat, unsigned tapes) {
  uint32_t count = 0, *order = pages(spread.count * sizeof *order, MAP_PRIVATE);
  for (uint32_t i = 0; i < spread.count; i++)
    if (spread.tapes[heat][i] > 0 && places[i] == ELSEWHERE && !(heat == READ && spread.tapes[CHAINED][i])) order[count++] = i;
  qsort(order, count, sizeof *order, compare);
  plan->size = (plan->size + PAGE - 1) & ~(PAGE - 1);
  if (heat == CHAINED) plan->chains = plan->size;
  for (uint32_t i = 0; i < count; i++) {
    places[order[i]] = plan->size;
    plan->size += spread.size[order[i]];
    unsigned played = rank(order[i]);
    if (heat == WRITTEN && played * 4 >= tapes * 3) plan->usual = plan->size;
    if (heat == WRITTEN && played * 4 >= tapes) plan->setup = plan->size;
  }
}

/* Writes what was found. `tapes`: how many were played. */
static void report(const char *path, unsigned tapes) {
  struct plan *plan = &image.plan;
  if (places == NULL) {
    places = pages(spread.count * sizeof *places, MAP_PRIVATE);
    memset(places, 0xff, spread.count * sizeof *places);
    lay(plan, WRITTEN, tapes);
    lay(plan, READ, tapes);
  } else {
    for (uint32_t i = 0; i < spread.count; i++)
      if (spread.tapes[CHAINED][i]) places[i] = ELSEWHERE;
    plan->size = plan->chains;
  }
  lay(plan, CHAINED, tapes);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ssize_t size = spread.count * sizeof *places;
  if (fd < 0 || write(fd, plan, sizeof *plan) != sizeof *plan || write(fd, places, size) != size || close(fd) < 0)
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
