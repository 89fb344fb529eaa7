/* secret: memory for keys, and a process that does not leak it.
 *
 * Long-lived keys live in guarded, locked pages (sodium_malloc) that are
 * excluded from core dumps.  Short-lived copies live on the stack and are
 * wiped by their user with secret_wipe on every path. */
#ifndef COMMON_BASE_SECRET_H
#define COMMON_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"

/* secret_new returns `len` zeroed bytes, readable and writable, or NULL.
 * The caller owns them; secret_free wipes and frees (NULL is fine). */
void *secret_new(size_t len);
void secret_free(void *p);

/* Access to the whole allocation: none while idle, opened for one use. */
void secret_lock(void *p);
void secret_open_ro(void *p);
void secret_open_rw(void *p);

void secret_wipe(void *p, size_t len);

/* secret_wipe_stack zeroes the stack below its caller, and the vector
 * registers: what functions that have returned, a library's above all, left
 * there.  For who has called one with a secret; what the caller itself has it
 * wipes by name, before. */
void secret_wipe_stack(void);

/* secret_equal compares in constant time. */
bool secret_equal(const void *a, const void *b, size_t len);

/* secret_random fills `out` from the kernel's generator. */
void secret_random(void *out, size_t len);

/* secret_process_init starts libsodium and hardens the process: no core
 * dumps, not dumpable, umask 077.  Call it first in every main(). */
enum err secret_process_init(void);

#endif
