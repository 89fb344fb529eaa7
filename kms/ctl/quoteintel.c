#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "common/attest/x509chain.h"
#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "kms/ctl/quoteintel_int.h"
#include "kms/ctl/quoteverdict.h"

/* The QE's report: offsets in a report body, tdx-dcap.md 1.3. */
enum {
	QE_MISCSELECT = 16,
	QE_ATTRIBUTES = 48,
	QE_MRSIGNER = 128,
	QE_PRODID = 256,
	QE_SVN = 258,
	QE_REPORT_DATA = 320,
};
const char *
quotetext_say(struct quotetext *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	/* cppcheck-suppress ctuuninitvar; it is written here */
	(void)vsnprintf(t->s, sizeof t->s, fmt, ap);
	va_end(ap);
	return t->s;
}

const char *
quotetext_hex(struct quotetext *t, const uint8_t *p, size_t len)
{
	assert(2 * len < sizeof t->s);
	return hex_encode(t->s, p, len);
}

static uint16_t
le16(const uint8_t *p)
{
	return (uint16_t)(p[1] << 8 | p[0]);
}

/* A row of two equal byte strings. */
static void
row_bytes(struct quotereading *x, const struct quoterow *row,
    const uint8_t *found, const uint8_t *expected, size_t len)
{
	struct quoterow full = *row;
	struct quotetext a, b;

	full.found = quotetext_hex(&a, found, len);
	full.expected = quotetext_hex(&b, expected, len);
	full.holds = row_holds_if(memcmp(found, expected, len) == 0);
	quotereport_row(x->r, &full);
}

/* A row of bytes under a mask. */
static void
row_masked(struct quotereading *x, const struct quoterow *row,
    const uint8_t *found, const uint8_t *expected, const uint8_t *mask,
    size_t len)
{
	struct quoterow full = *row;
	struct quotetext a, b, c;
	bool fits = true;

	for (size_t i = 0; i < len; i++)
		fits = fits && (found[i] & mask[i]) == expected[i];
	full.found = quotetext_hex(&a, found, len);
	quotetext_hex(&b, expected, len);
	quotetext_hex(&c, mask, len);
	{
		struct quotetext both;

		full.expected =
		    quotetext_say(&both, "%.320s under mask %.320s", b.s, c.s);
		full.holds = row_holds_if(fits);
		quotereport_row(x->r, &full);
	}
}

/* ---- steps 1 and 2 ---- */

static void
rows_quote(struct quotereading *x)
{
	const struct quote *q = &x->quote;
	struct quotetext found;
	struct quoterow row = { .step = 1,
		.check = "the quote parses, and is of a kind that is known",
		.found_in = "quote",
		.expected = "version 3, 4 or 5; ECDSA P-256; Intel's QE",
		.expected_in = "Intel's quote format",
		.codes = "QUOTE_ ATT_KEY_TYPE TEE_TYPE QE_VENDOR_ID BODY_ "
			 "CERT_DATA_TYPE AUTH_TRAILING",
		.holds = row_holds_if(x->has_quote) };

	if (x->has_quote)
		row.found = quotetext_say(&found,
		    "version %u, %s, body of %zu bytes, certification data "
		    "%u, %zu bytes of %zu used",
		    q->version, q->tee == TEE_TDX ? "TDX" : "SGX", q->body.len,
		    q->cert_type, q->canonical_len, x->q->quote.len);
	else
		row.found = quotetext_say(&found, "%zu bytes", x->q->quote.len);
	quotereport_row(x->r, &row);
	row = (struct quoterow){ .step = 2,
		.check = "the collateral is complete",
		.codes = "COLLATERAL_MISSING COLLATERAL_SIZE" };
	quotereport_row(x->r, &row);
}

/* ---- steps 7 to 9: the quoting enclave ---- */

static void
rows_qe(struct quotereading *x)
{
	const uint8_t *qe = x->quote.qe_report;
	const struct bytes bound[] = { { x->quote.att_key, 64 },
		x->quote.qe_auth };
	const struct svn_level *level;
	struct quotetext found, expected;
	uint8_t hash[64] = { 0 };

	quotereport_row(x->r,
	    &(struct quoterow){ .step = 7,
		.check = "the platform vouches for the quoting enclave (QE)",
		.found = "signature over the QE report, 384 bytes",
		.found_in = "quote",
		.expected = "by the PCK key",
		.expected_in = "PCK certificate",
		.codes = "QE_REPORT_SIG" });
	sha256_v(hash, bound, 2);
	row_bytes(x,
	    &(struct quoterow){ .step = 8,
		.check = "the QE vouches for the attestation key",
		.found_in = "QE report, report data",
		.expected_in = "SHA-256 of key and QE data in the quote, zeros",
		.codes = "QE_REPORT_DATA" },
	    qe + QE_REPORT_DATA, hash, 64);
	if (!x->has_qe)
		return;
	row_bytes(x,
	    &(struct quoterow){ .step = 9,
		.check = "the QE's signer (MRSIGNER)",
		.found_in = "QE report",
		.expected_in = "qe_identity",
		.codes = "QE_IDENTITY_MISMATCH" },
	    qe + QE_MRSIGNER, x->qe.mrsigner, 32);
	quotereport_row(x->r,
	    &(struct quoterow){ .step = 9,
		.check = "the QE's product (ISVPRODID)",
		.found = quotetext_say(&found, "%u", le16(qe + QE_PRODID)),
		.found_in = "QE report",
		.expected = quotetext_say(&expected, "%u", x->qe.isvprodid),
		.expected_in = "qe_identity",
		.codes = "QE_IDENTITY_MISMATCH",
		.holds =
		    row_holds_if(le16(qe + QE_PRODID) == x->qe.isvprodid) });
	row_masked(x,
	    &(struct quoterow){ .step = 9,
		.check = "the QE's MISCSELECT",
		.found_in = "QE report",
		.expected_in = "qe_identity",
		.codes = "QE_IDENTITY_MISMATCH" },
	    qe + QE_MISCSELECT, x->qe.miscselect, x->qe.miscselect_mask, 4);
	row_masked(x,
	    &(struct quoterow){ .step = 9,
		.check = "the QE's ATTRIBUTES",
		.found_in = "QE report",
		.expected_in = "qe_identity",
		.codes = "QE_IDENTITY_MISMATCH" },
	    qe + QE_ATTRIBUTES, x->qe.attributes, x->qe.attributes_mask, 16);
	level = svn_level_match(x->qe.level, x->qe.n_levels, le16(qe + QE_SVN));
	quotereport_row(x->r,
	    &(struct quoterow){ .step = 9,
		.check = "how old the QE is",
		.found = quotetext_say(&found, "ISVSVN %u", le16(qe + QE_SVN)),
		.found_in = "QE report",
		.expected = level == NULL
		    ? "at least the lowest level"
		    : quotetext_say(&expected, "level %u: %s", level->isvsvn,
			  tcb_status_text(level->says.status)),
		.expected_in = "qe_identity",
		.codes = "QE_TCB_NOT_SUPPORTED",
		.holds = row_holds_if(level != NULL) });
}

/* ---- steps 10 to 12 ---- */

static void
rows_signature(struct quotereading *x)
{
	struct quotetext found, h;

	quotereport_row(x->r,
	    &(struct quoterow){ .step = 10,
		.check = "the quote's signature",
		.found =
		    quotetext_say(&found, "over header and body, %zu bytes",
			x->quote.signed_part.len),
		.found_in = "quote",
		.expected =
		    quotetext_say(&h, "by the attestation key of step 8"),
		.expected_in = "quote",
		.codes = "QUOTE_SIG ATT_KEY_INVALID" });
	if (!x->has_pck || !x->has_tcb)
		return;
	row_bytes(x,
	    &(struct quoterow){ .step = 11,
		.check = "TCB info is about this platform (FMSPC)",
		.found_in = "PCK certificate",
		.expected_in = "tcb_info",
		.codes = "TCB_INFO_MISMATCH" },
	    x->pck.fmspc, x->tcb.fmspc, 6);
	row_bytes(x,
	    &(struct quoterow){ .step = 11,
		.check = "TCB info is about this platform (PCEID)",
		.found_in = "PCK certificate",
		.expected_in = "tcb_info",
		.codes = "TCB_INFO_MISMATCH" },
	    x->pck.pceid, x->tcb.pceid, 2);
}

static void
row_level(struct quotereading *x)
{
	bool td = x->quote.tee == TEE_TDX;
	const uint8_t *svn = x->quote.td.tee_tcb_svn;
	const struct tcb_level *l =
	    tcb_level_match(&x->tcb, &x->pck, td ? svn : NULL);
	struct quotetext found, expected, a, b;
	char date[QUOTEREPORT_DATE];

	quotetext_say(&found, "CPUSVN %.32s, PCESVN %u%s%.32s",
	    quotetext_hex(&a, x->pck.cpusvn, 16), x->pck.pcesvn,
	    td ? ", TEE_TCB_SVN " : "", td ? quotetext_hex(&b, svn, 16) : "");
	if (l != NULL)
		quotetext_say(&expected,
		    "level %zu of %zu (SGX %.32s, PCESVN %u%s%.32s): %s, of "
		    "%.10s",
		    (size_t)(l - x->tcb.level) + 1, x->tcb.n_levels,
		    quotetext_hex(&a, l->sgx, 16), l->pcesvn,
		    td ? ", TDX " : "", td ? quotetext_hex(&b, l->tdx, 16) : "",
		    tcb_status_text(l->says.status),
		    quotereport_date(date, l->says.date));
	else
		quotetext_say(
		    &expected, "reaches one of %zu levels", x->tcb.n_levels);
	quotereport_row(x->r,
	    &(struct quoterow){ .step = 12,
		.check = "how old the platform is",
		.found = found.s,
		.found_in =
		    td ? "PCK certificate, TD report" : "PCK certificate",
		.expected = expected.s,
		.expected_in = "tcb_info",
		.codes = "TCB_NOT_SUPPORTED",
		.holds = row_holds_if(l != NULL) });
}

static void
row_module(struct quotereading *x)
{
	const struct td_report *td = &x->quote.td;
	const struct svn_level *level = NULL;
	struct refusal why;
	struct quotetext found, expected;
	bool fits = tcb_module_check(&level, &x->tcb, td, &why) == ERR_OK;

	quotetext_say(&found, "TDX module version %u, ISVSVN %u",
	    td->tee_tcb_svn[1], td->tee_tcb_svn[0]);
	if (!fits)
		quotetext_say(&expected, "a module with a signed identity");
	else if (level == NULL)
		quotetext_say(
		    &expected, "tdxModule: signer and attributes agree");
	else
		quotetext_say(&expected,
		    "identity TDX_%02X: signer and attributes agree; level "
		    "%u: %s",
		    td->tee_tcb_svn[1], level->isvsvn,
		    tcb_status_text(level->says.status));
	quotereport_row(x->r,
	    &(struct quoterow){ .step = 12,
		.check = "which TDX module, and how old",
		.found = found.s,
		.found_in = "TD report",
		.expected = expected.s,
		.expected_in = "tcb_info",
		.codes = "TDX_MODULE_MISMATCH TCB_NOT_SUPPORTED",
		.holds = row_holds_if(fits) });
}

static void
rows_levels(struct quotereading *x)
{
	if (x->has_pck && x->has_tcb)
		row_level(x);
	if (x->has_tcb && x->quote.tee == TEE_TDX)
		row_module(x);
	quotereport_row(x->r,
	    &(struct quoterow){ .step = 12,
		.check = "nothing is revoked",
		.expected = "no level says Revoked",
		.expected_in = "tcb_info, qe_identity",
		.codes = "TCB_REVOKED" });
}

static void
read_all(struct quotereading *x)
{
	const struct collateral *c = x->q->collateral;
	struct cert *leaf = NULL;
	struct refusal why;
	const char *from;
	bool ca;

	x->has_quote = quote_parse(&x->quote, x->q->quote, &why) == ERR_OK;
	x->has_tcb =
	    tcb_info_parse(&x->tcb, buf_view(&c->tcb_info), &why) == ERR_OK;
	x->has_qe = qe_identity_parse(
			&x->qe, buf_view(&c->qe_identity), &why) == ERR_OK;
	if (x->has_quote &&
	    cert_pem_first(&leaf, quotedocs_pck_pem(x, &from)) == ERR_OK)
		x->has_pck = cert_pck_facts(&x->pck, &ca, leaf) == ERR_OK;
	cert_free(leaf);
}

void
quoteintel_rows(struct quotereport *r, const struct quoteintel *q)
{
	struct quotereading x = { .r = r, .q = q };

	read_all(&x);
	rows_quote(&x);
	if (x.has_quote) {
		quotedocs_root(&x);
		quotedocs_signed(&x);
		quotedocs_pck(&x);
		rows_qe(&x);
		rows_signature(&x);
		rows_levels(&x);
	}
	if (x.has_tcb)
		tcb_info_fini(&x.tcb);
	if (x.has_qe)
		qe_identity_fini(&x.qe);
}

json_t *
quoteintel_claims(struct bytes quote)
{
	struct refusal why;
	struct quote q;

	if (quote_parse(&q, quote, &why) != ERR_OK)
		return NULL;
	return q.tee == TEE_TDX ? quoteverdict_td(&q.td)
				: quoteverdict_sgx(&q.sgx);
}
