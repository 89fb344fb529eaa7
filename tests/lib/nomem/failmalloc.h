/* failmalloc: makes the n-th allocation fail, and knows what is still held.
 *
 * It stands behind every allocation of our own code (the Makefile links
 * test_nomem_* with --wrap, which works under a sanitizer, too), and of
 * OpenSSL, jansson, libcurl, libraft and libuv, by the hooks that they have.
 * A program that links it has it on; nothing fails before failmalloc_arm.
 *
 * What it cannot reach is named in tests/lib/nomem/README.md. */
#ifndef TESTS_LIB_NOMEM_FAILMALLOC_H
#define TESTS_LIB_NOMEM_FAILMALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Which allocations count. */
enum failmalloc_scope {
	FAILMALLOC_THREAD, /* those of the thread that arms */
	FAILMALLOC_PROCESS, /* all, but for threads that are exempt */
};
enum failmalloc_mode {
	FAILMALLOC_ONE, /* the n-th, and no other */
	FAILMALLOC_ALL, /* the n-th, and all after it */
};

/* failmalloc_arm: the n-th allocation from now on fails; 0: none, they are
 * only counted. */
void failmalloc_arm(
    enum failmalloc_scope scope, enum failmalloc_mode mode, unsigned n);
/* failmalloc_disarm: how many were asked for since. */
unsigned failmalloc_disarm(void);
/* Whether one has failed since it was armed. */
bool failmalloc_hit(void);

/* The same stack asks many times in a loop; once is enough.  While it learns,
 * an operation that is armed with n = 0 tells failmalloc_next where to go on:
 * the first of n, n + 1, ... that comes from a stack which none before it had,
 * or one more than there were. */
enum failmalloc_places {
	FAILMALLOC_NONE, /* it does not learn */
	FAILMALLOC_EVERY, /* stack */
	FAILMALLOC_OURS, /* of our own code, and the call into a library */
};
void failmalloc_learn(enum failmalloc_places places);
unsigned failmalloc_next(unsigned n);

/* A fixture that runs inside the operation is not to fail: the calling
 * thread's allocations do not count while it is exempt.  It nests. */
void failmalloc_exempt(bool on);

/* ---- leaks ---- */

/* failmalloc_mark begins a count of blocks; failmalloc_held is how many that
 * were allocated since then, by this thread or by any, and have not been freed
 * by any.  `trace`:
 * where they come from is noted, which is slow; then what OpenSSL fetches from
 * its providers, and keeps or loses, does not count. */
void failmalloc_mark(enum failmalloc_scope whose, bool trace);
unsigned failmalloc_held(void);

/* Where the failed allocation was asked for, and up to `max` of the blocks
 * that are held, to standard error, as addresses for addr2line. */
void failmalloc_say(const char *what, unsigned max);

#endif
