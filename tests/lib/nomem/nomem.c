#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "tests/lib/nomem/nomem.h"

/* OpenSSL keeps the text of the last errors of a thread. */
static void
tidy(void)
{
	ERR_clear_error();
	OPENSSL_thread_stop();
}

static void
right(const struct nomem_op *op, void *arg)
{
	enum err e = op->run(arg);

	if (e != ERR_OK)
		failmalloc_say(op->name, 0);
	cr_assert_eq(e, ERR_OK, "%s, with memory: %s", op->name, err_text(e));
	if (op->check != NULL)
		op->check(arg, ERR_OK);
}

/* Whether an allocation was made to fail. */
static bool
once(
    const struct nomem_op *op, void *arg, enum failmalloc_mode mode, unsigned n)
{
	enum err e;
	bool hit;

	tidy();
	failmalloc_mark();
	if (op->setup != NULL)
		op->setup(arg);
	failmalloc_arm(op->scope, mode, n);
	e = op->run(arg);
	(void)failmalloc_disarm();
	hit = failmalloc_hit();
	if (e != ERR_OK &&
	    (!hit || (e != ERR_NOMEM && (op->also & 1u << e) == 0))) {
		failmalloc_say(op->name, 0);
		cr_assert_fail("%s: %s", op->name, err_text(e));
	}
	if (op->check != NULL)
		op->check(arg, e);
	if (!op->once)
		right(op, arg);
	if (op->fini != NULL)
		op->fini(arg);
	tidy();
	if (failmalloc_held() > 0) {
		failmalloc_say(op->name, 3);
		cr_assert_fail(
		    "%s: %u blocks are held", op->name, failmalloc_held());
	}
	return hit;
}

unsigned
nomem_each(const struct nomem_op *op, void *arg)
{
	unsigned step = op->stride == 0 ? 1 : op->stride, n = 1, hits = 0;

	/* Libraries keep what they made the first time. */
	if (op->setup != NULL)
		op->setup(arg);
	right(op, arg);
	if (op->fini != NULL)
		op->fini(arg);
	while (once(op, arg, FAILMALLOC_ONE, n)) {
		cr_assert(once(op, arg, FAILMALLOC_ALL, n));
		n += step;
		hits++;
	}
	if (getenv("NOMEM_SAY") != NULL)
		fprintf(stderr, "%s: %u allocations\n", op->name, n - 1);
	return hits;
}
