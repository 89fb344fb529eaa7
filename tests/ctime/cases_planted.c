/* Leaks that are there on purpose: a program that does not report these
 * reports nothing. */
#include <stdlib.h>
#include <string.h>

#include "common/base/secret.h"
#include "tests/ctime/ctime.h"

/* Stops at the first byte that differs, as memcmp does. */
__attribute__((noinline)) static int
early_exit(const uint8_t *a, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (a[i] != b[i])
			return 0;
	return 1;
}

static void
branch(void)
{
	uint8_t key[32], other[32] = { 0 };
	volatile int equal;

	ct_draw(key, sizeof key);
	equal = early_exit(key, other, sizeof key);
	(void)equal;
	ct_gone(key, sizeof key);
}

static void
table(void)
{
	static volatile uint8_t box[256];
	volatile uint8_t out;
	uint8_t key[32];

	ct_draw(key, sizeof key);
	out = box[key[0]];
	(void)out;
	ct_gone(key, sizeof key);
}

__attribute__((noinline)) static uint8_t
forgets(const uint8_t *key)
{
	uint8_t copy[32];

	memcpy(copy, key, sizeof copy);
	__asm__ volatile("" ::"r"(copy) : "memory"); /* it is read */
	return copy[0] ^ copy[31];
}

static void
on_stack(void)
{
	volatile uint8_t x;
	uint8_t key[32];

	ct_draw(key, sizeof key);
	x = forgets(key);
	(void)x;
	ct_gone(key, sizeof key);
}

/* As above, and the next call clears it. */
static void
for_a_moment(void)
{
	uint8_t key[32];
	int x;

	ct_draw(key, sizeof key);
	x = forgets(key);
	NEED((x | 1) != 0);
	secret_wipe_stack();
	ct_gone(key, sizeof key);
}

static void
in_heap(void)
{
	uint8_t key[32], *p = malloc(64);

	ct_draw(key, sizeof key);
	for (size_t i = 0; p != NULL && i < sizeof key; i++)
		((volatile uint8_t *)p)[i] = key[i];
	ct_gone(key, sizeof key);
	free(p);
}

/* A growing buffer leaves its first block behind. */
static void
in_moved_block(void)
{
	struct buf b = { 0 };
	uint8_t key[32];

	ct_draw(key, sizeof key);
	NEED(buf_append(&b, key, sizeof key, SIZE_MAX) == ERR_OK);
	NEED(buf_reserve(&b, 4096) == ERR_OK);
	ct_gone(key, sizeof key);
	buf_wipe(&b);
}

static const struct ct_case item[] = {
	{ "a comparison that ends early", branch, CT_PLANTED_TIME },
	{ "a table at a secret's place", table, CT_PLANTED_TIME },
	{ "a key left on the stack", on_stack, CT_PLANTED_STACK },
	{ "a key left on the stack for a moment", for_a_moment,
	    CT_PLANTED_STACK },
	{ "a key left in a freed block", in_heap, CT_PLANTED_HEAP },
	{ "a key left in a moved block", in_moved_block, CT_PLANTED_HEAP },
};
const struct ct_cases ct_planted = { item, sizeof item / sizeof item[0] };
