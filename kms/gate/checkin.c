#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/wr.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "kms/gate/checkin.h"

#define SELECTOR_AT 0x6edb6422u /* at(bytes32) */
#define SELECTOR_CHECK_IN 0x4662d1ddu /* checkIn(bytes32) */
#define CALL_LEN (4u + ABI_WORD)

struct checkin {
	struct chainview *view; /* borrows */
	struct clustertx *tx; /* owns */
	uint8_t contract[20];
};

enum err
checkin_new(struct checkin **out, const struct checkin_options *o)
{
	static const uint8_t zero[20];
	const struct clustertx_options to = { .chain_id = o->chain_id,
		.urls = o->urls,
		.n_urls = o->n_urls,
		.timeout_ms = o->timeout_ms };
	struct checkin *c;
	enum err e;

	if (memcmp(o->contract, zero, sizeof zero) == 0)
		return ERR_CONFIG;
	if ((c = calloc(1, sizeof *c)) == NULL)
		return ERR_NOMEM;
	if ((e = clustertx_new(&c->tx, &to)) != ERR_OK) {
		free(c);
		return e;
	}
	c->view = o->view;
	memcpy(c->contract, o->contract, sizeof c->contract);
	*out = c;
	return ERR_OK;
}

void
checkin_free(struct checkin *c)
{
	if (c == NULL)
		return;
	clustertx_free(c->tx);
	free(c);
}

void
checkin_batch(uint8_t out[static 32], uint64_t chain_id,
    const uint8_t contract[static 20],
    const uint8_t (*nonce)[CHECKIN_NONCE_LEN], unsigned n)
{
	uint8_t chain[8], count = (uint8_t)n;
	struct wr w = { .p = chain, .cap = sizeof chain };

	assert(n > 0 && n <= CHECKIN_BATCH_MAX);
	wr_be64(&w, chain_id);
	keccak256_v(out,
	    (const struct bytes[]){ BYTES_STR("devproof-kms/checkin/v1"),
		BYTES_OF(chain), { contract, 20 }, { &count, 1 },
		{ nonce[0], (size_t)n * CHECKIN_NONCE_LEN } },
	    5);
}

static struct bytes
calldata(uint8_t out[static CALL_LEN], uint32_t selector,
    const uint8_t batch[static 32])
{
	struct wr w = { .p = out, .cap = CALL_LEN };

	wr_be32(&w, selector);
	wr_bytes(&w, batch, 32);
	return (struct bytes){ out, CALL_LEN };
}

/* Whatever the quorum's answer is instead of a time. */
static enum err
unreadable(struct refusal *why, const char *what)
{
	(void)refuse(why, REASON_CHAIN_ANSWER, "check-in: %s", what);
	return ERR_AGAIN;
}

/* When `batch` came, 0: it did not. */
static enum err
ask(struct checkin *c, const struct chain_block *at,
    const uint8_t batch[static 32], uint64_t *time, struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	struct buf answer = { 0 };
	uint8_t call[CALL_LEN];
	uint64_t t;
	enum err e;

	e = chainview_call(c->view, at, c->contract,
	    calldata(call, SELECTOR_AT, batch), ABI_WORD, &answer, &reason);
	if (e == ERR_DENIED) {
		e = unreadable(why, reason.detail);
	} else if (e != ERR_OK) {
		*why = reason;
	} else if (answer.len == 0) {
		e = unreadable(why, "is there a contract at the address?");
	} else if (abi_get_u64(&t, buf_view(&answer)) != ERR_OK) {
		e = unreadable(why, "not a time");
	} else if (t > at->timestamp) {
		e = unreadable(why, "a time after the block");
	} else {
		*time = t;
	}
	buf_fini(&answer);
	return e;
}

enum err
checkin_find(struct checkin *c, int64_t now, const uint8_t (*batch)[32],
    unsigned n, struct checkin_found *out, struct refusal *why)
{
	struct checkin_found f = { .found = false };
	struct refusal reason = { .code = REASON_NONE };
	enum err e = chainview_get(c->view, now, &f.block, &reason);

	for (unsigned i = 0; e == ERR_OK && !f.found && i < n; i++) {
		e = ask(c, &f.block, batch[i], &f.time, &reason);
		f.found = e == ERR_OK && f.time != 0;
		f.which = i;
	}
	if (e == ERR_OK)
		*out = f;
	else if (why != NULL)
		*why = reason;
	return e;
}

enum err
checkin_send(struct checkin *c, const uint8_t batch[static 32],
    const struct k256_secret *account, struct refusal *why)
{
	struct refusal reason = { .code = REASON_NONE };
	uint8_t call[CALL_LEN];
	enum err e = clustertx_send(c->tx, c->contract,
	    calldata(call, SELECTOR_CHECK_IN, batch), account, &reason);

	if (e != ERR_OK && why != NULL)
		*why = reason;
	return e;
}
