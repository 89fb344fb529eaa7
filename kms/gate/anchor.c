#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "common/eth/tx.h"
#include "kms/gate/anchor.h"
#include "kms/gate/anchorabi.h"

/* Ten blocks: a transaction at twice the base fee is in one of them. */
#define MINED_MS 120000u
/* 500 gwei: refuses an endpoint that names absurd fees. */
#define FEE_CAP 500000000000u

struct anchor {
	struct chainview *view; /* borrows */
	struct anchorabi_at at;
	uint8_t kms[20];
	unsigned timeout_ms;
	unsigned n_urls;
	char *url[LIMIT_CHAIN_ENDPOINTS]; /* owns */
	pthread_mutex_t sending; /* from nonce to sent: one account */
};

static bool
options_ok(const struct anchor_options *o)
{
	static const uint8_t zero[20];

	if (o->chain_id == 0 || o->timeout_ms == 0 || o->n_urls == 0 ||
	    o->n_urls > LIMIT_CHAIN_ENDPOINTS ||
	    memcmp(o->contract, zero, sizeof zero) == 0)
		return false;
	for (unsigned i = 0; i < o->n_urls; i++)
		if (strncmp(o->urls[i], "http://", 7) != 0 &&
		    strncmp(o->urls[i], "https://", 8) != 0)
			return false;
	return true;
}

enum err
anchor_new(struct anchor **out, const struct anchor_options *o)
{
	struct anchor *a;

	if (!options_ok(o))
		return ERR_CONFIG;
	if ((a = calloc(1, sizeof *a)) == NULL)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&a->sending, NULL);
	a->view = o->view;
	a->at.chain_id = o->chain_id;
	memcpy(a->at.contract, o->contract, sizeof a->at.contract);
	memcpy(a->kms, o->kms, sizeof a->kms);
	a->timeout_ms = o->timeout_ms;
	for (; a->n_urls < o->n_urls; a->n_urls++)
		if ((a->url[a->n_urls] = strdup(o->urls[a->n_urls])) == NULL) {
			anchor_free(a);
			return ERR_NOMEM;
		}
	*out = a;
	return ERR_OK;
}

void
anchor_free(struct anchor *a)
{
	if (a == NULL)
		return;
	for (unsigned i = 0; i < a->n_urls; i++)
		free(a->url[i]);
	(void)pthread_mutex_destroy(&a->sending);
	free(a);
}

/* ---- reading ---- */

/* Whatever the quorum's answer is instead of a state: the anchor cannot be
 * read, and nobody is told more than that. */
static enum err
unreadable(struct refusal *why, const char *what)
{
	(void)refuse(why, REASON_CHAIN_ANSWER, "anchor: %s", what);
	return ERR_AGAIN;
}

static enum err
read_state(struct anchor *a, int64_t now, struct anchor_state *out,
    struct refusal *why)
{
	static const uint8_t nobody[20];
	struct refusal reason = { .code = REASON_NONE };
	struct buf call = { 0 }, answer = { 0 };
	struct anchor_state s;
	struct chain_block at;
	enum err e;

	if ((e = anchorabi_call_state(&call)) != ERR_OK)
		goto done;
	if ((e = chainview_get(a->view, now, &at, why)) != ERR_OK)
		goto done;
	e = chainview_call(a->view, &at, a->at.contract, buf_view(&call),
	    ANCHORABI_STATE_MAX, &answer, &reason);
	if (e == ERR_DENIED) {
		e = unreadable(why, reason.detail);
	} else if (e != ERR_OK) {
		if (why != NULL)
			*why = reason;
	} else if (answer.len == 0) {
		e = unreadable(why, "is there a contract at the address?");
	} else if (anchorabi_state(&s, buf_view(&answer)) != ERR_OK) {
		e = unreadable(why, "not a state that it can be in");
	} else if (memcmp(a->kms, nobody, sizeof nobody) != 0 &&
	    memcmp(a->kms, s.kms, sizeof s.kms) != 0) {
		e = unreadable(why, "it is another KMS contract's");
	} else {
		s.v.block = at;
		*out = s;
	}
done:
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

enum err
anchor_read(
    struct anchor *a, int64_t now, struct anchor_view *out, struct refusal *why)
{
	struct anchor_state s;
	enum err e = read_state(a, now, &s, why);

	if (e == ERR_OK)
		*out = s.v;
	return e;
}

/* ---- writing ---- */

enum err
anchor_key(struct k256_secret *out, struct epoch_roots *epoch0)
{
	struct epoch_public pub;

	epoch_roots_public(epoch0, &pub);
	return pub.number != 0 ? ERR_MALFORMED : keys_anchor(out, epoch0);
}

void
anchor_genesis_report_data(
    uint8_t out[static 64], const struct anchor_genesis *g)
{
	uint8_t chain[8], index[8];
	struct wr c = { .p = chain, .cap = 8 }, i = { .p = index, .cap = 8 };

	wr_be64(&c, g->chain_id);
	wr_be64(&i, g->at.index);
	sha512_v(out,
	    (const struct bytes[]){ BYTES_STR("devproof-kms/genesis-anchor/v1"),
		BYTES_OF(chain), BYTES_OF(g->contract), BYTES_OF(g->root.b),
		BYTES_OF(index), BYTES_OF(g->at.hash), BYTES_OF(g->incarnation),
		BYTES_OF(g->signer) },
	    8);
}

static void
pause_ms(unsigned ms)
{
	const struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL);
}

/* calldata signs what `w` means at the order that we see.  An advance needs
 * none, and so works when the chain view lags. */
static enum err
calldata(struct buf *out, struct anchor *a, const struct anchor_write *w,
    const struct k256_secret *key, int64_t now, struct refusal *why)
{
	struct anchor_write tmp = *w;
	struct anchor_state s = { .orders = 0 };
	enum err e;

	if (w->kind != ANCHOR_ADVANCE &&
	    (e = read_state(a, now, &s, why)) != ERR_OK)
		return e;
	if (w->kind == ANCHOR_VETO) {
		if (!s.v.announced.set)
			return refuse(
			    why, REASON_CONTRACT_OTHER, "nothing is announced");
		tmp.from = s.v.at;
	}
	return anchorabi_write(out, &a->at, &tmp, s.orders, key);
}

static enum err
hand_over(uint8_t hash[static 32], struct anchor *a, const struct tx_chain *c,
    struct bytes data, const struct k256_secret *key, struct refusal *why)
{
	struct tx tx = { .chain_id = a->at.chain_id, .data = data };
	struct buf raw = { 0 };
	struct k256_pub pub;
	uint8_t from[20];
	enum err e;

	memcpy(tx.to, a->at.contract, sizeof tx.to);
	if ((e = k256_pubkey(&pub, key)) != ERR_OK ||
	    (e = k256_address(from, &pub)) != ERR_OK)
		return e;
	/* Two of our threads must not take the same nonce. */
	(void)pthread_mutex_lock(&a->sending);
	e = tx_fill(&tx, c, from, why);
	if (e == ERR_OK)
		e = tx_sign(&raw, hash, &tx, key);
	if (e == ERR_OK)
		e = tx_send(c, buf_view(&raw), hash, why);
	(void)pthread_mutex_unlock(&a->sending);
	buf_fini(&raw);
	return e;
}

/* refused_by: one endpoint's word, DENIED by tx.h, becomes ours.  What the
 * contract refuses is final; everything else may pass. */
static enum err
refused_by(enum err e, const struct refusal *why)
{
	if (e != ERR_DENIED)
		return e;
	return why->code == REASON_CONTRACT_OTHER ? ERR_DENIED : ERR_AGAIN;
}

static enum err
await(const struct tx_chain *c, const uint8_t hash[static 32],
    struct refusal *why)
{
	struct tx_receipt r;
	enum err e = tx_wait(&r, c, hash, MINED_MS);

	if (e == ERR_TIMEOUT)
		return refuse(why, REASON_CHAIN_UNREACHABLE,
		    "sent, and not mined within %u s", MINED_MS / 1000);
	if (e == ERR_OK && !r.success)
		return refuse(why, REASON_CONTRACT_OTHER,
		    "mined in block %llu, and reverted",
		    (unsigned long long)r.block_number);
	return e;
}

/* send tries one endpoint after the other until one takes it.  One that says
 * that the contract refuses may lag or lie: so the next is asked, too, and
 * that word counts only if nobody takes it. */
static enum err
send(struct anchor *a, struct bytes data, const struct k256_secret *key,
    struct refusal *why)
{
	struct tx_chain c = { .timeout_ms = a->timeout_ms,
		.max_fee_cap = FEE_CAP,
		.mono_ms = clock_mono_ms,
		.pause_ms = pause_ms };
	struct refusal said = { .code = REASON_NONE };
	enum err e, worst = ERR_AGAIN;
	uint8_t hash[32];

	for (unsigned i = 0; i < a->n_urls; i++) {
		c.url = a->url[i];
		e = hand_over(hash, a, &c, data, key, &said);
		if (e == ERR_OK)
			return refused_by(await(&c, hash, why), why);
		if (e != ERR_DENIED)
			return e;
		e = refused_by(e, &said);
		if (e == ERR_DENIED || worst != ERR_DENIED)
			*why = said;
		if (e == ERR_DENIED)
			worst = e;
	}
	return worst;
}

enum err
anchor_send(struct anchor *a, const struct anchor_write *w,
    const struct k256_secret *key, int64_t now, struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	struct buf data = { 0 };
	enum err e = calldata(&data, a, w, key, now, &reason);

	if (e == ERR_OK)
		e = send(a, buf_view(&data), key, &reason);
	if (e != ERR_OK && why != NULL)
		*why = reason;
	buf_fini(&data);
	return e;
}
