/* ctime: every function that touches a secret, as one case each, which two
 * programs run:
 *
 *   ctime   under valgrind: a secret's bytes are undefined, so that a branch or
 *           an address that depends on one is an error
 *   wiped   by itself: afterwards no readable memory has a copy of a secret,
 *           nor had a heap block when it was freed
 *
 * A case says what is secret and what is not; the programs say what that means
 * for them.  README.md has the method and its limits. */
#ifndef TESTS_CTIME_CTIME_H
#define TESTS_CTIME_CTIME_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct ct_case {
	/* The functions that it covers, with a blank between: list.sh. */
	const char *name;
	void (*run)(void);
	/* A planted leak: the program that has this bit must report it. */
	unsigned planted;
};
#define CT_PLANTED_TIME 1u
#define CT_PLANTED_STACK 2u
#define CT_PLANTED_HEAP 4u

struct ct_cases {
	const struct ct_case *item;
	size_t n;
};
extern const struct ct_cases ct_base, ct_crypto, ct_kms, ct_node, ct_agent,
    ct_planted;

/* From now on these bytes are a secret. */
void ct_secret(void *p, size_t len);
/* Fills them with random bytes first. */
void ct_draw(void *p, size_t len);
/* A result that is a secret, too: it must have come from one. */
void ct_result(void *p, size_t len);
/* A result that everybody may know. */
void ct_public(const void *p, size_t len);
/* The case itself has no more use for a copy. */
void ct_gone(void *p, size_t len);
/* Whether what secret_random (common/base/secret.h) gives is a secret. */
void ct_random(int on);

/* What a case needs to hold; a public value. */
void ct_need(int truth, const char *what, int line);

/* Before anything else is called that would hide it, `wiped` looks at what the
 * call before has left below the stack pointer: by a trap, whose handler has a
 * stack of its own, and which does what ct_result or ct_public would do first.
 * `ct_traps` says whether there is a handler. */
enum ct_then { CT_LOOK, CT_RESULT, CT_PUBLIC_NOW };
extern int ct_traps;
static inline int
ct_trap(enum ct_then what, const void *p, size_t len)
{
#ifdef __x86_64__
	if (ct_traps)
		__asm__ volatile("int3" ::"a"(what), "D"(p), "S"(len)
				 : "memory");
#else
	(void)what;
	(void)p;
	(void)len;
#endif
	return ct_traps;
}

#define NEED(x) \
	do { \
		int need_ = (x); \
\
		(void)ct_trap(CT_LOOK, NULL, 0); \
		ct_need(need_, #x, __LINE__); \
	} while (0)
#define ct_result(p, len) \
	do { \
		if (!ct_trap(CT_RESULT, (p), (len))) \
			(ct_result)((p), (len)); \
	} while (0)
#define ct_public(p, len) \
	do { \
		if (!ct_trap(CT_PUBLIC_NOW, (p), (len))) \
			(ct_public)((p), (len)); \
	} while (0)
#define ct_gone(p, len) \
	do { \
		(void)ct_trap(CT_LOOK, NULL, 0); \
		(ct_gone)((p), (len)); \
	} while (0)

#endif
