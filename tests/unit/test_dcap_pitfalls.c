/* What other verifiers got wrong (tdx-dcap.md 7) and no other test here
 * names: each with keys at hand, so that all else is right.  The table in
 * common/attest/README.md says where every pitfall is tested. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/limits.h"
#include "tests/lib/forge.h"

/* n - s keeps an ECDSA signature valid: the order n of P-256. */
static const uint8_t order[32] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
	0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };

static void
accepted(const struct forge *w)
{
	struct refusal why = { 0 };
	struct verdict v;

	cr_assert(dcap_verify(&v, buf_view(&w->quote), &w->c, w->anchor,
		      FORGE_NOW, &why) == ERR_OK,
	    "%s", why.detail);
}

static void
refused(const struct forge *w, const char *detail)
{
	struct refusal why = { 0 };
	struct verdict v;

	cr_assert(dcap_verify(&v, buf_view(&w->quote), &w->c, w->anchor,
		      FORGE_NOW, &why) == ERR_DENIED,
	    "accepted, not %s", detail);
	cr_assert(strncmp(why.detail, detail, strlen(detail)) == 0,
	    "%s, not %s", why.detail, detail);
}

/* P1: a QE identity that Intel did not sign lets in any QE.  With a QE of
 * the attacker's own, every way of passing off an identity is refused. */
Test(pitfalls, p1_qe_identity)
{
	struct forge w, other;

	forge_lay(&w, 0);
	w.quote.p[Q_QE + QE_MRSIGNER] ^= 1;
	forge_resign_qe(&w);
	refused(&w, "QE_IDENTITY_MISMATCH: mrsigner");
	/* An identity that names this signer, signed by others. */
	forge_lay(&other, 0);
	forge_document(&w.c.qe_identity, w.c.qe_identity_signature,
	    &other.signing.key, "\"mrsigner\":\"", "\"mrsigner\":\"");
	refused(&w, "COLLATERAL_SIG: qe_identity");
	forge_pem(
	    &w.c.qe_identity_chain, &other.signing.der, &other.root.der, NULL);
	refused(&w, "CHAIN_LEN: qe_identity");
	forge_pem(&w.c.qe_identity_chain, &other.signing.der, NULL, NULL);
	refused(&w, "CHAIN_");
	w.c.qe_identity.len = 0;
	refused(&w, "COLLATERAL_MISSING: QE identity");
	forge_tear(&other);
	forge_tear(&w);
}

/* P4, P5: nothing switches off revocation, or makes unsigned collateral
 * good: a missing, foreign or unsigned part is a refusal. */
Test(pitfalls, p4_p5_every_part_is_needed)
{
	struct forge w, other;

	forge_lay(&w, 0);
	forge_lay(&other, 0);
	const struct {
		struct buf *part;
		const struct buf *foreign;
		const char *code;
	} c[] = {
		{ &w.c.tcb_info, &other.c.tcb_info, NULL },
		{ &w.c.tcb_info_chain, &other.c.tcb_info_chain, "CHAIN_LEN" },
		{ &w.c.qe_identity, &other.c.qe_identity, NULL },
		{ &w.c.qe_identity_chain, &other.c.qe_identity_chain,
		    "CHAIN_LEN" },
		{ &w.c.root_ca_crl, &other.c.root_ca_crl, "CRL_SIG" },
		{ &w.c.pck_crl, &other.c.pck_crl, "CRL_SIG" },
		{ &w.c.pck_crl, &w.c.root_ca_crl, "CRL_ISSUER" },
		{ &w.c.root_ca_crl, &w.c.pck_crl, "CRL_ISSUER" },
	};
	static const uint8_t no_signature[64];

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct buf keep = *c[i].part;

		*c[i].part = (struct buf){ 0 };
		refused(&w, "COLLATERAL_MISSING");
		*c[i].part = *c[i].foreign;
		if (c[i].code != NULL)
			refused(&w, c[i].code);
		*c[i].part = keep;
	}
	memcpy(w.c.tcb_info_signature, no_signature, 64);
	refused(&w, "COLLATERAL_SIG: tcb_info");
	forge_tcb_info(&w, NULL, NULL);
	accepted(&w);
	memcpy(w.c.qe_identity_signature, no_signature, 64);
	refused(&w, "COLLATERAL_SIG: qe_identity");
	forge_tear(&other);
	forge_tear(&w);
}

/* P16: version 5 signs its descriptor too, for a TD and for an enclave. */
Test(pitfalls, p16_descriptor_is_signed)
{
	struct refusal why = { 0 };
	struct forge w;
	struct quote q;

	forge_lay(&w, 0);
	forge_quote(&w, 5, NULL, 5, buf_view(&w.qe.pck_chain));
	accepted(&w);
	cr_assert(quote_parse(&q, buf_view(&w.quote), &why) == ERR_OK);
	cr_assert_eq(q.signed_part.len, 638);
	/* Signed without the descriptor: the same body, but not the quote. */
	uint8_t bare[632];

	memcpy(bare, w.quote.p, 48);
	memcpy(bare + 48, w.quote.p + 54, 584);
	cr_assert(p256_sign_raw(w.quote.p + 642, &w.qe.att_key, bare,
		      sizeof bare) == ERR_OK);
	refused(&w, "QUOTE_SIG");
	forge_tear(&w);
}

/* P17, P28: bytes behind the quote change neither verdict nor keys of the
 * cache. */
Test(pitfalls, p17_p28_trailing)
{
	struct dcap_cache_stats s;
	struct dcap_cache *k = NULL;
	struct verdict v;
	struct forge w;

	forge_lay(&w, 0);
	cr_assert(dcap_cache_new(&k) == ERR_OK);
	for (int i = 0; i < 4; i++) {
		cr_assert(dcap_verify_cached(&v, k, buf_view(&w.quote), &w.c,
			      w.anchor, FORGE_NOW, NULL) == ERR_OK);
		cr_assert(buf_append(&w.quote, i % 2 == 0 ? "\0" : "\xff\x01",
			      2, LIMIT_QUOTE) == ERR_OK);
	}
	dcap_cache_stats(&s, k);
	cr_assert_eq(s.held[DCAP_CACHE_QE], 1);
	cr_assert_eq(s.held[DCAP_CACHE_PCK], 1);
	dcap_cache_free(k);
	forge_tear(&w);
}

static void
negate(uint8_t s[static 32])
{
	unsigned borrow = 0;

	for (int i = 31; i >= 0; i--) {
		unsigned d = (unsigned)order[i] - s[i] - borrow;

		s[i] = (uint8_t)d;
		borrow = d >> 31;
	}
}

/* P18: (r, n - s) verifies too.  So a quote's bytes identify nothing: the
 * rewritten quote says just the same. */
Test(pitfalls, p18_malleable)
{
	struct forge w;

	forge_lay(&w, 0);
	negate(w.quote.p + Q_SIGNATURE + 32);
	accepted(&w);
	negate(w.quote.p + Q_QE_SIGNATURE + 32);
	accepted(&w);
	negate(w.c.tcb_info_signature + 32);
	negate(w.c.qe_identity_signature + 32);
	accepted(&w);
	forge_tear(&w);
}

/* P19: r and s of 0, of n and above are no signatures, wherever they stand;
 * nor is a key that is no point. */
Test(pitfalls, p19_numbers_out_of_range)
{
	uint8_t values[3][32] = { { 0 } };
	struct forge w;

	memcpy(values[1], order, 32);
	memset(values[2], 0xff, 32);
	forge_lay(&w, 0);
	const struct {
		uint8_t *signature;
		const char *code;
	} c[] = {
		{ w.quote.p + Q_SIGNATURE, "QUOTE_SIG" },
		{ w.quote.p + Q_QE_SIGNATURE, "QE_REPORT_SIG" },
		{ w.c.tcb_info_signature, "COLLATERAL_SIG: tcb_info" },
		{ w.c.qe_identity_signature, "COLLATERAL_SIG: qe_identity" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
		for (unsigned k = 0; k < 3; k++) {
			uint8_t keep[64];

			memcpy(keep, c[i].signature, 64);
			memcpy(c[i].signature, values[k], 32);
			refused(&w, c[i].code);
			memcpy(c[i].signature, keep, 32);
			memcpy(c[i].signature + 32, values[k], 32);
			refused(&w, c[i].code);
			memcpy(c[i].signature, values[k], 32);
			refused(&w, c[i].code);
			memcpy(c[i].signature, keep, 64);
		}
	accepted(&w);
	forge_tear(&w);
}

/* P20: numbers of any length of encoding verify: leading zeros, high bits.
 * 300 signatures have both, almost surely. */
Test(pitfalls, p20_integer_encodings, .timeout = 60)
{
	bool high = false, zero = false;
	struct p256_secret key;
	struct p256_pub pub;
	uint8_t sig[64];

	p256_generate(&key);
	cr_assert(p256_pubkey(&pub, &key) == ERR_OK);
	for (int i = 0; i < 300 || !high || !zero; i++) {
		cr_assert(p256_sign_raw(sig, &key, &i, sizeof i) == ERR_OK);
		high |= sig[0] >= 0x80 || sig[32] >= 0x80;
		zero |= sig[0] == 0 || sig[32] == 0;
		cr_assert(p256_verify_raw(&pub, sig, &i, sizeof i) == ERR_OK);
	}
}

/* P21: what means the same as JSON is another text, and was not signed. */
Test(pitfalls, p21_exact_bytes)
{
	static const struct {
		const char *from, *to;
	} c[] = {
		{ "{\"id\"", "{ \"id\"" },
		{ "\"version\":3", "\"version\": 3" },
		{ "\"TDX\"", "\"\\u0054DX\"" },
		{ "]}", "]}\n" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		uint8_t honest[64];
		struct forge w;

		forge_lay(&w, 0);
		memcpy(honest, w.c.tcb_info_signature, sizeof honest);
		forge_tcb_info(&w, c[i].from, c[i].to);
		memcpy(w.c.tcb_info_signature, honest, sizeof honest);
		refused(&w, "COLLATERAL_SIG: tcb_info");
		forge_tear(&w);
	}
}

/* P23: two TCB signing certificates may have one serial and one key; each is
 * judged by its own dates, and a cache knows them apart. */
Test(pitfalls, p23_one_serial_twice)
{
	struct dcap_cache *k = NULL;
	struct sim_serial serial;
	struct p256_pub pub;
	struct buf old = { 0 };
	struct refusal why = { 0 };
	struct verdict v;
	struct forge w;

	forge_lay(&w, 0);
	cr_assert(dcap_cache_new(&k) == ERR_OK);
	cr_assert(p256_pubkey(&pub, &w.signing.key) == ERR_OK);
	cr_assert(dcap_verify_cached(&v, k, buf_view(&w.quote), &w.c, w.anchor,
		      FORGE_NOW, &why) == ERR_OK);
	/* The same key, over since yesterday. */
	cr_assert(sim_cert_issue(&old, &serial, SIM_CERT_TCB_SIGNING, &pub,
		      &w.root, NULL, FORGE_NOW - 9 * FORGE_DAY,
		      FORGE_NOW - FORGE_DAY) == ERR_OK);
	forge_pem(&w.c.tcb_info_chain, &old, &w.root.der, NULL);
	cr_assert(dcap_verify_cached(&v, k, buf_view(&w.quote), &w.c, w.anchor,
		      FORGE_NOW, &why) == ERR_DENIED);
	cr_assert(strncmp(why.detail, "CERT_EXPIRED: tcb_info", 22) == 0, "%s",
	    why.detail);
	buf_fini(&old);
	dcap_cache_free(k);
	forge_tear(&w);
}

/* P29: QE auth data of any length is legal, if it is the one bound; the
 * second half of the QE's report data is zero. */
Test(pitfalls, p29_qe_auth)
{
	struct forge w;

	forge_lay(&w, 0);
	w.quote.p[Q_QE + QE_DATA + 40] ^= 1;
	forge_resign_qe(&w);
	refused(&w, "QE_REPORT_DATA: second half");
	w.quote.p[Q_QE + QE_DATA + 40] ^= 1;
	forge_resign_qe(&w);
	accepted(&w);
	forge_tear(&w);
	for (size_t len = 0; len <= LIMIT_QE_AUTH; len += 512) {
		forge_lay(&w, 0);
		forge_qe_auth(&w, len);
		accepted(&w);
		if (len > 0) {
			w.quote.p[Q_QE_AUTH + len - 1] ^= 1;
			refused(&w, "QE_REPORT_DATA");
		}
		forge_tear(&w);
	}
}
