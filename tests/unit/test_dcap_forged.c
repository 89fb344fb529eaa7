/* An attacker with keys: quotes and collateral under a root made here, where
 * everything is properly signed but for the one lie of each test.  Reaches
 * what a flipped bit cannot, and needs no files. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "tests/lib/forge.h"

static void
accepted(const struct forge *w, struct verdict *v)
{
	struct refusal why = { 0 };

	cr_assert(dcap_verify(v, buf_view(&w->quote), &w->c, w->anchor,
		      FORGE_NOW, &why) == ERR_OK,
	    "%s", why.detail);
}

static void
refused(const struct forge *w, enum reason reason, const char *detail)
{
	struct refusal why = { 0 };
	struct verdict v, before;

	memset(&v, 0x5a, sizeof v);
	before = v;
	cr_assert(dcap_verify(&v, buf_view(&w->quote), &w->c, w->anchor,
		      FORGE_NOW, &why) == ERR_DENIED,
	    "accepted, not %s", detail);
	cr_assert(strncmp(why.detail, detail, strlen(detail)) == 0,
	    "%s, not %s", why.detail, detail);
	cr_assert_eq(why.code, reason, "%s", why.detail);
	cr_assert(memcmp(&v, &before, sizeof v) == 0);
}

/* The honest one is accepted, says it is simulated, and until when. */
Test(dcap_forged, honest)
{
	struct attest_policy p;
	struct refusal why = { 0 };
	struct verdict v;
	struct forge w;

	forge_lay(&w, 0);
	accepted(&w, &v);
	cr_assert_eq(v.status, TCB_UP_TO_DATE);
	cr_assert(v.simulated);
	cr_assert_eq(v.valid_from, FORGE_NOW - FORGE_DAY);
	cr_assert_eq(v.valid_until, FORGE_NOW + 20 * FORGE_DAY);
	cr_assert_eq(v.tcb_eval_number, SIM_TCB_EVAL_NUMBER);
	cr_assert(memcmp(v.fmspc, SIM_FMSPC, 6) == 0);
	attest_policy_default(&p);
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_SIMULATED);
	p.allow_simulated = true;
	cr_assert(verdict_accept(&v, &p, &why) == ERR_OK, "%s", why.detail);
	forge_tear(&w);

	forge_lay(&w, 1);
	accepted(&w, &v);
	cr_assert_eq(v.status, TCB_OUT_OF_DATE);
	cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_TCB_STATUS);
	forge_tear(&w);
}

/* P1, P2: what the QE says about itself must be what Intel says about its QE, even
 * when a genuine PCK key has signed it. */
Test(dcap_forged, qe_report)
{
	static const struct {
		size_t at;
		uint8_t flip;
		enum reason reason;
		const char *detail;
	} c[] = {
		{ QE_DATA, 1, REASON_QE_REPORT, "QE_REPORT_DATA: att" },
		{ QE_DATA + 31, 128, REASON_QE_REPORT, "QE_REPORT_DATA: att" },
		{ QE_DATA + 32, 1, REASON_QE_REPORT, "QE_REPORT_DATA: sec" },
		{ QE_DATA + 63, 1, REASON_QE_REPORT, "QE_REPORT_DATA: sec" },
		{ QE_MRSIGNER, 1, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: mrsigner" },
		{ QE_MRSIGNER + 31, 1, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: mrsigner" },
		{ QE_PRODID, 3, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: isvprodid" },
		{ QE_PRODID + 1, 1, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: isvprodid" },
		{ QE_MISCSELECT + 3, 1, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: miscselect" },
		{ QE_ATTRIBUTES, 2, REASON_QE_IDENTITY,
		    "QE_IDENTITY_MISMATCH: attributes" },
		{ QE_SVN, SIM_QE_ISVSVN, REASON_TCB_UNKNOWN,
		    "QE_TCB_NOT_SUPPORTED" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct forge w;

		forge_lay(&w, 0);
		w.quote.p[Q_QE + c[i].at] ^= c[i].flip;
		refused(&w, REASON_QE_REPORT, "QE_REPORT_SIG");
		forge_resign_qe(&w);
		refused(&w, c[i].reason, c[i].detail);
		forge_tear(&w);
	}
}

/* P12: a debug QE is refused even if its identity's mask does not look. */
Test(dcap_forged, qe_debug_behind_the_mask)
{
	struct verdict v;
	struct forge w;

	forge_lay(&w, 0);
	forge_qe_identity(
	    &w, "\"attributesMask\":\"FB", "\"attributesMask\":\"F9");
	accepted(&w, &v);
	w.quote.p[Q_QE + QE_ATTRIBUTES] |= 2;
	forge_resign_qe(&w);
	refused(&w, REASON_QE_IDENTITY, "QE_IDENTITY_MISMATCH: debug");
	forge_tear(&w);
}

/* P19: a key that is no point of the curve, properly bound and signed for. */
Test(dcap_forged, attestation_key)
{
	struct bytes bound[2];
	struct forge w;

	forge_lay(&w, 0);
	memset(w.quote.p + Q_KEY, 0x11, 64);
	bound[0] = (struct bytes){ w.quote.p + Q_KEY, 64 };
	bound[1] = (struct bytes){ w.quote.p + Q_QE_AUTH, SIM_QE_AUTH_LEN };
	sha256_v(w.quote.p + Q_QE + QE_DATA, bound, 2);
	forge_resign_qe(&w);
	refused(&w, REASON_QUOTE_SIGNATURE, "ATT_KEY_INVALID");
	forge_tear(&w);
}

/* P2: only the attestation key signs quotes, only the PCK key QE reports. */
Test(dcap_forged, wrong_signers)
{
	struct forge w;

	forge_lay(&w, 0);
	cr_assert(p256_sign_raw(w.quote.p + Q_SIGNATURE, &w.pck, w.quote.p,
		      632) == ERR_OK);
	refused(&w, REASON_QUOTE_SIGNATURE, "QUOTE_SIG");
	forge_tear(&w);
	forge_lay(&w, 0);
	cr_assert(p256_sign_raw(w.quote.p + Q_QE_SIGNATURE, &w.signing.key,
		      w.quote.p + Q_QE, 384) == ERR_OK);
	refused(&w, REASON_QE_REPORT, "QE_REPORT_SIG");
	forge_tear(&w);
}

/* P3: any key of this PKI could sign collateral; only one role may. */
Test(dcap_forged, role_confusion)
{
	struct forge w;

	forge_lay(&w, 0);
	forge_document(
	    &w.c.tcb_info, w.c.tcb_info_signature, &w.pck, NULL, NULL);
	refused(&w, REASON_COLLATERAL_INVALID, "COLLATERAL_SIG: tcb_info");
	cr_assert(buf_set(&w.c.tcb_info_chain, w.qe.pck_chain.p,
		      w.qe.pck_chain.len) == ERR_OK);
	refused(&w, REASON_COLLATERAL_INVALID, "CERT_CN: tcb_info");
	forge_tear(&w);
	forge_lay(&w, 0);
	forge_document(&w.c.qe_identity, w.c.qe_identity_signature,
	    &w.pck_ca.key, NULL, NULL);
	forge_pem(&w.c.qe_identity_chain, &w.pck_ca.der, &w.root.der, NULL);
	refused(&w, REASON_COLLATERAL_INVALID, "CERT_CN: qe_identity");
	forge_document(&w.c.qe_identity, w.c.qe_identity_signature, &w.root.key,
	    NULL, NULL);
	forge_pem(&w.c.qe_identity_chain, &w.root.der, NULL, NULL);
	refused(&w, REASON_COLLATERAL_INVALID, "CHAIN_LEN: qe_identity");
	forge_tear(&w);
}

/* Each document is verified by the signer of its own chain; equal chains
 * are verified once, unequal ones each. */
Test(dcap_forged, two_signers)
{
	struct verdict v;
	struct forge w;

	forge_lay(&w, 0);
	forge_pem(&w.c.qe_identity_chain, &w.signing.der, NULL, NULL);
	accepted(&w, &v);
	forge_pem(&w.c.qe_identity_chain, &w.signing2.der, NULL, NULL);
	refused(&w, REASON_COLLATERAL_INVALID, "COLLATERAL_SIG: qe_identity");
	forge_document(&w.c.qe_identity, w.c.qe_identity_signature,
	    &w.signing2.key, NULL, NULL);
	accepted(&w, &v);
	forge_pem(&w.c.qe_identity_chain, &w.signing.der, &w.root.der, NULL);
	refused(&w, REASON_COLLATERAL_INVALID, "COLLATERAL_SIG: qe_identity");
	forge_tear(&w);
}

/* P11: signed documents about something else, or of another time. */
Test(dcap_forged, documents)
{
	static const struct {
		bool qe;
		const char *from, *to;
		enum reason reason;
		const char *detail;
	} c[] = {
		{ false, "\"fmspc\":\"51", "\"fmspc\":\"52",
		    REASON_COLLATERAL_INVALID, "TCB_INFO_MISMATCH: fmspc" },
		{ false, "\"pceId\":\"0000", "\"pceId\":\"0001",
		    REASON_COLLATERAL_INVALID, "TCB_INFO_MISMATCH: pceid" },
		{ false, "\"tcbType\":0", "\"tcbType\":1",
		    REASON_COLLATERAL_INVALID, "TCB_INFO_MISMATCH: tcbType" },
		{ false, "\"id\":\"TDX\"", "\"id\":\"SGX\"",
		    REASON_COLLATERAL_INVALID, "TCB_INFO_MISMATCH" },
		{ false, "\"version\":3", "\"version\":3,\"version\":3",
		    REASON_COLLATERAL_INVALID, "JSON" },
		{ false, "\"issueDate\":\"20", "\"issueDate\":\"19",
		    REASON_NONE, NULL },
		{ false, "\"nextUpdate\":\"203", "\"nextUpdate\":\"204",
		    REASON_NONE, NULL },
		{ true, "\"id\":\"TD_QE\"", "\"id\":\"QE\"",
		    REASON_COLLATERAL_INVALID, "QE_IDENTITY_MISMATCH" },
		{ true, "\"version\":2", "\"version\":3",
		    REASON_COLLATERAL_INVALID, "QE_IDENTITY_MISMATCH" },
		{ true, "UpToDate", "Uptodate", REASON_COLLATERAL_INVALID,
		    "JSON" },
		{ true, "UpToDate", "Revoked", REASON_TCB_STATUS,
		    "TCB_REVOKED" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct verdict v;
		struct forge w;

		forge_lay(&w, 0);
		if (c[i].qe)
			forge_qe_identity(&w, c[i].from, c[i].to);
		else
			forge_tcb_info(&w, c[i].from, c[i].to);
		if (c[i].detail == NULL)
			accepted(&w, &v);
		else
			refused(&w, c[i].reason, c[i].detail);
		forge_tear(&w);
	}
}

/* P22: documents out of their window, in either direction. */
Test(dcap_forged, document_dates)
{
	struct forge w;

	forge_lay(&w, 0);
	w.c.tcb_info.len = 0;
	cr_assert(sim_tcb_info_text(&w.c.tcb_info, FORGE_NOW - 9 * FORGE_DAY,
		      FORGE_NOW - 1) == ERR_OK);
	forge_tcb_info(&w, NULL, NULL);
	refused(&w, REASON_COLLATERAL_EXPIRED, "COLLATERAL_EXPIRED: tcb_info");
	forge_tear(&w);
	forge_lay(&w, 0);
	w.c.qe_identity.len = 0;
	cr_assert(sim_qe_identity_text(&w.c.qe_identity, FORGE_NOW + 1,
		      FORGE_NOW + 9 * FORGE_DAY) == ERR_OK);
	forge_qe_identity(&w, NULL, NULL);
	refused(&w, REASON_COLLATERAL_EXPIRED,
	    "COLLATERAL_NOT_YET_VALID: qe_identity");
	forge_tear(&w);
}

/* P4: a revoked platform is refused as such. */
Test(dcap_forged, revoked)
{
	struct forge w;

	forge_lay(&w, 0);
	forge_crls(&w, &w.pck_serial, 1);
	refused(&w, REASON_REVOKED, "CERT_REVOKED: pck");
	forge_tear(&w);
}

/* P24: collateral cannot put another platform's chain in the place of the
 * one inside the quote. */
Test(dcap_forged, chain_in_collateral)
{
	struct verdict v;
	struct forge w, other;

	forge_lay(&w, 0);
	forge_lay(&other, 0);
	cr_assert(buf_set(&w.c.pck_chain, other.qe.pck_chain.p,
		      other.qe.pck_chain.len) == ERR_OK);
	accepted(&w, &v);
	forge_tear(&other);
	forge_tear(&w);
}

/* One world's evidence means nothing under another's root. */
Test(dcap_forged, other_root)
{
	struct dcap_root *mine;
	struct forge w, other;

	forge_lay(&w, 0);
	forge_lay(&other, 0);
	mine = w.anchor;
	w.anchor = other.anchor;
	refused(&w, REASON_COLLATERAL_INVALID, "CRL_SIG: root");
	w.anchor = mine;
	forge_tear(&other);
	forge_tear(&w);
}

static void
put_le32(uint8_t *p, size_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static size_t
le32(const uint8_t *p)
{
	return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 |
	    (size_t)p[3] << 24;
}

/* Sizes within a quote that say less than is needed, and agree with each
 * other: what stands behind is not read. */
Test(dcap_forged, sizes_within)
{
	const size_t auth_at = Q_SIGNATURE - 4, outer_at = Q_QE - 4;
	struct verdict v;
	struct forge w;
	size_t auth, outer;

	forge_lay(&w, 0);
	auth = le32(w.quote.p + auth_at);
	outer = le32(w.quote.p + outer_at);
	cr_assert_eq(auth, Q_QE - Q_SIGNATURE + outer);
	for (size_t n = 0; n < auth; n++) {
		put_le32(w.quote.p + auth_at, n);
		refused(&w, REASON_QUOTE_MALFORMED, "QUOTE_TRUNCATED");
	}
	for (size_t n = 0; n < outer; n++) {
		put_le32(w.quote.p + auth_at, Q_QE - Q_SIGNATURE + n);
		put_le32(w.quote.p + outer_at, n);
		refused(&w, REASON_QUOTE_MALFORMED, "QUOTE_TRUNCATED");
	}
	put_le32(w.quote.p + auth_at, auth);
	put_le32(w.quote.p + outer_at, outer);
	accepted(&w, &v);
	forge_tear(&w);
}

/* Parts of collateral past their bounds, and lists that are none. */
Test(dcap_forged, parts_that_are_none)
{
	static uint8_t big[LIMIT_COLLATERAL + 1];
	struct forge w;

	forge_lay(&w, 0);
	struct buf *const part[] = { &w.c.tcb_info, &w.c.tcb_info_chain,
		&w.c.qe_identity, &w.c.qe_identity_chain, &w.c.root_ca_crl,
		&w.c.pck_crl };
	struct verdict v;

	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		struct buf keep = *part[i];

		*part[i] = (struct buf){ .p = big, .len = sizeof big };
		refused(&w, REASON_COLLATERAL_INVALID, "COLLATERAL_SIZE: ");
		*part[i] = keep;
	}
	for (size_t i = 4; i < 6; i++) {
		struct buf keep = *part[i];
		const char *code =
		    i == 4 ? "CRL_PARSE: root" : "CRL_PARSE: pck";

		*part[i] = w.c.tcb_info_chain;
		refused(&w, REASON_COLLATERAL_INVALID, code);
		*part[i] = (struct buf){ .p = keep.p, .len = keep.len - 1 };
		refused(&w, REASON_COLLATERAL_INVALID, code);
		*part[i] = keep;
	}
	struct buf chain = w.c.pck_chain;

	w.c.pck_chain = (struct buf){ .p = big, .len = LIMIT_QUOTE + 1 };
	refused(&w, REASON_COLLATERAL_INVALID, "COLLATERAL_SIZE: PCK chain");
	w.c.pck_chain = chain;
	accepted(&w, &v);
	forge_tear(&w);
}
