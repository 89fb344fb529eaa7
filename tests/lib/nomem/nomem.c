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

struct turn {
	enum failmalloc_mode mode;
	unsigned n;
	bool hit; /* one was made to fail */
	unsigned held;
};

static void
turn(const struct nomem_op *op, void *arg, struct turn *t, bool trace)
{
	enum err e;

	tidy();
	failmalloc_mark(op->scope, trace);
	if (op->setup != NULL)
		op->setup(arg);
	failmalloc_arm(op->scope, t->mode, t->n);
	e = op->run(arg);
	(void)failmalloc_disarm();
	t->hit = failmalloc_hit();
	if (e != ERR_OK &&
	    (!t->hit || (e != ERR_NOMEM && (op->also & 1u << e) == 0))) {
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
	t->held = failmalloc_held();
}

/* Whether an allocation was made to fail. */
static bool
once(
    const struct nomem_op *op, void *arg, enum failmalloc_mode mode, unsigned n)
{
	struct turn t = { .mode = mode, .n = n };

	turn(op, arg, &t, false);
	if (t.held > 0)
		/* Once more: what is it? */
		turn(op, arg, &t, true);
	if (t.held > 0) {
		failmalloc_say(op->name, 3);
		cr_assert_fail("%s: %u blocks are held", op->name, t.held);
	}
	return t.hit;
}

unsigned
nomem_each(const struct nomem_op *op, void *arg)
{
	unsigned n = 1, hits = 0;

	/* Libraries keep what they made the first time. */
	if (op->setup != NULL)
		op->setup(arg);
	right(op, arg);
	if (op->fini != NULL)
		op->fini(arg);
	failmalloc_learn(op->sparse ? FAILMALLOC_OURS : FAILMALLOC_EVERY);
	cr_assert_not(once(op, arg, FAILMALLOC_ONE, 0));
	failmalloc_learn(FAILMALLOC_NONE);
	while (n = failmalloc_next(n), once(op, arg, FAILMALLOC_ONE, n)) {
		(void)once(op, arg, FAILMALLOC_ALL, n);
		n++;
		hits++;
	}
	if (getenv("NOMEM_SAY") != NULL)
		fprintf(stderr, "%s: %u of %u allocations\n", op->name, hits,
		    n - 1);
	return hits;
}
