#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "kms/gate/gate.h"

/* Decisions kept for one block: the apps that boot within a minute or so.
 * One place each, chosen by the hash: a collision costs one more call. */
#define CACHE_SLOTS 1024u
static_assert(0x10000 % CACHE_SLOTS == 0, "slots divide two bytes of hash");

/* On a busy machine an answer can take as long as a block where those are seconds
 * apart; more tries would be work for a contract that is slow on purpose. */
#define ASK_TRIES 4

struct slot {
	bool used;
	uint8_t key[32]; /* SHA-256 of the calldata: question and CVM */
	enum err verdict; /* ERR_OK or ERR_DENIED */
	struct refusal why;
};

struct gate {
	struct chainview *view; /* borrows */
	uint8_t contract[20];
	struct standard *standard; /* owns; NULL: no code is pinned */

	pthread_mutex_t lock; /* for all below */
	bool have_block;
	struct chain_block block; /* of everything kept below */
	struct slot slot[CACHE_SLOTS];
	bool have_info;
	struct gate_kms_info info;
	bool have_gateway;
	char gateway[GATE_GATEWAY_ID_MAX];
	struct gate_stats stats;
};

enum err
gate_new(struct gate **out, struct chainview *view,
    const uint8_t kms_contract[static 20])
{
	struct gate *g = calloc(1, sizeof *g);

	if (g == NULL)
		return ERR_NOMEM;
	g->view = view;
	memcpy(g->contract, kms_contract, sizeof g->contract);
	(void)pthread_mutex_init(&g->lock, NULL);
	*out = g;
	return ERR_OK;
}

enum err
gate_pin(struct gate *g, const struct standard_code *code, unsigned n)
{
	struct witness *w = chainview_witness(g->view);
	enum err e;

	if (w == NULL || g->standard != NULL)
		return ERR_CONFIG;
	e = standard_new(&g->standard, w, g->contract, code, n);
	return e == ERR_LIMIT ? ERR_CONFIG : e;
}

void
gate_free(struct gate *g)
{
	if (g == NULL)
		return;
	standard_free(g->standard);
	(void)pthread_mutex_destroy(&g->lock);
	free(g);
}

/* cache_at makes the cache that of block `b`: under the lock.  False when
 * it is another thread's newer block, so that ours is not kept. */
static bool
cache_at(struct gate *g, const struct chain_block *b)
{
	if (g->have_block &&
	    memcmp(g->block.hash, b->hash, sizeof b->hash) == 0)
		return true;
	if (g->have_block && b->number <= g->block.number)
		return false;
	memset(g->slot, 0, sizeof g->slot);
	g->have_info = false;
	g->have_gateway = false;
	g->have_block = true;
	g->block = *b;
	return true;
}

static struct slot *
slot_of(struct gate *g, const uint8_t key[static 32])
{
	return &g->slot[(unsigned)(key[0] << 8 | key[1]) % CACHE_SLOTS];
}

static bool
cache_get(struct gate *g, const struct chain_block *b,
    const uint8_t key[static 32], enum err *verdict, struct refusal *why)
{
	bool hit = false;

	(void)pthread_mutex_lock(&g->lock);
	if (cache_at(g, b)) {
		const struct slot *s = slot_of(g, key);

		hit = s->used && memcmp(s->key, key, sizeof s->key) == 0;
		if (hit) {
			*verdict = s->verdict;
			*why = s->why;
		}
	}
	(void)pthread_mutex_unlock(&g->lock);
	return hit;
}

static void
cache_put(struct gate *g, const struct chain_block *b,
    const uint8_t key[static 32], enum err verdict, const struct refusal *why)
{
	(void)pthread_mutex_lock(&g->lock);
	if (cache_at(g, b)) {
		struct slot *s = slot_of(g, key);

		s->used = true;
		memcpy(s->key, key, sizeof s->key);
		s->verdict = verdict;
		s->why = *why;
	}
	(void)pthread_mutex_unlock(&g->lock);
}

static enum err
not_canonical(struct refusal *why, struct bytes answer)
{
	if (answer.len == 0)
		return refuse(why, REASON_CHAIN_ANSWER,
		    "empty answer: is there a contract at the address?");
	return refuse(why, REASON_CHAIN_ANSWER,
	    "answer of %zu bytes is not in canonical form", answer.len);
}

/* ask_contract: ERR_OK, ERR_DENIED or ERR_AGAIN. */
static enum err
ask_contract(struct gate *g, const struct chain_block *b, struct bytes calldata,
    struct refusal *why)
{
	struct buf answer = { 0 };
	char text[LIMIT_REASON_TEXT + 1];
	struct bytes reason;
	bool allowed;
	enum err e;

	e = chainview_call(
	    g->view, b, g->contract, calldata, LIMIT_CALL_ANSWER, &answer, why);
	if (e != ERR_OK)
		goto done;
	if (appauth_answer(&allowed, &reason, buf_view(&answer)) != ERR_OK) {
		e = not_canonical(why, buf_view(&answer));
		goto done;
	}
	/* A text beside "allowed" means nothing. */
	if (allowed)
		goto done;
	abi_text(text, sizeof text, reason);
	e = refuse(why, reason_from_contract(text), "%s", text);
done:
	buf_fini(&answer);
	return e;
}

/* From slots if the contracts are known, else by a call. */
static enum err
decide(struct gate *g, enum gate_kind kind, const struct chain_block *b,
    const struct boot_info *bi, struct bytes calldata, struct refusal *why)
{
	enum err e = ERR_UNSUPPORTED;

	if (g->standard != NULL)
		e = kind == GATE_APP ? standard_app(g->standard, b, bi, why)
				     : standard_kms(g->standard, b, bi, why);
	return e == ERR_UNSUPPORTED ? ask_contract(g, b, calldata, why) : e;
}

static void
count(struct gate *g, enum err e, enum reason code, bool cached)
{
	(void)pthread_mutex_lock(&g->lock);
	g->stats.allowed += e == ERR_OK;
	g->stats.denied += e == ERR_DENIED;
	g->stats.again += e == ERR_AGAIN;
	g->stats.from_cache += cached;
	if (e == ERR_DENIED || e == ERR_AGAIN)
		g->stats.by_reason[code]++;
	(void)pthread_mutex_unlock(&g->lock);
}

/* The answer at block d->block, from before if it was asked. */
static enum err
ask_at(struct gate *g, enum gate_kind kind, const struct boot_info *bi,
    struct bytes calldata, struct gate_decision *d, struct refusal *why)
{
	uint8_t key[32];
	enum err e;

	sha256(key, calldata.p, calldata.len);
	d->cached = cache_get(g, &d->block, key, &e, why);
	if (d->cached)
		return e;
	e = decide(g, kind, &d->block, bi, calldata, why);
	if (e == ERR_OK || e == ERR_DENIED)
		cache_put(g, &d->block, key, e, why);
	return e;
}

/* A contract, or an endpoint, can be long in answering: what was an approval at
 * its beginning is none at a later block. */
static enum err
ask_now(struct gate *g, enum gate_kind kind, const struct boot_info *bi,
    struct bytes calldata, int64_t now, struct gate_decision *d,
    struct refusal *why)
{
	struct chain_block after;
	enum err e = chainview_get(g->view, now, &d->block, why);

	for (unsigned i = 0; e == ERR_OK && i < ASK_TRIES; i++) {
		e = ask_at(g, kind, bi, calldata, d, why);
		if (e != ERR_OK || d->cached)
			return e;
		e = chainview_get(g->view, now, &after, why);
		if (e != ERR_OK ||
		    memcmp(after.hash, d->block.hash, sizeof after.hash) == 0)
			return e;
		d->block = after;
	}
	if (e == ERR_OK) {
		(void)refuse(why, REASON_CHAIN_DISAGREE,
		    "the block moved on while the contract was asked");
		e = ERR_AGAIN;
	}
	return e;
}

enum err
gate_ask(struct gate *g, enum gate_kind kind, const struct boot_info *bi,
    int64_t now, struct gate_decision *out, struct refusal *why)
{
	uint32_t selector =
	    kind == GATE_APP ? APPAUTH_IS_APP_ALLOWED : APPAUTH_IS_KMS_ALLOWED;
	struct gate_decision d = { 0 };
	struct refusal reason = { 0 };
	struct buf calldata = { 0 };
	enum err e;

	assert(kind == GATE_APP || kind == GATE_KMS);
	if ((e = appauth_call(&calldata, selector, bi)) != ERR_OK)
		goto done;
	e = ask_now(g, kind, bi, buf_view(&calldata), now, &d, &reason);
	count(g, e, reason.code, d.cached);
	if (e == ERR_OK || e == ERR_DENIED)
		*out = d;
	if (e != ERR_OK && why != NULL)
		*why = reason;
done:
	buf_fini(&calldata);
	return e;
}

enum err
gate_block(
    struct gate *g, int64_t now, struct chain_block *out, struct refusal *why)
{
	return chainview_get(g->view, now, out, why);
}

/* ---- getters of the KMS contract ---- */

static enum err
call_getter(struct gate *g, const struct chain_block *b, uint32_t selector,
    size_t max, struct buf *answer, struct refusal *why)
{
	struct buf calldata = { 0 };
	enum err e = appauth_getter(&calldata, selector);

	if (e == ERR_OK && g->standard != NULL)
		e = standard_check_kms(g->standard, b, why);
	if (e == ERR_OK)
		e = chainview_call(g->view, b, g->contract, buf_view(&calldata),
		    max, answer, why);
	buf_fini(&calldata);
	return e;
}

static enum err
read_info(struct gate_kms_info *out, struct bytes answer, struct refusal *why)
{
	struct appauth_kms_info m;

	if (appauth_kms_info(&m, answer) != ERR_OK)
		return not_canonical(why, answer);
	if (m.k256_pub.len > GATE_PUB_MAX || m.ca_pub.len > GATE_PUB_MAX)
		return refuse(why, REASON_CHAIN_ANSWER,
		    "kmsInfo: keys of %zu and %zu bytes", m.k256_pub.len,
		    m.ca_pub.len);
	*out = (struct gate_kms_info){
		.k256_pub_len = m.k256_pub.len,
		.ca_pub_len = m.ca_pub.len,
	};
	memcpy(out->k256_pub, m.k256_pub.p, m.k256_pub.len);
	memcpy(out->ca_pub, m.ca_pub.p, m.ca_pub.len);
	return ERR_OK;
}

enum err
gate_kms_info(struct gate *g, int64_t now, struct gate_kms_info *out,
    struct chain_block *at, struct refusal *why)
{
	struct gate_kms_info info;
	struct buf answer = { 0 };
	struct chain_block b;
	bool have;
	enum err e;

	if ((e = chainview_get(g->view, now, &b, why)) != ERR_OK)
		return e;
	(void)pthread_mutex_lock(&g->lock);
	have = cache_at(g, &b) && g->have_info;
	if (have)
		info = g->info;
	(void)pthread_mutex_unlock(&g->lock);
	if (have)
		goto found;
	e = call_getter(g, &b, APPAUTH_KMS_INFO, LIMIT_KMS_INFO, &answer, why);
	if (e != ERR_OK)
		goto done;
	if ((e = read_info(&info, buf_view(&answer), why)) != ERR_OK)
		goto done;
	(void)pthread_mutex_lock(&g->lock);
	if (cache_at(g, &b)) {
		g->info = info;
		g->have_info = true;
	}
	(void)pthread_mutex_unlock(&g->lock);
found:
	*out = info;
	*at = b;
done:
	buf_fini(&answer);
	return e;
}

static enum err
read_gateway(char out[static GATE_GATEWAY_ID_MAX], struct bytes answer,
    struct refusal *why)
{
	char text[GATE_GATEWAY_ID_MAX];
	struct bytes m;

	if (abi_get_dynamic(&m, 1, answer) != ERR_OK)
		return not_canonical(why, answer);
	abi_text(text, sizeof text, m);
	/* Shown text may be mended; an identifier must be what it is. */
	if (strlen(text) != m.len || memcmp(text, m.p, m.len) != 0)
		return refuse(why, REASON_CHAIN_ANSWER,
		    "gatewayAppId of %zu bytes: %s", m.len, text);
	memcpy(out, text, m.len + 1);
	return ERR_OK;
}

enum err
gate_gateway_app_id(struct gate *g, int64_t now,
    char out[static GATE_GATEWAY_ID_MAX], struct chain_block *at,
    struct refusal *why)
{
	char text[GATE_GATEWAY_ID_MAX];
	struct buf answer = { 0 };
	struct chain_block b;
	bool have;
	enum err e;

	if ((e = chainview_get(g->view, now, &b, why)) != ERR_OK)
		return e;
	(void)pthread_mutex_lock(&g->lock);
	have = cache_at(g, &b) && g->have_gateway;
	if (have)
		memcpy(text, g->gateway, sizeof text);
	(void)pthread_mutex_unlock(&g->lock);
	if (have)
		goto found;
	e = call_getter(
	    g, &b, APPAUTH_GATEWAY_APP_ID, LIMIT_CALL_ANSWER, &answer, why);
	if (e != ERR_OK)
		goto done;
	memset(text, 0, sizeof text);
	if ((e = read_gateway(text, buf_view(&answer), why)) != ERR_OK)
		goto done;
	(void)pthread_mutex_lock(&g->lock);
	if (cache_at(g, &b)) {
		memcpy(g->gateway, text, sizeof text);
		g->have_gateway = true;
	}
	(void)pthread_mutex_unlock(&g->lock);
found:
	memcpy(out, text, sizeof text);
	*at = b;
done:
	buf_fini(&answer);
	return e;
}

enum err
gate_app_registered(struct gate *g, const uint8_t app_id[static 20],
    int64_t now, bool *out, struct chain_block *at, struct refusal *why)
{
	struct buf calldata = { 0 }, answer = { 0 };
	struct chain_block b;
	enum err e;

	if ((e = chainview_get(g->view, now, &b, why)) != ERR_OK)
		return e;
	e = appauth_of_app(&calldata, APPAUTH_REGISTERED_APPS, app_id);
	if (e == ERR_OK)
		e = chainview_call(g->view, &b, g->contract,
		    buf_view(&calldata), ABI_WORD, &answer, why);
	if (e == ERR_OK && abi_get_bool(out, buf_view(&answer)) != ERR_OK)
		e = not_canonical(why, buf_view(&answer));
	if (e == ERR_OK)
		*at = b;
	buf_fini(&calldata);
	buf_fini(&answer);
	return e;
}

void
gate_stats(struct gate *g, struct gate_stats *out)
{
	(void)pthread_mutex_lock(&g->lock);
	*out = g->stats;
	(void)pthread_mutex_unlock(&g->lock);
}
