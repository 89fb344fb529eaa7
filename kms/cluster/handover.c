/* Asking the other members for the wrapping keys of the epochs that the
 * ledger has: a channel of its own, on which both sides are attested, and on
 * which we show that we are the incarnation that the log has admitted. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"

#define DIAL_MS 15000 /* a TDX quote may take seconds */
#define CALL_MS 10000
#define RETRY_MS 1000
#define RETRY_MAX_MS 5000 /* what nobody has may be lost */

/* ---- on the worker ---- */

/* The keys that open what the ledger says; others are refused.  The anchor's
 * comes by itself when epoch 0 is gone; whose it is, keystore.c looks at. */
static enum err
take_keys(struct handover *h, const Devproof__Kms__V1__Joined *j)
{
	bool any = false;

	for (size_t i = 0; i < j->n_keys; i++) {
		const Devproof__Kms__V1__EpochKey *k = j->keys[i];
		struct epoch_roots *r = NULL;
		struct wrap_key w;

		if (k->number == KEYSTORE_ANCHOR) {
			memcpy(h->key[h->n_epochs].b, k->wrap_key.data,
			    WRAP_KEY_LEN);
			h->got_anchor = any = true;
			continue;
		}
		if (k->number >= h->n_epochs || h->got[k->number])
			continue;
		memcpy(w.b, k->wrap_key.data, sizeof w.b);
		if (wrap_open(&r, &w, &h->epoch[k->number].pub,
			h->epoch[k->number].wrapped) == ERR_OK) {
			h->key[k->number] = w;
			h->got[k->number] = any = true;
		}
		epoch_roots_free(r);
		wrap_key_wipe(&w);
	}
	return any ? ERR_OK
		   : refuse(&h->why, REASON_ROOT_MISMATCH,
			 "no key that opens the cluster's roots");
}

static enum err
ask(struct handover *h, struct channel *ch)
{
	Devproof__Kms__V1__Join join;
	KmsRequest m = DEVPROOF__KMS__V1__REQUEST__INIT;
	KmsReply *reply = NULL;
	struct buf request = { 0 }, answer = { 0 };
	uint8_t sig[INCARNATION_SIG_LEN];
	uint64_t want[LEDGER_MAX_EPOCHS + 1];
	const struct cluster *c = h->c;
	enum err e;

	devproof__kms__v1__join__init(&join);
	if ((e = incarnation_sign(sig, c->o.incarnation, CHANNEL_KMS_PEER,
		 c->self.slot, channel_handshake_hash(ch))) != ERR_OK)
		return e;
	join.want = want;
	for (size_t i = 0; i < h->n_epochs; i++)
		if (h->lacks[i])
			want[join.n_want++] = i;
	if (h->lacks_anchor)
		want[join.n_want++] = KEYSTORE_ANCHOR;
	join.slot = (char *)(uintptr_t)c->self.slot;
	join.incarnation = msg_bytes(c->self.incarnation, INCARNATION_ID_LEN);
	join.signature = msg_bytes(sig, sizeof sig);
	m.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_JOIN;
	m.join = &join;
	if ((e = msg_request_pack(&request, &m)) == ERR_OK)
		e = channel_call(
		    ch, &answer, buf_view(&request), CALL_MS, &h->why);
	if (e == ERR_OK && msg_reply_parse(&reply, buf_view(&answer)) != ERR_OK)
		e = refuse(&h->why, REASON_REQUEST, "reply does not parse");
	buf_wipe(&answer);
	buf_fini(&request);
	if (e == ERR_OK)
		e = msg_reply_refusal(reply, &h->why);
	if (e == ERR_OK)
		e = reply->body_case == DEVPROOF__KMS__V1__REPLY__BODY_JOINED
		    ? take_keys(h, reply->joined)
		    : refuse(&h->why, REASON_REQUEST, "unexpected reply");
	msg_reply_free(reply);
	return e;
}

static void
run(uv_work_t *work)
{
	struct handover *h = work->data;
	const struct kmsd_config *cfg = h->c->o.cfg;

	for (unsigned i = 0; i < cfg->n_peers; i++) {
		struct channel *ch = NULL;
		enum err e = channel_dial(&ch, h->c->o.cx, CHANNEL_KMS_PEER,
		    cfg->peer[i], DIAL_MS, &h->why);

		if (e == ERR_OK)
			e = ask(h, ch);
		channel_close(ch);
		if (e == ERR_OK)
			return;
		if (h->why.code == REASON_NONE)
			(void)refuse(
			    &h->why, REASON_TIMEOUT, "%s", err_text(e));
	}
}

/* ---- on the loop ---- */

/* What was here already, or came with the log meanwhile. */
static bool
had(const struct cluster *c, const struct handover *h, size_t i)
{
	const struct k256_pub *k = &h->epoch[i].pub.k256;

	return c->has_wrap[i] && memcmp(&c->wrap_of[i], k, sizeof *k) == 0;
}

static void
after(uv_work_t *work, int status)
{
	struct handover *h = work->data;
	struct cluster *c = h->c;
	struct k256_secret anchor;
	bool any = false;

	c->handover = NULL;
	if (status == 0 && h->got_anchor && !c->stopping && !c->halted) {
		memcpy(anchor.b, h->key[h->n_epochs].b, sizeof anchor.b);
		any = keystore_put_anchor(c, &anchor) == ERR_OK;
		k256_secret_wipe(&anchor);
	}
	for (size_t i = 0; status == 0 && i < h->n_epochs; i++)
		if (h->got[i] && !had(c, h, i) && !c->stopping && !c->halted &&
		    keystore_hold(c, &h->key[i], &h->epoch[i].pub,
			h->epoch[i].wrapped) == ERR_OK) {
			any = true;
			log_event(
			    LOG_INFO, "keys_received", log_u64("epoch", i));
		}
	/* Who waits for its lease will have it in a few blocks. */
	c->handover_wait_ms = any || h->why.code == REASON_CHAIN_LEASE
	    ? RETRY_MS
	    : 2 * c->handover_wait_ms;
	if (c->handover_wait_ms > RETRY_MAX_MS)
		c->handover_wait_ms = RETRY_MAX_MS;
	c->next_handover_ms = clock_boot_ms() + c->handover_wait_ms;
	if (any)
		keystore_adopt(c);
	else if (!c->stopping && !c->halted && h->why.code != REASON_NONE)
		cluster_tell(c, &h->why);
	secret_free(h->key);
	free(h->epoch);
	free(h);
	cluster_maybe_done(c);
}

/* The epochs of the ledger whose keys are not here. */
static bool
lacks_keys(const struct cluster *c, struct handover *h)
{
	const struct ledger *l = core_ledger(c->core);
	bool any = false;

	for (size_t i = 0; i < ledger_n_epochs(l); i++) {
		h->lacks[i] =
		    !keystore_has(c, i) && core_epoch_open(c->core, i);
		any |= h->lacks[i];
	}
	h->lacks_anchor = ledger_n_epochs(l) > 0 && !c->has_anchor_key;
	return any || h->lacks_anchor;
}

/* A key that came to be since they were asked in vain may be there. */
static void
note_newest(struct cluster *c)
{
	uint64_t at = ledger_critical_index(core_ledger(c->core));

	if (at == c->handover_of)
		return;
	c->handover_of = at;
	c->handover_wait_ms = RETRY_MS;
	c->next_handover_ms = 0;
}

/* The log has admitted this very incarnation. */
static bool
admitted(const struct cluster *c)
{
	const struct ledger_member *m =
	    ledger_slot(core_ledger(c->core), c->self.slot);

	return m != NULL && m->present &&
	    memcmp(m->who.incarnation, c->self.incarnation,
		INCARNATION_ID_LEN) == 0;
}

void
handover_begin(struct cluster *c)
{
	struct handover *h;

	note_newest(c);
	/* Who has just made a cluster is its only member. */
	if (c->handover != NULL || c->stopping || c->halted ||
	    core_phase(c->core) == CORE_GENESIS ||
	    clock_boot_ms() < c->next_handover_ms || !admitted(c) ||
	    (h = calloc(1, sizeof *h)) == NULL)
		return;
	if (!lacks_keys(c, h)) {
		free(h);
		return;
	}
	h->c = c;
	h->work.data = h;
	h->epoch = cluster_copy_epochs(c, &h->n_epochs);
	h->key = secret_new((h->n_epochs + 1) * sizeof *h->key);
	for (size_t i = 0; i < h->n_epochs; i++)
		h->got[i] = keystore_has(c, i);
	if (h->epoch != NULL && h->key != NULL &&
	    uv_queue_work(c->o.loop, &h->work, run, after) == 0) {
		c->handover = h;
		return;
	}
	secret_free(h->key);
	free(h->epoch);
	free(h);
}
