#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/eth/abi.h"
#include "kms/gate/clustertx.h"
#include "kms/gate/registry.h"

/* Pins kept for one block: the apps that ask within some seconds.  One place
 * each; a collision costs one more call. */
#define PINS 1024u

struct pin {
	bool used;
	uint8_t app_id[20];
	uint64_t epoch;
};

struct registry {
	struct chainview *view; /* borrows */
	struct clustertx *tx; /* owns */
	struct registryabi_at at;
	uint8_t kms[20], anchor[20];

	pthread_mutex_t lock; /* for all below */
	bool have_block;
	struct chain_block block; /* of everything kept below */
	bool have_state;
	struct registry_state state;
	struct pin pin[PINS];
};

enum err
registry_new(struct registry **out, const struct registry_options *o)
{
	static const uint8_t zero[20];
	const struct clustertx_options to = { .chain_id = o->chain_id,
		.urls = o->urls,
		.n_urls = o->n_urls,
		.timeout_ms = o->timeout_ms };
	struct registry *r;
	enum err e;

	if (memcmp(o->contract, zero, sizeof zero) == 0)
		return ERR_CONFIG;
	if ((r = calloc(1, sizeof *r)) == NULL)
		return ERR_NOMEM;
	if ((e = clustertx_new(&r->tx, &to)) != ERR_OK) {
		free(r);
		return e;
	}
	(void)pthread_mutex_init(&r->lock, NULL);
	r->view = o->view;
	r->at.chain_id = o->chain_id;
	memcpy(r->at.contract, o->contract, sizeof r->at.contract);
	memcpy(r->kms, o->kms, sizeof r->kms);
	memcpy(r->anchor, o->anchor, sizeof r->anchor);
	*out = r;
	return ERR_OK;
}

void
registry_free(struct registry *r)
{
	if (r == NULL)
		return;
	clustertx_free(r->tx);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

const struct registryabi_at *
registry_at(const struct registry *r)
{
	return &r->at;
}

/* ---- what is kept ---- */

/* cache_at makes the cache that of block `b`: under the lock.  False when
 * it is another thread's newer block, so that ours is not kept. */
static bool
cache_at(struct registry *r, const struct chain_block *b)
{
	if (r->have_block &&
	    memcmp(r->block.hash, b->hash, sizeof b->hash) == 0)
		return true;
	if (r->have_block && b->number <= r->block.number)
		return false;
	memset(r->pin, 0, sizeof r->pin);
	r->have_state = false;
	r->have_block = true;
	r->block = *b;
	return true;
}

static struct pin *
pin_slot(struct registry *r, const uint8_t app_id[static 20])
{
	return &r->pin[(unsigned)(app_id[0] << 8 | app_id[1]) % PINS];
}

/* ---- reading ---- */

/* Whatever the quorum's answer is instead of ours: the registry cannot be
 * read, and nobody is told more than that. */
static enum err
unreadable(struct refusal *why, const char *what)
{
	(void)refuse(why, REASON_CHAIN_ANSWER, "registry: %s", what);
	return ERR_AGAIN;
}

/* call asks the contract at `b`; an answer has at least one byte. */
static enum err
call(struct registry *r, const struct chain_block *b, struct bytes data,
    size_t max, struct buf *answer, struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	enum err e = chainview_call(
	    r->view, b, r->at.contract, data, max, answer, &reason);

	if (e == ERR_DENIED)
		return unreadable(why, reason.detail);
	if (e != ERR_OK) {
		if (why != NULL)
			*why = reason;
		return e;
	}
	return answer->len > 0
	    ? ERR_OK
	    : unreadable(why, "is there a contract at the address?");
}

static enum err
ask_state(struct registry *r, const struct chain_block *b,
    struct registry_state *out, struct refusal *why)
{
	struct buf data = { 0 }, answer = { 0 };
	enum err e = registryabi_call_state(&data);

	if (e == ERR_OK)
		e = call(
		    r, b, buf_view(&data), REGISTRYABI_STATE_MAX, &answer, why);
	if (e != ERR_OK)
		goto done;
	if (registryabi_state(out, buf_view(&answer)) != ERR_OK)
		e = unreadable(why, "not a state that it can be in");
	else if (memcmp(out->kms, r->kms, sizeof r->kms) != 0)
		e = unreadable(why, "it is another KMS contract's");
	else if (memcmp(out->anchor, r->anchor, sizeof r->anchor) != 0)
		e = unreadable(why, "it is another anchor's");
done:
	buf_fini(&answer);
	buf_fini(&data);
	return e;
}

static enum err
read_state(struct registry *r, const struct chain_block *b,
    struct registry_state *out, struct refusal *why)
{
	bool have;
	enum err e;

	(void)pthread_mutex_lock(&r->lock);
	have = cache_at(r, b) && r->have_state;
	if (have)
		*out = r->state;
	(void)pthread_mutex_unlock(&r->lock);
	if (have)
		return ERR_OK;
	if ((e = ask_state(r, b, out, why)) != ERR_OK)
		return e;
	(void)pthread_mutex_lock(&r->lock);
	if (cache_at(r, b)) {
		r->state = *out;
		r->have_state = true;
	}
	(void)pthread_mutex_unlock(&r->lock);
	return ERR_OK;
}

static enum err
ask_pin(struct registry *r, const struct chain_block *b,
    const uint8_t app_id[static 20], uint64_t *out, struct refusal *why)
{
	struct buf data = { 0 }, answer = { 0 };
	enum err e = registryabi_call_pin_of(&data, app_id);

	if (e == ERR_OK)
		e = call(r, b, buf_view(&data), ABI_WORD, &answer, why);
	if (e == ERR_OK && abi_get_u64(out, buf_view(&answer)) != ERR_OK)
		e = unreadable(why, "an app's pin is no number");
	buf_fini(&answer);
	buf_fini(&data);
	return e;
}

/* Asks, and keeps the answer; what is kept pick_kept has looked for. */
static enum err
read_pin(struct registry *r, const struct chain_block *b,
    const uint8_t app_id[static 20], uint64_t *out, struct refusal *why)
{
	struct pin *p = pin_slot(r, app_id);
	enum err e = ask_pin(r, b, app_id, out, why);

	if (e != ERR_OK)
		return e;
	(void)pthread_mutex_lock(&r->lock);
	if (cache_at(r, b)) {
		p->used = true;
		memcpy(p->app_id, app_id, sizeof p->app_id);
		p->epoch = *out;
	}
	(void)pthread_mutex_unlock(&r->lock);
	return ERR_OK;
}

enum err
registry_read(struct registry *r, int64_t now, struct registry_state *out,
    struct chain_block *at, struct refusal *why)
{
	struct registry_state s;
	struct chain_block b;
	enum err e;

	if ((e = chainview_get(r->view, now, &b, why)) != ERR_OK ||
	    (e = read_state(r, &b, &s, why)) != ERR_OK)
		return e;
	*out = s;
	*at = b;
	return ERR_OK;
}

/* ---- which epoch ---- */

static enum err
closed(struct refusal *why, uint64_t number, const char *what)
{
	return refuse(why, REASON_EPOCH_CLOSED, "epoch %llu %s",
	    (unsigned long long)number, what);
}

/* May this epoch be had, by an app that is pinned to `pinned`? */
static enum err
may_use(const struct registry_state *s, uint64_t number, uint64_t pinned,
    bool by_number, struct refusal *why)
{
	const struct registry_epoch *ep = registry_epoch_of(s, number);

	if (s->n_epochs == 0)
		return refuse(why, REASON_EPOCH_UNKNOWN,
		    "the registry has no epoch 0 yet");
	if (ep == NULL && number < s->epoch[0].number)
		return closed(why, number, "is destroyed");
	if (ep == NULL)
		return refuse(why, REASON_EPOCH_UNKNOWN,
		    "epoch %llu; the active one is %llu",
		    (unsigned long long)number, (unsigned long long)s->active);
	switch (ep->status) {
	case REGISTRY_NONE:
	case REGISTRY_ORDERED:
	case REGISTRY_PUBLISHED:
		return refuse(why, REASON_EPOCH_UNKNOWN,
		    "epoch %llu is not active yet", (unsigned long long)number);
	case REGISTRY_DESTROYED:
		return closed(why, number,
		    by_number ? "is destroyed"
			      : "is destroyed: the app's owner must pin "
				"another");
	case REGISTRY_TAINTED:
		if (!by_number)
			return closed(why, number,
			    "is tainted: only by number, and the app's owner "
			    "should pin another");
		break;
	case REGISTRY_ACTIVE:
		break;
	}
	if (number > pinned)
		return closed(why, number, "is newer than the app's pin");
	return ERR_OK;
}

/* Fills all of `c` but its block; c->pinned is set. */
static enum err
pick(struct registry_choice *c, const struct registry_state *s,
    const uint64_t *asked, struct refusal *why)
{
	const struct registry_epoch *ep;
	enum err e;

	/* Who never pinned anything is at 0: never beyond what is active. */
	if (c->pinned > s->active)
		return unreadable(why, "an app's pin is beyond what is active");
	c->number = asked != NULL ? *asked : c->pinned;
	e = may_use(s, c->number, c->pinned, asked != NULL, why);
	if (e != ERR_OK)
		return e;
	ep = registry_epoch_of(s, c->number);
	c->status = ep->status;
	c->k256 = ep->k256;
	memcpy(c->ca_spki_hash, ep->ca_spki_hash, sizeof c->ca_spki_hash);
	return ERR_OK;
}

/* Answers from what is kept, without a copy of the whole state; false if
 * something is missing. */
static bool
pick_kept(enum err *e, struct registry *r, struct registry_choice *c,
    const uint8_t app_id[static 20], const uint64_t *asked, struct refusal *why)
{
	const struct pin *p = pin_slot(r, app_id);
	bool have;

	(void)pthread_mutex_lock(&r->lock);
	have = cache_at(r, &c->block) && r->have_state && p->used &&
	    memcmp(p->app_id, app_id, sizeof p->app_id) == 0;
	if (have) {
		c->pinned = p->epoch;
		*e = pick(c, &r->state, asked, why);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return have;
}

static enum err
ask_and_pick(struct registry *r, struct registry_choice *c,
    const uint8_t app_id[static 20], const uint64_t *asked, struct refusal *why)
{
	struct registry_state s;
	enum err e;

	if ((e = read_state(r, &c->block, &s, why)) != ERR_OK ||
	    (e = read_pin(r, &c->block, app_id, &c->pinned, why)) != ERR_OK)
		return e;
	return pick(c, &s, asked, why);
}

enum err
registry_choose(struct registry *r, const uint8_t app_id[static 20],
    const uint64_t *asked, int64_t now, struct registry_choice *out,
    struct refusal *why)
{
	struct registry_choice c = { .number = 0 };
	enum err e;

	if ((e = chainview_get(r->view, now, &c.block, why)) != ERR_OK)
		return e;
	if (!pick_kept(&e, r, &c, app_id, asked, why))
		e = ask_and_pick(r, &c, app_id, asked, why);
	if (e == ERR_OK)
		*out = c;
	return e;
}

enum err
registry_active(struct registry *r, int64_t now, struct registry_choice *out,
    struct refusal *why)
{
	struct registry_choice c = { .number = 0 };
	struct registry_state s;
	enum err e;

	if ((e = registry_read(r, now, &s, &c.block, why)) != ERR_OK)
		return e;
	c.pinned = s.active;
	if ((e = pick(&c, &s, NULL, why)) == ERR_OK)
		*out = c;
	return e;
}

enum err
registry_send(struct registry *r, struct bytes data,
    const struct k256_secret *account, struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	enum err e =
	    clustertx_send(r->tx, r->at.contract, data, account, &reason);

	if (e != ERR_OK && why != NULL)
		*why = reason;
	return e;
}
