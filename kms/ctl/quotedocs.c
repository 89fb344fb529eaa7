/* quotedocs: the rows of steps 2 to 6: anchor, signed documents, PCK. */
#include <string.h>

#include "common/crypto/hash.h"
#include "kms/ctl/quotecerts.h"
#include "kms/ctl/quoteintel_int.h"

#define CERT_PCK_CHAIN 5

/* A period, and the moment that must lie in it. */
static void
row_period(struct quotereading *x, const struct quoterow *row, int64_t from,
    int64_t until)
{
	char a[QUOTEREPORT_DATE], b[QUOTEREPORT_DATE], n[QUOTEREPORT_DATE];
	struct quoterow full = *row;
	struct quotetext found, expected;
	int64_t now = x->q->now;

	full.found = quotetext_say(&found, "%s .. %s",
	    quotereport_date(a, from), quotereport_date(b, until));
	full.expected =
	    quotetext_say(&expected, "contains %s", quotereport_date(n, now));
	full.expected_in = "--now, or the clock";
	full.holds = row_holds_if(from <= now && now <= until);
	quotereport_row(x->r, &full);
}

static void
row_crl(struct quotereading *x, unsigned step, const char *check,
    const char *in_date, const char *subject, const struct buf *der,
    const char *doc, const char *issuer)
{
	struct crl_facts c;
	struct quotetext found, expected;
	struct quoterow row = { .step = step,
		.check = check,
		.found_in = doc,
		.expected = quotetext_say(&expected, "signed by %s", issuer),
		.expected_in = "its key",
		.codes = "CRL_",
		.subject = subject };

	if (quotecerts_crl(&c, buf_view(der)) == ERR_OK)
		row.found = quotetext_say(
		    &found, "CRL of %s, %d revoked", c.issuer, c.n_revoked);
	quotereport_row(x->r, &row);
	if (row.found == NULL)
		return;
	row.check = in_date;
	row_period(x, &row, c.from, c.until);
}

void
quotedocs_root(struct quotereading *x)
{
	struct bytes der = x->q->root_der;
	struct quotetext found;
	struct cert_facts c;
	uint8_t fp[32];
	struct quoterow row = { .step = 2,
		.check = "the trust anchor",
		.found_in = x->q->root_from,
		.codes = "CERT_ CHAIN_ NOT_CA KEY_USAGE PATH_LEN",
		.subject = "root" };

	sha256(fp, der.p, der.len);
	if (quotecerts_der(&c, der) == ERR_OK) {
		struct quotetext h;

		row.found = quotetext_say(&found, "%s, SHA-256 %.64s",
		    c.subject, quotetext_hex(&h, fp, sizeof fp));
	}
	quotereport_row(x->r, &row);
	row_crl(x, 2, "the root CRL", "the root CRL: in date", "root",
	    &x->q->collateral->root_ca_crl, "root_ca_crl", "the trust anchor");
}

/* ---- steps 3 to 5: the signed documents ---- */

static void
row_signer(struct quotereading *x, unsigned step, const char *check,
    const char *subject, const struct buf *pem, const char *doc)
{
	struct cert_facts c[1];
	struct quotetext found;
	struct quoterow row = { .step = step,
		.check = check,
		.found_in = doc,
		.expected = "Intel SGX TCB Signing under the trust anchor, "
			    "not on the root CRL",
		.expected_in = "trust anchor, root_ca_crl",
		.codes = "CERT_ CHAIN_ CRL_ NOT_CA KEY_USAGE PATH_LEN",
		.subject = subject };

	if (quotecerts_pem(c, 1, buf_view(pem)) == 1)
		row.found = quotetext_say(&found, "%s, serial %s, by %s",
		    c->subject, c->serial, c->issuer);
	quotereport_row(x->r, &row);
}

struct document {
	unsigned step;
	const char *name; /* as in the bundle, and a refusal's subject */
	const char *checks[4]; /* signer, signature, parsed, in date */
	const char *chain_name;
	const struct buf *text, *chain;
	const uint8_t *signature;
	const char *kind; /* what it must be */
	const char *mismatch;
};

static void
rows_document(struct quotereading *x, const struct document *d, bool parses,
    enum tee_kind tee, const struct signed_dates *dates)
{
	struct quotetext found, h;
	struct quoterow row;

	row_signer(x, d->step, d->checks[0], d->name, d->chain, d->chain_name);
	row = (struct quoterow){ .step = d->step,
		.check = d->checks[1],
		.found = quotetext_say(&found, "%zu bytes, signature %.16s...",
		    d->text->len, quotetext_hex(&h, d->signature, 64)),
		.found_in = d->name,
		.expected = "by the signer's key",
		.expected_in = d->chain_name,
		.codes = "COLLATERAL_SIG",
		.subject = d->name };
	quotereport_row(x->r, &row);
	row = (struct quoterow){ .step = 5,
		.check = d->checks[2],
		.found_in = d->name,
		.expected = d->kind,
		.codes = d->mismatch,
		.holds = row_holds_if(parses && tee == x->quote.tee) };
	if (parses)
		row.found = quotetext_say(&found, "%s, evaluation number %u",
		    tee == TEE_TDX ? "TDX" : "SGX", dates->eval_number);
	quotereport_row(x->r, &row);
	if (!parses)
		return;
	row = (struct quoterow){ .step = d->step,
		.check = d->checks[3],
		.found_in = d->name,
		.codes = "COLLATERAL_EXPIRED COLLATERAL_NOT_YET_VALID",
		.subject = d->name };
	row_period(x, &row, dates->issued, dates->next_update);
}

void
quotedocs_signed(struct quotereading *x)
{
	const struct collateral *c = x->q->collateral;

	rows_document(x,
	    &(struct document){ 3, "tcb_info",
		{ "TCB info: who signed it",
		    "TCB info: the signature over its exact bytes",
		    "TCB info: the right document, strictly parsed",
		    "TCB info: in date" },
		"tcb_info_issuer_chain", &c->tcb_info, &c->tcb_info_chain,
		c->tcb_info_signature, "TCB info, version 3",
		"JSON TCB_INFO_MISMATCH" },
	    x->has_tcb, x->tcb.tee, &x->tcb.signed_at);
	rows_document(x,
	    &(struct document){ 4, "qe_identity",
		{ "QE identity: who signed it",
		    "QE identity: the signature over its exact bytes",
		    "QE identity: the right document, strictly parsed",
		    "QE identity: in date" },
		"qe_identity_issuer_chain", &c->qe_identity,
		&c->qe_identity_chain, c->qe_identity_signature,
		"QE identity, version 2", "JSON QE_IDENTITY_MISMATCH" },
	    x->has_qe, x->qe.tee, &x->qe.signed_at);
}

/* ---- step 6: the PCK certificate ---- */

struct bytes
quotedocs_pck_pem(const struct quotereading *x, const char **from)
{
	if (x->quote.cert_type == CERT_PCK_CHAIN) {
		*from = "certificates in the quote";
		return x->quote.cert_data;
	}
	*from = "pck_certificate_chain";
	return buf_view(&x->q->collateral->pck_chain);
}

void
quotedocs_pck(struct quotereading *x)
{
	const char *from;
	struct bytes pem = quotedocs_pck_pem(x, &from);
	struct cert_facts c[2];
	size_t n = quotecerts_pem(c, 2, pem);
	struct quotetext found, a, b;
	struct quoterow row = { .step = 6,
		.check = "the platform's certificate (PCK)",
		.found_in = from,
		.expected = "Intel SGX PCK Certificate, by a PCK CA, by the "
			    "trust anchor; on no CRL",
		.expected_in = "trust anchor, root_ca_crl, pck_crl",
		.codes = "CERT_ CHAIN_ NOT_CA KEY_USAGE PATH_LEN "
			 "PCK_CHAIN_LEN",
		.subject = "pck" };

	if (n > 0)
		row.found = quotetext_say(&found, "%s, serial %s, by %s",
		    c[0].subject, c[0].serial, c[0].issuer);
	quotereport_row(x->r, &row);
	if (n > 0) {
		row.check = "the platform's certificate: in date";
		row.expected = NULL;
		row.codes = "CERT_EXPIRED CERT_NOT_YET_VALID";
		row_period(x, &row, c[0].from, c[0].until);
	}
	row_crl(x, 6, "the PCK CRL", "the PCK CRL: in date", "pck",
	    &x->q->collateral->pck_crl, "pck_crl",
	    n > 0 ? c[0].issuer : "the PCK CA");
	row = (struct quoterow){ .step = 6,
		.check = "the certificate names its platform",
		.found_in = from,
		.expected = "one well-formed SGX extension",
		.codes = "PCK_EXT PCK_NO_SGX_EXT CERT_DATA_TYPE",
		.holds = row_holds_if(x->has_pck) };
	if (x->has_pck)
		row.found = quotetext_say(&found,
		    "FMSPC %.12s, CPUSVN %.32s, PCESVN %u",
		    quotetext_hex(&a, x->pck.fmspc, 6),
		    quotetext_hex(&b, x->pck.cpusvn, 16), x->pck.pcesvn);
	quotereport_row(x->r, &row);
}
