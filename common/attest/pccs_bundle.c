#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/x509.h>

#include "common/attest/pccs_bundle.h"
#include "common/attest/tcbinfo.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/memfail.h"
#include "common/net/fetch.h"

#define URL_CAP 512
#define TIMEOUT_MS 15000
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

/* ---- the window of a bundle ---- */

static void
narrow(struct pccs_bundle *n, int64_t from, int64_t until)
{
	n->from = from > n->from ? from : n->from;
	n->until = until < n->until ? until : n->until;
}

static bool
narrow_json(struct pccs_bundle *n, enum part part, const struct buf *text)
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
narrow_crl(struct pccs_bundle *n, const struct buf *der)
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

	if (r->err == ERR_NOMEM) /* that is no fault of the provider's */
		return r->err;
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
take_part(struct pccs_bundle *n, enum part part, const struct fetch_reply *r)
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
    char url[static PARTS][URL_CAP], const char *base, const struct pccs_key *k)
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
	for (size_t i = 0; i < text.len && s < PCCS_PAUSE_MAX_S; i++) {
		if (text.p[i] < '0' || text.p[i] > '9') {
			s = PAUSE_DEFAULT_S;
			break;
		}
		s = s * 10 + (text.p[i] - '0');
	}
	buf_fini(&text);
	return s < PCCS_PAUSE_MAX_S ? s : PCCS_PAUSE_MAX_S;
}

/* "There is no such platform" is said of what its own part of the URL names. */
static bool
names_platform(enum part part)
{
	return part == PART_TCB || part == PART_PCK_CRL;
}

enum err
pccs_bundle_fetch(struct pccs_bundle *out, struct pccs_trouble *trouble,
    const struct pccs_key *k, const char *base, bool insecure_tls, int64_t now,
    struct refusal *why)
{
	struct pccs_bundle n = { .from = INT64_MIN, .until = INT64_MAX };
	char url[PARTS][URL_CAP];
	struct fetch_request rq[PARTS] = { 0 };
	struct fetch_reply reply[PARTS];
	uint64_t before = memfail_count();
	enum err e = ERR_OK;

	*trouble = (struct pccs_trouble){ 0 };
	make_urls(url, base, k);
	for (unsigned i = 0; i < PARTS; i++)
		rq[i] = (struct fetch_request){ .url = url[i],
			.timeout_ms = TIMEOUT_MS,
			.max_reply = LIMIT_COLLATERAL,
			.insecure_tls = insecure_tls };
	fetch_all(reply, rq, PARTS);
	for (unsigned i = 0; i < PARTS && e == ERR_OK; i++) {
		trouble->pause_s = pause_wanted(&reply[i]);
		e = status_check(&reply[i], part_name[i], why);
		if (e != ERR_OK) {
			trouble->unknown = reply[i].err == ERR_OK &&
			    reply[i].status == 404 &&
			    names_platform((enum part)i);
			break;
		}
		e = memfail_err(before, take_part(&n, (enum part)i, &reply[i]));
		if (e != ERR_OK && e != ERR_NOMEM)
			e = refuse(why, REASON_COLLATERAL_INVALID,
			    "%s does not parse", part_name[i]);
	}
	if (e == ERR_OK && (now < n.from || now > n.until)) {
		(void)refuse(why, REASON_COLLATERAL_EXPIRED,
		    "what the PCCS serves is not in date");
		e = ERR_AGAIN;
	}
	if (e == ERR_OK) {
		collateral_seal(&n.c);
		*out = n;
	} else {
		collateral_fini(&n.c);
	}
	for (unsigned i = 0; i < PARTS; i++)
		fetch_reply_fini(&reply[i]);
	return e;
}

enum err
pccs_bundle_copy(struct collateral *out, const struct pccs_bundle *b)
{
	const struct collateral *c = &b->c;
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
