#include <stdlib.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "kms/gate/anchor.h"
#include "kms/gate/anchorabi.h"
#include "kms/gate/clustertx.h"

struct anchor {
	struct chainview *view; /* borrows */
	struct clustertx *tx; /* owns */
	struct anchorabi_at at;
	uint8_t kms[20];
};

enum err
anchor_new(struct anchor **out, const struct anchor_options *o)
{
	static const uint8_t zero[20];
	const struct clustertx_options to = { .chain_id = o->chain_id,
		.urls = o->urls,
		.n_urls = o->n_urls,
		.timeout_ms = o->timeout_ms };
	struct anchor *a;
	enum err e;

	if (memcmp(o->contract, zero, sizeof zero) == 0)
		return ERR_CONFIG;
	if ((a = calloc(1, sizeof *a)) == NULL)
		return ERR_NOMEM;
	if ((e = clustertx_new(&a->tx, &to)) != ERR_OK) {
		free(a);
		return e;
	}
	a->view = o->view;
	a->at.chain_id = o->chain_id;
	memcpy(a->at.contract, o->contract, sizeof a->at.contract);
	memcpy(a->kms, o->kms, sizeof a->kms);
	*out = a;
	return ERR_OK;
}

void
anchor_free(struct anchor *a)
{
	if (a == NULL)
		return;
	clustertx_free(a->tx);
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
    char odd[static CHAINVIEW_ODD], struct refusal *why)
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
	e = chainview_call_noting(a->view, &at, a->at.contract, buf_view(&call),
	    ANCHORABI_STATE_MAX, &answer, odd, &reason);
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
anchor_read_noting(struct anchor *a, int64_t now, struct anchor_view *out,
    char odd[static CHAINVIEW_ODD], struct refusal *why)
{
	struct anchor_state s;
	enum err e = read_state(a, now, &s, odd, why);

	if (e == ERR_OK)
		*out = s.v;
	return e;
}

enum err
anchor_read(
    struct anchor *a, int64_t now, struct anchor_view *out, struct refusal *why)
{
	char odd[CHAINVIEW_ODD];

	return anchor_read_noting(a, now, out, odd, why);
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

/* calldata signs what `w` means at the order that we see.  An advance needs
 * none, and so works when the chain view lags. */
static enum err
calldata(struct buf *out, struct anchor *a, const struct anchor_write *w,
    const struct k256_secret *key, int64_t now, struct refusal *why)
{
	struct anchor_write tmp = *w;
	struct anchor_state s = { .orders = 0 };
	char odd[CHAINVIEW_ODD];
	enum err e;

	if (w->kind != ANCHOR_ADVANCE &&
	    (e = read_state(a, now, &s, odd, why)) != ERR_OK)
		return e;
	if (w->kind == ANCHOR_VETO) {
		if (!s.v.announced.set)
			return refuse(
			    why, REASON_CONTRACT_OTHER, "nothing is announced");
		tmp.from = s.v.at;
	}
	return anchorabi_write(out, &a->at, &tmp, s.orders, key);
}

enum err
anchor_send(struct anchor *a, const struct anchor_write *w,
    const struct k256_secret *key, int64_t now, struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	struct buf data = { 0 };
	enum err e = calldata(&data, a, w, key, now, &reason);

	if (e == ERR_OK)
		e = clustertx_send(
		    a->tx, a->at.contract, buf_view(&data), key, &reason);
	if (e != ERR_OK && why != NULL)
		*why = reason;
	buf_fini(&data);
	return e;
}
