/* The check of histories must refuse what no counter can have done, and
 * nothing else. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "tests/lib/history.h"

#define OP1 "11111111111111111111111111111111"
#define OP2 "22222222222222222222222222222222"
#define OP3 "33333333333333333333333333333333"

static char why[HISTORY_WHY_MAX];

static enum err
read_text(struct history *h, const char *text)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	enum err e;

	cr_assert_not_null(in);
	e = history_read(h, in, why);
	(void)fclose(in);
	return e;
}

static enum err
check(const char *text)
{
	struct history h = { 0 };
	enum err e = read_text(&h, text);

	cr_assert_eq(e, ERR_OK, "%s", why);
	why[0] = '\0';
	e = history_check(&h, why);
	history_fini(&h);
	return e;
}

#define REFUSED(text, because) \
	do { \
		cr_assert_eq(check(text), ERR_CORRUPT); \
		cr_assert_not_null(strstr(why, because), "said: %s", why); \
	} while (0)
#define HOLDS(text) cr_assert_eq(check(text), ERR_OK, "said: %s", why)

/* ---- histories of no counter ---- */

/* An acknowledged increment that a later read does not see. */
Test(history, refuses_a_lost_ack)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
		"op 2 1 get c - - 30 40 ok 0 1 6\n",
	    "was told 1");
	/* The last of several. */
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
		"op 1 0 inc c " OP2 " 1 21 30 ok 2 1 6\n"
		"op 2 1 get c - - 31 40 ok 1 1 7\n",
	    "was told 2");
	/* A mismatch tells a value, too. */
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
		"op 2 1 inc c " OP2 " 7 30 40 mismatch 0 1 6\n",
	    "was told 1");
}

/* Two increments that made the same value. */
Test(history, refuses_a_repeated_value)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
		"op 2 1 inc c " OP2 " 0 10 20 ok 1 1 5\n",
	    "given twice");
}

/* A read of what was replaced before it began. */
Test(history, refuses_a_stale_read)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
		"op 2 1 get c - - 21 30 ok 1 1 5\n"
		"op 3 2 get c - - 31 40 ok 0 1 4\n",
	    "client 3's answer of 0");
	/* Though the increment itself has not been answered yet. */
	REFUSED("op 1 0 inc c " OP1 " 0 10 90 ok 1 1 5\n"
		"op 2 1 get c - - 21 30 ok 1 1 5\n"
		"op 3 2 get c - - 31 40 ok 0 1 4\n",
	    "client 3's answer of 0");
}

/* A value that falls, whoever may have made it. */
Test(history, refuses_a_value_going_back)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 2 1 get c - - 30 40 ok 1 1 5\n"
		"op 2 1 get c - - 41 50 ok 0 1 6\n",
	    "was told 1");
}

/* One unknown increment moves a counter by one. */
Test(history, refuses_an_unknown_outcome_applied_twice)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 2 1 get c - - 30 40 ok 2 1 5\n",
	    "2 by 1 increments");
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 1 0 inc c " OP1 " 0 21 29 unknown - - -\n"
		"op 2 1 get c - - 30 40 ok 2 1 5\n",
	    "nobody can have made value 2");
}

/* An effect before anybody wished it. */
Test(history, refuses_an_effect_before_its_invocation)
{
	REFUSED("op 2 1 get c - - 30 40 ok 1 1 5\n"
		"op 1 0 inc c " OP1 " 0 50 60 unknown - - -\n",
	    "was told 1");
	REFUSED("op 2 1 get c - - 30 40 ok 1 1 5\n"
		"op 1 0 inc c " OP1 " 0 50 60 ok 1 1 5\n",
	    "was told 1");
}

/* What was refused for good, or did not match, made nothing. */
Test(history, refuses_an_effect_of_who_was_refused)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 no - - -\n"
		"op 2 1 get c - - 30 40 ok 1 1 5\n",
	    "nobody can have made value 1");
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 mismatch 1 1 5\n",
	    "nobody can have made value 1");
	/* Nor did one that was told that another did. */
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 1 0 inc c " OP1 " 0 21 30 mismatch 1 1 5\n",
	    "nobody can have made value 1");
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
		"op 1 0 inc c " OP1 " 0 21 30 mismatch 1 1 6\n",
	    "another did");
}

/* An answer that contradicts its own question. */
Test(history, refuses_a_false_answer)
{
	REFUSED("op 1 0 inc c " OP1 " 3 10 20 ok 1 1 5\n", "made 1");
	REFUSED(
	    "op 1 0 inc c " OP1 " 0 10 20 mismatch 0 1 5\n", "which it was");
}

/* Values out of the order that real time gives to their makers. */
Test(history, refuses_a_chain_against_time)
{
	/* 2 was answered before the only one who can have made 1 began. */
	REFUSED("op 1 0 inc c " OP1 " 1 10 20 ok 2 1 6\n"
		"op 2 0 inc c " OP2 " 0 30 40 ok 1 1 5\n",
	    "was told 2");
}

/* A retry that was answered while the value had moved on. */
Test(history, refuses_a_late_echo)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 2 0 inc c " OP2 " 1 10 30 ok 2 1 6\n"
		"op 1 0 inc c " OP1 " 0 40 50 ok 1 1 7\n",
	    "was told 2");
}

/* The log's order: the same place is the same state, a later one no smaller. */
Test(history, refuses_places_out_of_order)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 9\n"
		"op 1 0 inc c " OP2 " 1 21 30 ok 2 1 8\n",
	    "place 1.8");
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 9\n"
		"op 2 0 get c - - 10 20 ok 0 1 9\n",
	    "place 1.9");
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 ok 1 2 3\n"
		"op 1 0 inc c " OP2 " 1 21 30 ok 2 1 8\n",
	    "place 1.8");
}

Test(history, refuses_one_operation_with_two_wishes)
{
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 1 0 inc c " OP1 " 1 10 20 unknown - - -\n",
	    "two wishes");
	REFUSED("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
		"op 1 0 inc d " OP1 " 0 10 20 unknown - - -\n",
	    "two wishes");
}

/* The fault may be in any counter, the others hide nothing. */
Test(history, refuses_one_counter_of_several)
{
	REFUSED("op 1 0 inc a " OP1 " 0 10 20 ok 1 1 5\n"
		"op 1 0 get b - - 30 40 ok 1 1 6\n"
		"op 1 0 inc c " OP2 " 0 10 20 ok 1 1 7\n",
	    "counter b");
}

/* ---- histories of a counter ---- */

Test(history, holds)
{
	HOLDS("");
	HOLDS("# nothing was answered\n"
	      "op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
	      "op 2 0 get c - - 10 20 no - - -\n");
	HOLDS("op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
	      "op 2 1 inc c " OP2 " 0 15 25 mismatch 1 1 6\n"
	      "op 2 1 inc c " OP3 " 1 26 30 ok 2 1 7\n"
	      "op 3 2 get c - - 31 40 ok 2 1 7\n");
	/* Concurrent reads may see either. */
	HOLDS("op 1 0 inc c " OP1 " 0 10 50 ok 1 1 5\n"
	      "op 2 1 get c - - 20 30 ok 0 1 4\n"
	      "op 3 2 get c - - 20 30 ok 1 1 5\n");
}

/* An unknown effect may come at any time, or never. */
Test(history, lets_the_unknown_be_late)
{
	HOLDS("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
	      "op 2 1 get c - - 30 40 ok 0 1 5\n"
	      "op 2 1 get c - - 41 50 ok 1 1 6\n");
	HOLDS("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
	      "op 2 1 get c - - 30 40 ok 0 1 5\n");
	HOLDS("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
	      "op 2 1 inc c " OP2 " 0 30 40 ok 1 1 5\n"
	      "op 1 0 inc c " OP1 " 0 41 50 mismatch 1 1 6\n");
}

/* A retry is told what an earlier attempt did. */
Test(history, lets_a_retry_own_an_earlier_effect)
{
	HOLDS("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
	      "op 2 1 get c - - 30 40 ok 1 1 5\n"
	      "op 1 0 inc c " OP1 " 0 50 60 ok 1 1 6\n");
	/* And is refused as others are when the value has moved on. */
	HOLDS("op 1 0 inc c " OP1 " 0 10 20 unknown - - -\n"
	      "op 2 1 inc c " OP2 " 1 30 40 ok 2 1 6\n"
	      "op 1 0 inc c " OP1 " 0 50 60 mismatch 2 1 7\n");
}

/* ---- against all orders, on small histories ---- */

#define SMALL 6

struct trial {
	struct history_op op[SMALL];
	unsigned n;
	bool done[SMALL];
};

/* Is there an order of the rest, in time, from `value` on? */
static bool
some_order(struct trial *t, uint64_t value)
{
	uint64_t first_return = UINT64_MAX;
	bool all = true;

	for (unsigned i = 0; i < t->n; i++) {
		const struct history_op *op = &t->op[i];

		if (t->done[i] || op->outcome == HISTORY_UNKNOWN)
			continue;
		all = false;
		if (op->return_ns < first_return)
			first_return = op->return_ns;
	}
	if (all)
		return true;
	for (unsigned i = 0; i < t->n; i++) {
		const struct history_op *op = &t->op[i];
		bool inc = op->kind == HISTORY_INC;
		bool moves = inc && op->outcome != HISTORY_MISMATCH &&
		    op->expected == value;
		bool fits = op->outcome == HISTORY_UNKNOWN ? moves
		    : inc && op->outcome == HISTORY_OK     ? moves
		    : inc ? op->value == value && op->expected != value
			  : op->value == value;

		if (t->done[i] || op->invoke_ns > first_return || !fits)
			continue;
		t->done[i] = true;
		if (some_order(t, value + moves))
			return true;
		t->done[i] = false;
	}
	return false;
}

static uint64_t
draw(uint64_t *seed, uint64_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % n;
}

static void
random_op(struct history_op *op, unsigned i, uint64_t *seed)
{
	uint64_t at = draw(seed, 12);

	*op = (struct history_op){ .client = i,
		.kind = draw(seed, 3) == 0 ? HISTORY_GET : HISTORY_INC,
		.counter = "c",
		.invoke_ns = at,
		.return_ns = at + draw(seed, 8),
		.expected = draw(seed, 3) };
	op->operation[0] = (uint8_t)i;
	op->outcome = (enum history_outcome[]){ HISTORY_OK, HISTORY_OK,
		HISTORY_MISMATCH, HISTORY_UNKNOWN }[draw(seed, 4)];
	if (op->kind == HISTORY_GET && op->outcome != HISTORY_OK)
		op->outcome = HISTORY_OK;
	op->value = draw(seed, 4);
	if (op->kind == HISTORY_INC && op->outcome == HISTORY_OK)
		op->value = op->expected + 1;
	/* Places that say nothing: in the order of the values. */
	op->index = op->value;
}

/* The check and a search through all orders agree. */
Test(history, agrees_with_a_search, .timeout = 120)
{
	uint64_t seed = 20240611;
	unsigned held = 0, refused = 0;

	for (unsigned round = 0; round < 60000; round++) {
		struct history h = { 0 };
		struct trial t = { .n = 2 + (unsigned)draw(&seed, SMALL - 1) };
		bool yes, found;

		for (unsigned i = 0; i < t.n; i++) {
			random_op(&t.op[i], i, &seed);
			cr_assert_eq(history_add(&h, &t.op[i]), ERR_OK);
		}
		yes = history_check(&h, why) == ERR_OK;
		found = some_order(&t, 0);
		if (yes != found)
			for (unsigned i = 0; i < t.n; i++)
				history_write(stderr, &t.op[i]);
		cr_assert_eq(yes, found, "round %u: %s", round, why);
		*(yes ? &held : &refused) += 1;
		history_fini(&h);
	}
	cr_assert_gt(held, 500);
	cr_assert_gt(refused, 500);
}

/* ---- the text ---- */

Test(history, refuses_bad_text)
{
	static const char *const bad[] = {
		"op 1 0 get c - - 10 20 ok 1 1\n",
		"op 1 0 get c - - 10 20 ok 1 1 5 6\n",
		"op 1 0 get c - - 10 20 ok - - -\n",
		"op 1 0 get c - - 10 20 no 1 1 5\n",
		"op 1 0 get c - - 20 10 ok 1 1 5\n",
		"op 1 0 get c - - 10 20 mismatch 1 1 5\n",
		"op 1 0 get c " OP1 " - 10 20 ok 1 1 5\n",
		"op 1 0 get c - 0 10 20 ok 1 1 5\n",
		"op 1 0 inc c - 0 10 20 ok 1 1 5\n",
		"op 1 0 inc c 11 0 10 20 ok 1 1 5\n",
		"op 1 0 inc c " OP1 " - 10 20 ok 1 1 5\n",
		"op 1 0 inc c " OP1 " -1 10 20 ok 1 1 5\n",
		"op 1 0 put c " OP1 " 0 10 20 ok 1 1 5\n",
		"op 1 0 inc c " OP1 " 0 10 20 fine 1 1 5\n",
		"po 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n",
		"op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5",
	};
	struct history h = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(
		    read_text(&h, bad[i]), ERR_MALFORMED, "%s", bad[i]);
	cr_assert_eq(h.n, 0);
	history_fini(&h);
}

/* What is written reads back as it was. */
Test(history, text_round_trip)
{
	static const char text[] =
	    "op 1 0 inc c " OP1 " 0 10 20 ok 1 1 5\n"
	    "op 2 1 inc c " OP2 " 0 10 20 mismatch 1 1 6\n"
	    "op 3 2 inc c " OP3 " 1 10 20 unknown - - -\n"
	    "op 4 2 get c - - 10 20 no - - -\n"
	    "op 5 2 get c - - 10 20 ok 18446744073709551615 1 5\n";
	struct history h = { 0 };
	char *out = NULL;
	size_t len;
	FILE *to = open_memstream(&out, &len);

	cr_assert_not_null(to);
	cr_assert_eq(read_text(&h, text), ERR_OK);
	for (size_t i = 0; i < h.n; i++)
		history_write(to, &h.op[i]);
	cr_assert_eq(fclose(to), 0);
	cr_assert_str_eq(out, text);
	free(out);
	history_fini(&h);
}
