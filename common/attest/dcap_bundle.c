/* dcap_bundle: nothing is believed before its signature is checked.  Five
 * P-256 verifications, or four when both documents carry the same issuer
 * chain, which is then verified once; a PCK chain costs three (section 6). */
#include <stdlib.h>
#include <string.h>

#include "common/attest/dcap_bundle.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "common/crypto/p256.h"

/* One bundle in the making. */
struct making {
	const struct collateral *c; /* borrows */
	struct dcap_bundle *b; /* owns */
	struct cert *signer; /* owns */
	struct chain_rules rules;
	struct refusal *why;
};

void
dcap_bundle_id(uint8_t id[static 32], const struct collateral *c,
    const struct dcap_root *root)
{
	uint8_t content[32];

	collateral_id(content, c);
	sha256_v(id,
	    (const struct bytes[]){
		BYTES_OF(root->fingerprint), BYTES_OF(content) },
	    2);
}

/* Nothing that the steps need is missing or beyond its bound. */
static enum err
check_bounds(const struct collateral *c, struct refusal *why)
{
	const struct {
		const char *name;
		const struct buf *b;
	} part[] = {
		{ "TCB info", &c->tcb_info },
		{ "TCB info chain", &c->tcb_info_chain },
		{ "QE identity", &c->qe_identity },
		{ "QE identity chain", &c->qe_identity_chain },
		{ "root CRL", &c->root_ca_crl },
		{ "PCK CRL", &c->pck_crl },
	};

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		if (part[i].b->len == 0)
			return refuse(why, REASON_COLLATERAL_MISSING,
			    "COLLATERAL_MISSING: %s", part[i].name);
		if (part[i].b->len > LIMIT_COLLATERAL)
			return refuse(why, REASON_COLLATERAL_INVALID,
			    "COLLATERAL_SIZE: %s", part[i].name);
	}
	if (c->pck_chain.len > LIMIT_QUOTE)
		return refuse(why, REASON_COLLATERAL_INVALID,
		    "COLLATERAL_SIZE: PCK chain");
	return ERR_OK;
}

/* Step 2: CRLs, and the root that they and all chains hang from. */
static enum err
make_crls(struct making *m)
{
	struct dcap_bundle *b = m->b;
	enum err e;

	if ((e = crl_parse(&b->root_crl, buf_view(&m->c->root_ca_crl))) !=
		ERR_OK ||
	    (e = crl_parse(&b->pck_crl, buf_view(&m->c->pck_crl))) != ERR_OK) {
		if (e == ERR_NOMEM)
			return e;
		return refuse(m->why, REASON_COLLATERAL_INVALID,
		    "CRL_PARSE: %s", b->root_crl == NULL ? "root" : "pck");
	}
	m->rules.root_crl = b->root_crl;
	return chain_root(&m->rules, &b->window, m->why);
}

/* The signature covers the exact bytes; parsing comes after: 2.3. */
static enum err
check_document(struct making *m, const struct buf *text,
    const uint8_t signature[static 64], const char *what)
{
	enum err e = p256_verify_raw_evp(
	    cert_key(m->signer), signature, text->p, text->len);

	if (e == ERR_OK || e == ERR_NOMEM)
		return e;
	return refuse(
	    m->why, REASON_COLLATERAL_INVALID, "COLLATERAL_SIG: %s", what);
}

static enum err
check_dates(struct making *m, const struct signed_dates *d, const char *what)
{
	window_narrow(&m->b->window, d->issued, d->next_update);
	if (m->rules.now < d->issued)
		return refuse(m->why, REASON_COLLATERAL_EXPIRED,
		    "COLLATERAL_NOT_YET_VALID: %s", what);
	if (m->rules.now > d->next_update)
		return refuse(m->why, REASON_COLLATERAL_EXPIRED,
		    "COLLATERAL_EXPIRED: %s", what);
	return ERR_OK;
}

/* Step 3: TCB info. */
static enum err
make_tcb_info(struct making *m)
{
	const struct collateral *c = m->c;
	struct dcap_bundle *b = m->b;
	enum err e = chain_signer(&m->signer, buf_view(&c->tcb_info_chain),
	    "tcb_info", &m->rules, &b->window, m->why);

	if (e != ERR_OK)
		return e;
	e = check_document(m, &c->tcb_info, c->tcb_info_signature, "tcb_info");
	if (e != ERR_OK)
		return e;
	e = tcb_info_parse(&b->tcb, buf_view(&c->tcb_info), m->why);
	return e != ERR_OK ? e : check_dates(m, &b->tcb.signed_at, "tcb_info");
}

/* Step 4: QE identity. */
static enum err
make_qe_identity(struct making *m)
{
	const struct collateral *c = m->c;
	const struct buf *tcb = &c->tcb_info_chain, *qe = &c->qe_identity_chain;
	struct dcap_bundle *b = m->b;
	enum err e;

	if (tcb->len != qe->len || memcmp(tcb->p, qe->p, tcb->len) != 0) {
		cert_free(m->signer);
		m->signer = NULL;
		e = chain_signer(&m->signer, buf_view(qe), "qe_identity",
		    &m->rules, &b->window, m->why);
		if (e != ERR_OK)
			return e;
	}
	e = check_document(
	    m, &c->qe_identity, c->qe_identity_signature, "qe_identity");
	if (e != ERR_OK)
		return e;
	e = qe_identity_parse(&b->qe, buf_view(&c->qe_identity), m->why);
	return e != ERR_OK ? e
			   : check_dates(m, &b->qe.signed_at, "qe_identity");
}

static void
bundle_destroy(struct dcap_obj *o)
{
	struct dcap_bundle *b = (struct dcap_bundle *)o;

	crl_free(b->root_crl);
	crl_free(b->pck_crl);
	tcb_info_fini(&b->tcb);
	qe_identity_fini(&b->qe);
	buf_fini(&b->pck_chain);
	free(b);
}

enum err
dcap_bundle_new(struct dcap_bundle **out, const struct collateral *c,
    const struct dcap_root *root, int64_t now, struct refusal *why)
{
	struct making m = {
		.c = c,
		.rules = { .root = root->cert,
		    .root_der = buf_view(&root->der),
		    .now = now },
		.why = why,
	};
	enum err e = check_bounds(c, why);

	if (e != ERR_OK)
		return e;
	if ((m.b = calloc(1, sizeof *m.b)) == NULL)
		return ERR_NOMEM;
	dcap_obj_init(&m.b->obj, bundle_destroy);
	m.b->root = root;
	m.b->window = (struct window){ INT64_MIN, INT64_MAX };
	if ((e = make_crls(&m)) != ERR_OK ||
	    (e = make_tcb_info(&m)) != ERR_OK ||
	    (e = make_qe_identity(&m)) != ERR_OK ||
	    (e = buf_set(&m.b->pck_chain, c->pck_chain.p, c->pck_chain.len)) !=
		ERR_OK)
		goto done;
	dcap_bundle_id(m.b->id, c, root);
	*out = m.b;
	m.b = NULL; /* transferred */
done:
	dcap_bundle_unref(m.b);
	cert_free(m.signer);
	return e;
}

void
dcap_bundle_unref(struct dcap_bundle *b)
{
	dcap_obj_unref(b != NULL ? &b->obj : NULL);
}

static void
pck_destroy(struct dcap_obj *o)
{
	struct dcap_pck *p = (struct dcap_pck *)o;

	cert_free(p->leaf);
	free(p);
}

enum err
dcap_pck_new(struct dcap_pck **out, struct bytes pem,
    const struct dcap_bundle *b, int64_t now, struct refusal *why)
{
	const struct chain_rules rules = { .root = b->root->cert,
		.root_der = buf_view(&b->root->der),
		.root_crl = b->root_crl,
		.now = now };
	struct dcap_pck *p = calloc(1, sizeof *p);
	enum err e;

	if (p == NULL)
		return ERR_NOMEM;
	dcap_obj_init(&p->obj, pck_destroy);
	p->window = (struct window){ INT64_MIN, INT64_MAX };
	e = chain_pck(&p->leaf, pem, b->pck_crl, &rules, &p->window, why);
	if (e != ERR_OK)
		goto done;
	e = cert_pck_facts(&p->facts, &p->platform_ca, p->leaf);
	if (e == ERR_NOTFOUND)
		e = refuse(
		    why, REASON_PCK_CHAIN, "PCK_NO_SGX_EXT: no SGX extension");
	else if (e == ERR_MALFORMED)
		e = refuse(why, REASON_PCK_CHAIN, "PCK_EXT: SGX extension");
	if (e != ERR_OK)
		goto done;
	*out = p;
	p = NULL; /* transferred */
done:
	dcap_pck_unref(p);
	return e;
}

void
dcap_pck_unref(struct dcap_pck *p)
{
	dcap_obj_unref(p != NULL ? &p->obj : NULL);
}
