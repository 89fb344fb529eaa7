#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/secret.h"

#include "node/agent/heldkeys.h"

/* After a failure nothing is tried for so long, even if keys are to be
 * fetched at every call: a KMS that is away must not slow each of them. */
#define RETRY_MS 1000

/* What is known of a question: the release of one epoch, or the app's own. */
struct question {
	uint64_t fetched_ms;
	uint64_t failed_ms; /* 0: the last try did not */
	bool busy; /* somebody is fetching */
};

struct slot {
	bool used;
	uint64_t epoch;
	uint64_t asked_ms; /* the one asked for longest ago makes room */
	struct question q;
};

struct heldkeys {
	struct heldkeys_options o;
	pthread_mutex_t lock; /* guards all below */
	struct app_release
	    *release; /* owns: of slot[i], no access while idle */
	struct slot slot[HELDKEYS_MAX];
	struct question own;
	bool has_own; /* slot of pin.epoch is what the app gets by default */
	struct heldkeys_pin pin;
};

/* ---- slots: under the lock ---- */

static size_t
find(const struct heldkeys *k, uint64_t epoch)
{
	for (size_t i = 0; i < HELDKEYS_MAX; i++)
		if (k->slot[i].used && k->slot[i].epoch == epoch)
			return i;
	return HELDKEYS_MAX;
}

/* A free one, or that of the epoch that was asked for longest ago, but not
 * the app's own. */
static size_t
make_room(const struct heldkeys *k)
{
	size_t oldest = HELDKEYS_MAX;

	for (size_t i = 0; i < HELDKEYS_MAX; i++) {
		if (!k->slot[i].used)
			return i;
		if (k->slot[i].epoch == k->pin.epoch)
			continue;
		if (oldest == HELDKEYS_MAX ||
		    k->slot[i].asked_ms < k->slot[oldest].asked_ms)
			oldest = i;
	}
	assert(oldest < HELDKEYS_MAX);
	return oldest;
}

static void
put(struct heldkeys *k, const struct app_release *r, uint64_t now)
{
	size_t i = find(k, r->epoch);

	if (i == HELDKEYS_MAX) {
		i = make_room(k);
		k->slot[i] = (struct slot){ .used = true, .epoch = r->epoch };
	}
	k->slot[i].asked_ms = now;
	k->slot[i].q.fetched_ms = now;
	k->slot[i].q.failed_ms = 0;
	secret_open_rw(k->release);
	k->release[i] = *r;
	secret_lock(k->release);
}

static void
drop(struct heldkeys *k, size_t i)
{
	secret_open_rw(k->release);
	release_wipe(&k->release[i]);
	secret_lock(k->release);
	k->slot[i] = (struct slot){ .used = false };
}

/* The slot that answers it, or HELDKEYS_MAX. */
static size_t
answer_of(const struct heldkeys *k, const uint64_t *epoch)
{
	if (epoch != NULL)
		return find(k, *epoch);
	return k->has_own ? find(k, k->pin.epoch) : HELDKEYS_MAX;
}

static struct question *
question_of(struct heldkeys *k, const uint64_t *epoch)
{
	size_t i;

	if (epoch == NULL)
		return &k->own;
	i = find(k, *epoch);
	return i < HELDKEYS_MAX ? &k->slot[i].q : NULL;
}

static void
copy_out(struct heldkeys *k, struct app_release *out, size_t i, uint64_t now)
{
	k->slot[i].asked_ms = now;
	secret_open_ro(k->release);
	*out = k->release[i];
	secret_lock(k->release);
}

/* ---- ---- */

static void
set_own(struct heldkeys *k, const struct app_release *r, uint64_t now)
{
	k->has_own = true;
	k->pin.epoch = r->epoch;
	k->pin.has_registry = r->has_registry;
	memcpy(k->pin.registry, r->registry, sizeof k->pin.registry);
	k->pin.block_number = r->block_number;
	k->own.fetched_ms = now;
	k->own.failed_ms = 0;
	put(k, r, now);
}

enum err
heldkeys_new(struct heldkeys **out, const struct heldkeys_options *o,
    const struct app_release *own)
{
	struct heldkeys *k = calloc(1, sizeof *k);

	if (k == NULL)
		return ERR_NOMEM;
	k->o = *o;
	k->release = secret_new(HELDKEYS_MAX * sizeof *k->release);
	if (k->release == NULL || pthread_mutex_init(&k->lock, NULL) != 0) {
		secret_free(k->release);
		free(k);
		return ERR_NOMEM;
	}
	secret_lock(k->release);
	set_own(k, own, o->now_ms());
	*out = k;
	return ERR_OK;
}

void
heldkeys_free(struct heldkeys *k)
{
	if (k == NULL)
		return;
	secret_free(k->release);
	(void)pthread_mutex_destroy(&k->lock);
	free(k);
}

/* Whether what is held will do for now. */
static bool
fresh(const struct heldkeys *k, const struct question *q, uint64_t now)
{
	if (q->failed_ms != 0 && now - q->failed_ms < RETRY_MS)
		return true;
	if (k->o.refresh_ms == 0)
		return false;
	if (q->busy || now - q->fetched_ms < k->o.refresh_ms)
		return true;
	return q->failed_ms != 0 && now - q->failed_ms < k->o.refresh_ms;
}

/* A good answer.  By default keys never go back to an older block: that is a
 * node which is behind. */
static void
take(struct heldkeys *k, struct app_release *r, const uint64_t *epoch,
    uint64_t now)
{
	uint64_t before = k->pin.epoch;

	if (epoch != NULL) {
		put(k, r, now);
		return;
	}
	if (k->has_own && r->block_number < k->pin.block_number) {
		k->own.fetched_ms = now;
		k->own.failed_ms = 0;
		copy_out(k, r, find(k, k->pin.epoch), now);
		return;
	}
	set_own(k, r, now);
	if (before != r->epoch)
		log_event(LOG_INFO, "epoch_moved", log_u64("from", before),
		    log_u64("to", r->epoch), log_u64("block", r->block_number));
}

/* What was refused was this epoch, or its answer, and not the app. */
static bool
about_epoch(const struct refusal *why)
{
	return why->code == REASON_EPOCH_CLOSED ||
	    why->code == REASON_EPOCH_UNKNOWN ||
	    why->code == REASON_ROOT_MISMATCH ||
	    why->code == REASON_CHAIN_WRONG;
}

/* No more of it: until the KMS releases it again, also if it is away then. */
static void
forget(struct heldkeys *k, const uint64_t *epoch, const struct refusal *why)
{
	size_t i = epoch != NULL ? find(k, *epoch) : HELDKEYS_MAX;

	log_event(LOG_ERROR, "keys_denied",
	    log_str("epoch", epoch != NULL ? "by number" : "pinned"),
	    log_u64("number", epoch != NULL ? *epoch : k->pin.epoch),
	    log_why(why));
	if (!about_epoch(why)) {
		for (size_t n = 0; n < HELDKEYS_MAX; n++)
			drop(k, n);
		k->has_own = false;
	} else if (epoch == NULL) {
		k->has_own = false;
	} else if (i < HELDKEYS_MAX) {
		if (*epoch == k->pin.epoch)
			k->has_own = false;
		drop(k, i);
	}
}

/* No answer could be had: what is held serves on, if it still is. */
static enum err
fall_back(struct heldkeys *k, struct app_release *out, const uint64_t *epoch,
    enum err e, uint64_t now, const struct refusal *why)
{
	struct question *q = question_of(k, epoch);
	size_t i = answer_of(k, epoch);

	if (i == HELDKEYS_MAX)
		return e;
	q->failed_ms = now;
	log_event(LOG_WARN, "keys_not_renewed",
	    log_u64("epoch", k->slot[i].epoch),
	    log_u64("age_ms", now - q->fetched_ms),
	    log_str("error", err_text(e)), log_why(why));
	copy_out(k, out, i, now);
	return ERR_OK;
}

enum err
heldkeys_get(struct heldkeys *k, struct app_release *out, const uint64_t *epoch,
    struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	struct app_release r = { .epoch = 0 };
	struct question *q;
	uint64_t now = k->o.now_ms();
	bool held;
	size_t i;
	enum err e;

	(void)pthread_mutex_lock(&k->lock);
	i = answer_of(k, epoch);
	q = question_of(k, epoch);
	held = i < HELDKEYS_MAX;
	if (held && fresh(k, q, now)) {
		copy_out(k, out, i, now);
		(void)pthread_mutex_unlock(&k->lock);
		return ERR_OK;
	}
	if (held)
		q->busy = true;
	(void)pthread_mutex_unlock(&k->lock);

	e = k->o.fetch(k->o.cookie, &r, epoch, held, &reason);

	now = k->o.now_ms();
	(void)pthread_mutex_lock(&k->lock);
	if ((q = question_of(k, epoch)) != NULL)
		q->busy = false;
	if (e == ERR_OK) {
		take(k, &r, epoch, now);
		*out = r;
	} else if (e == ERR_DENIED) {
		forget(k, epoch, &reason);
	} else {
		e = fall_back(k, out, epoch, e, now, &reason);
	}
	(void)pthread_mutex_unlock(&k->lock);
	if (e != ERR_OK && why != NULL)
		*why = reason;
	release_wipe(&r);
	return e;
}

void
heldkeys_pin(struct heldkeys *k, struct heldkeys_pin *out)
{
	(void)pthread_mutex_lock(&k->lock);
	*out = k->pin;
	out->held = k->has_own;
	(void)pthread_mutex_unlock(&k->lock);
}
