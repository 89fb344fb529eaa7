/* dcap: the algorithm of tdx-dcap.md 2.5, one function per step.
 *
 * Nothing is believed before its signature is checked, and the verdict is
 * written only when everything has passed.  Cost (section 6): five or four
 * P-256 verifications for the bundle, three for the PCK chain, one each for
 * the QE report and the quote; with a cache, the last one or two alone. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/attest/dcap.h"
#include "common/attest/tcb.h"
#include "common/base/limits.h"
#include "common/base/memfail.h"
#include "common/crypto/hash.h"
#include "common/crypto/p256.h"

#define CERT_PCK_CHAIN 5 /* the quote carries the PEM chain: 1.5 */
#define SGX_DEBUG 0x02 /* in the first byte of ATTRIBUTES: 1.3 */

/* An attestation key that a QE report binds, itself signed by a PCK key. */
struct qe_key {
	struct dcap_obj obj; /* first */
	EVP_PKEY *key; /* owns */
};

/* What a PCK chain says about itself, not verified. */
struct platform {
	struct dcap_obj obj; /* first */
	uint8_t fmspc[6];
	bool platform_ca;
};

/* One verification in progress. */
struct run {
	struct dcap_cache *k; /* may be NULL */
	struct dcap_bundle *b; /* borrows */
	int64_t now;
	struct quote q;
	struct sgx_report qe_report;
	uint8_t pck_id[32]; /* bundle and chain */
	uint8_t qe_id[32]; /* the above and all that binds the key */
	struct dcap_pck *pck; /* a reference */
	struct qe_key *qe_key; /* a reference; NULL: not verified yet */
	const struct svn_level *qe_level; /* borrows from the bundle */
	struct refusal *why;
};

static struct dcap_obj *
lookup(struct dcap_cache *k, enum dcap_cache_kind kind,
    const uint8_t key[static 32])
{
	return k != NULL ? dcap_cache_get(k, kind, key) : NULL;
}

static void
store(struct dcap_cache *k, enum dcap_cache_kind kind,
    const uint8_t key[static 32], struct dcap_obj *o)
{
	if (k != NULL)
		dcap_cache_put(k, kind, key, o);
}

/* Steps 3 to 5 were done when the bundle was made: does it fit? */
static enum err
step_bundle(struct run *r)
{
	const struct dcap_bundle *b = r->b;

	if (r->now < b->window.from)
		return refuse(r->why, REASON_COLLATERAL_EXPIRED,
		    "COLLATERAL_NOT_YET_VALID: bundle");
	if (r->now > b->window.until)
		return refuse(r->why, REASON_COLLATERAL_EXPIRED,
		    "COLLATERAL_EXPIRED: bundle");
	if (b->tcb.tee != r->q.tee)
		return refuse(r->why, REASON_COLLATERAL_INVALID,
		    "TCB_INFO_MISMATCH: for %s", tee_text(b->tcb.tee));
	if (b->qe.tee != r->q.tee)
		return refuse(r->why, REASON_COLLATERAL_INVALID,
		    "QE_IDENTITY_MISMATCH: for %s", tee_text(b->qe.tee));
	return ERR_OK;
}

/* Step 6: the PCK certificate.  The quote's own chain is used when it has
 * one, so that collateral cannot put another platform in its place (P24). */
static enum err
step_pck(struct run *r)
{
	struct bytes pem = r->q.cert_data;
	enum err e;

	if (r->q.cert_type != CERT_PCK_CHAIN) {
		pem = buf_view(&r->b->pck_chain);
		if (pem.len == 0)
			return refuse(r->why, REASON_QUOTE_UNSUPPORTED,
			    "CERT_DATA_TYPE: inner %u and no PCK chain",
			    r->q.cert_type);
	}
	sha256_v(
	    r->pck_id, (const struct bytes[]){ BYTES_OF(r->b->id), pem }, 2);
	r->pck = (struct dcap_pck *)lookup(r->k, DCAP_CACHE_PCK, r->pck_id);
	/* Outside its window it is verified anew, for the right refusal. */
	if (r->pck != NULL && window_has(&r->pck->window, r->now))
		return ERR_OK;
	dcap_pck_unref(r->pck);
	r->pck = NULL;
	e = dcap_pck_new(&r->pck, pem, r->b, r->now, r->why);
	if (e == ERR_OK)
		store(r->k, DCAP_CACHE_PCK, r->pck_id, &r->pck->obj);
	return e;
}

static bool
is_zero(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any == 0;
}

/* Steps 7 and 8: the PCK key vouches for the QE, the QE for the key. */
static enum err
step_qe_report(struct run *r)
{
	const uint8_t *data = r->qe_report.report_data;
	const struct bytes bound[] = { { r->q.att_key, 64 }, r->q.qe_auth };
	const struct bytes all[] = { BYTES_OF(r->pck_id),
		{ r->q.qe_report, QUOTE_QE_REPORT_LEN },
		{ r->q.qe_report_signature, 64 }, { r->q.att_key, 64 },
		r->q.qe_auth };
	uint8_t hash[32];
	enum err e;

	quote_sgx_report(&r->qe_report, r->q.qe_report);
	sha256_v(r->qe_id, all, sizeof all / sizeof all[0]);
	r->qe_key = (struct qe_key *)lookup(r->k, DCAP_CACHE_QE, r->qe_id);
	if (r->qe_key != NULL)
		return ERR_OK;
	e = p256_verify_raw_evp(cert_key(r->pck->leaf),
	    r->q.qe_report_signature, r->q.qe_report, QUOTE_QE_REPORT_LEN);
	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK)
		return refuse(r->why, REASON_QE_REPORT,
		    "QE_REPORT_SIG: not signed by the PCK key");
	sha256_v(hash, bound, 2);
	if (memcmp(hash, data, sizeof hash) != 0)
		return refuse(r->why, REASON_QE_REPORT,
		    "QE_REPORT_DATA: attestation key is not bound");
	if (!is_zero(data + 32, 32))
		return refuse(r->why, REASON_QE_REPORT,
		    "QE_REPORT_DATA: second half is not zero");
	return ERR_OK;
}

static bool
masked_equal(
    const uint8_t *have, const uint8_t *mask, const uint8_t *want, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((have[i] & mask[i]) != want[i])
			return false;
	return true;
}

/* Step 9: is it Intel's QE, and how old? */
static enum err
step_qe_policy(struct run *r)
{
	const struct sgx_report *qe = &r->qe_report;
	const struct qe_identity *id = &r->b->qe;
	const char *wrong = NULL;

	if (memcmp(qe->mrsigner, id->mrsigner, sizeof id->mrsigner) != 0)
		wrong = "mrsigner";
	else if (qe->isvprodid != id->isvprodid)
		wrong = "isvprodid";
	else if (!masked_equal(qe->miscselect, id->miscselect_mask,
		     id->miscselect, sizeof id->miscselect))
		wrong = "miscselect";
	else if (!masked_equal(qe->attributes, id->attributes_mask,
		     id->attributes, sizeof id->attributes))
		wrong = "attributes";
	else if ((qe->attributes[0] & SGX_DEBUG) != 0)
		wrong = "debug";
	if (wrong != NULL)
		return refuse(r->why, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: %s", wrong);
	r->qe_level = svn_level_match(id->level, id->n_levels, qe->isvsvn);
	if (r->qe_level == NULL)
		return refuse(r->why, REASON_TCB_UNKNOWN,
		    "QE_TCB_NOT_SUPPORTED: isvsvn %u", qe->isvsvn);
	return ERR_OK;
}

static void
qe_key_destroy(struct dcap_obj *o)
{
	struct qe_key *k = (struct qe_key *)o;

	EVP_PKEY_free(k->key);
	free(k);
}

/* The attestation key, which step 8 has found bound, made ready for use. */
static enum err
qe_key_new(struct run *r)
{
	struct qe_key *k = calloc(1, sizeof *k);
	struct p256_pub xy;

	if (k == NULL)
		return ERR_NOMEM;
	dcap_obj_init(&k->obj, qe_key_destroy);
	memcpy(xy.xy, r->q.att_key, sizeof xy.xy);
	if ((k->key = p256_evp_public(&xy)) == NULL) {
		dcap_obj_unref(&k->obj);
		return refuse(r->why, REASON_QUOTE_SIGNATURE,
		    "ATT_KEY_INVALID: not a point of the curve");
	}
	r->qe_key = k;
	store(r->k, DCAP_CACHE_QE, r->qe_id, &k->obj);
	return ERR_OK;
}

/* Step 10: the quote's own signature. */
static enum err
step_signature(struct run *r)
{
	enum err e = ERR_OK;

	if (r->qe_key == NULL && (e = qe_key_new(r)) != ERR_OK)
		return e;
	e = p256_verify_raw_evp(r->qe_key->key, r->q.signature,
	    r->q.signed_part.p, r->q.signed_part.len);
	if (e == ERR_OK || e == ERR_NOMEM)
		return e;
	return refuse(
	    r->why, REASON_QUOTE_SIGNATURE, "QUOTE_SIG: does not verify");
}

/* Step 11: is this TCB info about this platform? */
static enum err
step_platform(struct run *r)
{
	const struct pckext *p = &r->pck->facts;
	const struct tcb_info *t = &r->b->tcb;

	if (memcmp(p->fmspc, t->fmspc, sizeof t->fmspc) != 0)
		return refuse(r->why, REASON_COLLATERAL_INVALID,
		    "TCB_INFO_MISMATCH: fmspc");
	if (memcmp(p->pceid, t->pceid, sizeof t->pceid) != 0)
		return refuse(r->why, REASON_COLLATERAL_INVALID,
		    "TCB_INFO_MISMATCH: pceid");
	return ERR_OK;
}

/* Step 12, and what the verdict says beside the levels. */
static enum err
step_verdict(struct run *r, struct verdict *v)
{
	const struct dcap_bundle *b = r->b;
	const struct pckext *p = &r->pck->facts;
	struct window w = b->window;
	bool td = r->q.tee == TEE_TDX;
	enum err e =
	    tcb_judge(v, &b->tcb, p, td ? &r->q.td : NULL, r->qe_level, r->why);

	if (e != ERR_OK)
		return e;
	window_narrow(&w, r->pck->window.from, r->pck->window.until);
	assert(window_has(&w, r->now));
	v->tee = r->q.tee;
	v->judged_at = r->now;
	v->valid_from = w.from;
	v->valid_until = w.until;
	v->tcb_eval_number = b->tcb.signed_at.eval_number;
	v->qe_eval_number = b->qe.signed_at.eval_number;
	memcpy(v->fmspc, p->fmspc, sizeof v->fmspc);
	memcpy(v->pceid, p->pceid, sizeof v->pceid);
	memcpy(v->ppid, p->ppid, sizeof v->ppid);
	memcpy(v->cpusvn, p->cpusvn, sizeof v->cpusvn);
	v->pcesvn = p->pcesvn;
	v->qe_isvsvn = r->qe_report.isvsvn;
	memcpy(v->root_fingerprint, b->root->fingerprint,
	    sizeof v->root_fingerprint);
	v->simulated = !b->root->intel;
	if (td)
		v->td = r->q.td;
	else
		v->sgx = r->q.sgx;
	return ERR_OK;
}

/* All but the quote's own syntax, which `r->q` has passed. */
static enum err
run_steps(struct run *r, struct verdict *out)
{
	struct verdict v = { 0 };
	enum err e;

	if ((e = step_bundle(r)) == ERR_OK && (e = step_pck(r)) == ERR_OK &&
	    (e = step_qe_report(r)) == ERR_OK &&
	    (e = step_qe_policy(r)) == ERR_OK &&
	    (e = step_signature(r)) == ERR_OK &&
	    (e = step_platform(r)) == ERR_OK &&
	    (e = step_verdict(r, &v)) == ERR_OK)
		*out = v;
	dcap_pck_unref(r->pck);
	dcap_obj_unref(r->qe_key != NULL ? &r->qe_key->obj : NULL);
	return e;
}

enum err
dcap_verify_bundle(struct verdict *out, struct dcap_cache *k,
    struct bytes quote, struct dcap_bundle *b, int64_t now, struct refusal *why)
{
	struct run r = { .k = k, .b = b, .now = now, .why = why };
	enum err e = quote_parse(&r.q, quote, why);

	return e != ERR_OK ? e : run_steps(&r, out);
}

/* A reference to the bundle of this collateral, in date. */
static enum err
bundle_for(struct dcap_bundle **out, struct dcap_cache *k,
    const struct collateral *c, const struct dcap_root *root, int64_t now,
    struct refusal *why)
{
	struct dcap_bundle *b;
	uint8_t id[32];
	enum err e;

	if (k == NULL)
		return dcap_bundle_new(out, c, root, now, why);
	dcap_bundle_id(id, c, root);
	b = (struct dcap_bundle *)lookup(k, DCAP_CACHE_BUNDLE, id);
	if (b != NULL && window_has(&b->window, now)) {
		*out = b;
		return ERR_OK;
	}
	dcap_bundle_unref(b);
	e = dcap_bundle_new(out, c, root, now, why);
	if (e == ERR_OK)
		store(k, DCAP_CACHE_BUNDLE, id, &(*out)->obj);
	return e;
}

enum err
dcap_verify_cached(struct verdict *out, struct dcap_cache *k,
    struct bytes quote, const struct collateral *c,
    const struct dcap_root *root, int64_t now, struct refusal *why)
{
	struct run r = { .k = k, .now = now, .why = why };
	uint64_t before = memfail_count();
	/* Cheap checks first: step 1 before any collateral. */
	enum err e = quote_parse(&r.q, quote, why);

	if (e != ERR_OK ||
	    (e = bundle_for(&r.b, k, c, root, now, why)) != ERR_OK)
		return memfail_err(before, e);
	e = run_steps(&r, out);
	dcap_bundle_unref(r.b);
	return memfail_err(before, e);
}

enum err
dcap_verify(struct verdict *out, struct bytes quote, const struct collateral *c,
    const struct dcap_root *root, int64_t now, struct refusal *why)
{
	return dcap_verify_cached(out, NULL, quote, c, root, now, why);
}

static void
platform_destroy(struct dcap_obj *o)
{
	free(o);
}

static enum err
platform_read(struct platform **out, struct bytes pem, struct refusal *why)
{
	struct platform *p = calloc(1, sizeof *p);
	struct cert *leaf = NULL;
	struct pckext facts;
	enum err e = ERR_NOMEM;

	if (p == NULL)
		return e;
	dcap_obj_init(&p->obj, platform_destroy);
	if ((e = cert_pem_first(&leaf, pem)) == ERR_OK)
		e = cert_pck_facts(&facts, &p->platform_ca, leaf);
	cert_free(leaf);
	if (e != ERR_OK) {
		free(p);
		if (e == ERR_NOMEM)
			return e;
		return refuse(why, REASON_PCK_CHAIN,
		    "PCK_EXT: no readable PCK certificate");
	}
	memcpy(p->fmspc, facts.fmspc, sizeof p->fmspc);
	*out = p;
	return ERR_OK;
}

enum err
dcap_need(struct dcap_need *out, struct dcap_cache *k, struct bytes quote,
    struct refusal *why)
{
	struct platform *p;
	uint8_t id[32];
	struct quote q;
	uint64_t before = memfail_count();
	enum err e = quote_parse(&q, quote, why);

	if (e != ERR_OK)
		return e;
	if (q.cert_type != CERT_PCK_CHAIN)
		return refuse(why, REASON_QUOTE_UNSUPPORTED,
		    "CERT_DATA_TYPE: inner %u names no platform", q.cert_type);
	sha256(id, q.cert_data.p, q.cert_data.len);
	p = (struct platform *)lookup(k, DCAP_CACHE_PLATFORM, id);
	if (p == NULL) {
		if ((e = platform_read(&p, q.cert_data, why)) != ERR_OK)
			return memfail_err(before, e);
		assert(p != NULL);
		store(k, DCAP_CACHE_PLATFORM, id, &p->obj);
	}
	out->tee = q.tee;
	memcpy(out->fmspc, p->fmspc, sizeof out->fmspc);
	out->platform_ca = p->platform_ca;
	dcap_obj_unref(&p->obj);
	return ERR_OK;
}

enum err
dcap_platform(uint8_t fmspc[static 6], bool *platform_ca, struct bytes quote,
    struct refusal *why)
{
	struct dcap_need n = { 0 };
	enum err e = dcap_need(&n, NULL, quote, why);

	if (e == ERR_OK) {
		memcpy(fmspc, n.fmspc, sizeof n.fmspc);
		*platform_ca = n.platform_ca;
	}
	return e;
}
