/* x509chain: steps of tdx-dcap.md 2.2 in this order, cheap before dear: roles,
 * CA rules, shape of the chain, names, validity, signatures, revocation. */
#include <string.h>

#include <openssl/x509v3.h>

#include "common/attest/pem.h"
#include "common/attest/x509chain.h"

#define PEM_CERTS_MAX 4 /* leaf, CA, root, and one to be refused */

void
window_narrow(struct window *w, int64_t from, int64_t until)
{
	if (from > w->from)
		w->from = from;
	if (until < w->until)
		w->until = until;
}

static bool
subject_is(const struct cert *c, const char *want)
{
	return cert_cn_is(X509_get_subject_name(c->x), want);
}

/* Why a chain failed, before it is known which kind of chain it was. */
struct fault {
	const char *code; /* NULL: none */
	const char *detail;
	bool dates; /* out of date rather than wrong */
	bool revoked;
};

static struct fault
fault(const char *code, const char *detail)
{
	return (struct fault){ .code = code, .detail = detail };
}

static struct fault
in_date(const struct cert *c, int64_t now, struct window *w)
{
	struct fault f = { 0 };

	if (now < c->not_before)
		f = fault("CERT_NOT_YET_VALID", "certificate");
	else if (now > c->not_after)
		f = fault("CERT_EXPIRED", "certificate");
	f.dates = f.code != NULL;
	window_narrow(w, c->not_before, c->not_after);
	return f;
}

static struct fault
crl_in_force(const struct crl *crl, const struct cert *issuer, int64_t now,
    struct window *w)
{
	struct fault f = { 0 };

	if (X509_NAME_cmp(X509_CRL_get_issuer(crl->x),
		X509_get_subject_name(issuer->x)) != 0)
		return fault("CRL_ISSUER", "CRL is another issuer's");
	if ((issuer->usage & KU_CRL_SIGN) == 0)
		return fault("CRL_ISSUER", "issuer may not sign CRLs");
	if (!object_signed_by(&crl->o, issuer->key))
		return fault("CRL_SIG", "CRL signature");
	if (now < crl->this_update)
		f = fault("CRL_NOT_YET_VALID", "CRL");
	else if (now > crl->next_update)
		f = fault("CRL_EXPIRED", "CRL");
	f.dates = f.code != NULL;
	window_narrow(w, crl->this_update, crl->next_update);
	return f;
}

/* `crl` is in force and by the issuer of `c`. */
static struct fault
not_listed(const struct crl *crl, const struct cert *c)
{
	X509_REVOKED *entry = NULL;
	struct fault f = { 0 };

	if (X509_CRL_get0_by_serial(
		crl->x, &entry, X509_get_serialNumber(c->x)) == 0)
		return f;
	f = fault("CERT_REVOKED", "certificate");
	f.revoked = true;
	return f;
}

/* `below` counts the CA certificates between issuer and leaf. */
static struct fault
may_issue(const struct cert *issuer, size_t below)
{
	if (!issuer->ca)
		return fault("NOT_CA", "issuer is no CA");
	if (issuer->path_len >= 0 && (size_t)issuer->path_len < below)
		return fault("PATH_LEN", "too many CAs below an issuer");
	return (struct fault){ 0 };
}

static struct fault
named(const struct cert *issuer, const struct cert *c)
{
	if (!cert_names_fit(issuer, c))
		return fault("CHAIN_ISSUER", "issuer name or key identifier");
	return (struct fault){ 0 };
}

static struct fault
signed_by(const struct cert *issuer, const struct cert *c)
{
	if (!object_signed_by(&c->o, issuer->key))
		return fault("CHAIN_SIG", "certificate signature");
	return (struct fault){ 0 };
}

/* pem_certs reads all certificates but the pinned root into `c`. */
static struct fault
pem_certs(struct cert *c[static PEM_CERTS_MAX], size_t *n, struct bytes pem,
    struct bytes root_der)
{
	uint8_t der[LIMIT_CERT];
	size_t len;
	enum err e;

	for (int i = 0; (e = pem_next(der, &len, &pem)) == ERR_OK; i++) {
		if (i == PEM_CERTS_MAX)
			return fault("CHAIN_LEN", "too many certificates");
		if (len == root_der.len && memcmp(der, root_der.p, len) == 0)
			continue;
		if (cert_parse(&c[*n], (struct bytes){ der, len }) != ERR_OK)
			return fault("CERT_PARSE", "certificate");
		(*n)++;
	}
	if (e != ERR_NOTFOUND)
		return fault("CERT_PARSE", "PEM");
	return (struct fault){ 0 };
}

static enum err
refuse_chain(struct refusal *why, const struct fault *f, const char *what,
    enum reason reason, enum reason dates, enum reason revoked)
{
	return refuse(why,
	    f->revoked     ? revoked
		: f->dates ? dates
			   : reason,
	    "%s: %s: %s", f->code, what, f->detail);
}

enum err
chain_root(const struct chain_rules *r, struct window *w, struct refusal *why)
{
	struct fault f = in_date(r->root, r->now, w);

	if (f.code == NULL)
		f = crl_in_force(r->root_crl, r->root, r->now, w);
	if (f.code == NULL)
		f = not_listed(r->root_crl, r->root);
	if (f.code == NULL)
		return ERR_OK;
	return refuse_chain(why, &f, "root", REASON_COLLATERAL_INVALID,
	    REASON_COLLATERAL_EXPIRED, REASON_REVOKED);
}

static struct fault
signer_check(const struct cert *leaf, size_t n, const struct chain_rules *r,
    struct window *w)
{
	struct fault f;

	/* Role first: any key under this root could sign, only one may. */
	if (n == 0)
		return fault("CHAIN_LEN", "no certificate");
	if (!subject_is(leaf, CN_SIGNER))
		return fault("CERT_CN", "not a TCB signing certificate");
	if (n != 1)
		return fault("CHAIN_LEN", "not one certificate");
	if (leaf->ca || (leaf->usage & KU_DIGITAL_SIGNATURE) == 0)
		return fault("KEY_USAGE", "signer");
	if ((f = may_issue(r->root, 0)).code != NULL ||
	    (f = named(r->root, leaf)).code != NULL ||
	    (f = in_date(leaf, r->now, w)).code != NULL ||
	    (f = signed_by(r->root, leaf)).code != NULL)
		return f;
	return not_listed(r->root_crl, leaf);
}

enum err
chain_signer(struct cert **out, struct bytes pem, const char *what,
    const struct chain_rules *r, struct window *w, struct refusal *why)
{
	struct cert *c[PEM_CERTS_MAX] = { 0 };
	size_t n = 0;
	struct fault f = pem_certs(c, &n, pem, r->root_der);
	enum err e = ERR_OK;

	if (f.code == NULL)
		f = signer_check(c[0], n, r, w);
	if (f.code != NULL) {
		e = refuse_chain(why, &f, what, REASON_COLLATERAL_INVALID,
		    REASON_COLLATERAL_EXPIRED, REASON_COLLATERAL_INVALID);
	} else {
		*out = c[0];
		c[0] = NULL; /* transferred */
	}
	for (size_t i = 0; i < PEM_CERTS_MAX; i++)
		cert_free(c[i]);
	return e;
}

/* All but the leaf, from below and up to the pinned root: each may issue what
 * hangs below it.  That is asked of however many there are, since "a leaf
 * issued it" or "the root allows no such path" says more than a number. */
static struct fault
issuers_fit(struct cert *const c[static PEM_CERTS_MAX], size_t n,
    const struct cert *root)
{
	struct fault f;

	for (size_t i = 1; i < n; i++)
		if ((f = may_issue(c[i], i - 1)).code != NULL)
			return f;
	return n > 0 ? may_issue(root, n - 1) : (struct fault){ 0 };
}

static struct fault
pck_check(struct cert *const c[static PEM_CERTS_MAX], size_t n,
    const struct crl *pck_crl, const struct chain_rules *r, struct window *w)
{
	const struct cert *leaf = c[0], *ca = c[1];
	struct fault f;

	if (n > 0 && !subject_is(leaf, CN_PCK))
		return fault("CERT_CN", "not a PCK certificate");
	if ((f = issuers_fit(c, n, r->root)).code != NULL)
		return f;
	if (n != 2)
		return fault("PCK_CHAIN_LEN", "not leaf and CA");
	if (leaf->ca || (leaf->usage & KU_DIGITAL_SIGNATURE) == 0)
		return fault("KEY_USAGE", "leaf");
	if (!subject_is(ca, CN_PLATFORM_CA) && !subject_is(ca, CN_PROCESSOR_CA))
		return fault("CERT_CN", "not a PCK CA");
	if ((f = named(r->root, ca)).code != NULL ||
	    (f = named(ca, leaf)).code != NULL ||
	    (f = in_date(ca, r->now, w)).code != NULL ||
	    (f = in_date(leaf, r->now, w)).code != NULL ||
	    (f = signed_by(r->root, ca)).code != NULL ||
	    (f = signed_by(ca, leaf)).code != NULL ||
	    (f = not_listed(r->root_crl, ca)).code != NULL ||
	    (f = crl_in_force(pck_crl, ca, r->now, w)).code != NULL)
		return f;
	return not_listed(pck_crl, leaf);
}

enum err
chain_pck(struct cert **out, struct bytes pem, const struct crl *pck_crl,
    const struct chain_rules *r, struct window *w, struct refusal *why)
{
	struct cert *c[PEM_CERTS_MAX] = { 0 };
	size_t n = 0;
	struct fault f = pem_certs(c, &n, pem, r->root_der);
	enum err e = ERR_OK;

	if (f.code == NULL)
		f = pck_check(c, n, pck_crl, r, w);
	if (f.code != NULL) {
		e = refuse_chain(why, &f, "pck",
		    strncmp(f.code, "CRL_", 4) == 0 ? REASON_COLLATERAL_INVALID
						    : REASON_PCK_CHAIN,
		    strncmp(f.code, "CRL_", 4) == 0 ? REASON_COLLATERAL_EXPIRED
						    : REASON_PCK_CHAIN,
		    REASON_REVOKED);
	} else {
		*out = c[0];
		c[0] = NULL; /* transferred */
	}
	for (size_t i = 0; i < PEM_CERTS_MAX; i++)
		cert_free(c[i]);
	return e;
}
