/* The whole verification of a peer's evidence, with a simulated platform:
 * the code that checks Intel's quotes, under the simulator's root. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/secret.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simdocs.h"
#include "node/tee/simimage.h"
#include "tests/lib/forge.h"
#include "tests/lib/simworld.h"
#include "tests/lib/tmpdir.h"

static struct simworld w;
static struct pccs_server *server;
static struct verifier *verifier;
static struct buf root;
static char url[64];
static struct tee *td;
static struct evidence ev;
static const uint8_t rd[64] = { 1, 2, 3 };

static int64_t
the_clock(void)
{
	return SIMWORLD_NOW;
}

static struct verifier *
make_verifier(bool sim_root, bool allow_simulated)
{
	struct verifier_options o = { .pccs_url = url };
	struct verifier *v = NULL;

	attest_policy_default(&o.policy);
	o.policy.allow_simulated = allow_simulated;
	if (sim_root)
		o.simulated_root = buf_view(&root);
	cr_assert_eq(verifier_new(&v, &o), ERR_OK);
	return v;
}

/* A guest that has measured what dstack's measures before it asks. */
static struct tee *
boot_guest(void)
{
	static const uint8_t id[32] = { 0x42 };
	struct tee *t = simworld_boot(&w);

	cr_assert_eq(
	    tee_extend(t, "system-preparing", (struct bytes){ 0 }), ERR_OK);
	cr_assert_eq(tee_extend(t, "app-id", (struct bytes){ id, 20 }), ERR_OK);
	cr_assert_eq(
	    tee_extend(t, "compose-hash", (struct bytes){ id, 32 }), ERR_OK);
	cr_assert_eq(
	    tee_extend(t, "instance-id", (struct bytes){ id, 20 }), ERR_OK);
	cr_assert_eq(
	    tee_extend(t, "boot-mr-done", (struct bytes){ 0 }), ERR_OK);
	return t;
}

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	simworld_init(&w);
	cr_assert_eq(sim_pki_document(&root, w.dir, SIM_DOC_ROOT), ERR_OK);
	cr_assert_eq(
	    pccs_server_start(&server, w.dir, "127.0.0.1", 0, the_clock),
	    ERR_OK);
	(void)snprintf(
	    url, sizeof url, "http://127.0.0.1:%u", pccs_server_port(server));
	verifier = make_verifier(true, true);
	td = boot_guest();
	cr_assert_eq(tee_evidence(td, &ev, rd, NULL), ERR_OK);
}

static void
teardown(void)
{
	evidence_fini(&ev);
	tee_close(td);
	verifier_free(verifier);
	pccs_server_stop(server);
	buf_fini(&root);
	simworld_fini(&w);
}

TestSuite(evidence, .init = setup, .fini = teardown, .timeout = 120);

static enum err
check(enum reason *code)
{
	static struct attested out;
	struct refusal why = { 0 };
	enum err e = verifier_check(
	    verifier, &out, &ev, rd, BOOT_APP, SIMWORLD_NOW, &why);

	*code = why.code;
	return e;
}

static void
must_refuse(enum reason want)
{
	enum reason code;

	cr_assert_eq(check(&code), ERR_DENIED);
	cr_assert_eq(code, want, "%s", reason_label(code));
}

static void
new_evidence(void)
{
	evidence_fini(&ev);
	cr_assert_eq(tee_evidence(td, &ev, rd, NULL), ERR_OK);
}

/* Sets a fault of the host and boots the guest anew on it. */
static void
reboot_with(enum sim_fault f)
{
	cr_assert_eq(sim_host_set(w.dir, "h1", f, SIMWORLD_NOW), ERR_OK);
	tee_close(td);
	td = boot_guest();
	new_evidence();
	/* The cache of collateral must not outlive what the test changed. */
	verifier_free(verifier);
	verifier = make_verifier(true, true);
}

/* Honest evidence is accepted, and marked as simulated. */
Test(evidence, accepted)
{
	struct attested a;
	struct refusal why = { 0 };

	cr_assert_eq(
	    verifier_check(verifier, &a, &ev, rd, BOOT_APP, SIMWORLD_NOW, &why),
	    ERR_OK, "%s", why.detail);
	cr_assert(a.verdict.simulated);
	cr_assert(a.boot.simulated);
	cr_assert_eq(a.verdict.status, TCB_UP_TO_DATE);
	cr_assert_eq(a.boot.compose_hash[0], 0x42);
	cr_assert(a.boot.has_instance_id);
}

/* The second time, all but the quote and what is bound to it is known. */
Test(evidence, caches)
{
	struct dcap_cache_stats s;
	enum reason code;

	for (int i = 0; i < 3; i++) {
		cr_assert_eq(check(&code), ERR_OK);
		new_evidence();
	}
	verifier_cache_stats(&s, verifier);
	for (int k = 0; k < DCAP_CACHE_KINDS; k++) {
		cr_assert_eq(s.misses[k], 1, "%d", k);
		cr_assert_eq(s.hits[k], 2, "%d", k);
	}
}

/* What a verification has shown is the floor for the next; a floor that was
 * persisted refuses collateral that was replayed since. */
Test(evidence, evaluation_numbers_never_fall)
{
	struct evalfloor *f = verifier_floors(verifier);
	struct eval_floor list[4];
	struct refusal why = { 0 };
	struct attested a;
	enum reason code;

	cr_assert_eq(evalfloor_list(list, 4, f), 0);
	cr_assert_eq(check(&code), ERR_OK);
	cr_assert_eq(evalfloor_list(list, 4, f), 2);
	cr_assert_eq(list[0].number, SIM_TCB_EVAL_NUMBER);
	cr_assert(memcmp(list[0].fmspc, SIM_FMSPC, 6) == 0);
	cr_assert(list[1].qe && list[1].number == SIM_TCB_EVAL_NUMBER);
	list[0].number++;
	cr_assert_eq(evalfloor_raise(f, &list[0]), ERR_OK);
	cr_assert_eq(
	    verifier_check(verifier, &a, &ev, rd, BOOT_APP, SIMWORLD_NOW, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
	cr_assert_not_null(strstr(why.detail, "EVAL_NUMBER"));
}

/* The last but one digit: {...,"signature":"..."} */
static void
flip_signature(struct buf *b)
{
	uint8_t *p = memrchr(b->p, '"', b->len);

	cr_assert_not_null(p);
	p[-2] = p[-2] == '0' ? '1' : '0';
}

/* A provider that serves garbage signatures is blamed, not the peer; what it
 * gave is not kept, and what it gives next is believed again. */
Test(evidence, bad_collateral_is_forgotten)
{
	static const char *const part[] = { "tcb_info.json",
		"qe_identity.json" };
	enum reason code;

	for (size_t i = 0; i < 2; i++) {
		char path[700];
		struct buf b = { 0 }, good = { 0 };

		verifier_free(verifier);
		verifier = make_verifier(true, true);
		(void)snprintf(path, sizeof path, "%s/pki/%s", w.dir, part[i]);
		cr_assert_eq(file_read(&b, path, 1u << 20), ERR_OK, "%s", path);
		cr_assert_eq(buf_set(&good, b.p, b.len), ERR_OK);
		flip_signature(&b);
		cr_assert_eq(file_write(path, b.p, b.len, 0600), ERR_OK);
		must_refuse(REASON_COLLATERAL_INVALID);
		must_refuse(REASON_COLLATERAL_INVALID);
		cr_assert_eq(file_write(path, good.p, good.len, 0600), ERR_OK);
		buf_fini(&good);
		cr_assert_eq(check(&code), ERR_OK, "%s", reason_label(code));
		buf_fini(&b);
	}
}

/* A folder with the same documents, for a second provider. */
static void
copy_pki(const char *to)
{
	char path[2][700];
	struct dirent **names;
	int n;

	(void)snprintf(path[0], sizeof path[0], "%s/pki", w.dir);
	(void)snprintf(path[1], sizeof path[1], "%s/pki", to);
	cr_assert_eq(file_mkdirs(path[1]), ERR_OK);
	cr_assert_gt(n = scandir(path[0], &names, NULL, alphasort), 2);
	for (int i = 0; i < n; i++) {
		struct buf b = { 0 };

		(void)snprintf(path[0], sizeof path[0], "%s/pki/%s", w.dir,
		    names[i]->d_name);
		(void)snprintf(
		    path[1], sizeof path[1], "%s/pki/%s", to, names[i]->d_name);
		if (names[i]->d_name[0] != '.') {
			cr_assert_eq(file_read(&b, path[0], 1u << 20), ERR_OK);
			cr_assert_eq(
			    file_write(path[1], b.p, b.len, 0600), ERR_OK);
		}
		buf_fini(&b);
		free(names[i]);
	}
	free(names);
}

/* The peer is not refused for a provider's garbage while another provider
 * has better; when none has, it is. */
Test(evidence, another_provider_is_asked)
{
	char *dir = tmpdir_new(), path[700], more[64];
	struct verifier_options o = { .pccs_url = url, .n_pccs_more = 1 };
	struct pccs_server *second = NULL;
	struct buf b = { 0 };
	enum reason code;

	copy_pki(dir);
	cr_assert_eq(
	    pccs_server_start(&second, dir, "127.0.0.1", 0, the_clock), ERR_OK);
	(void)snprintf(
	    more, sizeof more, "http://127.0.0.1:%u", pccs_server_port(second));
	o.pccs_more[0] = more;
	o.simulated_root = buf_view(&root);
	attest_policy_default(&o.policy);
	o.policy.allow_simulated = true;

	(void)snprintf(path, sizeof path, "%s/pki/qe_identity.json", w.dir);
	cr_assert_eq(file_read(&b, path, 1u << 20), ERR_OK);
	flip_signature(&b);
	cr_assert_eq(file_write(path, b.p, b.len, 0600), ERR_OK);
	must_refuse(REASON_COLLATERAL_INVALID);
	verifier_free(verifier);
	cr_assert_eq(verifier_new(&verifier, &o), ERR_OK);
	cr_assert_eq(check(&code), ERR_OK, "%s", reason_label(code));

	(void)snprintf(path, sizeof path, "%s/pki/qe_identity.json", dir);
	cr_assert_eq(file_write(path, b.p, b.len, 0600), ERR_OK);
	verifier_free(verifier);
	cr_assert_eq(verifier_new(&verifier, &o), ERR_OK);
	must_refuse(REASON_COLLATERAL_INVALID);
	pccs_server_stop(second);
	buf_fini(&b);
	tmpdir_remove(dir);
}

/* Whichever byte of the quote is touched, it is refused. */
Test(evidence, every_quote_byte_counts)
{
	enum reason code;

	for (size_t i = 0; i < ev.quote.len; i += 29) {
		ev.quote.p[i] ^= 0x20;
		cr_assert_neq(check(&code), ERR_OK, "byte %zu", i);
		ev.quote.p[i] ^= 0x20;
	}
	cr_assert_eq(check(&code), ERR_OK);
}

/* P26: a quote for another session, or another purpose, is no answer here. */
Test(evidence, report_data_is_bound)
{
	struct attested a;
	struct refusal why = { 0 };
	uint8_t other[64];

	for (size_t i = 0; i < 64; i += 21) {
		memcpy(other, rd, 64);
		other[i] ^= 1;
		cr_assert_eq(verifier_check(verifier, &a, &ev, other, BOOT_APP,
				 SIMWORLD_NOW, &why),
		    ERR_DENIED);
		cr_assert_eq(why.code, REASON_REPORT_DATA);
	}
}

/* The log must replay to the registers: nothing may be changed, dropped,
 * added or reordered. */
Test(evidence, event_log_is_bound)
{
	json_t *log, *last;
	size_t n;

	for (int what = 0; what < 4; what++) {
		new_evidence();
		cr_assert_eq(json_parse(&log, ev.event_log.p, ev.event_log.len,
				 1u << 20, NULL, 0),
		    ERR_OK);
		n = json_array_size(log);
		last = json_array_get(log, n - 3); /* compose-hash */
		if (what == 0) {
			(void)json_object_set_new(last, "event_payload",
			    json_string("43000000000000000000000000000000"
					"00000000000000000000000000000000"));
			(void)json_object_del(last, "digest");
		} else if (what == 1) {
			(void)json_array_remove(log, n - 3);
		} else if (what == 2) {
			(void)json_array_append(log, last);
		} else {
			json_incref(last);
			(void)json_array_remove(log, n - 3);
			(void)json_array_append_new(log, last);
		}
		ev.event_log.len = 0;
		cr_assert_eq(json_write(&ev.event_log, log), ERR_OK);
		json_decref(log);
		must_refuse(REASON_EVENT_LOG);
	}
}

/* Another image's vm_config, or another shape of the VM, does not explain
 * the registers. */
Test(evidence, os_image_is_bound)
{
	struct buf other = { 0 };
	json_t *vm;

	cr_assert_eq(json_parse(&vm, ev.vm_config.p, ev.vm_config.len, 1u << 20,
			 NULL, 0),
	    ERR_OK);
	(void)json_object_set_new(vm, "memory_size", json_integer(0x100000000));
	ev.vm_config.len = 0;
	cr_assert_eq(json_write(&ev.vm_config, vm), ERR_OK);
	json_decref(vm);
	must_refuse(REASON_OS_IMAGE);

	new_evidence();
	cr_assert_eq(sim_image_create(w.dir, "other", "another"), ERR_OK);
	(void)snprintf(w.image, sizeof w.image, "%s/images/other", w.dir);
	tee_close(td);
	td = boot_guest();
	cr_assert_eq(tee_vm_config(td, &other), ERR_OK);
	cr_assert_eq(buf_set(&ev.vm_config, other.p, other.len), ERR_OK);
	must_refuse(REASON_OS_IMAGE);
	buf_fini(&other);
}

/* Each fault of a platform has its own reason. */
Test(evidence, platform_faults)
{
	enum reason code;

	reboot_with(SIM_FAULT_DEBUG);
	must_refuse(REASON_TD_DEBUG);
	reboot_with(SIM_FAULT_NO_SEPT_VE);
	must_refuse(REASON_TD_ATTRIBUTES);
	reboot_with(SIM_FAULT_OUT_OF_DATE);
	must_refuse(REASON_TCB_STATUS);
	reboot_with(SIM_FAULT_REVOKED);
	must_refuse(REASON_REVOKED);
	reboot_with(SIM_FAULT_NONE);
	cr_assert_eq(check(&code), ERR_OK);
}

/* A verifier of genuine evidence believes no simulator, and one that knows
 * the simulator's root still needs a policy that says so. */
Test(evidence, simulator_needs_to_be_named)
{
	enum reason code;

	verifier_free(verifier);
	verifier = make_verifier(false, true);
	cr_assert_neq(check(&code), ERR_OK);
	verifier_free(verifier);
	verifier = make_verifier(true, false);
	must_refuse(REASON_SIMULATED);
}

/* Without collateral there is no verdict, only "again". */
Test(evidence, no_collateral)
{
	enum reason code;

	pccs_server_stop(server);
	server = NULL;
	cr_assert_eq(check(&code), ERR_AGAIN);
	cr_assert_eq(code, REASON_COLLATERAL_MISSING);
}

/* An enclave's quote is none of a CVM, and its collateral is not asked for:
 * what would be fetched for it would be blamed. */
Test(evidence, enclaves)
{
	static const unsigned versions[] = { 3, 4, 5 };
	struct pccs_stats before, after;

	verifier_pccs_stats(&before, verifier);
	for (size_t i = 0; i < 3; i++) {
		struct forge f;

		forge_lay(&f, 0);
		forge_sgx(&f, versions[i]);
		cr_assert_eq(
		    buf_set(&ev.quote, f.quote.p, f.quote.len), ERR_OK);
		must_refuse(REASON_QUOTE_UNSUPPORTED);
		forge_tear(&f);
	}
	verifier_pccs_stats(&after, verifier);
	cr_assert_eq(memcmp(&before, &after, sizeof after), 0);
}

/* Other kinds of evidence, and parts beyond their bound, stop at the door. */
Test(evidence, bounds)
{
	static const uint8_t big[LIMIT_EVENT_LOG + 1] = { '{' };
	const struct {
		struct buf *part;
		size_t max;
		enum reason code;
	} row[] = { { &ev.quote, LIMIT_QUOTE, REASON_QUOTE_MALFORMED },
		{ &ev.event_log, LIMIT_EVENT_LOG, REASON_EVENT_LOG },
		{ &ev.vm_config, LIMIT_VM_CONFIG, REASON_OS_IMAGE } };
	struct verifier_options o = { .pccs_url = url,
		.n_pccs_more = LIMIT_PCCS };
	struct verifier *v = NULL;
	enum reason code;

	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(buf_set(row[i].part, big, row[i].max + 1), ERR_OK);
		must_refuse(row[i].code);
		new_evidence();
	}
	ev.tee = TEE_SEV_SNP;
	must_refuse(REASON_QUOTE_UNSUPPORTED);
	ev.tee = TEE_TDX;
	cr_assert_eq(check(&code), ERR_OK, "%s", reason_label(code));
	/* And so have the providers. */
	cr_assert_eq(verifier_new(&v, &o), ERR_CONFIG);
	cr_assert_null(v);
}
