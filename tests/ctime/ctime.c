/* The cases under valgrind's memcheck, in the way of libsecp256k1's ctime
 * tests: see ctime.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <valgrind/memcheck.h>

#include "common/base/json.h"
#include "common/base/secret.h"
#include "tests/ctime/ctime.h"

int ct_traps; /* not here */
static int taint_random;
static int failed; /* in this case */

void __real_secret_random(void *out, size_t len);
void __wrap_secret_random(void *out, size_t len);

void
__wrap_secret_random(void *out, size_t len)
{
	__real_secret_random(out, len);
	if (taint_random)
		VALGRIND_MAKE_MEM_UNDEFINED(out, len);
}

void
ct_random(int on)
{
	taint_random = on;
}

void
ct_secret(void *p, size_t len)
{
	VALGRIND_MAKE_MEM_UNDEFINED(p, len);
}

void
ct_draw(void *p, size_t len)
{
	__real_secret_random(p, len);
	VALGRIND_MAKE_MEM_UNDEFINED(p, len);
}

void(ct_result)(void *p, size_t len)
{
	uint8_t bits[512];

	if (len > sizeof bits)
		len = sizeof bits;
	(void)VALGRIND_GET_VBITS(p, bits, len);
	for (size_t i = 0; i < len; i++)
		if (bits[i] != 0)
			return;
	printf("# a result that no secret has gone into: "
	       "the case proves nothing\n");
	failed = 1;
}

void(ct_public)(const void *p, size_t len)
{
	VALGRIND_MAKE_MEM_DEFINED(p, len);
}

void(ct_gone)(void *p, size_t len)
{
	secret_wipe(p, len);
}

void
ct_need(int truth, const char *what, int line)
{
	VALGRIND_MAKE_MEM_DEFINED(&truth, sizeof truth);
	if (truth)
		return;
	printf("# line %d: not %s\n", line, what);
	failed = 1;
}

static int
run(const struct ct_case *c)
{
	unsigned long before = VALGRIND_COUNT_ERRORS, n;
	int planted = (c->planted & CT_PLANTED_TIME) != 0, ok;

	failed = taint_random = 0;
	VALGRIND_PRINTF("-- %s\n", c->name);
	c->run();
	n = VALGRIND_COUNT_ERRORS - before;
	ok = !failed && (planted ? n > 0 : n == 0);
	printf("%sok - %s%s\n", ok ? "" : "not ", c->name,
	    planted     ? ": planted, and found"
		: n > 0 ? ": a branch or an address depends on a secret"
			: "");
	(void)fflush(stdout);
	return ok;
}

/* usage: ctime [WORD]: the cases whose names have it. */
int
main(int argc, char **argv)
{
	const struct ct_cases *all[] = { &ct_planted, &ct_base, &ct_crypto,
		&ct_kms, &ct_node, &ct_agent };
	int ok = 1;

	if (!RUNNING_ON_VALGRIND) {
		(void)fprintf(
		    stderr, "run it with valgrind: make check-ctime\n");
		return 2;
	}
	json_wiping();
	if (secret_process_init() != ERR_OK)
		return 2;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		for (size_t k = 0; k < all[i]->n; k++)
			if (argc < 2 ||
			    strstr(all[i]->item[k].name, argv[1]) != NULL)
				ok &= run(&all[i]->item[k]);
	return ok ? 0 : 1;
}
