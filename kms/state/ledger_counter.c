/* ledger_counter: monotonic counters of apps.
 *
 * A counter never goes back and no value of it is given twice: an increment
 * names the value it expects, and only that one moves.  The answer to an
 * increment may be lost, so each counter remembers the operation that made
 * its value: the same operation again, with the same expectation, is told
 * the same value and has no second effect.
 *
 * Apps choose the names, so a hash table would need a secret to be safe
 * from chosen collisions, and a pure state has none: the order is a sorted
 * array of places.  A look-up is a binary search; only the first increment
 * of a counter moves places, 256 KiB at most. */
#include <stdlib.h>
#include <string.h>

#include "kms/state/ledger_int.h"

static int
compare(const struct ledger_counter *c, const uint8_t *app_id, const char *name)
{
	int d = memcmp(c->app_id, app_id, sizeof c->app_id);

	return d != 0 ? d : strcmp(c->name, name);
}

/* The first place whose counter is not before (app_id, name). */
static size_t
lower(const struct counters *t, const uint8_t *app_id, const char *name)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(&t->pool[t->order[mid]], app_id, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct ledger_counter *
find(const struct counters *t, const uint8_t *app_id, const char *name,
    size_t *at)
{
	struct ledger_counter *c;

	*at = lower(t, app_id, name);
	if (*at == t->n)
		return NULL;
	c = &t->pool[t->order[*at]];
	return compare(c, app_id, name) == 0 ? c : NULL;
}

static size_t
n_of_app(const struct counters *t, const uint8_t *app_id)
{
	/* No name is empty, and none has a byte above '~'. */
	return lower(t, app_id, "\x7f") - lower(t, app_id, "");
}

static enum err
grow(struct counters *t)
{
	size_t want = t->cap == 0 ? 64 : t->cap * 2;
	void *p;

	if (t->n < t->cap)
		return ERR_OK;
	if ((p = realloc(t->pool, want * sizeof *t->pool)) == NULL)
		return ERR_NOMEM;
	t->pool = p;
	if ((p = realloc(t->order, want * sizeof *t->order)) == NULL)
		return ERR_NOMEM;
	t->order = p;
	t->cap = want;
	return ERR_OK;
}

static enum err
insert(struct counters *t, size_t at, const struct ledger_counter *c)
{
	enum err e;

	if (t->n >= LEDGER_MAX_COUNTERS ||
	    n_of_app(t, c->app_id) >= LEDGER_MAX_COUNTERS_APP)
		return ERR_LIMIT;
	if ((e = grow(t)) != ERR_OK)
		return e;
	memmove(
	    t->order + at + 1, t->order + at, (t->n - at) * sizeof *t->order);
	t->order[at] = (uint32_t)t->n;
	t->pool[t->n++] = *c;
	return ERR_OK;
}

enum err
ledger_counter_apply(
    struct counters *t, struct ledger_outcome *o, const struct command *c)
{
	const uint8_t *app = c->u.increment.app_id;
	const uint8_t *operation = c->u.increment.operation;
	uint64_t expected = c->u.increment.expected;
	size_t at;
	struct ledger_counter *have = find(t, app, c->u.increment.name, &at);
	struct ledger_counter fresh = { .value = 1 };
	enum err e;

	o->value = have != NULL ? have->value : 0;
	/* A retry: it has had its effect.  The value is at least 1 here. */
	if (have != NULL && have->value - 1 == expected &&
	    memcmp(have->operation, operation, sizeof have->operation) == 0)
		return ERR_OK;
	if (o->value != expected)
		return ledger_deny(o, REASON_COUNTER_MISMATCH);
	if (o->value == UINT64_MAX)
		return ERR_LIMIT;
	if (have != NULL) {
		have->value++;
		memcpy(have->operation, operation, sizeof have->operation);
	} else {
		memcpy(fresh.app_id, app, sizeof fresh.app_id);
		memcpy(fresh.name, c->u.increment.name, sizeof fresh.name);
		memcpy(fresh.operation, operation, sizeof fresh.operation);
		if ((e = insert(t, at, &fresh)) != ERR_OK)
			return e;
	}
	o->value++;
	return ERR_OK;
}

enum err
ledger_counter_add(struct counters *t, const struct ledger_counter *c)
{
	if (t->n > 0 &&
	    compare(ledger_counter_at(t, t->n - 1), c->app_id, c->name) >= 0)
		return ERR_MALFORMED;
	return insert(t, t->n, c);
}

const struct ledger_counter *
ledger_counter_at(const struct counters *t, size_t i)
{
	return &t->pool[t->order[i]];
}

void
ledger_counter_fini(struct counters *t)
{
	free(t->pool);
	free(t->order);
	*t = (struct counters){ 0 };
}

uint64_t
ledger_counter_get(
    const struct ledger *l, const uint8_t app_id[static 20], const char *name)
{
	size_t at;
	const struct ledger_counter *c = find(&l->counters, app_id, name, &at);

	return c != NULL ? c->value : 0;
}

size_t
ledger_n_counters(const struct ledger *l)
{
	return l->counters.n;
}

size_t
ledger_n_counters_app(const struct ledger *l, const uint8_t app_id[static 20])
{
	return n_of_app(&l->counters, app_id);
}
