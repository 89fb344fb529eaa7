#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/eth/tx.h"
#include "kms/gate/clustertx.h"

/* Ten blocks: a transaction at twice the base fee is in one of them. */
#define MINED_MS 120000u
/* 500 gwei: refuses an endpoint that names absurd fees. */
#define FEE_CAP 500000000000u
/* The anchor's writers and the registry's, and some. */
#define ON_THE_WAY 32u

struct clustertx {
	uint64_t chain_id;
	unsigned timeout_ms;
	unsigned n_urls;
	char *url[LIMIT_CHAIN_ENDPOINTS]; /* owns */
};

/* An account on one chain. */
struct payer {
	uint64_t chain_id;
	uint8_t address[20];
};

/* From nonce to sent.  One lock does: a process speaks for one cluster, which
 * has one account. */
static pthread_mutex_t sending = PTHREAD_MUTEX_INITIALIZER;

/* What this process has sent and waits for. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards it */
static struct way {
	bool used;
	struct payer from;
	uint64_t nonce;
} way[ON_THE_WAY];

static bool
options_ok(const struct clustertx_options *o)
{
	if (o->chain_id == 0 || o->timeout_ms == 0 || o->n_urls == 0 ||
	    o->n_urls > LIMIT_CHAIN_ENDPOINTS)
		return false;
	for (unsigned i = 0; i < o->n_urls; i++)
		if (strncmp(o->urls[i], "http://", 7) != 0 &&
		    strncmp(o->urls[i], "https://", 8) != 0)
			return false;
	return true;
}

enum err
clustertx_new(struct clustertx **out, const struct clustertx_options *o)
{
	struct clustertx *c;

	if (!options_ok(o))
		return ERR_CONFIG;
	if ((c = calloc(1, sizeof *c)) == NULL)
		return ERR_NOMEM;
	c->chain_id = o->chain_id;
	c->timeout_ms = o->timeout_ms;
	for (; c->n_urls < o->n_urls; c->n_urls++)
		if ((c->url[c->n_urls] = strdup(o->urls[c->n_urls])) == NULL) {
			clustertx_free(c);
			return ERR_NOMEM;
		}
	*out = c;
	return ERR_OK;
}

void
clustertx_free(struct clustertx *c)
{
	if (c == NULL)
		return;
	for (unsigned i = 0; i < c->n_urls; i++)
		free(c->url[i]);
	free(c);
}

/* ---- nonces ---- */

static bool
same(const struct payer *a, const struct payer *b)
{
	return a->chain_id == b->chain_id &&
	    memcmp(a->address, b->address, sizeof a->address) == 0;
}

/* The next nonce: after what the endpoint knows, and after what is on its
 * way from here, which another endpoint may have taken. */
static uint64_t
nonce_after(const struct payer *a, uint64_t known)
{
	uint64_t n = known;

	(void)pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < ON_THE_WAY; i++)
		if (way[i].used && same(&way[i].from, a) && way[i].nonce >= n)
			n = way[i].nonce + 1;
	(void)pthread_mutex_unlock(&lock);
	return n;
}

/* A place for one more; NULL if there is none. */
static struct way *
way_take(void)
{
	struct way *w = NULL;

	(void)pthread_mutex_lock(&lock);
	for (unsigned i = 0; w == NULL && i < ON_THE_WAY; i++)
		if (!way[i].used)
			w = &way[i];
	if (w != NULL)
		*w = (struct way){ .used = true };
	(void)pthread_mutex_unlock(&lock);
	return w;
}

static void
way_set(struct way *w, const struct payer *a, uint64_t nonce)
{
	(void)pthread_mutex_lock(&lock);
	w->from = *a;
	w->nonce = nonce;
	(void)pthread_mutex_unlock(&lock);
}

static void
way_leave(struct way *w)
{
	(void)pthread_mutex_lock(&lock);
	w->used = false;
	(void)pthread_mutex_unlock(&lock);
}

/* ---- sending ---- */

static void
pause_ms(unsigned ms)
{
	const struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL);
}

/* What is to be sent, and who says so. */
struct order {
	struct payer from;
	struct tx tx; /* borrows its data */
	const struct k256_secret *key; /* borrows */
	struct way *way;
};

static enum err
hand_over(uint8_t hash[static 32], struct order *o, const struct tx_chain *c,
    struct refusal *why)
{
	struct buf raw = { 0 };
	enum err e;

	(void)pthread_mutex_lock(&sending);
	e = tx_fill(&o->tx, c, o->from.address, why);
	if (e == ERR_OK) {
		o->tx.nonce = nonce_after(&o->from, o->tx.nonce);
		e = tx_sign(&raw, hash, &o->tx, o->key);
	}
	if (e == ERR_OK)
		e = tx_send(c, buf_view(&raw), hash, why);
	if (e == ERR_OK)
		way_set(o->way, &o->from, o->tx.nonce);
	(void)pthread_mutex_unlock(&sending);
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
send(struct clustertx *t, struct order *o, struct refusal *why)
{
	struct tx_chain c = { .timeout_ms = t->timeout_ms,
		.max_fee_cap = FEE_CAP,
		.mono_ms = clock_mono_ms,
		.pause_ms = pause_ms };
	struct refusal said = { .code = REASON_NONE };
	enum err e, worst = ERR_AGAIN;
	uint8_t hash[32];

	for (unsigned i = 0; i < t->n_urls; i++) {
		c.url = t->url[i];
		e = hand_over(hash, o, &c, &said);
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
clustertx_send(struct clustertx *t, const uint8_t to[static 20],
    struct bytes data, const struct k256_secret *account, struct refusal *why)
{
	struct order o = { .from.chain_id = t->chain_id,
		.tx = { .chain_id = t->chain_id, .data = data },
		.key = account };
	struct k256_pub pub;
	enum err e;

	memcpy(o.tx.to, to, sizeof o.tx.to);
	if ((e = k256_pubkey(&pub, account)) != ERR_OK ||
	    (e = k256_address(o.from.address, &pub)) != ERR_OK)
		return e;
	if ((o.way = way_take()) == NULL) {
		(void)refuse(why, REASON_BUSY,
		    "%u transactions are on their way", ON_THE_WAY);
		return ERR_AGAIN;
	}
	e = send(t, &o, why);
	way_leave(o.way);
	return e;
}
