#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/pccs.h"
#include "common/attest/pccs_bundle.h"
#include "common/base/limits.h"
#include "common/base/secret.h"

#define CACHE_ENTRIES 32 /* platform types; the oldest use is evicted */
#define DAY_S (24 * 3600)
#define RETRY_MAX_S 600 /* between attempts while an old bundle serves */
#define UNKNOWN_ENTRIES 64 /* platforms that no provider knows */
#define UNKNOWN_S 60 /* for how long that is believed */

struct entry {
	bool used;
	struct pccs_key key;
	struct pccs_bundle b; /* owns */
	int64_t refresh_at;
	uint64_t last_use;
	size_t provider; /* whose it is */
};

struct unknown {
	struct pccs_key key;
	int64_t until; /* 0: a free place */
};

struct provider {
	char url[256]; /* never changes */
	int64_t pause_until; /* it asked not to be asked before */
};

struct pccs {
	pthread_mutex_t lock; /* guards all below; not held while fetching */
	struct entry entry[CACHE_ENTRIES];
	uint64_t uses;
	struct unknown unknown[UNKNOWN_ENTRIES];
	struct pccs_stats stats;
	struct provider provider[LIMIT_PCCS];
	size_t first; /* the provider to ask first */
	/* Never change: */
	size_t n_providers;
	bool insecure_tls;
};

/* ---- fetching ---- */

/* When to look again: at half the window or after a day; for a bundle that
 * is past its half already, after a quarter of what is left. */
static int64_t
refresh_time(const struct pccs_bundle *n, int64_t now)
{
	int64_t at = n->from + (n->until - n->from) / 2;
	uint16_t chance;

	if (at <= now)
		at = now + (n->until - now) / 4 + 1;
	if (at > now + DAY_S)
		at = now + DAY_S;
	secret_random(&chance, sizeof chance);
	return at - (at - now) / 8 * chance / UINT16_MAX;
}

/* Asks one provider after the other; the last refusal is reported.
 * `*unknown`: one of them said that there is no such platform. */
static enum err
fetch_entry(struct entry *n, bool *unknown, struct pccs *p,
    const struct pccs_key *k, int64_t now, struct refusal *why)
{
	enum err e = ERR_AGAIN;
	struct pccs_trouble trouble;
	size_t first, at = 0;
	bool paused, asked = false;

	(void)pthread_mutex_lock(&p->lock);
	first = p->first;
	*unknown = false;
	(void)pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_providers; i++) {
		at = (first + i) % p->n_providers;
		(void)pthread_mutex_lock(&p->lock);
		paused = now < p->provider[at].pause_until &&
		    p->provider[at].pause_until - now <= PCCS_PAUSE_MAX_S;
		(void)pthread_mutex_unlock(&p->lock);
		if (paused)
			continue;
		asked = true;
		e = pccs_bundle_fetch(&n->b, &trouble, k, p->provider[at].url,
		    p->insecure_tls, now, why);
		*unknown |= trouble.unknown;
		(void)pthread_mutex_lock(&p->lock);
		p->stats.fetches++;
		if (e == ERR_OK)
			p->first = at;
		else if (trouble.pause_s > 0)
			p->provider[at].pause_until = now + trouble.pause_s;
		(void)pthread_mutex_unlock(&p->lock);
		if (e == ERR_OK || e == ERR_NOMEM)
			break;
	}
	if (!asked)
		(void)refuse(why, REASON_COLLATERAL_MISSING,
		    "collateral: providers want a pause");
	if (e != ERR_OK)
		return e;
	n->used = true;
	n->key = *k;
	n->refresh_at = refresh_time(&n->b, now);
	n->provider = at;
	return ERR_OK;
}

/* ---- the cache; all with the lock held ---- */

static bool
same(const struct pccs_key *a, const struct pccs_key *b)
{
	return a->tee == b->tee && a->platform_ca == b->platform_ca &&
	    memcmp(a->fmspc, b->fmspc, 6) == 0;
}

static struct entry *
find(struct pccs *p, const struct pccs_key *k)
{
	for (size_t i = 0; i < CACHE_ENTRIES; i++) {
		struct entry *n = &p->entry[i];

		if (n->used && same(&n->key, k)) {
			n->last_use = ++p->uses;
			return n;
		}
	}
	return NULL;
}

static bool
usable(const struct entry *n, int64_t now)
{
	return n != NULL && now >= n->b.from && now <= n->b.until;
}

/* A mirror that lags, or a replay: evalfloor.h would refuse what it gave. */
static bool
older(const struct entry *fresh, const struct entry *n)
{
	return fresh->b.number[0] < n->b.number[0] ||
	    fresh->b.number[1] < n->b.number[1];
}

static void
drop(struct entry *n)
{
	collateral_fini(&n->b.c);
	*n = (struct entry){ 0 };
}

/* Takes the entry; replaces the same key, a free place or the oldest. */
static struct entry *
keep(struct pccs *p, struct entry *fresh)
{
	struct entry *at = find(p, &fresh->key);

	/* A free place has last_use 0, so it is the oldest. */
	if (at == NULL) {
		at = &p->entry[0];
		for (size_t i = 1; i < CACHE_ENTRIES; i++)
			if (p->entry[i].last_use < at->last_use)
				at = &p->entry[i];
	}
	drop(at);
	*at = *fresh;
	at->last_use = ++p->uses;
	return at;
}

/* Whose platform a quote is was read from it before anything of it is
 * verified: strangers can name any.  The same one is not asked for again at
 * once; the next is in the oldest one's place. */
static bool
is_unknown(const struct pccs *p, const struct pccs_key *k, int64_t now)
{
	for (size_t i = 0; i < UNKNOWN_ENTRIES; i++) {
		const struct unknown *u = &p->unknown[i];

		/* A clock that goes back ends it too. */
		if (u->until > now && u->until - now <= UNKNOWN_S &&
		    same(&u->key, k))
			return true;
	}
	return false;
}

static void
unknown_forget(struct pccs *p, const struct pccs_key *k)
{
	for (size_t i = 0; i < UNKNOWN_ENTRIES; i++)
		if (same(&p->unknown[i].key, k))
			p->unknown[i] = (struct unknown){ 0 };
}

static void
unknown_keep(struct pccs *p, const struct pccs_key *k, int64_t now)
{
	struct unknown *at = &p->unknown[0];

	unknown_forget(p, k);
	for (size_t i = 1; i < UNKNOWN_ENTRIES; i++)
		if (p->unknown[i].until < at->until)
			at = &p->unknown[i];
	*at = (struct unknown){ .key = *k, .until = now + UNKNOWN_S };
}

/* ---- public ---- */

static enum err
provider_init(struct provider *v, const char *url)
{
	size_t n = strlen(url);

	while (n > 0 && url[n - 1] == '/')
		n--;
	if (n >= sizeof v->url ||
	    (strncmp(url, "http://", 7) != 0 &&
		strncmp(url, "https://", 8) != 0))
		return ERR_CONFIG;
	memcpy(v->url, url, n);
	return ERR_OK;
}

enum err
pccs_new_many(
    struct pccs **out, const char *const *url, size_t n, bool insecure_tls)
{
	struct pccs *p;
	enum err e = ERR_OK;

	if (n < 1 || n > LIMIT_PCCS)
		return ERR_CONFIG;
	if ((p = calloc(1, sizeof *p)) == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < n && e == ERR_OK; i++)
		e = provider_init(&p->provider[i], url[i]);
	if (e != ERR_OK) {
		free(p);
		return e;
	}
	p->n_providers = n;
	p->insecure_tls = insecure_tls;
	(void)pthread_mutex_init(&p->lock, NULL);
	*out = p;
	return ERR_OK;
}

enum err
pccs_new(struct pccs **out, const char *url, bool insecure_tls)
{
	return pccs_new_many(out, &url, 1, insecure_tls);
}

void
pccs_free(struct pccs *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < CACHE_ENTRIES; i++)
		drop(&p->entry[i]);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

/* After a failed refresh: serve what is there, and do not ask at once. */
static enum err
serve_old(struct pccs *p, struct collateral *out, const struct pccs_key *k,
    int64_t now, enum err failure)
{
	struct entry *n = find(p, k);
	int64_t wait;

	if (!usable(n, now))
		return failure;
	wait = (n->b.until - now) / 8 + 1;
	n->refresh_at = now + (wait < RETRY_MAX_S ? wait : RETRY_MAX_S);
	return pccs_bundle_copy(out, &n->b);
}

enum err
pccs_get_for(struct pccs *p, struct collateral *out, enum tee_kind tee,
    const uint8_t fmspc[static 6], bool platform_ca, int64_t now,
    struct refusal *why)
{
	struct pccs_key k = { .tee = tee, .platform_ca = platform_ca };
	struct entry *n, fresh = { 0 };
	bool unknown;
	enum err e;

	if (tee != TEE_TDX && tee != TEE_SGX)
		return ERR_CONFIG;
	memcpy(k.fmspc, fmspc, 6);
	(void)pthread_mutex_lock(&p->lock);
	n = find(p, &k);
	if (usable(n, now) && now < n->refresh_at) {
		e = pccs_bundle_copy(out, &n->b);
		(void)pthread_mutex_unlock(&p->lock);
		return e;
	}
	if (!usable(n, now) && is_unknown(p, &k, now)) {
		p->stats.unknown++;
		(void)pthread_mutex_unlock(&p->lock);
		(void)refuse(why, REASON_COLLATERAL_MISSING,
		    "platform not known (404) less than %d s ago", UNKNOWN_S);
		return ERR_AGAIN;
	}
	(void)pthread_mutex_unlock(&p->lock);

	/* Two workers may fetch the same at once: harmless, and rare. */
	e = fetch_entry(&fresh, &unknown, p, &k, now, why);
	(void)pthread_mutex_lock(&p->lock);
	n = find(p, &k);
	if (e == ERR_OK && usable(n, now) && older(&fresh, n)) {
		p->first = (fresh.provider + 1) % p->n_providers;
		drop(&fresh);
		e = ERR_AGAIN;
	}
	if (e == ERR_OK)
		unknown_forget(p, &k);
	else if (unknown && !usable(n, now))
		unknown_keep(p, &k, now);
	if (e == ERR_OK)
		e = pccs_bundle_copy(out, &keep(p, &fresh)->b);
	else
		e = serve_old(p, out, &k, now, e);
	(void)pthread_mutex_unlock(&p->lock);
	return e;
}

enum err
pccs_get(struct pccs *p, struct collateral *out, const uint8_t fmspc[static 6],
    bool platform_ca, int64_t now, struct refusal *why)
{
	return pccs_get_for(p, out, TEE_TDX, fmspc, platform_ca, now, why);
}

void
pccs_forget(struct pccs *p, const uint8_t fmspc[static 6], bool platform_ca)
{
	struct pccs_key k = { .tee = TEE_TDX, .platform_ca = platform_ca };
	struct entry *n;

	memcpy(k.fmspc, fmspc, 6);
	(void)pthread_mutex_lock(&p->lock);
	if ((n = find(p, &k)) != NULL) {
		p->first = (n->provider + 1) % p->n_providers;
		drop(n);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

void
pccs_stats(struct pccs_stats *out, struct pccs *p)
{
	(void)pthread_mutex_lock(&p->lock);
	*out = p->stats;
	(void)pthread_mutex_unlock(&p->lock);
}
