/* lease: what nodes tell each other, and who goes on chain when. */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/lease_int.h"

#define MAGIC 0x4b43u /* "KC" */
#define VERSION 1
#define HEAD_LEN 4u
#define BEAT_LEN (HEAD_LEN + CHECKIN_NONCE_LEN + 8u + 1u)
#define LIST_MAX (HEAD_LEN + 1u + CHECKIN_BATCH_MAX * CHECKIN_NONCE_LEN)

enum type {
	TYPE_BEAT = 1,
	TYPE_LIST = 2,
};

/* After a batch that could not be brought, and between two that hurry. */
#define PAUSE_MS 3000u

static uint64_t
pause_ms(const struct lease *l)
{
	return l->o.period_ms < PAUSE_MS ? l->o.period_ms : PAUSE_MS;
}

static bool
is_lively(const struct lease_heard *h, const struct lease_now *now)
{
	return now->boot_ms - h->at_ms <= LEASE_CLOCK_LIFE_MS;
}

/* ---- messages ---- */

bool
lease_is_message(struct bytes in)
{
	return in.len >= HEAD_LEN && in.p[0] == MAGIC >> 8 &&
	    in.p[1] == (MAGIC & 0xff);
}

static void
put_head(struct wr *w, enum type t)
{
	wr_be16(w, MAGIC);
	wr_u8(w, VERSION);
	wr_u8(w, (uint8_t)t);
}

bool
lease_beat(struct lease *l, struct buf *out, const struct lease_now *now)
{
	const struct lease_own *o = lease_newest(l);
	uint8_t m[BEAT_LEN];
	struct wr w = { .p = m, .cap = sizeof m };

	if (o == NULL || now->boot_ms < l->next_beat_ms)
		return false;
	put_head(&w, TYPE_BEAT);
	wr_bytes(&w, o->nonce, sizeof o->nonce);
	wr_be64(&w, now->boot_ms);
	wr_u8(&w, lease_check(l, now, NULL) != ERR_OK);
	if (buf_append(out, m, w.len, LIST_MAX) != ERR_OK)
		return false;
	l->next_beat_ms = now->boot_ms + LEASE_BEAT_MS;
	return true;
}

enum err
lease_list_write(struct buf *out, const struct lease_batch *b)
{
	uint8_t m[LIST_MAX];
	struct wr w = { .p = m, .cap = sizeof m };

	put_head(&w, TYPE_LIST);
	wr_u8(&w, (uint8_t)b->n);
	wr_bytes(&w, b->nonce, (size_t)b->n * CHECKIN_NONCE_LEN);
	return buf_append(out, m, w.len, LIST_MAX);
}

/* Its place, or that of who was silent longest. */
static struct lease_heard *
place(struct lease *l, const uint8_t incarnation[static INCARNATION_ID_LEN])
{
	struct lease_heard *oldest = &l->heard[0];

	for (unsigned i = 0; i < l->n_heard; i++) {
		struct lease_heard *h = &l->heard[i];

		if (memcmp(h->incarnation, incarnation, INCARNATION_ID_LEN) ==
		    0)
			return h;
		if (h->at_ms < oldest->at_ms)
			oldest = h;
	}
	if (l->n_heard < LEASE_HEARD_MAX)
		oldest = &l->heard[l->n_heard++];
	*oldest = (struct lease_heard){ 0 };
	memcpy(oldest->incarnation, incarnation, INCARNATION_ID_LEN);
	return oldest;
}

static enum err
hear_beat(struct lease *l, const uint8_t from[static INCARNATION_ID_LEN],
    struct rd *r, const struct lease_now *now)
{
	const uint8_t *nonce = rd_bytes(r, CHECKIN_NONCE_LEN);
	uint64_t boot_ms = rd_be64(r);
	uint8_t wants = rd_u8(r);
	struct lease_heard *h;

	if (!rd_done(r) || wants > 1)
		return ERR_MALFORMED;
	h = place(l, from);
	if (memcmp(h->nonce, nonce, CHECKIN_NONCE_LEN) != 0)
		h->listed = false;
	memcpy(h->nonce, nonce, CHECKIN_NONCE_LEN);
	/* A clock that goes back is none: the highest counts. */
	if (boot_ms > h->boot_ms)
		h->boot_ms = boot_ms;
	h->wants = wants != 0;
	h->at_ms = now->boot_ms;
	return ERR_OK;
}

/* Whoever sends it: only what the chain has of it will count. */
static enum err
hear_list(struct lease *l, struct rd *r)
{
	struct lease_batch b = { .n = rd_u8(r) };
	const uint8_t *all = rd_bytes(r, (size_t)b.n * CHECKIN_NONCE_LEN);

	if (!rd_done(r) || b.n == 0 || b.n > CHECKIN_BATCH_MAX)
		return ERR_MALFORMED;
	memcpy(b.nonce, all, (size_t)b.n * CHECKIN_NONCE_LEN);
	checkin_batch(b.hash, l->o.chain_id, l->o.contract, b.nonce, b.n);
	lease_note_batch(l, &b);
	return ERR_OK;
}

enum err
lease_hear(struct lease *l, const uint8_t from[static INCARNATION_ID_LEN],
    struct bytes in, const struct lease_now *now)
{
	struct rd r = { .p = in.p, .left = in.len };

	if (rd_be16(&r) != MAGIC || rd_u8(&r) != VERSION)
		return ERR_MALFORMED;
	switch ((unsigned)rd_u8(&r)) {
	case TYPE_BEAT:
		return hear_beat(l, from, &r, now);
	case TYPE_LIST:
		return hear_list(l, &r);
	default:
		return ERR_MALFORMED;
	}
}

/* ---- who goes on chain ---- */

static bool
own_waits(const struct lease *l)
{
	const struct lease_own *o = lease_newest(l);

	return o != NULL && o->number > l->listed;
}

/* Somebody has no lease, and no batch was hurried for that life yet. */
static bool
hurries(const struct lease *l, const struct lease_now *now)
{
	if (!l->hurried && own_waits(l) && lease_check(l, now, NULL) != ERR_OK)
		return true;
	for (unsigned i = 0; i < l->n_heard; i++) {
		const struct lease_heard *h = &l->heard[i];

		if (h->wants && !h->hurried && !h->listed && is_lively(h, now))
			return true;
	}
	return false;
}

/* The leader's work has given us nothing for half a lease. */
static bool
must_help(struct lease *l, const struct lease_now *now)
{
	struct lease_status s;

	lease_status(l, now, &s);
	if (s.has)
		return s.left_ms < (int64_t)(l->o.lease_ms / 2);
	return now->boot_ms - l->began_ms > 2 * l->o.period_ms;
}

/* Every number that is in no batch of ours yet. */
static void
gather(struct lease *l, const struct lease_now *now, struct lease_batch *b)
{
	struct lease_own *o = lease_newest(l);

	/* It is kept, so nothing of the caller's stack stays in it. */
	*b = (struct lease_batch){ 0 };
	if (own_waits(l)) {
		memcpy(b->nonce[b->n++], o->nonce, sizeof o->nonce);
		l->listed = o->number;
		l->hurried = true;
	}
	for (unsigned i = 0; i < l->n_heard && b->n < CHECKIN_BATCH_MAX; i++) {
		struct lease_heard *h = &l->heard[i];

		if (h->listed || !is_lively(h, now))
			continue;
		memcpy(b->nonce[b->n++], h->nonce, sizeof h->nonce);
		h->listed = true;
		h->hurried |= h->wants;
	}
}

bool
lease_due(struct lease *l, bool leads, const struct lease_now *now,
    struct lease_batch *out)
{
	bool period_over =
	    l->posted_ms == 0 || now->boot_ms - l->posted_ms >= l->o.period_ms;
	struct lease_told *t;

	if (l->began_ms == 0)
		l->began_ms = now->boot_ms;
	if (now->boot_ms < l->retry_ms)
		return false;
	if (leads ? !period_over && !hurries(l, now)
		  : !period_over || !must_help(l, now))
		return false;
	gather(l, now, out);
	if (out->n == 0)
		return false;
	checkin_batch(
	    out->hash, l->o.chain_id, l->o.contract, out->nonce, out->n);
	lease_note_batch(l, out);
	l->posted_ms = now->boot_ms;
	l->retry_ms = now->boot_ms + pause_ms(l);
	t = &l->told[l->n_told++ % LEASE_TOLD];
	t->batch = *out;
	t->at_ms = now->boot_ms;
	l->next_tell_ms = now->boot_ms + LEASE_BEAT_MS;
	return true;
}

/* A link may be down while a list is told, most likely that to a node that
 * just began.  Without this it would wait for the next period. */
bool
lease_retell(
    struct lease *l, const struct lease_now *now, struct lease_batch *out)
{
	bool wanted = false;

	if (now->boot_ms < l->next_tell_ms)
		return false;
	for (unsigned i = 0; i < l->n_heard; i++)
		wanted |= l->heard[i].wants && is_lively(&l->heard[i], now);
	for (unsigned i = 0; wanted && i < LEASE_TOLD; i++) {
		const struct lease_told *t =
		    &l->told[l->n_retold++ % LEASE_TOLD];

		if (t->batch.n == 0 ||
		    now->boot_ms - t->at_ms >= l->o.period_ms)
			continue;
		*out = t->batch;
		l->next_tell_ms = now->boot_ms + LEASE_BEAT_MS;
		return true;
	}
	return false;
}

void
lease_sent(struct lease *l, bool ok, const struct lease_now *now)
{
	l->sent += ok;
	l->send_failures += !ok;
	if (ok)
		return;
	/* Perhaps it is on its way all the same; the next one has newer
	 * numbers in any case. */
	l->posted_ms = 0;
	l->retry_ms = now->boot_ms + 2ull * pause_ms(l);
}
