#include <stdlib.h>
#include <string.h>

#include "common/crypto/hash.h"
#include "kms/state/state.h"

struct chain {
	uint8_t incarnation[INCARNATION_LEN];
	uint8_t head[32]; /* hash of the last record */
	struct buf *record; /* owns: n of them */
	size_t n, cap;
};

struct state {
	struct chain *chain; /* owns; sorted by incarnation */
	size_t n_chains, cap_chains;
	size_t n_records;
	struct epoch_entry epoch[STATE_MAX_EPOCHS];
	size_t n_epochs;
};

enum err
state_new(struct state **out)
{
	struct state *s = calloc(1, sizeof *s);

	if (s == NULL)
		return ERR_NOMEM;
	*out = s;
	return ERR_OK;
}

void
state_free(struct state *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->n_chains; i++) {
		for (size_t k = 0; k < s->chain[i].n; k++)
			buf_fini(&s->chain[i].record[k]);
		free(s->chain[i].record);
	}
	free(s->chain);
	free(s);
}

/* The place of `incarnation` among the sorted chains. */
static size_t
place(const struct state *s, const uint8_t *incarnation, bool *found)
{
	size_t lo = 0, hi = s->n_chains;

	*found = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(
		    s->chain[mid].incarnation, incarnation, INCARNATION_LEN);

		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static enum err
grow(void **p, size_t *cap, size_t n, size_t item)
{
	size_t want = *cap == 0 ? 8 : *cap * 2;
	void *q;

	if (n < *cap)
		return ERR_OK;
	if ((q = realloc(*p, want * item)) == NULL)
		return ERR_NOMEM;
	*p = q;
	*cap = want;
	return ERR_OK;
}

/* Does the epoch fit behind those that are there? */
static enum err
check_epoch(const struct state *s, const struct epoch_entry *e)
{
	const struct epoch_entry *have = state_epoch(s, e->pub.number);

	if (have != NULL)
		return memcmp(&have->pub.k256, &e->pub.k256,
			   sizeof e->pub.k256) == 0 &&
			memcmp(&have->pub.ca, &e->pub.ca, sizeof e->pub.ca) == 0
		    ? ERR_OK
		    : ERR_DENIED;
	if (e->pub.number != s->n_epochs)
		return ERR_DENIED;
	return s->n_epochs < STATE_MAX_EPOCHS ? ERR_OK : ERR_LIMIT;
}

static enum err
add_chain(struct state *s, size_t at, const uint8_t *incarnation)
{
	void *p = s->chain;
	enum err e;

	if (s->n_chains >= STATE_MAX_CHAINS)
		return ERR_LIMIT;
	e = grow(&p, &s->cap_chains, s->n_chains, sizeof *s->chain);
	s->chain = p;
	if (e != ERR_OK)
		return e;
	memmove(s->chain + at + 1, s->chain + at,
	    (s->n_chains - at) * sizeof *s->chain);
	s->chain[at] = (struct chain){ 0 };
	memcpy(s->chain[at].incarnation, incarnation, INCARNATION_LEN);
	s->n_chains++;
	return ERR_OK;
}

enum err
state_apply(struct state *s, struct bytes record)
{
	static const uint8_t zero[32];
	struct record r;
	struct chain *c;
	struct buf copy = { 0 };
	uint8_t hash[32];
	bool found;
	size_t at;
	void *p;
	enum err e = record_parse(&r, record);

	if (e != ERR_OK)
		return e;
	sha256(hash, record.p, record.len);
	at = place(s, r.incarnation, &found);
	c = found ? &s->chain[at] : NULL;
	if (c != NULL && r.seq <= c->n) {
		const struct buf *old = &c->record[r.seq - 1];

		return old->len == record.len &&
			memcmp(old->p, record.p, record.len) == 0
		    ? ERR_EXISTS
		    : ERR_AUTH;
	}
	if (r.seq != (c != NULL ? c->n : 0) + 1)
		return ERR_AGAIN;
	if (memcmp(r.previous, c != NULL ? c->head : zero, 32) != 0)
		return ERR_AUTH;
	if (s->n_records >= STATE_MAX_RECORDS)
		return ERR_LIMIT;
	if (r.kind == RECORD_EPOCH &&
	    (e = check_epoch(s, &r.u.epoch)) != ERR_OK)
		return e;
	/* All that can fail comes before the first change. */
	if ((e = buf_set(&copy, record.p, record.len)) != ERR_OK)
		return e;
	if (c == NULL && (e = add_chain(s, at, r.incarnation)) != ERR_OK)
		goto fail;
	c = &s->chain[at];
	p = c->record;
	e = grow(&p, &c->cap, c->n, sizeof *c->record);
	c->record = p;
	if (e != ERR_OK)
		goto fail;
	c->record[c->n++] = copy;
	memcpy(c->head, hash, sizeof hash);
	s->n_records++;
	if (r.kind == RECORD_EPOCH && r.u.epoch.pub.number == s->n_epochs)
		s->epoch[s->n_epochs++] = r.u.epoch;
	return ERR_OK;
fail:
	buf_fini(&copy);
	return e;
}

void
state_next(const struct state *s, struct record *r)
{
	bool found;
	size_t at = place(s, r->incarnation, &found);

	r->seq = 1;
	memset(r->previous, 0, sizeof r->previous);
	if (found) {
		r->seq = s->chain[at].n + 1;
		memcpy(r->previous, s->chain[at].head, sizeof r->previous);
	}
}

size_t
state_n_epochs(const struct state *s)
{
	return s->n_epochs;
}

const struct epoch_entry *
state_epoch(const struct state *s, uint64_t number)
{
	return number < s->n_epochs ? &s->epoch[number] : NULL;
}

size_t
state_n_records(const struct state *s)
{
	return s->n_records;
}

void
state_digest(const struct state *s, uint8_t out[static 32])
{
	uint8_t acc[32] = { 0 };

	for (size_t i = 0; i < s->n_chains; i++)
		if (s->chain[i].n > 0)
			sha256_v(acc,
			    (const struct bytes[]){ BYTES_OF(acc),
				BYTES_OF(s->chain[i].incarnation),
				BYTES_OF(s->chain[i].head) },
			    3);
	memcpy(out, acc, sizeof acc);
}

void
state_have(const struct state *s,
    void (*fn)(
	void *cookie, const uint8_t incarnation[static 32], uint64_t seq),
    void *cookie)
{
	for (size_t i = 0; i < s->n_chains; i++)
		fn(cookie, s->chain[i].incarnation, s->chain[i].n);
}

uint64_t
state_seq(const struct state *s, const uint8_t incarnation[static 32])
{
	bool found;
	size_t at = place(s, incarnation, &found);

	return found ? s->chain[at].n : 0;
}

void
state_each(const struct state *s,
    uint64_t (*skip)(void *cookie, const uint8_t incarnation[static 32]),
    bool (*fn)(void *cookie, struct bytes record), void *cookie)
{
	for (size_t i = 0; i < s->n_chains; i++) {
		const struct chain *c = &s->chain[i];

		for (uint64_t k = skip(cookie, c->incarnation); k < c->n; k++)
			if (!fn(cookie, buf_view(&c->record[k])))
				return;
	}
}
