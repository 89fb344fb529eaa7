/* The check is exact, and takes n log n.
 *
 * A counter that only moves from v - 1 to v, by an increment that names
 * v - 1, is described by the moments T[1] <= T[2] <= ... at which it reaches
 * each value.  A history is linearizable if and only if such moments exist
 * with
 *
 *   (a) each T[v], up to the highest value seen, has one owner: an increment
 *       with EXPECTED = v - 1 that may have had an effect, not before its
 *       first attempt was invoked; two that were told "ok" cannot both own it;
 *   (b) who was told value w within [i, r] was told the truth at some moment
 *       of it: T[w] <= r and T[w + 1] >= i.
 *
 * Necessary: a linearization gives each effect one point, between what the
 * owner's first attempt and, by (b), its answer allow.  Sufficient: choose
 * the T, order effects by T, and put each answer at max(i, T[w]), which by
 * (b) is at most min(r, T[w + 1]): that is a linearization.  An "ok" to an
 * increment is an answer of its value as well: it has just moved there, or
 * an earlier attempt had and nobody has moved it since.
 *
 * By (a) and (b) each T[v] has a lowest and a highest moment, L[v] and U[v].
 * T exist if and only if, for all u <= v, L[u] <= U[v]: then T[v] =
 * max(L[u], u <= v) will do.  Where several unknown increments could own a
 * value, only their lower bound matters: the earliest is the best choice, and
 * since another value names another EXPECTED, it is taken from nobody.
 *
 * Counters are independent objects, and linearizability is local: each is
 * checked alone. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "tests/lib/history.h"

enum err
history_add(struct history *h, const struct history_op *op)
{
	if (h->n == h->cap) {
		size_t cap = h->cap == 0 ? 256 : 2 * h->cap;
		void *p = realloc(h->op, cap * sizeof *h->op);

		if (p == NULL)
			return ERR_NOMEM;
		h->op = p;
		h->cap = cap;
	}
	h->op[h->n++] = *op;
	return ERR_OK;
}

void
history_fini(struct history *h)
{
	free(h->op);
	*h = (struct history){ 0 };
}

/* ---- text ---- */

static const char *const kinds[] = { "get", "inc" };
static const char *const outcomes[] = { "ok", "mismatch", "no", "unknown" };

static int
lookup(const char *const *names, int n, const char *word)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], word) == 0)
			return i;
	return -1;
}

static bool
answered(const struct history_op *op)
{
	return op->outcome == HISTORY_OK || op->outcome == HISTORY_MISMATCH;
}

void
history_write(FILE *to, const struct history_op *op)
{
	char hex[2 * HISTORY_OPERATION + 1] = "-";

	if (op->kind == HISTORY_INC)
		hex_encode(hex, op->operation, HISTORY_OPERATION);
	(void)fprintf(to, "op %u %u %s %s %s ", op->client, op->node,
	    kinds[op->kind], op->counter, hex);
	if (op->kind == HISTORY_INC)
		(void)fprintf(to, "%" PRIu64, op->expected);
	else
		(void)fputc('-', to);
	(void)fprintf(to, " %" PRIu64 " %" PRIu64 " %s", op->invoke_ns,
	    op->return_ns, outcomes[op->outcome]);
	if (answered(op))
		(void)fprintf(to, " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		    op->value, op->generation, op->index);
	else
		(void)fputs(" - - -\n", to);
}

/* A number, or "-" where `absent` says so. */
static bool
number(uint64_t *out, const char *word, bool absent)
{
	char *end;

	if (absent)
		return strcmp(word, "-") == 0;
	if (word[0] < '0' || word[0] > '9')
		return false;
	*out = strtoull(word, &end, 10);
	return *end == '\0';
}

#define WORDS 13

static bool
parse(struct history_op *op, char *line)
{
	char *w[WORDS + 1] = { NULL }, *rest = line;
	uint64_t client, node;
	int n = 0, kind, outcome;
	bool get, none;

	while (n <= WORDS && (w[n] = strtok_r(rest, " \n", &rest)) != NULL)
		n++;
	if (n != WORDS || strcmp(w[0], "op") != 0 ||
	    !number(&client, w[1], false) || !number(&node, w[2], false) ||
	    (kind = lookup(kinds, 2, w[3])) < 0 ||
	    (outcome = lookup(outcomes, 4, w[9])) < 0 ||
	    strlen(w[4]) >= sizeof op->counter)
		return false;
	*op = (struct history_op){ .client = (unsigned)client,
		.node = (unsigned)node,
		.kind = (enum history_kind)kind,
		.outcome = (enum history_outcome)outcome };
	memcpy(op->counter, w[4], strlen(w[4]) + 1);
	get = op->kind == HISTORY_GET;
	none = !answered(op);
	if (get ? strcmp(w[5], "-") != 0
		: hex_fixed(op->operation, sizeof op->operation, w[5]) !=
		    ERR_OK)
		return false;
	return number(&op->expected, w[6], get) &&
	    number(&op->invoke_ns, w[7], false) &&
	    number(&op->return_ns, w[8], false) &&
	    number(&op->value, w[10], none) &&
	    number(&op->generation, w[11], none) &&
	    number(&op->index, w[12], none) && op->invoke_ns <= op->return_ns &&
	    !(get && op->outcome == HISTORY_MISMATCH);
}

enum err
history_read(struct history *h, FILE *in, char why[static HISTORY_WHY_MAX])
{
	char line[512];
	unsigned at = 0;
	enum err e = ERR_OK;

	while (e == ERR_OK && fgets(line, sizeof line, in) != NULL) {
		struct history_op op;

		at++;
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (strchr(line, '\n') == NULL || !parse(&op, line)) {
			(void)snprintf(
			    why, HISTORY_WHY_MAX, "line %u does not parse", at);
			return ERR_MALFORMED;
		}
		e = history_add(h, &op);
	}
	return ferror(in) ? ERR_IO : e;
}

/* ---- one counter ---- */

struct step { /* to value v: the bounds of T[v], and who set them */
	uint64_t low, high;
	const struct history_op *low_by, *high_by;
	const struct history_op *owner; /* that was told "ok" */
};

struct check {
	const struct history_op **op; /* of one counter */
	size_t n;
	char *why;
};

static enum err wrong(const struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static enum err
wrong(const struct check *c, const char *fmt, ...)
{
	int n = snprintf(
	    c->why, HISTORY_WHY_MAX, "counter %s: ", c->op[0]->counter);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->why + n, HISTORY_WHY_MAX - (size_t)n, fmt, ap);
	va_end(ap);
	return ERR_CORRUPT;
}

/* What an answer says of itself, and the highest value that was told. */
static enum err
each_alone(const struct check *c, uint64_t *highest)
{
	size_t increments = 0;

	*highest = 0;
	for (size_t i = 0; i < c->n; i++) {
		const struct history_op *op = c->op[i];

		increments += op->kind == HISTORY_INC;
		if (!answered(op))
			continue;
		if (op->kind == HISTORY_INC && op->outcome == HISTORY_OK &&
		    op->value != op->expected + 1)
			return wrong(c,
			    "an increment of %" PRIu64 " made %" PRIu64,
			    op->expected, op->value);
		if (op->outcome == HISTORY_MISMATCH &&
		    op->value == op->expected)
			return wrong(c,
			    "a mismatch with %" PRIu64 ", which it was",
			    op->value);
		if (op->value > *highest)
			*highest = op->value;
	}
	if (*highest > increments)
		return wrong(c, "value %" PRIu64 " by %zu increments", *highest,
		    increments);
	return ERR_OK;
}

static bool
same_operation(const struct history_op *a, const struct history_op *b)
{
	return memcmp(a->operation, b->operation, sizeof a->operation) == 0;
}

/* All attempts at one increment: which of them was told "ok", and which may
 * have been first to have the effect. */
struct attempts {
	const struct history_op *ok, *first;
	bool excluded; /* told that somebody else made its value */
};

static size_t
gather(struct attempts *out, const struct history_op *const *op, size_t n)
{
	size_t i;

	*out = (struct attempts){ 0 };
	for (i = 0; i < n && same_operation(op[0], op[i]); i++) {
		const struct history_op *a = op[i];

		if (a->outcome == HISTORY_OK)
			out->ok = a;
		if (a->outcome == HISTORY_MISMATCH)
			out->excluded |= a->value == a->expected + 1;
		if ((a->outcome == HISTORY_OK ||
			a->outcome == HISTORY_UNKNOWN) &&
		    (out->first == NULL ||
			a->invoke_ns < out->first->invoke_ns))
			out->first = a;
	}
	return i;
}

static enum err
own(const struct check *c, struct step *s, const struct attempts *a)
{
	const struct history_op *op = a->first;

	if (a->ok != NULL && a->excluded)
		return wrong(c,
		    "client %u made %" PRIu64 " and was told that another did",
		    op->client, a->ok->value);
	if (a->ok != NULL && s->owner != NULL)
		return wrong(c,
		    "value %" PRIu64 " was given twice: to client %u and to "
		    "client %u",
		    a->ok->value, s->owner->client, op->client);
	if (a->excluded || (a->ok == NULL && s->owner != NULL))
		return ERR_OK;
	if (a->ok != NULL || s->low_by == NULL || op->invoke_ns < s->low) {
		s->low = op->invoke_ns;
		s->low_by = op;
	}
	if (a->ok != NULL)
		s->owner = a->ok;
	return ERR_OK;
}

static int by_operation(const void *a, const void *b);

/* (a): who was told "ok" owns its value; else whoever may, from the
 * earliest invocation on.  An operation that was told that its value is
 * another's does not.  Sorts c->op. */
static enum err
owners(struct check *c, struct step *step, uint64_t highest)
{
	struct attempts a;
	enum err e = ERR_OK;

	qsort(c->op, c->n, sizeof *c->op, by_operation);
	for (size_t i = 0, n; e == ERR_OK && i < c->n; i += n) {
		n = 1;
		if (c->op[i]->kind != HISTORY_INC)
			continue;
		n = gather(&a, c->op + i, c->n - i);
		if (a.first != NULL && a.first->expected < highest)
			e = own(c, &step[a.first->expected + 1], &a);
	}
	for (uint64_t v = 1; e == ERR_OK && v <= highest; v++)
		if (step[v].low_by == NULL)
			e = wrong(c, "nobody can have made value %" PRIu64, v);
	return e;
}

/* (b) */
static void
answers(const struct check *c, struct step *step, uint64_t highest)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct history_op *op = c->op[i];
		struct step *at = &step[op->value], *next = at + 1;

		if (!answered(op))
			continue;
		if (op->return_ns < at->high) {
			at->high = op->return_ns;
			at->high_by = op;
		}
		if (op->value < highest && op->invoke_ns > next->low) {
			next->low = op->invoke_ns;
			next->low_by = op;
		}
	}
}

static enum err
moments(const struct check *c, struct step *step, uint64_t highest)
{
	for (uint64_t v = highest; v-- > 1;)
		if (step[v + 1].high < step[v].high) {
			step[v].high = step[v + 1].high;
			step[v].high_by = step[v + 1].high_by;
		}
	for (uint64_t v = 1; v <= highest; v++) {
		struct step *s = &step[v];

		if (v > 1 && step[v - 1].low > s->low) {
			s->low = step[v - 1].low;
			s->low_by = step[v - 1].low_by;
		}
		if (s->low <= s->high)
			continue;
		return wrong(c,
		    "client %u was told %" PRIu64 " by node %u until %" PRIu64
		    ", but client %u's %s of %" PRIu64
		    " at node %u began later, at %" PRIu64,
		    s->high_by->client, s->high_by->value, s->high_by->node,
		    s->high, s->low_by->client,
		    answered(s->low_by) ? "answer" : "increment",
		    answered(s->low_by) ? s->low_by->value
					: s->low_by->expected,
		    s->low_by->node, s->low);
	}
	return ERR_OK;
}

static int
by_index(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;

	if (x->generation != y->generation)
		return x->generation < y->generation ? -1 : 1;
	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* A place in the log is one state: a later place has no smaller value, the
 * same place no other.  Sorts c->op; the last step. */
static enum err
places(struct check *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		if (answered(c->op[i]))
			c->op[n++] = c->op[i];
	qsort(c->op, n, sizeof *c->op, by_index);
	for (size_t i = 1; i < n; i++) {
		const struct history_op *a = c->op[i - 1], *b = c->op[i];
		bool same =
		    a->generation == b->generation && a->index == b->index;

		if (same ? a->value != b->value : a->value > b->value)
			return wrong(c,
			    "%" PRIu64 " at place %" PRIu64 ".%" PRIu64
			    " of the log, %" PRIu64 " at %" PRIu64 ".%" PRIu64,
			    a->value, a->generation, a->index, b->value,
			    b->generation, b->index);
	}
	return ERR_OK;
}

static enum err
check_counter(struct check *c)
{
	struct step *step = NULL;
	uint64_t highest;
	enum err e = each_alone(c, &highest);

	if (e != ERR_OK)
		return e;
	if ((step = calloc(highest + 2, sizeof *step)) == NULL)
		return ERR_NOMEM;
	for (uint64_t v = 0; v <= highest + 1; v++)
		step[v].high = UINT64_MAX;
	e = owners(c, step, highest);
	if (e == ERR_OK) {
		answers(c, step, highest);
		e = moments(c, step, highest);
	}
	if (e == ERR_OK)
		e = places(c);
	free(step);
	return e;
}

/* ---- all of them ---- */

static int
by_counter(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;

	return strcmp(x->counter, y->counter);
}

static int
by_operation(const void *a, const void *b)
{
	const struct history_op *x = *(const struct history_op *const *)a;
	const struct history_op *y = *(const struct history_op *const *)b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return memcmp(x->operation, y->operation, sizeof x->operation);
}

/* An operation is one wish: it never names another counter or value. */
static enum err
one_wish_each(const struct history_op **op, size_t n_all, char *why)
{
	size_t n = 0;

	for (size_t i = 0; i < n_all; i++)
		if (op[i]->kind == HISTORY_INC)
			op[n++] = op[i];
	qsort(op, n, sizeof *op, by_operation);
	for (size_t i = 1; i < n; i++)
		if (same_operation(op[i - 1], op[i]) &&
		    (op[i - 1]->expected != op[i]->expected ||
			strcmp(op[i - 1]->counter, op[i]->counter) != 0)) {
			(void)snprintf(why, HISTORY_WHY_MAX,
			    "one operation with two wishes, on %s and %s",
			    op[i - 1]->counter, op[i]->counter);
			return ERR_CORRUPT;
		}
	return ERR_OK;
}

enum err
history_check(const struct history *h, char why[static HISTORY_WHY_MAX])
{
	const struct history_op **op = calloc(h->n + 1, sizeof *op);
	enum err e = ERR_OK;

	if (op == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < h->n; i++)
		op[i] = &h->op[i];
	e = one_wish_each(op, h->n, why);
	for (size_t i = 0; i < h->n; i++)
		op[i] = &h->op[i];
	qsort(op, h->n, sizeof *op, by_counter);
	for (size_t i = 0, n; e == ERR_OK && i < h->n; i += n) {
		struct check c = { .op = op + i, .why = why };

		for (n = 1; i + n < h->n && by_counter(&op[i], &op[i + n]) == 0;
		     n++)
			continue;
		c.n = n;
		e = check_counter(&c);
	}
	free(op);
	return e;
}
