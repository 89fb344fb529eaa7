/* The simulator's quotes through the real verifier: what an honest host
 * shows is accepted, and each fault is refused with its own reason. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/bootinfo.h"
#include "common/attest/dcap.h"
#include "common/attest/evidence.h"
#include "common/attest/osimage.h"
#include "common/base/file.h"
#include "common/crypto/hash.h"
#include "node/tee/simdocs.h"
#include "node/tee/simimage.h"
#include "tests/lib/simworld.h"

static struct simworld w;
static const uint8_t report_data[64] = { 1, 2, 3 };

static void
setup(void)
{
	simworld_init(&w);
}

static void
teardown(void)
{
	simworld_fini(&w);
}

TestSuite(sim, .init = setup, .fini = teardown, .timeout = 60);

static void
quote_of_host(struct buf *out)
{
	struct tee *t = simworld_boot(&w);
	struct refusal why = { 0 };

	out->len = 0;
	cr_assert_eq(tee_quote(t, out, report_data, &why), ERR_OK);
	tee_close(t);
}

/* Verifies under the root of the simulator at `dir`. */
static enum err
check(struct verdict *out, struct bytes quote, const char *dir, int64_t now,
    struct refusal *why)
{
	struct buf der = { 0 };
	struct dcap_root *root = NULL;
	struct collateral c;
	enum err e;

	cr_assert_eq(sim_pki_document(&der, dir, SIM_DOC_ROOT), ERR_OK);
	cr_assert_eq(dcap_root_new(&root, buf_view(&der)), ERR_OK);
	simworld_collateral(&c, &w);
	*why = (struct refusal){ 0 };
	e = dcap_verify(out, quote, &c, root, now, why);
	dcap_root_free(root);
	collateral_fini(&c);
	buf_fini(&der);
	return e;
}

static enum err
accept(const struct verdict *v, struct refusal *why)
{
	struct attest_policy p;

	attest_policy_default(&p);
	p.allow_simulated = true;
	*why = (struct refusal){ 0 };
	return verdict_accept(v, &p, why);
}

static void
assert_refused(enum sim_fault fault, enum reason reason)
{
	struct buf q = { 0 };
	struct verdict v;
	struct refusal why;
	enum err e;

	cr_assert_eq(sim_host_set(w.dir, "h1", fault, SIMWORLD_NOW), ERR_OK);
	quote_of_host(&q);
	e = check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why);
	if (e == ERR_OK)
		e = accept(&v, &why);
	cr_assert_eq(e, ERR_DENIED);
	cr_assert_eq(
	    why.code, reason, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(
	    sim_host_set(w.dir, "h1", SIM_FAULT_NONE, SIMWORLD_NOW), ERR_OK);
	quote_of_host(&q);
	cr_assert_eq(check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(accept(&v, &why), ERR_OK, "undone");
	buf_fini(&q);
}

/* An honest host is accepted as UpToDate, and marked simulated. */
Test(sim, good_host)
{
	struct buf q = { 0 };
	struct verdict v;
	struct refusal why;
	struct sim_host h;
	struct attest_policy p;

	quote_of_host(&q);
	cr_assert_eq(check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(v.status, TCB_UP_TO_DATE);
	cr_assert_eq(v.n_advisories, 0);
	cr_assert(v.simulated);
	cr_assert_eq(v.tcb_eval_number, SIM_TCB_EVAL_NUMBER);
	cr_assert_arr_eq(v.td.report_data, report_data, 64);
	cr_assert_arr_eq(v.fmspc, SIM_FMSPC, 6);
	cr_assert_eq(sim_host_load(&h, w.host), ERR_OK);
	cr_assert_arr_eq(v.ppid, h.platform.ppid, 16);
	cr_assert_eq(accept(&v, &why), ERR_OK);
	attest_policy_default(&p);
	cr_assert_eq(verdict_accept(&v, &p, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_SIMULATED);
	sim_host_fini(&h);
	buf_fini(&q);
}

/* Each fault is refused for its own reason, and can be undone. */
Test(sim, debug)
{
	assert_refused(SIM_FAULT_DEBUG, REASON_TD_DEBUG);
}

Test(sim, out_of_date)
{
	assert_refused(SIM_FAULT_OUT_OF_DATE, REASON_TCB_STATUS);
}

Test(sim, revoked)
{
	assert_refused(SIM_FAULT_REVOKED, REASON_REVOKED);
}

Test(sim, no_sept_ve)
{
	assert_refused(SIM_FAULT_NO_SEPT_VE, REASON_TD_ATTRIBUTES);
}

/* An out-of-date platform names its advisory. */
Test(sim, out_of_date_advisory)
{
	struct buf q = { 0 };
	struct verdict v;
	struct refusal why;

	cr_assert_eq(
	    sim_host_set(w.dir, "h1", SIM_FAULT_OUT_OF_DATE, SIMWORLD_NOW),
	    ERR_OK);
	quote_of_host(&q);
	cr_assert_eq(
	    check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_OK);
	cr_assert_eq(v.status, TCB_OUT_OF_DATE);
	cr_assert_eq(v.n_advisories, 1);
	cr_assert_str_eq(v.advisory[0], SIM_ADVISORY);
	buf_fini(&q);
}

/* Another simulator's root, or Intel's, accepts nothing of this one. */
Test(sim, wrong_root)
{
	struct buf q = { 0 };
	struct simworld other;
	struct verdict v;
	struct refusal why;
	struct dcap_root *intel = NULL;
	struct collateral c;

	quote_of_host(&q);
	simworld_init(&other);
	cr_assert_eq(
	    check(&v, buf_view(&q), other.dir, SIMWORLD_NOW, &why), ERR_DENIED);
	simworld_fini(&other);
	cr_assert_eq(dcap_root_intel(&intel), ERR_OK);
	simworld_collateral(&c, &w);
	cr_assert_eq(
	    dcap_verify(&v, buf_view(&q), &c, intel, SIMWORLD_NOW, &why),
	    ERR_DENIED);
	dcap_root_free(intel);
	collateral_fini(&c);
	buf_fini(&q);
}

/* One flipped bit anywhere in what is signed is refused. */
Test(sim, tampered)
{
	static const size_t at[] = { 0, 28, 48, 168, 184, 328, 472, 568, 631,
		636, 699, 700, 763, 770, 898, 1090, 1153, 1154, 1217, 1220 };
	struct buf q = { 0 };
	struct verdict v;
	struct refusal why;

	quote_of_host(&q);
	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		q.p[at[i]] ^= 1;
		cr_assert_eq(check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why),
		    ERR_DENIED, "byte %zu", at[i]);
		q.p[at[i]] ^= 1;
	}
	cr_assert_eq(
	    check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_OK);
	buf_fini(&q);
}

/* A quoting enclave that the PCK did not certify is refused. */
Test(sim, forged_qe)
{
	struct sim_host h;
	struct sim_qe qe = { 0 };
	struct p256_secret other;
	struct td_report td = { 0 };
	struct buf q = { 0 };
	struct verdict v;
	struct refusal why;

	cr_assert_eq(sim_host_load(&h, w.host), ERR_OK);
	sim_host_td(&td, &h);
	p256_generate(&other);
	cr_assert_eq(sim_qe_provision(&qe, &other, &h.platform), ERR_OK);
	cr_assert_eq(
	    buf_set(&qe.pck_chain, h.qe.pck_chain.p, h.qe.pck_chain.len),
	    ERR_OK);
	cr_assert_eq(sim_quote(&q, &qe, &td), ERR_OK);
	cr_assert_eq(
	    check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_QE_REPORT, "%s", why.detail);

	/* The genuine QE report with an attestation key of our own. */
	memcpy(qe.report, h.qe.report, sizeof qe.report);
	memcpy(qe.report_signature, h.qe.report_signature, 64);
	cr_assert_eq(sim_quote(&q, &qe, &td), ERR_OK);
	cr_assert_eq(
	    check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_QE_REPORT, "%s", why.detail);
	p256_secret_wipe(&other);
	sim_qe_fini(&qe);
	sim_host_fini(&h);
	buf_fini(&q);
}

/* Documents expire after 30 days; a refresh makes them good again. */
Test(sim, expiry_and_refresh)
{
	int64_t later = SIMWORLD_NOW + 31 * 24 * 3600;
	struct buf q = { 0 }, before = { 0 }, after = { 0 };
	struct verdict v;
	struct refusal why;

	quote_of_host(&q);
	cr_assert_eq(check(&v, buf_view(&q), w.dir, later, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_EXPIRED, "%s", why.detail);

	/* Before half their life nothing changes, after it everything. */
	cr_assert_eq(
	    sim_pki_document(&before, w.dir, SIM_DOC_TCB_INFO), ERR_OK);
	cr_assert_eq(
	    sim_pki_refresh(w.dir, false, SIMWORLD_NOW + 14 * 24 * 3600),
	    ERR_OK);
	cr_assert_eq(sim_pki_document(&after, w.dir, SIM_DOC_TCB_INFO), ERR_OK);
	cr_assert_str_eq((char *)before.p, (char *)after.p);
	cr_assert_eq(sim_pki_refresh(w.dir, false, later), ERR_OK);
	cr_assert_eq(check(&v, buf_view(&q), w.dir, later, &why), ERR_OK, "%s",
	    why.detail);
	cr_assert_eq(
	    check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_DENIED);
	buf_fini(&q);
	buf_fini(&before);
	buf_fini(&after);
}

/* The image's registers are those that the verifier computes from its
 * vm_config, and the log replays to them; seeds decide them. */
Test(sim, image_is_measured)
{
	struct tee *t = simworld_boot(&w);
	struct buf log = { 0 }, vm = { 0 }, q = { 0 };
	struct event_log l;
	struct os_registers regs;
	struct refusal why = { 0 };
	struct verdict v;
	uint8_t r[48];

	cr_assert_eq(tee_event_log(t, &log), ERR_OK);
	cr_assert_eq(tee_vm_config(t, &vm), ERR_OK);
	cr_assert_eq(event_log_parse(&l, buf_view(&log), &why), ERR_OK);
	cr_assert_eq(os_image_measure(&regs, buf_view(&vm), &l, &why), ERR_OK,
	    "%s", why.detail);
	quote_of_host(&q);
	cr_assert_eq(
	    check(&v, buf_view(&q), w.dir, SIMWORLD_NOW, &why), ERR_OK);
	cr_assert_arr_eq(v.td.mrtd, regs.mrtd, 48);
	for (uint32_t i = 0; i < 3; i++) {
		event_log_replay(r, &l, i, NULL);
		cr_assert_arr_eq(v.td.rtmr[i], r, 48);
		cr_assert_arr_eq(v.td.rtmr[i], regs.rtmr[i], 48);
	}
	event_log_fini(&l);
	tee_close(t);
	buf_fini(&log);
	buf_fini(&vm);
	buf_fini(&q);
}

static void
measure(struct tee *t, const char *name, size_t len)
{
	static const uint8_t payload[32] = { 0xab };

	cr_assert_eq(
	    tee_extend(t, name, (struct bytes){ payload, len }), ERR_OK);
}

/* A guest that measures dstack's events gives complete boot information,
 * with the image's hash; an event left out of its log is refused. */
Test(sim, boot_info)
{
	struct tee *t = simworld_boot(&w);
	struct evidence ev = { 0 };
	struct buf sums = { 0 };
	struct boot_info b;
	struct verdict v;
	struct refusal why;
	uint8_t hash[32];
	char path[600];

	measure(t, "system-preparing", 0);
	measure(t, "app-id", 20);
	measure(t, "compose-hash", 32);
	measure(t, "instance-id", 20);
	measure(t, "boot-mr-done", 0);
	cr_assert_eq(tee_evidence(t, &ev, report_data, &why), ERR_OK);
	cr_assert_eq(
	    check(&v, buf_view(&ev.quote), w.dir, SIMWORLD_NOW, &why), ERR_OK);
	cr_assert_eq(boot_info_build(&b, &v, buf_view(&ev.event_log),
			 buf_view(&ev.vm_config), BOOT_APP, &why),
	    ERR_OK, "%s", why.detail);
	cr_assert(b.simulated);
	cr_assert_eq(b.app_id[0], 0xab);
	(void)snprintf(path, sizeof path, "%s/sha256sum.txt", w.image);
	cr_assert_eq(file_read(&sums, path, 10000), ERR_OK);
	sha256(hash, sums.p, sums.len);
	cr_assert_arr_eq(b.os_image_hash, hash, 32);

	/* The same quote with a log that goes on without it. */
	measure(t, "extra", 1);
	cr_assert_eq(tee_event_log(t, &ev.event_log), ERR_OK);
	cr_assert_eq(boot_info_build(&b, &v, buf_view(&ev.event_log),
			 buf_view(&ev.vm_config), BOOT_APP, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	buf_fini(&ev.quote);
	buf_fini(&ev.event_log);
	buf_fini(&ev.vm_config);
	buf_fini(&sums);
	tee_close(t);
}

/* Names that could leave the folder, and second ones, are refused. */
Test(sim, names)
{
	static const char *const bad[] = { "", "..", "a/b", "A", "-a", "a b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	enum sim_fault f = SIM_FAULT_NONE;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(
		    sim_host_create(w.dir, bad[i], SIMWORLD_NOW), ERR_CONFIG);
		cr_assert_eq(sim_image_create(w.dir, bad[i], "s"), ERR_CONFIG);
		cr_assert_eq(
		    sim_host_set(w.dir, bad[i], f, SIMWORLD_NOW), ERR_CONFIG);
	}
	cr_assert_eq(sim_pki_init(w.dir, 0, SIMWORLD_NOW), ERR_EXISTS);
	cr_assert_eq(sim_pki_init(w.dir, 59, SIMWORLD_NOW), ERR_CONFIG);
	cr_assert_eq(sim_host_create(w.dir, "h1", SIMWORLD_NOW), ERR_EXISTS);
	cr_assert_eq(sim_image_create(w.dir, "kms", "s"), ERR_EXISTS);
	cr_assert_eq(sim_host_set(w.dir, "h9", f, SIMWORLD_NOW), ERR_NOTFOUND);
	cr_assert_eq(
	    sim_host_create("/nonexistent", "h", SIMWORLD_NOW), ERR_NOTFOUND);
	cr_assert_eq(sim_fault_parse(&f, "nonsense"), ERR_NOTFOUND);
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
		cr_assert_eq(
		    sim_fault_parse(&f, sim_fault_text((enum sim_fault)i)),
		    ERR_OK);
		cr_assert_eq(f, i);
	}
}
