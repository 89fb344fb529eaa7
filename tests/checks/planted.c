/* planted: faults made on purpose, one a run, for a checker that must find
 * each (planted.sh).  What it must not find is `nothing`, which does the same
 * without the fault.
 *
 *   planted NAME    exit status 0: nobody noticed */
#include <err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/crypto/k256.h"

static volatile bool fault; /* else the same, as it should be */
static volatile int sink;

/* Whatever the compiler could know of it, it does not know here. */
static void *
opaque(void *p)
{
	void *volatile hidden = p;

	return hidden;
}

/* A branch that stays one: the compiler cannot turn it into arithmetic. */
[[gnu::noinline]] static void
branch_on(const uint8_t *p)
{
	if (*p > 7)
		__asm__ volatile("nop");
	else
		__asm__ volatile("");
}

/* ---- bytes that nobody wrote ---- */

[[gnu::noinline]] static void
unwritten_stack(void)
{
	uint8_t b[64];
	uint8_t *p = opaque(b);

	memset(p, 1, fault ? 40 : 64);
	branch_on(p + 50);
}

static void
unwritten_heap(void)
{
	uint8_t *p = opaque(malloc(64));

	memset(p, 1, fault ? 40 : 64);
	branch_on(p + 50);
	free(p);
}

static void
unwritten_tail(void)
{
	uint8_t *p = opaque(malloc(16));

	memset(p, 1, 16);
	p = opaque(realloc(p, 4096));
	if (!fault)
		memset(p, 1, 4096);
	branch_on(p + 4000);
	free(p);
}

/* Libraries work on both sides of it, and hide nothing. */
[[gnu::noinline]] static void
unwritten_beside_libraries(void)
{
	static const char text[] = "{\"a\":[1,2,\"x\"],\"b\":{\"c\":\"00ff\"}}";
	struct k256_secret key;
	struct k256_pub pub;
	uint8_t b[64];
	uint8_t *p = opaque(b);
	char why[100];
	json_t *v = NULL;

	if (json_parse(&v, text, strlen(text), 1000, why, sizeof why) != ERR_OK)
		errx(2, "%s", why);
	k256_generate(&key);
	if (k256_pubkey(&pub, &key) != ERR_OK)
		errx(2, "no key");
	branch_on(pub.b);
	memset(p, 1, fault ? 40 : 64);
	json_decref(v);
	k256_secret_wipe(&key);
	branch_on(p + 50);
}

/* ---- memory that is not ours ---- */

static void
beyond_the_end(void)
{
	uint8_t *p = opaque(calloc(1, 32));

	branch_on(p + (fault ? 32 : 31));
	free(p);
}

static void
after_free(void)
{
	uint8_t *p = opaque(calloc(1, 32)), *q = opaque(p);

	if (fault)
		free(p);
	branch_on(q);
	if (!fault)
		free(p);
}

static void
never_freed(void)
{
	void *p = opaque(calloc(1, 1000));

	if (!fault)
		free(p);
	p = NULL;
	(void)opaque(p);
}

/* ---- what C does not define ---- */

static void
overflow(void)
{
	volatile int n = fault ? 0x7fffffff : 7;

	n = n + 1;
	sink = n;
}

static void *
count(void *cookie)
{
	int *n = cookie;

	(*n)++;
	return NULL;
}

static void
race(void)
{
	int *n = opaque(calloc(2, sizeof *n));
	pthread_t a, b;

	if (pthread_create(&a, NULL, count, n) != 0 ||
	    pthread_create(&b, NULL, count, fault ? n : n + 1) != 0)
		errx(2, "no threads");
	(void)pthread_join(a, NULL);
	(void)pthread_join(b, NULL);
	free(n);
}

static const struct {
	const char *name;
	void (*run)(void);
} plants[] = {
	{ "unwritten-stack", unwritten_stack },
	{ "unwritten-heap", unwritten_heap },
	{ "unwritten-tail", unwritten_tail },
	{ "unwritten-beside-libraries", unwritten_beside_libraries },
	{ "beyond-the-end", beyond_the_end },
	{ "after-free", after_free },
	{ "never-freed", never_freed },
	{ "overflow", overflow },
	{ "race", race },
};

int
main(int argc, char **argv)
{
	const bool all = argc == 2 && strcmp(argv[1], "nothing") == 0;
	unsigned ran = 0;

	if (secret_process_init() != ERR_OK)
		errx(2, "no locked memory");
	fault = !all;
	for (size_t i = 0; argc == 2 && i < sizeof plants / sizeof *plants; i++)
		if (all || strcmp(argv[1], plants[i].name) == 0) {
			plants[i].run();
			ran++;
		}
	if (ran == 0)
		errx(2, "usage: %s nothing | FAULT", argv[0]);
	return 0;
}
