/*
 * runt-brain: QuickJS and the brain, as one static program that starts with its heap ready.
 *
 * Setting up a JavaScript context and loading the brain's code takes far longer than most commands of a container
 * runtime. So it is done once, at build time. The program is linked twice:
 *
 *   1. with an empty image. Run as `runt-brain SCRIPT OUTPUT [HEAT]` it evaluates SCRIPT, whose completion value is
 *      the brain's main function, and writes its heap to OUTPUT;
 *   2. with OUTPUT as the image. Now main() finds a runtime, a context and a function to call.
 *
 * This works because the heap lies at a fixed address (section .image, see scripts/build-native.ts), the program is
 * linked statically without PIE, so that functions and tables keep their addresses in both links (the build compares
 * the symbol tables), and QuickJS keeps no other state: its few static variables serve Atomics and JS_NewClassID(),
 * which nobody calls here.
 *
 * For the JavaScript side it means: code outside functions runs at build time and must not use `host`, but for its
 * `machine`, and Math.random(), seeded at build time, does not exist.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <quickjs.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Exit status for bugs of runt's own. */
#define EXIT_BUG 255
/* Collecting garbage never pays within the life of a command; it starts when a heap this large has been used. */
#define GC_THRESHOLD (128u << 20)
/* QuickJS's limit of the stack lies nearer than this to its top. */
#define STACK_REACH ((uintptr_t)4 << 20)

/* Those of src/executor/protocol.ts: the largest message, addresses in the executor, numbers of slots. */
#if !defined MESSAGE_MAX || !defined DATA || !defined RESULTS || !defined SLOTS || !defined ANSWER
#error "scripts/brain.ts defines MESSAGE_MAX, DATA, RESULTS, SLOTS, ARGV, ENVP, ANSWER and ANSWER_LENGTH"
#endif

/* ---- Heap ---------------------------------------------------------------------------------------------------
 *
 * Blocks are cut off a chunk one after the other; freed ones wait in a list of their size class. Each block has
 * an 8-byte header with its size and, as in glibc's, its payload is 16-byte aligned. Large blocks are mappings.
 */
#define CHUNK (1u << 20)
#define LARGE (128u << 10)
#define SMALL 1024u
#define CLASSES (SMALL / 16 + 1 + 4 * 8)
#define MAPPED 1u /* in `size`: a mapping of its own */

struct block {
  uint64_t size; /* header and payload */
  struct block *next; /* while free; payload otherwise */
};

/* ---- Heat ---------------------------------------------------------------------------------------------------
 *
 * Of the heap's pages each command needs some: reading one costs a fault, writing to one a copy. QuickJS writes to most of
 * what it touches (it counts references), and what a command touches is a fifth of all, strewn over the heap. So the build
 * finds out what the usual commands touch (rehearsal.h), and puts together what they write, what they only read, and
 * the rest; first what most of them need. Blocks are known by the order in which they are allocated, which is the same in
 * all builds of a script.
 *
 * QuickJS finds names and shapes (the lists of an object's properties) by hash tables, and reads whatever else is in the
 * same chain. Shapes are hashed by the address of the prototype, so their chains are other ones wherever blocks have other
 * places; and a command may be told names that no rehearsal knows. So all that lies in such chains is together too. A page
 * that is read brings fifteen more into the memory of the process, if they are in the page cache.
 */
enum heat { COLD, READ, WRITTEN, CHAINED };

#define ELSEWHERE UINT32_MAX

/* What a rehearsal has found: bytes from the start of the hot part on. */
struct plan {
  uint64_t usual; /* what nearly all commands write */
  uint64_t setup; /* what those write that set up a container or a process in it, too */
  uint64_t chains; /* where begins what is read in chains at most */
  uint64_t size; /* all that is written or read, or lies in chains */
};

#define MAGIC 0x3167616d69746e72 /* "rntimag1" */

struct image {
  uint64_t magic; /* MAGIC in the second link */
  JSRuntime *runtime;
  JSContext *context;
  JSValue main;
  uint8_t *hot; /* start of the hot part */
  struct plan plan;
  uint8_t *next, *end; /* the rest of the current chunk */
  struct block *free[CLASSES];
};

extern struct image image; /* the start of section .image; the build-time heap follows */
extern uint8_t image_end[];

static uint32_t *places; /* by order of allocation: where in the hot part, or ELSEWHERE; NULL if there was no rehearsal */
static size_t place_count;

/* The place of a block of the build time, by its number; NULL if it has none of its own. */
static struct block *planned(size_t number) {
  /* Blocks begin 8 bytes behind a multiple of 16. */
  return number < place_count && places[number] != ELSEWHERE ? (struct block *)(image.hot + 8 + places[number]) : NULL;
}

#ifdef REHEARSAL
#include "rehearsal.h"
#else
static struct block *place(size_t size) {
  static size_t count;
  (void)size;
  return planned(count++);
}
#endif

/* The size class of a block, and the size of the blocks of that class. */
static unsigned class_of(size_t size, size_t *rounded) {
  if (size <= SMALL) {
    *rounded = (size + 15) & ~(size_t)15;
    return *rounded / 16;
  }
  unsigned log = 63 - __builtin_clzl(size - 1); /* 2^log < size <= 2^(log+1); four classes between the two */
  unsigned quarter = (size - 1) >> (log - 2) & 3;
  *rounded = (size_t)(5 + quarter) << (log - 2);
  return SMALL / 16 + 1 + (log - 10) * 4 + quarter;
}

static void *new_chunk(size_t size) {
  uint8_t *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return chunk == MAP_FAILED ? NULL : chunk;
}

static void *heap_alloc(JSMallocState *state, size_t size) {
  if (size == 0 || size > SIZE_MAX / 2) return NULL;
  struct block *block;
  size_t rounded;
  if (image.magic == MAGIC && size + 8 > LARGE) {
    rounded = (size + 16 + 4095) & ~(size_t)4095;
    uint8_t *map = new_chunk(rounded);
    if (map == NULL) return NULL;
    block = (struct block *)(map + 8);
    block->size = rounded | MAPPED;
  } else {
    /* Large blocks of the build time lie in the image and are not used again. */
    unsigned class = size + 8 > LARGE ? 0 : class_of(size + 8, &rounded);
    if (class == 0) rounded = (size + 8 + 15) & ~(size_t)15;
    block = image.magic == MAGIC ? NULL : place(rounded);
    if (block != NULL) {
      /* One of the build time, in the place that it shall have. */
    } else if ((block = image.free[class]) != NULL) {
      image.free[class] = block->next;
    } else {
      if ((size_t)(image.end - image.next) < rounded) {
        uint8_t *chunk = image.magic == MAGIC ? new_chunk(CHUNK) : NULL;
        if (chunk == NULL) return NULL;
        image.next = chunk + 8;
        image.end = chunk + CHUNK;
      }
      block = (struct block *)image.next;
      image.next += rounded;
    }
    block->size = rounded;
  }
  state->malloc_count++;
  state->malloc_size += rounded;
  return &block->next;
}

static struct block *block_of(const void *payload) {
  return (struct block *)((uint8_t *)payload - 8);
}

static size_t heap_usable_size(const void *payload) {
  uint64_t size = payload == NULL ? 0 : block_of(payload)->size;
  return size & MAPPED ? (size & ~(uint64_t)MAPPED) - 16 : size ? size - 8 : 0;
}

static void heap_free(JSMallocState *state, void *payload) {
  if (payload == NULL) return;
  struct block *block = block_of(payload);
  size_t size = block->size & ~(uint64_t)MAPPED, rounded;
  state->malloc_count--;
  state->malloc_size -= size;
  if (block->size & MAPPED) {
    munmap((uint8_t *)block - 8, size);
    return;
  }
  if (size > LARGE) return;
  unsigned class = class_of(size, &rounded);
  block->next = image.free[class];
  image.free[class] = block;
}

static void *heap_realloc(JSMallocState *state, void *payload, size_t size) {
  if (payload == NULL) return heap_alloc(state, size);
  if (size == 0) {
    heap_free(state, payload);
    return NULL;
  }
  size_t usable = heap_usable_size(payload);
  if (size <= usable && size >= usable / 2) return payload;
  struct block *block = block_of(payload);
  if ((block->size & MAPPED) && size + 8 > LARGE) {
    if (size > SIZE_MAX / 2) return NULL;
    size_t old = block->size & ~(uint64_t)MAPPED, rounded = (size + 16 + 4095) & ~(size_t)4095;
    uint8_t *map = mremap((uint8_t *)block - 8, old, rounded, MREMAP_MAYMOVE);
    if (map == MAP_FAILED) return NULL;
    state->malloc_size += rounded - old;
    block = (struct block *)(map + 8);
    block->size = rounded | MAPPED;
    return &block->next;
  }
  void *moved = heap_alloc(state, size);
  if (moved == NULL) return NULL;
  memcpy(moved, payload, usable < size ? usable : size);
  heap_free(state, payload);
  return moved;
}

/* ---- Text ---------------------------------------------------------------------------------------------------
 *
 * As in src/base/bytes.ts: a byte that is not part of valid UTF-8 is kept as the lone surrogate U+DC80..U+DCFF.
 * QuickJS itself writes and reads a lone surrogate as three bytes, of which the first is 0xED.
 */

/* Length of the valid UTF-8 sequence at `p`, 0 if there is none (Unicode 15, table 3-7). */
static size_t sequence(const uint8_t *p, const uint8_t *end) {
  uint8_t c = *p;
  size_t length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (length < 2) return length;
  if ((size_t)(end - p) < length) return 0;
  uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  if (p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  return length;
}

static JSValue decode(JSContext *ctx, const uint8_t *bytes, size_t length) {
  const uint8_t *end = bytes + length, *p = bytes;
  /* Most text is ASCII. */
  for (uint64_t eight; end - p >= 8 && (memcpy(&eight, p, 8), (eight & 0x8080808080808080) == 0);) p += 8;
  for (size_t n; p < end && (n = sequence(p, end)) > 0;) p += n;
  if (p == end) return JS_NewStringLen(ctx, (const char *)bytes, length);
  uint8_t *copy = js_malloc(ctx, length * 3), *q = copy;
  if (copy == NULL) return JS_EXCEPTION;
  for (p = bytes; p < end;) {
    size_t n = sequence(p, end);
    if (n == 0) {
      *q++ = 0xed;
      *q++ = 0xb0 | *p >> 6; /* U+DC00 + byte */
      *q++ = 0x80 | (*p++ & 0x3f);
    }
    while (n-- > 0) *q++ = *p++;
  }
  JSValue text = JS_NewStringLen(ctx, (const char *)copy, q - copy);
  js_free(ctx, copy);
  return text;
}

/* The bytes of a string in memory that js_free() returns; any other lone surrogate becomes U+FFFD. */
static uint8_t *encode(JSContext *ctx, JSValueConst text, size_t *length) {
  size_t n;
  const char *chars = JS_ToCStringLen(ctx, &n, text);
  if (chars == NULL) return NULL;
  uint8_t *bytes = js_malloc(ctx, n + 1), *q = bytes;
  if (bytes != NULL) {
    if (memchr(chars, 0xed, n) == NULL) {
      memcpy(bytes, chars, n);
      q += n;
    } else {
      const uint8_t *p = (const uint8_t *)chars, *end = p + n;
      while (p < end) {
        if (*p != 0xed || p[1] < 0xa0) {
          *q++ = *p++;
          continue;
        }
        unsigned low = (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu); /* U+D000 + low */
        if (low >= 0xc80 && low <= 0xcff) {
          *q++ = low & 0xff;
        } else {
          memcpy(q, "\xef\xbf\xbd", 3);
          q += 3;
        }
        p += 3;
      }
    }
  }
  JS_FreeCString(ctx, chars);
  *length = q - bytes;
  return bytes;
}

/* ---- The functions of the object `host` ------------------------------------------------------------------------ */

static int write_all(int fd, const uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n >= 0) {
      bytes += n;
      length -= n;
    } else if (errno == EAGAIN) {
      struct pollfd ready = {.fd = fd, .events = POLLOUT};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return -errno;
    }
  }
  return 0;
}

/* Reads the integer arguments from `first` on; false after an exception. */
static int integers(JSContext *ctx, JSValueConst *argv, int first, int count, int64_t *values) {
  for (int i = 0; i < count; i++)
    if (JS_ToInt64(ctx, &values[i], argv[first + i])) return 0;
  return 1;
}

static int64_t milliseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Alone ---------------------------------------------------------------------------------------------------
 *
 * A command that no other executor takes part in has no launcher beside it (src/session/boot.ts): batches of the host's session are
 * performed here, by the executor's own code, at the addresses that they are made for. So the host has answered when `send` returns.
 */
#define ALONE "runt (alone)"
#define HOST 3 /* `Descriptor` of platform.ts; alone, 3 and the next are the caller's */

static int alone;
extern uint8_t arena[]; /* the executor's memory, and where messages are made and received. It and the code: scripts/brain.ts */
void perform_batch(void); /* calls the executor, which keeps no register */

#if defined(__x86_64__)
__asm__(".section .text.perform_batch,\"ax\"\n"
        ".globl perform_batch\n"
        "perform_batch: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "call called\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
        ".text\n");
#else
__asm__(".section .text.perform_batch,\"ax\"\n"
        ".globl perform_batch\n"
        "perform_batch: stp x29, x30, [sp, #-64]!; stp x19, x20, [sp, #16]; stp x21, x22, [sp, #32]; str x23, [sp, #48]\n"
        "bl called\n"
        "ldr x23, [sp, #48]; ldp x21, x22, [sp, #32]; ldp x19, x20, [sp, #16]; ldp x29, x30, [sp], #64; ret\n"
        ".text\n");
#endif

/* Answers that nobody had asked for when the next batch came. The last one is where the executor has built it. */
static struct answer {
  struct answer *next;
  size_t size;
  uint8_t bytes[];
} *answers, **last_answer = &answers;

#define LENGTH (((uint64_t *)SLOTS)[ANSWER_LENGTH])
#define REPLY (arena + MESSAGE_MAX) /* as the batch builder has it */

/* Makes room for another answer. */
static int keep_answer(void) {
  struct answer *answer = LENGTH == 0 ? NULL : malloc(sizeof *answer + LENGTH);
  if (answer == NULL) return LENGTH == 0 ? 0 : -ENOMEM;
  *answer = (struct answer){.size = LENGTH};
  memcpy(answer->bytes, REPLY, answer->size);
  *last_answer = answer;
  last_answer = &answer->next;
  LENGTH = 0;
  return 0;
}

static int perform_alone(const uint8_t *batch, size_t size) {
  int error = keep_answer();
  if (error < 0) return error;
  memmove(arena, batch, size);
  perform_batch();
  /* A batch that was skipped is answered in its own place. */
  if (LENGTH > 0) memmove(REPLY, (const void *)((uint64_t *)SLOTS)[ANSWER], LENGTH);
  return 0;
}

/* Length of the next answer, which lies at REPLY then; 0 if there is none; -errno. */
static int take_answer(void) {
  struct answer *answer = answers;
  int size = LENGTH, error;
  if (answer != NULL) {
    if ((error = keep_answer()) < 0) return error;
    size = answer->size;
    memcpy(REPLY, answer->bytes, size);
    if ((answers = answer->next) == NULL) last_answer = &answers;
    free(answer);
  }
  LENGTH = 0;
  return size;
}

static void begin_alone(char **argv) {
  uint64_t *slots = (uint64_t *)SLOTS;
  slots[ARGV] = (uint64_t)argv;
  slots[ENVP] = (uint64_t)environ;
  alone = 1;
}

/* send(fd, buffer, offset, length): 0 or -errno. One message. */
static JSValue host_send(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t fd, range[2];
  size_t size;
  uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, argv[1]);
  if (bytes == NULL || !integers(ctx, argv, 0, 1, &fd) || !integers(ctx, argv, 2, 2, range)) return JS_EXCEPTION;
  if (range[0] < 0 || range[1] < 0 || range[0] > (int64_t)size || range[1] > (int64_t)size - range[0])
    return JS_ThrowRangeError(ctx, "send: range outside of the buffer");
  if (alone) return JS_NewInt32(ctx, fd == HOST ? perform_alone(bytes + range[0], range[1]) : -EPIPE);
  ssize_t n;
  do n = send(fd, bytes + range[0], range[1], MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return JS_NewInt32(ctx, n < 0 ? -errno : 0);
}

/* receive(fd, buffer, timeoutMs): length of the message, 0 at the end, -EAGAIN after the time, -errno. Time < 0: no limit. */
static JSValue host_receive(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t fd, timeout;
  size_t size;
  uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, argv[1]);
  if (bytes == NULL || !integers(ctx, argv, 0, 1, &fd) || !integers(ctx, argv, 2, 1, &timeout)) return JS_EXCEPTION;
  if (alone) return JS_NewInt32(ctx, fd != HOST ? 0 : answers == NULL && LENGTH == 0 && timeout >= 0 ? -EAGAIN : take_answer());
  int64_t end = timeout < 0 ? 0 : milliseconds(CLOCK_MONOTONIC) + timeout;
  for (;;) {
    if (timeout >= 0) {
      int64_t left = end - milliseconds(CLOCK_MONOTONIC);
      struct pollfd ready = {.fd = fd, .events = POLLIN};
      int n = poll(&ready, 1, left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left);
      if (n == 0 && milliseconds(CLOCK_MONOTONIC) >= end) return JS_NewInt32(ctx, -EAGAIN);
      if (n == 0 || (n < 0 && errno == EINTR)) continue;
      if (n < 0) return JS_NewInt32(ctx, -errno);
    }
    ssize_t n = recv(fd, bytes, size, 0);
    if (n >= 0) return JS_NewInt32(ctx, n);
    if (errno != EINTR) return JS_NewInt32(ctx, errno == ECONNRESET ? 0 : -errno);
  }
}

/* write(fd, text): 0 or -errno. */
static JSValue host_write(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t fd;
  size_t length;
  if (!integers(ctx, argv, 0, 1, &fd)) return JS_EXCEPTION;
  uint8_t *bytes = encode(ctx, argv[1], &length);
  if (bytes == NULL) return JS_EXCEPTION;
  int error = write_all(fd, bytes, length);
  js_free(ctx, bytes);
  return JS_NewInt32(ctx, error);
}

static void free_bytes(JSRuntime *rt, void *opaque, void *bytes) {
  js_free_rt(rt, bytes);
}

/* The memory of a typed array, which must outlive the use; NULL after an exception. `size` is in bytes. */
static uint8_t *bytes_of(JSContext *ctx, JSValueConst array, size_t *size) {
  size_t start, whole;
  JSValue buffer = JS_GetTypedArrayBuffer(ctx, array, &start, size, NULL);
  uint8_t *bytes = JS_IsException(buffer) ? NULL : JS_GetArrayBuffer(ctx, &whole, buffer);
  JS_FreeValue(ctx, buffer);
  return bytes == NULL ? NULL : bytes + start;
}

/* encode(text): ArrayBuffer */
static JSValue host_encode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  size_t length;
  uint8_t *bytes = encode(ctx, argv[0], &length);
  return bytes == NULL ? JS_EXCEPTION : JS_NewArrayBuffer(ctx, bytes, length, free_bytes, NULL, 0);
}

/* encodeInto(text, bytes, offset): number of bytes, -1 if one of them is a NUL */
static JSValue host_encode_into(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t offset;
  size_t length, size;
  uint8_t *target = bytes_of(ctx, argv[1], &size), *copy = NULL;
  if (target == NULL || !integers(ctx, argv, 2, 1, &offset)) return JS_EXCEPTION;
  /* Text without surrogates is what it seems to be. */
  const char *chars = JS_ToCStringLen(ctx, &length, argv[0]);
  if (chars == NULL) return JS_EXCEPTION;
  if (memchr(chars, 0xed, length) != NULL && (copy = encode(ctx, argv[0], &length)) == NULL) length = SIZE_MAX;
  int fits = offset >= 0 && (uint64_t)offset <= size && length <= size - offset;
  if (fits) memcpy(target + offset, copy ? (const char *)copy : chars, length);
  js_free(ctx, copy);
  JS_FreeCString(ctx, chars);
  if (!fits) return JS_HasException(ctx) ? JS_EXCEPTION : JS_ThrowRangeError(ctx, "encodeInto: no room in the buffer");
  return JS_NewInt64(ctx, memchr(target + offset, 0, length) ? -1 : (int64_t)length);
}

/* decode(buffer, offset, length): string */
static JSValue host_decode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t range[2];
  size_t size;
  uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, argv[0]);
  if (bytes == NULL || !integers(ctx, argv, 1, 2, range)) return JS_EXCEPTION;
  if (range[0] < 0 || range[1] < 0 || range[0] > (int64_t)size || range[1] > (int64_t)size - range[0])
    return JS_ThrowRangeError(ctx, "decode: range outside of the buffer");
  return decode(ctx, bytes + range[0], range[1]);
}

/* The record of an operation: `Op` of src/executor/protocol.ts. */
struct operation {
  uint32_t number;
  uint8_t kind, test;
  uint16_t dst;
  uint64_t args[6];
  uint16_t modes;
  uint8_t errnos[4];
  uint16_t target;
};
/* `Mode` there; `Ref` of src/session/operation.ts. */
enum { LOAD64 = 1, LOAD32_SIGNED = 3 };
enum { REF_STEP = 1, REF_SLOT, REF_DATA, REF_OUT };

/* A property that is a small integer; `missing` if it is something else, -1 after an exception. */
static int64_t integer_of(JSContext *ctx, JSValueConst object, JSAtom name, int64_t missing) {
  JSValue value = JS_GetProperty(ctx, object, name);
  int64_t number = JS_VALUE_GET_TAG(value) == JS_TAG_INT ? JS_VALUE_GET_INT(value) : missing;
  if (JS_IsException(value)) number = -1;
  JS_FreeValue(ctx, value);
  return number;
}

/* What a method of the batch answers to an argument. */
static JSValue ask(JSContext *ctx, JSValueConst batch, JSAtom method, JSValueConst argument) {
  return JS_Invoke(ctx, batch, method, 1, &argument);
}

/* A property that is a typed array; NULL after an exception. `size` is in bytes. */
static uint8_t *array_of(JSContext *ctx, JSValueConst object, JSAtom name, size_t *size) {
  JSValue array = JS_GetProperty(ctx, object, name);
  uint8_t *bytes = bytes_of(ctx, array, size);
  JS_FreeValue(ctx, array);
  return bytes;
}

/* Adds a value to an array. */
static int append(JSContext *ctx, JSValueConst object, JSAtom array, JSAtom length, JSValue value) {
  JSValue list = JS_GetProperty(ctx, object, array);
  int64_t end = integer_of(ctx, list, length, -1);
  int done = end < 0 ? -1 : JS_SetPropertyUint32(ctx, list, end, value);
  JS_FreeValue(ctx, list);
  return done;
}

/* Puts a NUL-terminated string into the data of a batch; gives its offset, -1 after an exception. */
static int64_t put_string(JSContext *ctx, JSValueConst batch, JSValueConst text) {
  static JSAtom dataLength, capacity, bytes, grow, refuse;
  if (dataLength == 0) {
    dataLength = JS_NewAtom(ctx, "dataLength"), capacity = JS_NewAtom(ctx, "capacity"), bytes = JS_NewAtom(ctx, "bytes");
    grow = JS_NewAtom(ctx, "grow"), refuse = JS_NewAtom(ctx, "refuse");
  }
  size_t length, size;
  uint8_t *copy = NULL, *target = NULL;
  const char *chars = JS_ToCStringLen(ctx, &length, text);
  if (chars == NULL) return -1;
  /* Text without surrogates is what it seems to be. */
  if (memchr(chars, 0xed, length) != NULL && (copy = encode(ctx, text, &length)) == NULL) goto end;
  const char *encoded = copy ? (const char *)copy : chars;
  int64_t offset = integer_of(ctx, batch, dataLength, -1);
  if (memchr(encoded, 0, length) != NULL) {
    JS_FreeValue(ctx, ask(ctx, batch, refuse, text));
  } else if (offset >= 0) {
    if (offset + (int64_t)length + 1 > integer_of(ctx, batch, capacity, 0))
      JS_FreeValue(ctx, ask(ctx, batch, grow, JS_NewInt64(ctx, offset + length + 1)));
    target = array_of(ctx, batch, bytes, &size);
    if (target != NULL && offset + length < size) memcpy(target + offset, encoded, length);
    else target = NULL;
    if (target != NULL && JS_SetProperty(ctx, batch, dataLength, JS_NewInt64(ctx, (offset + length + 8) & ~7ul)) < 0) target = NULL;
  }
end:
  js_free(ctx, copy);
  JS_FreeCString(ctx, chars);
  if (target == NULL && !JS_HasException(ctx)) JS_ThrowTypeError(ctx, "putString: no place for it");
  return target == NULL ? -1 : offset;
}

/* putString(batch, text): that of src/session/operation.ts. */
static JSValue host_put_string(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t offset = put_string(ctx, argv[0], argv[1]);
  return offset < 0 ? JS_EXCEPTION : JS_NewInt64(ctx, offset);
}

/* addOperation(batch, kind, number, args, prototype): that of src/session/operation.ts, which says the rest. */
static JSValue host_add_operation(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  static JSAtom ref, slot, offset, load, length, data, outWords, count, ops, growOps, argLists, index;
  static const struct {
    JSAtom *atom;
    const char *name;
  } names[] = {
      {&ref, "ref"},           {&slot, "slot"},         {&offset, "offset"}, {&load, "load"},       {&length, "length"},
      {&data, "data"},         {&outWords, "outWords"}, {&count, "count"}, {&ops, "ops"},
      {&growOps, "growOps"},   {&argLists, "argLists"}, {&index, "index"},
  };
  if (ref == 0)
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) *names[i].atom = JS_NewAtom(ctx, names[i].name);
  JSValueConst b = argv[0], args = argv[3];
  int64_t kind, number, own = integer_of(ctx, b, count, -1), given = integer_of(ctx, args, length, -1);
  if (own < 0 || given < 0 || given > 6 || !integers(ctx, argv, 1, 1, &kind) || !integers(ctx, argv, 2, 1, &number))
    return JS_HasException(ctx) ? JS_EXCEPTION : JS_ThrowTypeError(ctx, "addOperation: no operation");
  if (JS_SetProperty(ctx, b, count, JS_NewInt32(ctx, own + 1)) < 0) return JS_EXCEPTION;
  size_t size;
  uint8_t *records = array_of(ctx, b, ops, &size);
  if (records != NULL && own * sizeof(struct operation) == size) {
    JS_FreeValue(ctx, JS_Invoke(ctx, b, growOps, 0, NULL));
    records = array_of(ctx, b, ops, &size);
  }
  if (records == NULL || JS_HasException(ctx)) return JS_EXCEPTION;
  if ((own + 1) * sizeof(struct operation) > size) return JS_ThrowRangeError(ctx, "addOperation: no room for it");
  struct operation *op = (struct operation *)records + own;
  op->number = number;
  op->kind = kind;

  for (uint32_t i = 0; i < given; i++) {
    JSValue arg = JS_GetPropertyUint32(ctx, args, i);
    int64_t value = -1;
    int mode = 0;
    if (JS_VALUE_GET_TAG(arg) == JS_TAG_INT) {
      op->args[i] = (int64_t)JS_VALUE_GET_INT(arg);
      continue;
    } else if (JS_IsNumber(arg)) {
      double wide = JS_VALUE_GET_FLOAT64(arg);
      op->args[i] = wide < 0 ? (uint64_t)(int64_t)wide : (uint64_t)wide;
      continue;
    } else if (JS_IsString(arg)) {
      value = put_string(ctx, b, arg);
      if (value >= 0) value += DATA;
    } else if (JS_IsBigInt(ctx, arg)) {
      int64_t wide;
      if (JS_ToBigInt64(ctx, &wide, arg) == 0) {
        op->args[i] = wide;
        JS_FreeValue(ctx, arg);
        continue;
      }
    } else {
      int64_t what = integer_of(ctx, arg, ref, 0);
      if (what == 0) {
        /* Bytes. Their pointer goes to the list, which others read. */
        JSValue pointer = ask(ctx, b, data, arg);
        JS_FreeValue(ctx, arg);
        arg = pointer;
        if (JS_IsException(pointer) || JS_SetPropertyUint32(ctx, args, i, JS_DupValue(ctx, pointer)) < 0) what = -1;
        else what = REF_DATA;
      }
      if (what == REF_STEP) value = RESULTS + 8 * integer_of(ctx, arg, index, -1), mode = LOAD64;
      if (what == REF_SLOT) value = SLOTS + 8 * integer_of(ctx, arg, slot, -1), mode = LOAD64;
      if (what == REF_DATA || what == REF_OUT) {
        int64_t width = integer_of(ctx, arg, load, 0);
        mode = width == 64 ? LOAD64 : width == 32 ? LOAD32_SIGNED : 0;
        value = integer_of(ctx, arg, offset, -1);
        if (what == REF_DATA) value += DATA;
        else {
          int64_t word = own * sizeof *op / 4 + offsetof(struct operation, args) / 4 + 2 * i;
          if (append(ctx, b, outWords, length, JS_NewInt32(ctx, word)) < 0) value = -1;
        }
      }
    }
    JS_FreeValue(ctx, arg);
    if (value < 0) return JS_HasException(ctx) ? JS_EXCEPTION : JS_ThrowTypeError(ctx, "addOperation: no argument");
    op->args[i] = value;
    op->modes |= mode << (2 * i);
  }
  if (append(ctx, b, argLists, length, JS_DupValue(ctx, args)) < 0) return JS_EXCEPTION;
  JSValue step = JS_NewObjectProto(ctx, argv[4]);
  return JS_DefinePropertyValue(ctx, step, index, JS_NewInt32(ctx, own), JS_PROP_C_W_E) < 0 ? JS_EXCEPTION : step;
}

/* A typed array of 32-bit words; NULL after an exception. */
static uint32_t *words_of(JSContext *ctx, JSValueConst array, size_t *count) {
  uint32_t *words = (uint32_t *)bytes_of(ctx, array, count);
  *count /= sizeof *words;
  return words;
}

/* addToWords(words, from, offsets, value): that of src/session/operation.ts. */
static JSValue host_add_to_words(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t from, value;
  size_t count, given;
  uint32_t *words = words_of(ctx, argv[0], &count), *offsets = words == NULL ? NULL : words_of(ctx, argv[2], &given);
  if (offsets == NULL || !integers(ctx, argv, 1, 1, &from) || !integers(ctx, argv, 3, 1, &value)) return JS_EXCEPTION;
  for (size_t i = 0; i < given; i++) {
    uint64_t word = (uint64_t)from + offsets[i];
    if (word >= count) return JS_ThrowRangeError(ctx, "addToWords: no such word");
    words[word] += value;
  }
  return JS_UNDEFINED;
}

/* placeJumps(words, jumps, count): that of src/session/operation.ts. */
static JSValue host_place_jumps(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  static JSAtom index, length;
  if (index == 0) index = JS_NewAtom(ctx, "index"), length = JS_NewAtom(ctx, "length");
  size_t count;
  uint32_t *words = words_of(ctx, argv[0], &count);
  int64_t end = integer_of(ctx, argv[1], length, -1), last;
  if (words == NULL || !integers(ctx, argv, 2, 1, &last)) return JS_EXCEPTION;
  for (int64_t i = 0; i < end; i += 2) {
    JSValue word = JS_GetPropertyUint32(ctx, argv[1], i), label = JS_GetPropertyUint32(ctx, argv[1], i + 1);
    int64_t to = integer_of(ctx, label, index, -1), at = JS_VALUE_GET_TAG(word) == JS_TAG_INT ? JS_VALUE_GET_INT(word) : -1;
    JS_FreeValue(ctx, word);
    JS_FreeValue(ctx, label);
    if (JS_HasException(ctx)) return JS_EXCEPTION;
    if (at < 0 || at >= (int64_t)count) return JS_ThrowRangeError(ctx, "placeJumps: no such word");
    if (to < 0 || to > last) return JS_FALSE;
    words[at] |= (uint32_t)to << 16;
  }
  return JS_TRUE;
}

#define CALL_NAME 32 /* bytes for the name of a system call, a NUL at the end */

/* The place of a name in sorted ones, or -1. `next`: where it probably is, for rules name calls in order. */
static int64_t find_call(const char *names, int64_t count, const char *name, int64_t next) {
  if (next < count && strcmp(names + CALL_NAME * next, name) == 0) return next;
  for (int64_t low = 0, high = count; low < high;) {
    int64_t middle = (low + high) / 2;
    int order = strcmp(names + CALL_NAME * middle, name);
    if (order == 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return -1;
}

/* decide(decided, names, verdict, known): whether all names are known; the rest is told in src/seccomp/search.ts. */
static JSValue host_decide(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  static JSAtom length;
  if (length == 0) length = JS_NewAtom(ctx, "length");
  size_t sizes[2];
  int64_t verdict, given = integer_of(ctx, argv[1], length, -1), found = -1;
  int16_t *decided = (int16_t *)bytes_of(ctx, argv[0], &sizes[0]);
  const char *known = (const char *)bytes_of(ctx, argv[3], &sizes[1]);
  if (decided == NULL || known == NULL || given < 0 || !integers(ctx, argv, 2, 1, &verdict)) return JS_EXCEPTION;
  int64_t calls = sizes[1] / CALL_NAME;
  if (calls > (int64_t)(sizes[0] / 2)) return JS_ThrowRangeError(ctx, "decide: outside of an array");
  int all = 1;
  for (int64_t i = 0; i < given; i++) {
    size_t bytes;
    JSValue name = JS_GetPropertyUint32(ctx, argv[1], i);
    const char *chars = JS_ToCStringLen(ctx, &bytes, name);
    JS_FreeValue(ctx, name);
    if (chars == NULL) return JS_EXCEPTION;
    int64_t call = strlen(chars) == bytes ? find_call(known, calls, chars, found + 1) : -1;
    JS_FreeCString(ctx, chars);
    if (call < 0) all = 0;
    else {
      if (decided[call] == 0) decided[call] = verdict;
      found = call;
    }
  }
  return JS_NewBool(ctx, all);
}

/* addCells(starts, verdicts, count, decided, names, first, end, base): the new count; the rest is told in src/seccomp/search.ts. */
static JSValue host_add_cells(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  size_t sizes[4];
  int64_t count, range[3];
  uint32_t *starts = (uint32_t *)bytes_of(ctx, argv[0], &sizes[0]);
  int16_t *verdicts = (int16_t *)bytes_of(ctx, argv[1], &sizes[1]);
  uint16_t *decided = (uint16_t *)bytes_of(ctx, argv[3], &sizes[2]), *names = (uint16_t *)bytes_of(ctx, argv[4], &sizes[3]);
  if (starts == NULL || verdicts == NULL || decided == NULL || names == NULL || !integers(ctx, argv, 2, 1, &count) ||
      !integers(ctx, argv, 5, 3, range))
    return JS_EXCEPTION;
  int64_t first = range[0], end = range[1], room = sizes[0] / 4 < sizes[1] / 2 ? sizes[0] / 4 : sizes[1] / 2;
  int valid = count >= 0 && count <= room && first >= 0 && end <= (int64_t)(sizes[3] / 2);
  for (int64_t cell = first; valid && cell < end; cell++) {
    valid = names[cell] < sizes[2] / 2;
    int16_t verdict = valid ? decided[names[cell]] : 0;
    if (count > 0 && verdicts[count - 1] == verdict) continue;
    if (!(valid = valid && count < room)) break;
    starts[count] = range[2] + cell - first;
    verdicts[count++] = verdict;
  }
  return valid ? JS_NewInt32(ctx, count) : JS_ThrowRangeError(ctx, "addCells: outside of an array");
}

/* Those of src/seccomp/kernel.ts and emit.ts. */
enum { BPF_MAXINSNS = 4096, BPF_JUMP = 0x05, BPF_RETURN = 0x06, BPF_JEQ = 0x15, BPF_JGE = 0x35, REACH = 253 };

/* What `Program` of src/seccomp/emit.ts and `Ranges` of search.ts hold. */
struct search {
  uint32_t *words, *returns, *starts;
  int16_t *verdicts;
  int32_t *places;
  int64_t length, checks, values, count;
};

static int64_t push(struct search *s, uint32_t code, uint32_t k) {
  if (s->length < BPF_MAXINSNS) {
    uint32_t *word = s->words + 2 * (BPF_MAXINSNS - 1 - s->length);
    word[0] = code;
    word[1] = k;
  }
  return s->length++;
}

static int64_t push_return(struct search *s, int64_t verdict) {
  return s->places[s->checks + verdict] = push(s, BPF_RETURN, s->returns[verdict]);
}

static int64_t leaf(struct search *s, int64_t verdict) {
  int64_t known = s->places[s->checks + verdict];
  return known >= 0 ? known : push_return(s, verdict);
}

static int64_t near(struct search *s, int64_t target) {
  int64_t distance = s->length - target - 1, verdict = 0;
  if (distance <= REACH) return target;
  const uint32_t *word = s->words + 2 * (BPF_MAXINSNS - 1 - target);
  if (word[0] != BPF_RETURN) return push(s, BPF_JUMP, distance);
  while (verdict < s->values - 1 && s->returns[verdict] != word[1]) verdict++;
  int64_t known = leaf(s, verdict);
  return s->length - known - 1 <= REACH ? known : push_return(s, verdict);
}

/* Does no harm where the program is too long already. */
static int64_t jump(struct search *s, uint32_t code, uint32_t k, int64_t yes, int64_t no) {
  if (s->length >= BPF_MAXINSNS) return s->length++;
  yes = near(s, yes);
  no = near(s, no);
  int64_t before = s->length - 1;
  return push(s, code | (uint32_t)(before - yes) << 16 | (uint32_t)(before - no) << 24, k);
}

static int64_t tree(struct search *s, int64_t first, int64_t last) {
  const uint32_t *starts = s->starts;
  const int16_t *verdicts = s->verdicts;
  if (first == last) return leaf(s, verdicts[first]);
  if (last == first + 2 && verdicts[first] == verdicts[last] && starts[last] - starts[first + 1] == 1) {
    int64_t around = leaf(s, verdicts[last]);
    return jump(s, BPF_JEQ, starts[first + 1], leaf(s, verdicts[first + 1]), around);
  }
  int64_t middle = (first + last + 1) / 2, upper = tree(s, middle, last), lower = tree(s, first, middle - 1);
  return jump(s, BPF_JGE, starts[middle], upper, lower);
}

/*
 * addTree(words, length, returns, places, starts, verdicts, count): the new length, -1 if that is too much; the rest is told in
 * src/seccomp/search.ts. `count` is at least 2.
 */
static JSValue host_add_tree(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  size_t sizes[5];
  struct search s;
  s.words = (uint32_t *)bytes_of(ctx, argv[0], &sizes[0]);
  s.returns = (uint32_t *)bytes_of(ctx, argv[2], &sizes[1]);
  s.places = (int32_t *)bytes_of(ctx, argv[3], &sizes[2]);
  s.starts = (uint32_t *)bytes_of(ctx, argv[4], &sizes[3]);
  s.verdicts = (int16_t *)bytes_of(ctx, argv[5], &sizes[4]);
  if (s.words == NULL || s.returns == NULL || s.places == NULL || s.starts == NULL || s.verdicts == NULL ||
      !integers(ctx, argv, 1, 1, &s.length) || !integers(ctx, argv, 6, 1, &s.count))
    return JS_EXCEPTION;
  s.values = sizes[1] / 4;
  s.checks = (int64_t)(sizes[2] / 4) - s.values;
  int valid = sizes[0] == 8 * BPF_MAXINSNS && s.length >= 0 && s.length <= BPF_MAXINSNS && s.checks >= 0 && s.count >= 2 &&
              s.count <= (int64_t)(sizes[3] / 4) && s.count <= (int64_t)(sizes[4] / 2);
  /* What is decided by a check must have one. */
  for (int64_t i = 0; valid && i < s.count; i++) {
    int64_t verdict = s.verdicts[i];
    valid = verdict < s.values && verdict >= -s.checks && (verdict >= 0 || s.places[s.checks + verdict] >= 0);
  }
  if (!valid) return JS_ThrowRangeError(ctx, "addTree: outside of an array");
  tree(&s, 0, s.count - 1);
  return JS_NewInt32(ctx, s.length <= BPF_MAXINSNS ? s.length : -1);
}

/* close(fd) */
static JSValue host_close(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t fd;
  if (!integers(ctx, argv, 0, 1, &fd)) return JS_EXCEPTION;
  if (!alone) close(fd);
  return JS_UNDEFINED;
}

/* exit(status) */
static JSValue host_exit(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t status;
  if (!integers(ctx, argv, 0, 1, &status)) return JS_EXCEPTION;
  _exit(status);
}

/* prepare(bytes): gets memory for so much of new blocks, and for what is written of the image by who sets something up. */
static JSValue host_prepare(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  int64_t bytes;
  if (!integers(ctx, argv, 0, 1, &bytes)) return JS_EXCEPTION;
  if (image.next == NULL && (image.next = new_chunk(CHUNK)) != NULL) {
    image.end = image.next + CHUNK;
    image.next += 8;
  }
  uint8_t *page = (uint8_t *)(((uintptr_t)image.next + 4095) & ~(uintptr_t)4095);
  if (bytes > 0 && bytes <= image.end - page) madvise(page, bytes, MADV_POPULATE_WRITE);
  if (image.hot != NULL) madvise(image.hot, image.plan.setup, MADV_POPULATE_WRITE);
  return JS_UNDEFINED;
}

/* alone(): whether this is the host's process too; then answers are received at REPLY_AT */
static JSValue host_alone(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  return JS_NewBool(ctx, alone);
}

/* now(): milliseconds since 1970, with a fraction */
static JSValue host_now(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return JS_NewFloat64(ctx, now.tv_sec * 1e3 + now.tv_nsec / 1e6);
}

static JSValue strings(JSContext *ctx, char **list) {
  JSValue array = JS_NewArray(ctx);
  for (uint32_t i = 0; list[i] != NULL; i++) {
    JSValue text = decode(ctx, (uint8_t *)list[i], strlen(list[i]));
    if (JS_IsException(text) || JS_SetPropertyUint32(ctx, array, i, text) < 0) return JS_EXCEPTION;
  }
  return array;
}

static char **arguments;

/* args(): the arguments without the program's name */
static JSValue host_args(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  return strings(ctx, arguments[0] == NULL ? arguments : arguments + 1);
}

/* getenv(name): its value in the environment; undefined if it has none */
static JSValue host_getenv(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  const char *name = JS_ToCString(ctx, argv[0]);
  if (name == NULL) return JS_EXCEPTION;
  const char *value = getenv(name);
  JS_FreeCString(ctx, name);
  return value == NULL ? JS_UNDEFINED : decode(ctx, (const uint8_t *)value, strlen(value));
}

/* env(): values by name. The first of two equal names counts, as for getenv(3). */
static JSValue host_env(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  JSValue object = JS_NewObjectProto(ctx, JS_NULL);
  for (char **next = environ; *next != NULL; next++) {
    const char *entry = *next, *equals = entry[0] ? strchr(entry + 1, '=') : NULL;
    if (equals == NULL) continue;
    JSValue name = decode(ctx, (const uint8_t *)entry, equals - entry);
    JSAtom atom = JS_ValueToAtom(ctx, name);
    JS_FreeValue(ctx, name);
    int done = JS_HasProperty(ctx, object, atom);
    if (done == 0) {
      JSValue value = decode(ctx, (const uint8_t *)equals + 1, strlen(equals + 1));
      done = JS_DefinePropertyValue(ctx, object, atom, value, JS_PROP_C_W_E);
    }
    JS_FreeAtom(ctx, atom);
    if (done < 0) return JS_EXCEPTION;
  }
  return object;
}

static const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_DEF("send", 4, host_send),     JS_CFUNC_DEF("receive", 3, host_receive),
    JS_CFUNC_DEF("write", 2, host_write),   JS_CFUNC_DEF("encode", 1, host_encode),
    JS_CFUNC_DEF("encodeInto", 3, host_encode_into),
    JS_CFUNC_DEF("decode", 3, host_decode), JS_CFUNC_DEF("close", 1, host_close),
    JS_CFUNC_DEF("decide", 4, host_decide),
    JS_CFUNC_DEF("addCells", 8, host_add_cells), JS_CFUNC_DEF("addTree", 7, host_add_tree),
    JS_CFUNC_DEF("addOperation", 5, host_add_operation), JS_CFUNC_DEF("addToWords", 4, host_add_to_words),
    JS_CFUNC_DEF("placeJumps", 3, host_place_jumps), JS_CFUNC_DEF("putString", 2, host_put_string),
    JS_CFUNC_DEF("exit", 1, host_exit),     JS_CFUNC_DEF("now", 0, host_now), JS_CFUNC_DEF("prepare", 1, host_prepare),
    JS_CFUNC_DEF("args", 0, host_args),     JS_CFUNC_DEF("env", 0, host_env),
    JS_CFUNC_DEF("getenv", 1, host_getenv), JS_CFUNC_DEF("alone", 0, host_alone),
#if defined(__x86_64__)
    JS_PROP_STRING_DEF("machine", "x86_64", JS_PROP_ENUMERABLE),
#elif defined(__aarch64__)
    JS_PROP_STRING_DEF("machine", "aarch64", JS_PROP_ENUMERABLE),
#else
#error "runt runs on x86-64 and arm64"
#endif
};

/* ---- musl ----------------------------------------------------------------------------------------------------
 *
 * Debian's libquickjs is compiled against glibc's headers with _FORTIFY_SOURCE. The program is linked with musl, whose
 * start takes no time; glibc's asks the processor for its features some thirty times, which traps under a hypervisor.
 */
int __snprintf_chk(char *buffer, size_t size, int flag, size_t room, const char *format, ...) {
  va_list values;
  va_start(values, format);
  int n = vsnprintf(buffer, size < room ? size : room, format, values);
  va_end(values);
  return n;
}

int __vsnprintf_chk(char *buffer, size_t size, int flag, size_t room, const char *format, va_list values) {
  return vsnprintf(buffer, size < room ? size : room, format, values);
}

int __fprintf_chk(FILE *file, int flag, const char *format, ...) {
  va_list values;
  va_start(values, format);
  int n = vfprintf(file, format, values);
  va_end(values);
  return n;
}

/* ---- Start -------------------------------------------------------------------------------------------------- */

/* An exception that nobody caught is a bug of runt's. */
static void die(JSContext *ctx) {
  JSValue error = JS_GetException(ctx);
  const char *message = JS_ToCString(ctx, error);
  JSValue stack = JS_IsError(ctx, error) ? JS_GetPropertyStr(ctx, error, "stack") : JS_UNDEFINED;
  const char *lines = JS_IsUndefined(stack) ? NULL : JS_ToCString(ctx, stack);
  dprintf(2, "runt: internal error: %s\n%s", message ? message : "out of memory", lines ? lines : "");
  _exit(EXIT_BUG);
}

/*
 * QuickJS seeds Math.random() by it while the image is made; by the true time no two builds would have the same bytes.
 * Takes the place of the C library's.
 */
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now = {0};
  (void)zone;
  if (image.magic == MAGIC) clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

static void fail(const char *what) {
  dprintf(2, "runt-brain: %s: %s\n", what, strerror(errno));
  _exit(EXIT_BUG);
}

/* Evaluates the script at the path; leaves runtime, context and main function in `image`. */
static void evaluate(const char *script) {
  int fd = open(script, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  char *source = size < 0 ? NULL : calloc(1, size + 1);
  if (source == NULL || pread(fd, source, size, 0) != size) fail(script);

  /* Compiled in a runtime of its own, so that the image holds none of the compiler's leftovers. */
  size_t length;
  JSRuntime *compiler = JS_NewRuntime();
  JSContext *compile = JS_NewContext(compiler);
  JS_SetStripInfo(compiler, JS_STRIP_SOURCE);
  JSValue code = JS_Eval(compile, source, size, "runt.js", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(code)) die(compile);
  uint8_t *bytecode = JS_WriteObject(compile, &length, code, JS_WRITE_OBJ_BYTECODE);
  if (bytecode == NULL) die(compile);

  static const JSMallocFunctions heap = {heap_alloc, heap_free, heap_realloc, heap_usable_size};
  JSRuntime *rt = JS_NewRuntime2(&heap, NULL);
  JSContext *ctx = rt == NULL ? NULL : JS_NewContextRaw(rt);
  if (ctx == NULL) fail("JS_NewContextRaw");
  JS_SetGCThreshold(rt, GC_THRESHOLD);
  JS_AddIntrinsicBaseObjects(ctx);
  JS_AddIntrinsicDate(ctx);
  JS_AddIntrinsicEval(ctx);
  JS_AddIntrinsicRegExp(ctx);
  JS_AddIntrinsicJSON(ctx);
  JS_AddIntrinsicProxy(ctx);
  JS_AddIntrinsicMapSet(ctx);
  JS_AddIntrinsicTypedArrays(ctx);
  JS_AddIntrinsicPromise(ctx);

  JSValue global = JS_GetGlobalObject(ctx), host = JS_NewObject(ctx);
  JS_SetPropertyFunctionList(ctx, host, host_functions, sizeof host_functions / sizeof *host_functions);
  JS_SetPropertyStr(ctx, host, "message", JS_NewArrayBuffer(ctx, arena, 2 * MESSAGE_MAX, NULL, NULL, 0));
  JS_SetPropertyStr(ctx, global, "host", host);
  static const char prepare[] = "delete Math.random";
  JS_FreeValue(ctx, JS_Eval(ctx, prepare, sizeof prepare - 1, "host.c", 0));
  JS_FreeValue(ctx, global);

  JSValue main = JS_EvalFunction(ctx, JS_ReadObject(ctx, bytecode, length, JS_READ_OBJ_BYTECODE));
  if (JS_IsException(main)) die(ctx);
  if (!JS_IsFunction(ctx, main)) {
    errno = EINVAL;
    fail("the script's completion value");
  }
  JS_RunGC(rt);

  /* Where this process has its stack differs from build to build; perform() says where its own is. */
  uintptr_t here = (uintptr_t)__builtin_frame_address(0), *words = (uintptr_t *)rt;
  for (size_t i = 0; i < 64; i++)
    if (words[i] - (here - STACK_REACH) < 2 * STACK_REACH) words[i] = 0;

  image.runtime = rt;
  image.context = ctx;
  image.main = main;
  image.magic = MAGIC;
  /* Free blocks among the image's pages would cost a copied page each. New ones come from a fresh chunk. */
  memset(image.free, 0, sizeof image.free);
}

/* Calls the main function; gives its status. */
static int perform(char **argv) {
  arguments = argv;
  JSContext *ctx = image.context;
  JS_UpdateStackTop(image.runtime);
  JSValue status = JS_Call(ctx, image.main, JS_UNDEFINED, 0, NULL);
  int32_t code;
  if (JS_IsException(status) || JS_ToInt32(ctx, &code, status)) die(ctx);
  return code;
}

/* Makes the section .image a place for the heap. `heat`: file of what a rehearsal has found; NULL if there was none. */
static void open_image(const char *heat) {
  uint8_t *start = (uint8_t *)&image;
  image.next = start + ((sizeof image + 15) & ~(size_t)15) + 8;
  image.end = image_end;
  if (heat == NULL) return;
  int fd = open(heat, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  uint8_t *bytes = size < (off_t)sizeof image.plan ? NULL : malloc(size);
  if (bytes == NULL || pread(fd, bytes, size, 0) != size) fail(heat);
  memcpy(&image.plan, bytes, sizeof image.plan);
  places = (uint32_t *)(bytes + sizeof image.plan);
  place_count = (size - sizeof image.plan) / sizeof *places;
  image.hot = (uint8_t *)(((uintptr_t)image.next + 4095) & ~(uintptr_t)4095);
  image.next = (uint8_t *)(((uintptr_t)image.hot + 8 + image.plan.size + 4095) & ~(uintptr_t)4095) + 8;
}

#ifdef REHEARSAL

int main(int argc, char **argv) {
  if (access(argv[2], F_OK) == 0) open_image(argv[2]);
  evaluate(argv[1]);
  image.next = image.end = NULL;
  if (places == NULL) watch("the meeting with strangers", meet_strangers, NULL);
  for (int i = 3; i < argc; i++) play(argv[i]);
  report(argv[2], argc - 3);
  return 0;
}

#else

/* First link: builds the heap and writes it to a file. */
static int build(const char *script, const char *output, const char *heat) {
  open_image(heat);
  evaluate(script);

  uint8_t *start = (uint8_t *)&image;
  size_t used = (image.next - start + 4095) & ~(size_t)4095;
  image.next = image.end = NULL;
  int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || (errno = -write_all(fd, start, used)) != 0 || close(fd) != 0) fail(output);
  return 0;
}

int main(int argc, char **argv) {
  if (image.magic == MAGIC) {
    /* One call costs less than as many page faults. Before Linux 5.14 it does nothing. */
    if (image.hot != NULL) madvise(image.hot, image.plan.usual, MADV_POPULATE_WRITE);
    if (argc > 0 && strcmp(argv[0], ALONE) == 0) begin_alone(argv);
    _exit(perform(argv));
  }
  if (argc == 3 || argc == 4) return build(argv[1], argv[2], argv[3]);
  dprintf(2, "usage: runt-brain SCRIPT OUTPUT [HEAT]\n");
  return EXIT_BUG;
}

#endif
