/* Enclaves' quotes, and quotes that bring no PCK chain, under a root made
 * here. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/bootinfo.h"
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
	struct verdict v;

	cr_assert(dcap_verify(&v, buf_view(&w->quote), &w->c, w->anchor,
		      FORGE_NOW, &why) == ERR_DENIED,
	    "accepted, not %s", detail);
	cr_assert(strncmp(why.detail, detail, strlen(detail)) == 0,
	    "%s, not %s", why.detail, detail);
	cr_assert_eq(why.code, reason, "%s", why.detail);
}

static const unsigned versions[] = { 3, 4, 5 };
#define N_VERSIONS (sizeof versions / sizeof versions[0])

/* An enclave's quote of each version gives a verdict with its report. */
Test(dcap_sgx, accepted)
{
	for (size_t i = 0; i < N_VERSIONS; i++) {
		struct attest_policy p;
		struct refusal why = { 0 };
		struct boot_info boot;
		struct verdict v;
		struct forge w;

		forge_lay(&w, 0);
		forge_sgx(&w, versions[i]);
		accepted(&w, &v);
		cr_assert_eq(v.tee, TEE_SGX);
		cr_assert_eq(v.status, TCB_UP_TO_DATE);
		cr_assert_eq(v.module_status, TCB_UP_TO_DATE);
		cr_assert_eq(v.module_date, 0);
		/* Offsets of tdx-dcap.md 1.3; forge_sgx fills by place. */
		cr_assert_eq(v.sgx.cpusvn[0], 1);
		cr_assert_eq(v.sgx.miscselect[0], (uint8_t)(16 * 7 + 1));
		cr_assert_eq(v.sgx.attributes[0], 5);
		cr_assert_eq(v.sgx.mrenclave[0], (uint8_t)(64 * 7 + 1));
		cr_assert_eq(v.sgx.mrsigner[31], (uint8_t)(159 * 7 + 1));
		cr_assert_eq(v.sgx.isvprodid & 0xff, (uint8_t)(256 * 7 + 1));
		cr_assert_eq(v.sgx.isvsvn >> 8, (uint8_t)(259 * 7 + 1));
		cr_assert_eq(v.sgx.report_data[0], (uint8_t)(320 * 7 + 1));
		attest_policy_default(&p);
		p.allow_simulated = true;
		cr_assert(verdict_accept(&v, &p, &why) == ERR_DENIED);
		cr_assert_eq(why.code, REASON_QUOTE_UNSUPPORTED);
		p.allow_sgx = true;
		cr_assert(
		    verdict_accept(&v, &p, &why) == ERR_OK, "%s", why.detail);
		/* Nobody boots an app in an enclave here: no keys. */
		cr_assert(
		    boot_info_build(&boot, &v, (struct bytes){ 0 },
			(struct bytes){ 0 }, BOOT_APP, &why) == ERR_DENIED);
		forge_tear(&w);
	}
}

/* Any changed byte that is signed or checked is seen. */
Test(dcap_sgx, every_byte_counts)
{
	static const struct {
		size_t at;
		enum reason reason;
		const char *code;
	} c[] = {
		{ 0, REASON_QUOTE_UNSUPPORTED, "QUOTE_VERSION" },
		{ 4, REASON_QUOTE_UNSUPPORTED, "TEE_TYPE" },
		{ 8, REASON_QUOTE_SIGNATURE, "QUOTE_SIG" },
		{ 48, REASON_QUOTE_SIGNATURE, "QUOTE_SIG" },
		{ 48 + 64, REASON_QUOTE_SIGNATURE, "QUOTE_SIG" },
		{ 48 + 383, REASON_QUOTE_SIGNATURE, "QUOTE_SIG" },
		{ 436, REASON_QUOTE_SIGNATURE, "QUOTE_SIG" },
		{ 500, REASON_QE_REPORT, "QE_REPORT_DATA" },
		{ 564, REASON_QE_REPORT, "QE_REPORT_SIG" },
		{ 948, REASON_QE_REPORT, "QE_REPORT_SIG" },
		{ 1014, REASON_QE_REPORT, "QE_REPORT_DATA" },
	};
	struct forge w;

	forge_lay(&w, 0);
	forge_sgx(&w, 3);
	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		uint8_t flip = c[i].at == 0 ? 5 : 0x40;

		w.quote.p[c[i].at] ^= flip;
		refused(&w, c[i].reason, c[i].code);
		w.quote.p[c[i].at] ^= flip;
	}
	forge_tear(&w);
}

/* Documents of the other kind are about something else, either way. */
Test(dcap_sgx, kinds_do_not_mix)
{
	for (size_t i = 0; i < N_VERSIONS; i++) {
		struct forge w;

		forge_lay(&w, 0);
		forge_sgx(&w, versions[i]);
		forge_tcb_info(&w, "\"SGX\"", "\"TDX\"");
		refused(&w, REASON_COLLATERAL_INVALID, "TCB_INFO_MISMATCH");
		forge_tcb_info(&w, "\"TDX\"", "\"SGX\"");
		forge_qe_identity(&w, "\"QE\"", "\"TD_QE\"");
		refused(&w, REASON_COLLATERAL_INVALID, "QE_IDENTITY_MISMATCH");
		forge_tear(&w);
	}
	struct forge w;

	forge_lay(&w, 0);
	forge_tcb_info(&w, "\"TDX\"", "\"SGX\"");
	refused(&w, REASON_COLLATERAL_INVALID, "TCB_INFO_MISMATCH");
	forge_tcb_info(&w, "\"SGX\"", "\"TDX\"");
	forge_qe_identity(&w, "\"TD_QE\"", "\"QE\"");
	refused(&w, REASON_COLLATERAL_INVALID, "QE_IDENTITY_MISMATCH");
	forge_tear(&w);
}

/* An old platform is old, and one below every level is unknown. */
Test(dcap_sgx, levels)
{
	struct verdict v;
	struct forge w;

	forge_lay(&w, 1);
	forge_sgx(&w, 3);
	accepted(&w, &v);
	cr_assert_eq(v.status, TCB_OUT_OF_DATE);
	cr_assert_eq(v.n_advisories, 1);
	cr_assert_eq(v.platform_date, v.tcb_date);
	forge_tear(&w);

	/* TDX components of a level say nothing about an enclave. */
	forge_lay(&w, 0);
	forge_sgx(&w, 3);
	forge_tcb_info(&w, "\"tdxtcbcomponents\":[{\"svn\":7}",
	    "\"tdxtcbcomponents\":[{\"svn\":255}");
	accepted(&w, &v);
	cr_assert_eq(v.status, TCB_UP_TO_DATE);
	forge_tcb_info(&w, "\"pcesvn\":13", "\"pcesvn\":14");
	forge_tcb_info(&w, "\"pcesvn\":13", "\"pcesvn\":14");
	forge_tcb_info(&w, "\"pcesvn\":5", "\"pcesvn\":15");
	refused(&w, REASON_TCB_UNKNOWN, "TCB_NOT_SUPPORTED");
	forge_tear(&w);
}

/* The chain of another platform under the same CA. */
static void
neighbour(struct buf *chain, const struct forge *w)
{
	struct sim_serial serial;
	struct p256_secret key;
	struct buf leaf = { 0 };
	struct p256_pub pub;

	p256_generate(&key);
	cr_assert(p256_pubkey(&pub, &key) == ERR_OK);
	cr_assert(sim_cert_issue(&leaf, &serial, SIM_CERT_PCK, &pub, &w->pck_ca,
		      &w->platform, FORGE_NOW - FORGE_DAY,
		      FORGE_NOW + FORGE_DAY) == ERR_OK);
	forge_pem(chain, &leaf, &w->pck_ca.der, &w->root.der);
	buf_fini(&leaf);
}

/* Certification data without a chain: the collateral must bring it, and it
 * must be this platform's. */
Test(dcap_cert_types, chain_from_collateral)
{
	static const uint8_t other_data[404] = { 1, 2, 3 };
	static const struct {
		unsigned type;
		size_t len;
	} c[] = { { 1, 36 }, { 2, 276 }, { 3, 404 }, { 4, 0 } };

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
		for (unsigned sgx = 0; sgx < 2; sgx++) {
			struct bytes data = { other_data, c[i].len };
			struct dcap_need need;
			struct refusal why = { 0 };
			struct forge w;
			struct verdict v;
			uint8_t report[384];

			forge_lay(&w, 0);
			if (sgx)
				forge_sgx(&w, 3);
			memcpy(report, w.quote.p + 48, sizeof report);
			forge_quote(&w, sgx ? 3 : 4, sgx ? report : NULL,
			    c[i].type, data);
			refused(&w, REASON_QUOTE_UNSUPPORTED, "CERT_DATA_TYPE");
			cr_assert(dcap_need(&need, NULL, buf_view(&w.quote),
				      &why) == ERR_DENIED);
			cr_assert(buf_set(&w.c.pck_chain, w.qe.pck_chain.p,
				      w.qe.pck_chain.len) == ERR_OK);
			accepted(&w, &v);
			neighbour(&w.c.pck_chain, &w);
			refused(&w, REASON_QE_REPORT, "QE_REPORT_SIG");
			w.c.pck_chain.len = 5;
			refused(&w, REASON_PCK_CHAIN, "CERT_PARSE");
			forge_tear(&w);
		}
}

/* P24: with a chain inside, the collateral's is not even looked at. */
Test(dcap_cert_types, chain_inside_wins)
{
	struct buf other = { 0 };
	struct verdict v;
	struct forge w;

	forge_lay(&w, 0);
	neighbour(&other, &w);
	cr_assert(buf_set(&w.c.pck_chain, other.p, other.len) == ERR_OK);
	accepted(&w, &v);
	/* And a genuine chain outside does not save a wrong one inside. */
	cr_assert(buf_set(&w.c.pck_chain, w.qe.pck_chain.p,
		      w.qe.pck_chain.len) == ERR_OK);
	forge_quote(&w, 4, NULL, 5, buf_view(&other));
	refused(&w, REASON_QE_REPORT, "QE_REPORT_SIG");
	buf_fini(&other);
	forge_tear(&w);
}
