#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/x509.h>

#include "common/attest/pccs.h"
#include "common/attest/tcbinfo.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/net/fetch.h"

#define URL_CAP 512
#define CACHE_ENTRIES 32 /* platform types; the oldest use is evicted */
#define TIMEOUT_MS 15000
#define DAY_S (24 * 3600)
#define RETRY_MAX_S 600 /* between attempts while an old bundle serves */
#define PAUSE_MAX_S 3600 /* that a provider may ask for */
#define PAUSE_DEFAULT_S 60

/* Intel's own service keeps the root CRL elsewhere: tdx-dcap.md 3.3. */
#define INTEL_URL "https://api.trustedservices.intel.com"
#define INTEL_ROOT_CRL \
	"https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"

enum part { PART_TCB, PART_QE, PART_PCK_CRL, PART_ROOT_CRL, PARTS };

static const char *const part_name[PARTS] = {
	[PART_TCB] = "TCB info",
	[PART_QE] = "QE identity",
	[PART_PCK_CRL] = "PCK CRL",
	[PART_ROOT_CRL] = "root CRL",
};

struct key {
	enum tee_kind tee;
	uint8_t fmspc[6];
	bool platform_ca;
};

struct entry {
	bool used;
	struct key key;
	struct collateral c; /* owns */
	int64_t from, until; /* the common window of all four */
	uint64_t number[PART_QE + 1]; /* evaluation numbers, as they say */
	int64_t refresh_at;
	uint64_t last_use;
	size_t provider; /* whose it is */
};

struct provider {
	char url[URL_CAP / 2]; /* never changes */
	int64_t pause_until; /* it asked not to be asked before */
};

struct pccs {
	pthread_mutex_t lock; /* guards all below; not held while fetching */
	struct entry entry[CACHE_ENTRIES];
	uint64_t uses;
	struct provider provider[LIMIT_PCCS];
	size_t first; /* the provider to ask first */
	/* Never change: */
	size_t n_providers;
	bool insecure_tls;
};

/* ---- the window of a bundle ---- */

static void
narrow(struct entry *n, int64_t from, int64_t until)
{
	n->from = from > n->from ? from : n->from;
	n->until = until < n->until ? until : n->until;
}

static bool
narrow_json(struct entry *n, enum part part, const struct buf *text)
{
	const char *issued, *next;
	int64_t from, until;
	json_t *o = NULL;
	bool ok = json_parse(&o, text->p, text->len, LIMIT_COLLATERAL, NULL,
		      0) == ERR_OK &&
	    json_get_str(&issued, o, "issueDate") == ERR_OK &&
	    json_get_str(&next, o, "nextUpdate") == ERR_OK &&
	    json_get_u64(&n->number[part], o, "tcbEvaluationDataNumber") ==
		ERR_OK &&
	    tcb_date_parse(&from, issued) == ERR_OK &&
	    tcb_date_parse(&until, next) == ERR_OK;

	if (ok)
		narrow(n, from, until);
	json_decref(o);
	return ok;
}

static bool
time_of(int64_t *out, const ASN1_TIME *t)
{
	struct tm tm;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = timegm(&tm);
	return true;
}

static bool
narrow_crl(struct entry *n, const struct buf *der)
{
	const unsigned char *p = der->p;
	X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der->len);
	int64_t from, until;
	bool ok = crl != NULL && p == der->p + der->len &&
	    time_of(&from, X509_CRL_get0_lastUpdate(crl)) &&
	    time_of(&until, X509_CRL_get0_nextUpdate(crl));

	if (ok)
		narrow(n, from, until);
	X509_CRL_free(crl);
	return ok;
}

/* ---- fetching ---- */

static enum err
missing(struct refusal *why, const char *what, const char *cause)
{
	(void)refuse(why, REASON_COLLATERAL_MISSING, "%s: %s", what, cause);
	return ERR_AGAIN;
}

static enum err
status_check(const struct fetch_reply *r, const char *what, struct refusal *why)
{
	char text[32];

	if (r->err != ERR_OK)
		return missing(why, what, err_text(r->err));
	switch (r->status) {
	case 200:
		return ERR_OK;
	case 404:
		return missing(why, what, "platform not known there (404)");
	case 410:
		return missing(why, what, "evaluation retired (410)");
	case 429:
		return missing(why, what, "too many requests (429)");
	default:
		(void)snprintf(text, sizeof text, "HTTP %ld", r->status);
		return missing(why, what, text);
	}
}

static enum err
signed_part(struct buf *inner, uint8_t signature[static 64], struct buf *chain,
    const struct fetch_reply *r, const char *member, const char *header)
{
	enum err e =
	    collateral_split(inner, signature, buf_view(&r->body), member);

	return e == ERR_OK ? fetch_header(chain, r, header, true) : e;
}

/* A CRL as DER, or as hex text of it, as PCCS gives the root's. */
static enum err
crl_part(struct buf *out, const struct fetch_reply *r)
{
	const char *text = (const char *)r->body.p;
	size_t len = r->body.len, n;
	enum err e;

	if (len > 0 && r->body.p[0] == 0x30 && r->body.p[1] >= 0x80)
		return buf_set(out, r->body.p, len);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	if ((e = buf_reserve(out, len / 2 + 1)) != ERR_OK)
		return e;
	if ((e = hex_decode(out->p, len / 2 + 1, &n, text, len)) != ERR_OK)
		return e;
	out->len = n;
	out->p[n] = 0;
	return n > 0 ? ERR_OK : ERR_MALFORMED;
}

static enum err
take_part(struct entry *n, enum part part, const struct fetch_reply *r)
{
	struct collateral *c = &n->c;
	enum err e = ERR_MALFORMED;

	switch (part) {
	case PART_TCB:
		e = signed_part(&c->tcb_info, c->tcb_info_signature,
		    &c->tcb_info_chain, r, "tcbInfo", "TCB-Info-Issuer-Chain");
		if (e == ERR_OK && !narrow_json(n, part, &c->tcb_info))
			e = ERR_MALFORMED;
		break;
	case PART_QE:
		e = signed_part(&c->qe_identity, c->qe_identity_signature,
		    &c->qe_identity_chain, r, "enclaveIdentity",
		    "SGX-Enclave-Identity-Issuer-Chain");
		if (e == ERR_OK && !narrow_json(n, part, &c->qe_identity))
			e = ERR_MALFORMED;
		break;
	case PART_PCK_CRL:
		e = crl_part(&c->pck_crl, r);
		if (e == ERR_OK)
			e = fetch_header(&c->pck_crl_chain, r,
			    "SGX-PCK-CRL-Issuer-Chain", true);
		if (e == ERR_OK && !narrow_crl(n, &c->pck_crl))
			e = ERR_MALFORMED;
		break;
	case PART_ROOT_CRL:
		e = crl_part(&c->root_ca_crl, r);
		if (e == ERR_OK && !narrow_crl(n, &c->root_ca_crl))
			e = ERR_MALFORMED;
		break;
	case PARTS:
		break;
	}
	return e;
}

static void
make_urls(
    char url[static PARTS][URL_CAP], const char *base, const struct key *k)
{
	const char *tee = k->tee == TEE_SGX ? "sgx" : "tdx";
	char fmspc[13];

	(void)snprintf(url[PART_TCB], URL_CAP,
	    "%s/%s/certification/v4/tcb?fmspc=%s", base, tee,
	    hex_encode(fmspc, k->fmspc, 6));
	(void)snprintf(url[PART_QE], URL_CAP,
	    "%s/%s/certification/v4/qe/identity", base, tee);
	(void)snprintf(url[PART_PCK_CRL], URL_CAP,
	    "%s/sgx/certification/v4/pckcrl?ca=%s&encoding=der", base,
	    k->platform_ca ? "platform" : "processor");
	if (strcmp(base, INTEL_URL) == 0)
		(void)snprintf(
		    url[PART_ROOT_CRL], URL_CAP, "%s", INTEL_ROOT_CRL);
	else
		(void)snprintf(url[PART_ROOT_CRL], URL_CAP,
		    "%s/sgx/certification/v4/rootcacrl", base);
}

/* When to look again: at half the window or after a day; for a bundle that
 * is past its half already, after a quarter of what is left. */
static int64_t
refresh_time(const struct entry *n, int64_t now)
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

/* For how long a provider wants to be left alone; 0: it does not say. */
static int64_t
pause_wanted(const struct fetch_reply *r)
{
	struct buf text = { 0 };
	int64_t s = 0;

	if (r->err != ERR_OK || (r->status != 429 && r->status != 503))
		return 0;
	if (fetch_header(&text, r, "Retry-After", false) != ERR_OK)
		s = r->status == 429 ? PAUSE_DEFAULT_S : 0;
	/* Seconds; the form with a date is not worth a parser. */
	for (size_t i = 0; i < text.len && s < PAUSE_MAX_S; i++) {
		if (text.p[i] < '0' || text.p[i] > '9') {
			s = PAUSE_DEFAULT_S;
			break;
		}
		s = s * 10 + (text.p[i] - '0');
	}
	buf_fini(&text);
	return s < PAUSE_MAX_S ? s : PAUSE_MAX_S;
}

/* Fills `*n` with a new bundle of one provider; nothing is owned on failure,
 * and `*pause` says for how long it is not to be asked. */
static enum err
fetch_from(struct entry *n, int64_t *pause, const struct pccs *p,
    size_t provider, const struct key *k, int64_t now, struct refusal *why)
{
	char url[PARTS][URL_CAP];
	struct fetch_request rq[PARTS] = { 0 };
	struct fetch_reply reply[PARTS];
	enum err e = ERR_OK;

	*n = (struct entry){ .used = true,
		.key = *k,
		.from = INT64_MIN,
		.until = INT64_MAX,
		.provider = provider };
	*pause = 0;
	make_urls(url, p->provider[provider].url, k);
	for (unsigned i = 0; i < PARTS; i++)
		rq[i] = (struct fetch_request){ .url = url[i],
			.timeout_ms = TIMEOUT_MS,
			.max_reply = LIMIT_COLLATERAL,
			.insecure_tls = p->insecure_tls };
	fetch_all(reply, rq, PARTS);
	for (unsigned i = 0; i < PARTS && e == ERR_OK; i++) {
		*pause = pause_wanted(&reply[i]);
		e = status_check(&reply[i], part_name[i], why);
		if (e != ERR_OK)
			break;
		e = take_part(n, (enum part)i, &reply[i]);
		if (e != ERR_OK && e != ERR_NOMEM)
			e = refuse(why, REASON_COLLATERAL_INVALID,
			    "%s does not parse", part_name[i]);
	}
	if (e == ERR_OK && (now < n->from || now > n->until)) {
		(void)refuse(why, REASON_COLLATERAL_EXPIRED,
		    "what the PCCS serves is not in date");
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		n->refresh_at = refresh_time(n, now);
		collateral_seal(&n->c);
	} else {
		collateral_fini(&n->c);
	}
	for (unsigned i = 0; i < PARTS; i++)
		fetch_reply_fini(&reply[i]);
	return e;
}

/* Asks one provider after the other; the last refusal is reported. */
static enum err
fetch_entry(struct entry *n, struct pccs *p, const struct key *k, int64_t now,
    struct refusal *why)
{
	enum err e = ERR_AGAIN;
	int64_t pause;
	size_t first, at;
	bool paused, asked = false;

	(void)pthread_mutex_lock(&p->lock);
	first = p->first;
	(void)pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_providers; i++) {
		at = (first + i) % p->n_providers;
		(void)pthread_mutex_lock(&p->lock);
		paused = now < p->provider[at].pause_until &&
		    p->provider[at].pause_until - now <= PAUSE_MAX_S;
		(void)pthread_mutex_unlock(&p->lock);
		if (paused)
			continue;
		asked = true;
		e = fetch_from(n, &pause, p, at, k, now, why);
		(void)pthread_mutex_lock(&p->lock);
		if (e == ERR_OK)
			p->first = at;
		else if (pause > 0)
			p->provider[at].pause_until = now + pause;
		(void)pthread_mutex_unlock(&p->lock);
		if (e == ERR_OK || e == ERR_NOMEM)
			break;
	}
	return asked ? e : missing(why, "collateral", "providers want a pause");
}

/* ---- the cache; all with the lock held ---- */

static struct entry *
find(struct pccs *p, const struct key *k)
{
	for (size_t i = 0; i < CACHE_ENTRIES; i++) {
		struct entry *n = &p->entry[i];

		if (n->used && n->key.tee == k->tee &&
		    n->key.platform_ca == k->platform_ca &&
		    memcmp(n->key.fmspc, k->fmspc, 6) == 0) {
			n->last_use = ++p->uses;
			return n;
		}
	}
	return NULL;
}

static bool
usable(const struct entry *n, int64_t now)
{
	return n != NULL && now >= n->from && now <= n->until;
}

/* A mirror that lags, or a replay: evalfloor.h would refuse what it gave. */
static bool
older(const struct entry *fresh, const struct entry *n)
{
	return fresh->number[PART_TCB] < n->number[PART_TCB] ||
	    fresh->number[PART_QE] < n->number[PART_QE];
}

static void
drop(struct entry *n)
{
	collateral_fini(&n->c);
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

static enum err
copy_bundle(struct collateral *out, const struct collateral *c)
{
	struct collateral n = { 0 };
	struct {
		struct buf *to;
		const struct buf *from;
	} const part[] = {
		{ &n.tcb_info, &c->tcb_info },
		{ &n.tcb_info_chain, &c->tcb_info_chain },
		{ &n.qe_identity, &c->qe_identity },
		{ &n.qe_identity_chain, &c->qe_identity_chain },
		{ &n.root_ca_crl, &c->root_ca_crl },
		{ &n.pck_crl, &c->pck_crl },
		{ &n.pck_crl_chain, &c->pck_crl_chain },
	};
	enum err e = ERR_OK;

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++)
		if (e == ERR_OK)
			e = buf_set(
			    part[i].to, part[i].from->p, part[i].from->len);
	memcpy(n.tcb_info_signature, c->tcb_info_signature, 64);
	memcpy(n.qe_identity_signature, c->qe_identity_signature, 64);
	memcpy(n.id, c->id, sizeof n.id);
	n.sealed = c->sealed;
	if (e != ERR_OK) {
		collateral_fini(&n);
		return e;
	}
	*out = n;
	return ERR_OK;
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
serve_old(struct pccs *p, struct collateral *out, const struct key *k,
    int64_t now, enum err failure)
{
	struct entry *n = find(p, k);
	int64_t wait;

	if (!usable(n, now))
		return failure;
	wait = (n->until - now) / 8 + 1;
	n->refresh_at = now + (wait < RETRY_MAX_S ? wait : RETRY_MAX_S);
	return copy_bundle(out, &n->c);
}

enum err
pccs_get_for(struct pccs *p, struct collateral *out, enum tee_kind tee,
    const uint8_t fmspc[static 6], bool platform_ca, int64_t now,
    struct refusal *why)
{
	struct key k = { .tee = tee, .platform_ca = platform_ca };
	struct entry *n, fresh;
	enum err e;

	if (tee != TEE_TDX && tee != TEE_SGX)
		return ERR_CONFIG;
	memcpy(k.fmspc, fmspc, 6);
	(void)pthread_mutex_lock(&p->lock);
	n = find(p, &k);
	if (usable(n, now) && now < n->refresh_at) {
		e = copy_bundle(out, &n->c);
		(void)pthread_mutex_unlock(&p->lock);
		return e;
	}
	(void)pthread_mutex_unlock(&p->lock);

	/* Two workers may fetch the same at once: harmless, and rare. */
	e = fetch_entry(&fresh, p, &k, now, why);
	(void)pthread_mutex_lock(&p->lock);
	n = find(p, &k);
	if (e == ERR_OK && usable(n, now) && older(&fresh, n)) {
		p->first = (fresh.provider + 1) % p->n_providers;
		drop(&fresh);
		e = ERR_AGAIN;
	}
	if (e == ERR_OK)
		e = copy_bundle(out, &keep(p, &fresh)->c);
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
	struct key k = { .tee = TEE_TDX, .platform_ca = platform_ca };
	struct entry *n;

	memcpy(k.fmspc, fmspc, 6);
	(void)pthread_mutex_lock(&p->lock);
	if ((n = find(p, &k)) != NULL) {
		p->first = (n->provider + 1) % p->n_providers;
		drop(n);
	}
	(void)pthread_mutex_unlock(&p->lock);
}
