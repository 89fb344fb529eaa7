/* lease: our numbers, what the chain says of them, and the clocks. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kms/cluster/lease_int.h"

enum err
lease_new(struct lease **out, const struct lease_options *o)
{
	struct lease *l;

	if (o->period_ms == 0 || o->max_releases == 0 ||
	    o->period_ms > UINT64_MAX / LEASE_PERIODS_MAX ||
	    o->lease_ms < 2 * o->period_ms ||
	    o->lease_ms > LEASE_PERIODS_MAX * o->period_ms)
		return ERR_CONFIG;
	if ((l = calloc(1, sizeof *l)) == NULL)
		return ERR_NOMEM;
	l->o = *o;
	*out = l;
	return ERR_OK;
}

void
lease_free(struct lease *l)
{
	free(l);
}

/* ---- our numbers ---- */

bool
lease_wants_nonce(const struct lease *l, const struct lease_now *now)
{
	const struct lease_own *o = lease_newest(l);
	uint64_t life = l->o.period_ms / 4;

	if (o == NULL)
		return true;
	/* One that waits stays as young as can be, since the lease runs from
	 * its drawing.  Who says that it waits no more cannot make us draw
	 * faster than we may forget. */
	if (o->n_batches > 0 && life > LEASE_BEAT_MS)
		life = LEASE_BEAT_MS;
	return now->boot_ms - o->made.now.boot_ms >= life;
}

struct lease_own *
lease_newest(const struct lease *l)
{
	return l->n_drawn == 0
	    ? NULL
	    : (struct lease_own *)(uintptr_t)&l->own[l->newest];
}

/* The oldest that is in no batch makes room, else the oldest. */
static unsigned
place(const struct lease *l)
{
	unsigned at = LEASE_NONCES;

	for (unsigned i = 0; i < LEASE_NONCES; i++) {
		const struct lease_own *o = &l->own[i];
		const struct lease_own *b = &l->own[at % LEASE_NONCES];

		if (o->number == 0)
			return i;
		if (i == l->newest)
			continue;
		if (at == LEASE_NONCES ||
		    (o->n_batches == 0) > (b->n_batches == 0) ||
		    ((o->n_batches == 0) == (b->n_batches == 0) &&
			o->number < b->number))
			at = i;
	}
	return at;
}

/* The others' clocks, as far as they were heard a moment ago. */
static void
note_clocks(
    struct lease_mark *m, const struct lease *l, const struct lease_now *now)
{
	m->now = *now;
	m->n_clocks = 0;
	for (unsigned i = 0; i < l->n_heard; i++) {
		const struct lease_heard *h = &l->heard[i];

		if (now->boot_ms - h->at_ms > LEASE_CLOCK_LIFE_MS ||
		    m->n_clocks == LEASE_CLOCKS)
			continue;
		memcpy(m->clock[m->n_clocks].incarnation, h->incarnation,
		    INCARNATION_ID_LEN);
		m->clock[m->n_clocks++].boot_ms = h->boot_ms;
	}
}

void
lease_nonce(struct lease *l, const uint8_t nonce[static CHECKIN_NONCE_LEN],
    const struct lease_now *now)
{
	unsigned i = place(l);
	struct lease_own *o = &l->own[i];

	*o = (struct lease_own){ .number = ++l->n_drawn };
	memcpy(o->nonce, nonce, sizeof o->nonce);
	note_clocks(&o->made, l, now);
	l->newest = i;
	l->next_beat_ms = 0; /* the others shall know */
}

/* ---- what the chain says ---- */

void
lease_note_batch(struct lease *l, const struct lease_batch *b)
{
	for (unsigned i = 0; i < LEASE_NONCES; i++) {
		struct lease_own *o = &l->own[i];

		for (unsigned k = 0; o->number != 0 && k < b->n; k++) {
			if (memcmp(o->nonce, b->nonce[k], sizeof o->nonce) != 0)
				continue;
			for (unsigned j = 0; j < o->n_batches; j++)
				if (memcmp(o->batch[j], b->hash, 32) == 0)
					return;
			if (o->n_batches == LEASE_BATCHES) {
				memmove(o->batch[0], o->batch[1],
				    sizeof o->batch - sizeof o->batch[0]);
				o->n_batches--;
			}
			memcpy(o->batch[o->n_batches++], b->hash, 32);
			return;
		}
	}
}

/* The newest number below `below` that is in a batch. */
static const struct lease_own *
before(const struct lease *l, uint64_t below)
{
	const struct lease_own *best = NULL;

	for (unsigned i = 0; i < LEASE_NONCES; i++) {
		const struct lease_own *o = &l->own[i];

		if (o->number != 0 && o->number < below && o->n_batches > 0 &&
		    (best == NULL || o->number > best->number))
			best = o;
	}
	return best;
}

unsigned
lease_looks(const struct lease *l, uint8_t batch[static LEASE_LOOKS][32])
{
	const struct lease_own *o = NULL;
	unsigned n = 0;

	while (n < LEASE_LOOKS &&
	    (o = before(l, o != NULL ? o->number : UINT64_MAX)) != NULL &&
	    o->number > l->held[0].number)
		for (unsigned k = o->n_batches; k > 0 && n < LEASE_LOOKS; k--)
			memcpy(batch[n++], o->batch[k - 1], 32);
	return n;
}

static struct lease_own *
own_of(struct lease *l, const uint8_t batch[static 32])
{
	for (unsigned i = 0; i < LEASE_NONCES; i++)
		for (unsigned k = 0; k < l->own[i].n_batches; k++)
			if (memcmp(l->own[i].batch[k], batch, 32) == 0)
				return &l->own[i];
	return NULL;
}

void
lease_seen(struct lease *l, const uint8_t batch[static 32],
    const struct chain_block *at, uint64_t time)
{
	struct lease_own *o = own_of(l, batch);

	if (o == NULL || o->number <= l->held[0].number)
		return;
	/* What was decided at a block before this one rests on the lease
	 * before this one, for as long as that lasts. */
	l->held[1] = l->held[0];
	l->held[0] = (struct lease_held){
		.number = o->number, .made = o->made, .block = *at, .time = time
	};
	memcpy(l->held[0].batch, batch, 32);
	l->renewed++;
	for (unsigned i = 0; i < LEASE_NONCES; i++)
		if (i != l->newest && l->own[i].number <= l->held[0].number)
			l->own[i] = (struct lease_own){ 0 };
}

/* ---- the clocks ---- */

static uint64_t
since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

/* Milliseconds; as many as there are, if the clock was set beyond that. */
static uint64_t
wall_since(int64_t now, int64_t then)
{
	uint64_t s = now > then ? (uint64_t)now - (uint64_t)then : 0;

	return s > UINT64_MAX / 1000 ? UINT64_MAX : 1000 * s;
}

/* How long another's clock has gone on since `m`, as far as it was heard. */
static bool
peer_since(uint64_t *out, const struct lease *l, const struct lease_mark *m,
    unsigned i)
{
	for (unsigned k = 0; k < l->n_heard; k++) {
		const struct lease_heard *h = &l->heard[k];

		if (memcmp(h->incarnation, m->clock[i].incarnation,
			INCARNATION_ID_LEN) != 0)
			continue;
		*out = since(since(h->boot_ms, m->clock[i].boot_ms),
		    LEASE_CLOCK_SLACK_MS);
		return true;
	}
	return false;
}

/* As much time as more than half of all clocks say has passed, ours among
 * them: neither one that runs too fast nor our own slow one decides. */
static uint64_t
majority(const struct lease *l, const struct lease_mark *m, uint64_t own,
    unsigned *n_peers)
{
	uint64_t t[LEASE_CLOCKS + 1] = { own };
	unsigned n = 1;

	for (unsigned i = 0; i < m->n_clocks; i++)
		n += peer_since(&t[n], l, m, i);
	*n_peers = n - 1;
	for (unsigned i = 1; i < n; i++) /* descending */
		for (unsigned k = i; k > 0 && t[k] > t[k - 1]; k--) {
			uint64_t x = t[k];

			t[k] = t[k - 1];
			t[k - 1] = x;
		}
	return t[n / 2];
}

static uint64_t
elapsed(const struct lease *l, const struct lease_mark *m,
    const struct lease_now *now, struct lease_status *s)
{
	uint64_t e;

	s->boot_ms = since(now->boot_ms, m->now.boot_ms);
	s->wall_ms = wall_since(now->wall_s, m->now.wall_s);
	s->peers_ms = majority(l, m, s->boot_ms, &s->n_peers);
	e = s->boot_ms > s->wall_ms ? s->boot_ms : s->wall_ms;
	return e > s->peers_ms ? e : s->peers_ms;
}

/* ---- the question ---- */

static enum err
check(const struct lease *l, const struct lease_held *h,
    const struct lease_now *now, struct refusal *why)
{
	struct lease_status s;
	uint64_t e;

	if (h->number == 0)
		return refuse(why, REASON_CHAIN_LEASE,
		    "no number of this life was found in a final block yet");
	if ((e = elapsed(l, &h->made, now, &s)) >= l->o.lease_ms)
		return refuse(why, REASON_CHAIN_LEASE,
		    "drawn %" PRIu64 " s ago, good for %" PRIu64
		    " s (boot clock %" PRIu64 ", wall %" PRIu64
		    ", %u peers %" PRIu64 "); found at block %" PRIu64,
		    e / 1000, l->o.lease_ms / 1000, s.boot_ms / 1000,
		    s.wall_ms / 1000, s.n_peers, s.peers_ms / 1000,
		    h->block.number);
	if (h->used >= l->o.max_releases)
		return refuse(why, REASON_CHAIN_LEASE,
		    "%" PRIu64 " releases since the last check-in", h->used);
	return ERR_OK;
}

enum err
lease_check(
    const struct lease *l, const struct lease_now *now, struct refusal *why)
{
	return check(l, &l->held[0], now, why);
}

enum err
lease_take(struct lease *l, const struct lease_now *now, uint64_t number,
    struct refusal *why)
{
	struct lease_held *h = &l->held[0];
	enum err e;

	/* Decided at a block that does not contain this number. */
	if (h->number != 0 && number < h->block.number) {
		h = &l->held[1];
		if (h->number == 0 || number < h->block.number)
			return refuse(why, REASON_CHAIN_LEASE,
			    "decided at block %" PRIu64
			    ", before the check-in at %" PRIu64,
			    number, l->held[0].block.number);
	}
	if ((e = check(l, h, now, why)) == ERR_OK)
		h->used++;
	return e;
}

static int64_t
left(uint64_t of, uint64_t elapsed_ms)
{
	if (elapsed_ms > INT64_MAX)
		elapsed_ms = INT64_MAX;
	return (int64_t)of - (int64_t)elapsed_ms;
}

void
lease_status(const struct lease *l, const struct lease_now *now,
    struct lease_status *out)
{
	const struct lease_held *h = &l->held[0];
	struct lease_status s = { .has = h->number != 0,
		.block_number = h->block.number,
		.block_time = h->block.timestamp,
		.batch_time = h->time,
		.releases = h->used,
		.lease_ms = l->o.lease_ms,
		.period_ms = l->o.period_ms,
		.max_releases = l->o.max_releases,
		.renewed = l->renewed,
		.sent = l->sent,
		.send_failures = l->send_failures };

	memcpy(s.batch, h->batch, sizeof s.batch);
	if (s.has) {
		s.elapsed_ms = elapsed(l, &h->made, now, &s);
		s.left_ms = left(l->o.lease_ms, s.elapsed_ms);
	}
	for (unsigned i = 0; i < LEASE_NONCES; i++)
		s.outstanding +=
		    l->own[i].n_batches > 0 && l->own[i].number > h->number;
	*out = s;
}
