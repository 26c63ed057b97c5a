/*
 * base: what every other layer stands on.
 *
 * Does: status and messages, overflow-checked sizes, page-aligned memory, the Philox random
 * generator and its normals, the thread pool, whole-file reads, atomic file writes, SHA-256, time.
 * Does not: know about images, tensors, networks or any file format; print; exit; hold globals.
 */
#ifndef SUMI_BASE_H
#define SUMI_BASE_H

#include <locale.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sumi.h"

/* ---- Status and messages (status.c) ---------------------------------------------------------- */

/* One line of text beside a status. The owner of the call passes it down; NULL is allowed and
 * drops the text. */
typedef struct {
    char text[512];
} sumi_error;

/* Formats the message, cleaned as sumi_clean_text does, and returns status, so that a function can
 * say `return sumi_fail(err, SUMI_EIO, "%s: %s", path, strerror(errno));`. Where it is too long,
 * the longest of the texts that it quotes by %s lose their middles ("..."), so that what stands
 * between and after them stays. */
sumi_status sumi_fail(sumi_error *err, sumi_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
sumi_status sumi_vfail(sumi_error *err, sumi_status status, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
/* Puts "prefix: " in front of a message that a lower layer left, and returns status. */
sumi_status sumi_fail_prefix(sumi_error *err, sumi_status status, const char *prefix);
/* "path: No such file or directory" for an errno, with SUMI_EIO. */
sumi_status sumi_fail_errno(sumi_error *err, const char *path, int error);
sumi_status sumi_fail_memory(sumi_error *err, const char *what, size_t bytes);

/* ---- Text (text.c) --------------------------------------------------------------------------- */

/* printf and strtod as they are in the C locale, whatever the program's: 0.5, never 0,5. Every
 * number of a file, a message or a page goes through these. */
int sumi_format(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int sumi_vformat(char *out, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
double sumi_parse_real(const char *text, char **end);
/* The shortest decimal that reads back as the same float: 0.001, not 0.00100000005. */
double sumi_shortest(float value);
/* The calling thread in the C locale, for libraries that format and parse themselves; end takes
 * what begin returned. */
typedef struct {
    locale_t plain, outer;
} sumi_plain_locale;
sumi_plain_locale sumi_plain_begin(void);
void sumi_plain_end(sumi_plain_locale before);

/* strncasecmp with the letters of ASCII alone: in a Turkish locale, I is the capital of another
 * letter than i. */
bool sumi_same_letters(const char *a, const char *b, size_t length);
/* Whether it is a letter or digit of ASCII. */
bool sumi_is_alnum(char c);
bool sumi_ends_with(const char *text, const char *ending);
/* "[2][3]", cut where there is no room for more; rank 0: "a single number". */
void sumi_shape_text(const int64_t *shape, int rank, char *out, size_t size);

/* Bytes of the UTF-8 sequence that begins here (RFC 3629: no overlong forms, no surrogates, at most
 * U+10FFFF); 0 where none does. */
size_t sumi_utf8_sequence(const char *text, size_t size);
bool sumi_utf8_valid(const char *text, size_t size);
/* Of a text that was cut after length bytes: how many of them are whole characters. */
size_t sumi_utf8_whole(const char *text, size_t length);
/* As much of text as fits, cut between two characters; returns the length. size is at least 1. */
size_t sumi_copy_text(char *out, size_t size, const char *text);
/* Names of files are any bytes; JSON, metadata, comments and messages are UTF-8. There, a byte that
 * is no part of a UTF-8 sequence is written \xNN with two upper-case digits; and where a text has
 * such an escape itself, its backslash is \x5C, so that unescape gives every name back. escape
 * returns a malloc'ed copy, NULL where memory is out; unescape works in place. */
char *sumi_escape_text(const char *text);
void sumi_unescape_text(char *text);
/* Text for a terminal or a message: one line of UTF-8. Control characters and line breaks become
 * '?', other bytes \xNN as above; backslashes stay, so that cleaning twice changes nothing. Cut
 * between two characters; returns the length. _copy is malloc'ed, NULL where memory is out. */
size_t sumi_clean_text(char *out, size_t size, const char *text);
char *sumi_clean_copy(const char *text);

/* ---- Growing bytes (growing.c) --------------------------------------------------------------- */

/* Bytes that grow as they are added to; always followed by a zero. Start from {0}. After a failed
 * allocation `failed` stays set and further additions do nothing, so that a writer checks once. */
typedef struct {
    char *data;
    size_t size, capacity;
    bool failed;
} sumi_text;

void sumi_text_add(sumi_text *text, const void *data, size_t size);
void sumi_text_puts(sumi_text *text, const char *string);
void sumi_text_printf(sumi_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sumi_text_free(sumi_text *text);

/* ---- Sizes and memory (memory.c) ------------------------------------------------------------- */

/* *out = a * b or a + b; false, with *out untouched, on overflow. */
bool sumi_size_mul(size_t a, size_t b, size_t *out);
bool sumi_size_add(size_t a, size_t b, size_t *out);
/* The product of count factors; false on overflow or where one is negative. */
bool sumi_size_product(const int64_t *factors, int count, size_t *out);
/* The middle of count numbers, 1 or more, or the mean of the two in the middle; sorts them. */
double sumi_median(double *values, size_t count);

/* count * size bytes, zeroed; NULL on overflow or where memory is out. Released by free(). */
void *sumi_calloc(size_t count, size_t size);
char *sumi_strdup(const char *text);

/* A large block for tensors: zeroed, 2 MiB-aligned, huge pages advised. NULL where memory is out.
 * bytes must be given back to release it. */
void *sumi_pages_alloc(size_t bytes);
void sumi_pages_free(void *block, size_t bytes);

/* ---- Random numbers (random.c) --------------------------------------------------------------- */

/* Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a pure
 * function of key and counter, so there is no state to save. */
void sumi_philox(uint64_t key, const uint32_t counter[4], uint32_t out[4]);

/* What a draw is for; a stream's numbers never meet another's. */
typedef enum {
    SUMI_STREAM_INIT,     /* initial weights: image = tensor index */
    SUMI_STREAM_SHUFFLE,  /* order of an epoch: step = epoch */
    SUMI_STREAM_TIMESTEP, /* t of an image in a training step */
    SUMI_STREAM_NOISE,    /* eps of an image in a training step */
    SUMI_STREAM_SAMPLE_X, /* x_T of a sampled image */
    SUMI_STREAM_SAMPLE_Z, /* z of a sampled image at step t */
    SUMI_STREAM_SHAPES,   /* the built-in data set */
    SUMI_STREAM_USER,     /* tests and examples */
    SUMI_STREAM_AUGMENT,  /* what is made of an image in a training step */
} sumi_stream;

/* The address of a sequence of numbers: counter = (block, image, step, stream). */
typedef struct {
    uint64_t seed;
    sumi_stream stream;
    uint32_t step;
    uint64_t image; /* below 2^56 */
} sumi_random;

/* out[0..count) standard normals: Box-Muller on sumi's own log and sincos (no libm), four a block,
 * number i always the same wherever the sequence is cut: begins at number `first`. A sequence has
 * 2^34 numbers; |z| stays below 6.67. The normals, uniforms and integers of one address are made
 * from the same words: use one kind at an address. */
void sumi_random_normals(const sumi_random *at, uint64_t first, float *out, size_t count);
/* The i-th uniform float in [0, 1) with 24 bits. */
float sumi_random_uniform(const sumi_random *at, uint64_t i);
/* The i-th integer in [0, bound), bound >= 1 (a 64-bit draw scaled: bias below 2^-32). */
uint32_t sumi_random_below(const sumi_random *at, uint64_t i, uint32_t bound);

/* ---- Threads (pool.c) ------------------------------------------------------------------------ */

typedef struct sumi_pool sumi_pool;

enum { SUMI_THREADS_MAX = 1024 };

/* Work on one chunk: chunk in [0, count), thread in [0, threads). */
typedef void (*sumi_task_fn)(void *arg, int64_t chunk, int thread);

/* Cores that this process may run on (affinity, CPU quotas): 1..1024. */
int sumi_cpu_count(void);
/* The least CPU quota among this process's control group and those above it (a container's, or
 * systemd's CPUQuota=), as whole cores, rounded up; 0 where there is none. Files are looked for
 * below root, "" but in tests. */
long sumi_quota_cores(const char *root);
/* What /proc/cpuinfo calls the CPU; false where it does not say. */
bool sumi_cpu_name(char *out, size_t size);
/* Starts threads - 1 threads (the caller is number 0), which block all signals; threads is 1..1024,
 * or 0 for every core. */
sumi_status sumi_pool_create(int threads, sumi_pool **out, sumi_error *err);
void sumi_pool_free(sumi_pool *pool);
int sumi_pool_threads(const sumi_pool *pool);
/* Runs fn on every chunk and returns when all are done. Thread t begins with the t-th share of the
 * chunks, in order; idle threads help with the others' shares, so that results must depend on the
 * chunk alone. Never allocates. Not re-entrant: fn must not call it on the same pool. */
void sumi_parallel_for(sumi_pool *pool, int64_t count, sumi_task_fn fn, void *arg);
/* Several loops as one, so that threads that find no chunk left in one go on with the next. A loop
 * whose chunks need what the first `after` of the loops do waits for those alone. The list has at
 * most SUMI_LOOPS_MAX loops. */
typedef struct {
    int64_t count;
    sumi_task_fn fn;
    void *arg;
    int after;
    bool sweep; /* Its chunks are images, in order. Every other sweep of a pool goes through the
                 * shares from their ends, where the caches still hold what the last one left. */
} sumi_loop;
enum { SUMI_LOOPS_MAX = 16 };
void sumi_parallel_loops(sumi_pool *pool, const sumi_loop *loops, int loop_count);
/* Runs fn once on every thread (chunk = thread). Not to be called by a task either. */
void sumi_parallel_all(sumi_pool *pool, sumi_task_fn fn, void *arg);

/* ---- Files (file.c, tree.c) ----------------------------------------------------------------- */

/* Reads a whole file that has at most max_bytes; *data is malloc'ed (one extra zero byte follows)
 * and the caller's. Directories and FIFOs are refused. SUMI_EIO names path and reason;
 * SUMI_EUNSUPPORTED has both sizes where it is larger than max_bytes. */
sumi_status sumi_file_read(const char *path, size_t max_bytes, uint8_t **data, size_t *size,
                           sumi_error *err);

/* An atomic write: bytes go to a temporary file (".sumi-PID-N.tmp") beside path; commit flushes it
 * to disk (fsync), renames it over path and syncs the folder. Until then, and on any error, path is
 * untouched and the temporary file is removed; but where only the last step fails, path is already
 * the new file, which a power failure may still undo. A symbolic link stays and its target is
 * replaced; an existing file keeps its permissions, and a write-protected one is refused, as are
 * folders and devices. Writes are buffered: small ones are cheap, and an error may show at commit.
 */
typedef struct sumi_file sumi_file;
sumi_status sumi_file_begin(const char *path, sumi_file **out, sumi_error *err);
sumi_status sumi_file_write(sumi_file *file, const void *data, size_t size, sumi_error *err);
sumi_status sumi_file_commit(sumi_file *file, sumi_error *err); /* frees file in every case */
void sumi_file_abort(sumi_file *file);                          /* NULL is fine */
/* A write that is of use before it is whole goes to PATH.part, which stays where the process ends
 * before the commit; abort leaves it, too. A PATH.part that is there already is replaced where it
 * begins with magic (something of the same kind, left behind) or is empty; any other, and one that
 * a process is writing, is refused. */
sumi_status sumi_file_begin_part(const char *path, const void *magic, size_t magic_size,
                                 sumi_file **out, sumi_error *err);
/* For these: brings to disk what was written, then overwrites bytes of it. */
sumi_status sumi_file_patch(sumi_file *file, size_t offset, const void *data, size_t size,
                            sumi_error *err);
/* Ends without a commit: PATH.part stays with its first `size` bytes; with 0 it is removed. */
void sumi_file_keep_part(sumi_file *file, size_t size);
/* begin, write, commit in one. */
sumi_status sumi_file_save(const char *path, const void *data, size_t size, sumi_error *err);

/* Appends whole lines to a log: one write(2) a call, unless the system takes only a part of it.
 * Where it fails, the file is what it was. */
sumi_status sumi_file_append(const char *path, const void *data, size_t size, sumi_error *err);
/* Brings a file that was appended to on disk (fsync); one that is not there is fine. */
sumi_status sumi_file_sync(const char *path, sumi_error *err);
sumi_status sumi_make_dirs(const char *path, sumi_error *err); /* like mkdir -p */
/* Like rm -rf: a path that is not there is fine, links are removed and never followed. */
sumi_status sumi_remove_tree(const char *path, sumi_error *err);
bool sumi_is_dir(const char *path);
bool sumi_is_file(const char *path);
/* How many bytes may be written where the folder is; false where the system does not say. */
bool sumi_disk_free(const char *folder, uint64_t *bytes);
/* True for a folder that holds nothing but, perhaps, an entry of that name. */
bool sumi_dir_has_only(const char *path, const char *name);
/* The folder in the user's cache where sumi keeps what it can make again, or the one in it of that
 * name; false where the user has none. It need not be there. */
bool sumi_cache_folder(const char *name, char *out, size_t size);
/* dir + "/" + name into out; SUMI_EINVAL where it does not fit. */
sumi_status sumi_path_join(char *out, size_t size, const char *dir, const char *name,
                           sumi_error *err);

/* ---- Larger than memory (map.c) -------------------------------------------------------------- */

/* A whole file as it lies on disk, which is read when it is looked at; released by sumi_unmap. */
sumi_status sumi_file_map(const char *path, const uint8_t **data, size_t *size, sumi_error *err);
/* Zeros in a file without a name, in $TMPDIR or /var/tmp, which the system may write out; NULL
 * where there is no room for them. Released by sumi_unmap. */
void *sumi_spool_alloc(size_t bytes);
void sumi_unmap(const void *data, size_t size);

/* ---- SHA-256 (sha256.c), FIPS 180-4 ---------------------------------------------------------- */

typedef struct {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
    bool fast; /* with the CPU's own instructions */
} sumi_sha256;

void sumi_sha256_init(sumi_sha256 *sha);
void sumi_sha256_update(sumi_sha256 *sha, const void *data, size_t size);
void sumi_sha256_final(sumi_sha256 *sha, char hex[65]);

/* ---- Time (time.c) --------------------------------------------------------------------------- */

double sumi_time_now(void); /* monotonic, in seconds */
/* "2026-11-24T12:34:56Z" */
void sumi_time_stamp(char out[32]);

#endif
