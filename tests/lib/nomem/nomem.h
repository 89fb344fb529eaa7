/* nomem: one operation, again and again, with each of its allocations failing
 * once, and once with all from there on.
 *
 *	setup    makes what the operation works on
 *	run      the operation; its n-th allocation fails
 *	check    what must hold now, if it failed (`e` is not ERR_OK): outputs
 *	         untouched, state as before, nothing released; or if it went
 *	         well: the right result
 *	run      again, and nothing fails: ERR_OK
 *	check    the right result
 *	fini     frees everything
 *
 * Then nothing that was allocated since setup is held.  That goes on with
 * n = 1, 2, ... until the operation asks for fewer than n, but for those that
 * come from the very stack of one before.  An error that is
 * not ERR_NOMEM must be in `also`, and the test says why. */
#ifndef TESTS_LIB_NOMEM_NOMEM_H
#define TESTS_LIB_NOMEM_NOMEM_H

#include "common/base/err.h"
#include "tests/lib/nomem/failmalloc.h"

struct nomem_op {
	const char *name;
	void (*setup)(void *arg);
	enum err (*run)(void *arg);
	void (*check)(void *arg, enum err e);
	void (*fini)(void *arg);
	unsigned also; /* bits 1 << ERR_... */
	bool once; /* no second run: the operation ends its object */
	bool sparse; /* one for each call into a library: what is slow */
	enum failmalloc_scope scope;
};

/* How many allocations were made to fail; a test that expects some says so. */
unsigned nomem_each(const struct nomem_op *op, void *arg);

#endif
