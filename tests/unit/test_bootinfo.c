/* Boot information: every value is in the quote, or it is refused. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"
#include "tests/lib/guest.h"

static const struct bytes none = { NULL, 0 };

/* The guest must be refused for that reason, and leave `out` alone. */
static void
refused(const struct guest *g, enum reason code, const char *what)
{
	static const enum boot_variant both[] = { BOOT_APP, BOOT_KMS };
	struct boot_info b, before;
	struct refusal why = { 0 };

	memset(&b, 0x5a, sizeof b);
	before = b;
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(
		    guest_boot(&b, g, both[i], &why), ERR_DENIED, "%s", what);
		cr_assert_eq(
		    why.code, code, "%s: %s", what, reason_label(why.code));
		cr_assert_arr_eq(&b, &before, sizeof b);
	}
}

static void
accepted(struct boot_info *out, const struct guest *g, enum boot_variant v)
{
	struct refusal why = { 0 };

	cr_assert_eq(guest_boot(out, g, v, &why), ERR_OK, "%s", why.detail);
}

/* Everything about an honest guest arrives in its place. */
Test(bootinfo, fields)
{
	struct boot_info b;
	struct guest g;
	uint8_t h[32];

	guest_init(&g);
	g.verdict.simulated = true;
	memset(g.verdict.ppid, 0x77, sizeof g.verdict.ppid);
	accepted(&b, &g, BOOT_APP);
	cr_assert_eq(b.tee, TEE_TDX);
	cr_assert_eq(b.app_id[0], 0x11);
	cr_assert_eq(b.app_id[19], 0x11);
	cr_assert_eq(b.compose_hash[31], 0x22);
	cr_assert(b.has_instance_id);
	cr_assert_eq(b.instance_id[19], 0x44);
	sha256(h, g.verdict.ppid, 16);
	cr_assert_arr_eq(b.device_id, h, 32);
	cr_assert(facts_eq(b.os_image_hash, 32,
	    "9c0753e5fe2584ac6bb5746f1fe29345e37296d0a2e8963305a10f13807b304"
	    "9"));
	cr_assert_str_eq(b.key_provider, "");
	cr_assert_eq(b.tcb_status, TCB_OUT_OF_DATE);
	cr_assert_eq(b.n_advisories, 1);
	cr_assert_str_eq(b.advisory[0], "INTEL-SA-00837");
	cr_assert(b.simulated);
	accepted(&b, &g, BOOT_KMS);
	cr_assert_eq(strncmp(b.key_provider, "{\"name\":\"kms\"", 13), 0);
	guest_fini(&g);
}

/* For an app, what comes after boot-mr-done changes nothing; for a KMS it
 * changes both values when it is the key provider. */
Test(bootinfo, variants)
{
	struct boot_info a, b, c, d;
	struct guest g;

	guest_init(&g);
	accepted(&a, &g, BOOT_APP);
	accepted(&c, &g, BOOT_KMS);
	cr_assert_neq(memcmp(a.mr_system, c.mr_system, 32), 0);
	while (json_array_size(g.log) > guest_at(&g, "boot-mr-done") + 1)
		json_array_remove(g.log, json_array_size(g.log) - 1);
	guest_quote(&g);
	accepted(&b, &g, BOOT_APP);
	accepted(&d, &g, BOOT_KMS);
	cr_assert_arr_eq(a.mr_system, b.mr_system, 32);
	cr_assert_arr_eq(a.mr_aggregated, b.mr_aggregated, 32);
	/* At this moment both variants see the same. */
	cr_assert_arr_eq(b.mr_aggregated, d.mr_aggregated, 32);
	cr_assert_arr_eq(b.mr_system, d.mr_system, 32);
	cr_assert_neq(memcmp(c.mr_aggregated, d.mr_aggregated, 32), 0);
	guest_fini(&g);
}

/* An instance id may be empty; then it is zero and said to be absent. */
Test(bootinfo, no_instance)
{
	struct boot_info b;
	struct guest g;
	size_t at;

	guest_init(&g);
	at = guest_at(&g, "instance-id");
	json_array_remove(g.log, at);
	guest_insert(&g, at, "instance-id", none);
	guest_quote(&g);
	accepted(&b, &g, BOOT_APP);
	cr_assert(!b.has_instance_id);
	cr_assert_eq(b.instance_id[0], 0);
	guest_fini(&g);
}

/* A register that is not the replay of its events is refused, whichever
 * register and whether the log or the quote was changed. */
Test(bootinfo, replay)
{
	struct guest g;
	json_t *e;

	for (int r = 0; r < 4; r++) {
		guest_init(&g);
		g.verdict.td.rtmr[r][47] ^= 1;
		refused(&g, REASON_EVENT_LOG, "register");
		guest_fini(&g);
	}
	guest_init(&g);
	guest_event(&g, "late", none);
	refused(&g, REASON_EVENT_LOG, "one event more");
	json_array_remove(g.log, json_array_size(g.log) - 1);
	json_array_remove(g.log, json_array_size(g.log) - 1);
	refused(&g, REASON_EVENT_LOG, "one event less");
	guest_fini(&g);

	/* Another app id under the same digest, or moved to RTMR 0. */
	guest_init(&g);
	e = json_array_get(g.log, guest_at(&g, "app-id"));
	cr_assert_eq(json_set_str(e, "event_payload",
			 "1111111111111111111111111111111111111112"),
	    ERR_OK);
	refused(&g, REASON_EVENT_LOG, "payload");
	cr_assert_eq(json_set_str(e, "digest", ""), ERR_OK);
	refused(&g, REASON_EVENT_LOG, "payload without digest");
	guest_fini(&g);
	guest_init(&g);
	json_array_append(g.log, json_array_get(g.log, guest_at(&g, "app-id")));
	json_array_remove(g.log, guest_at(&g, "app-id"));
	refused(&g, REASON_EVENT_LOG, "order");
	guest_fini(&g);
}

/* A quote of another image is refused even if its log replays. */
Test(bootinfo, image)
{
	static const uint8_t other[48] = { 1 };
	uint8_t doc[GUEST_DOC_LEN];
	struct guest g;

	guest_init(&g);
	g.verdict.td.mrtd[0] ^= 1;
	refused(&g, REASON_OS_IMAGE, "MRTD");
	guest_fini(&g);
	for (size_t imr = 0; imr < 3; imr++) {
		json_t *e = NULL;
		size_t i;

		guest_init(&g);
		json_array_foreach(g.log, i, e)
		{
			if (json_integer_value(facts_get(e, "imr")) ==
			    (json_int_t)imr)
				break;
		}
		cr_assert_eq(json_set_hex(e, "digest", other, 48), ERR_OK);
		guest_quote(&g);
		refused(&g, REASON_OS_IMAGE, "RTMR");
		guest_fini(&g);
	}
	/* A document for other contents under its own, honest hash. */
	guest_init(&g);
	guest_doc(doc);
	doc[100] ^= 1;
	guest_set_doc(&g, doc, sizeof doc);
	refused(&g, REASON_OS_IMAGE, "document");
	guest_fini(&g);
	guest_init(&g);
	json_object_del(g.vm, "tdx_attestation_variant");
	json_object_del(g.vm, "tdx_measurement");
	refused(&g, REASON_OS_IMAGE, "legacy");
	guest_fini(&g);
}

/* Each required event must be there, once, with its size, and identity
 * must be measured before boot-mr-done. */
Test(bootinfo, events)
{
	static const char *const name[] = { "app-id", "compose-hash",
		"instance-id", "boot-mr-done" };
	static const uint8_t b[33];
	struct guest g;

	for (size_t i = 0; i < 4; i++) {
		size_t at;

		guest_init(&g);
		at = guest_at(&g, name[i]);
		json_array_remove(g.log, at);
		guest_quote(&g);
		refused(&g, REASON_BOOT_INFO, name[i]);
		/* Only after system-ready: an app's word. */
		guest_event(&g, name[i], (struct bytes){ b, 20 });
		guest_quote(&g);
		refused(&g, REASON_BOOT_INFO, name[i]);
		for (size_t len = 0; len <= sizeof b; len++) {
			size_t want = i == 0 ? 20 : i == 1 ? 32 : 0;

			if (len == want || (i == 2 && len == 20))
				continue;
			guest_insert(&g, at, name[i], (struct bytes){ b, len });
			guest_quote(&g);
			refused(&g, REASON_BOOT_INFO, name[i]);
			json_array_remove(g.log, at);
		}
		guest_fini(&g);

		guest_init(&g);
		json_array_insert(g.log, guest_at(&g, "storage-fs"),
		    json_array_get(g.log, at));
		guest_quote(&g);
		refused(&g, REASON_BOOT_INFO, "twice");
		guest_fini(&g);
		if (i == 3)
			break;
		guest_init(&g);
		json_array_insert(g.log, guest_at(&g, "boot-mr-done") + 1,
		    json_array_get(g.log, at));
		json_array_remove(g.log, at);
		guest_quote(&g);
		refused(&g, REASON_BOOT_INFO, "behind boot-mr-done");
		guest_fini(&g);
	}
}

/* What an app emits after system-ready changes no identity. */
Test(bootinfo, app_events)
{
	static const uint8_t b[32];
	struct boot_info before, after;
	struct guest g;

	guest_init(&g);
	accepted(&before, &g, BOOT_APP);
	guest_event(&g, "app-id", (struct bytes){ b, 20 });
	guest_event(&g, "compose-hash", (struct bytes){ b, 32 });
	guest_event(&g, "boot-mr-done", BYTES_STR("x"));
	guest_event(&g, "key-provider", BYTES_STR("not json"));
	guest_event(&g, "a:b", none);
	guest_quote(&g);
	accepted(&after, &g, BOOT_APP);
	cr_assert_arr_eq(&before, &after, sizeof before);
	accepted(&after, &g, BOOT_KMS);
	cr_assert_eq(strncmp(after.key_provider, "{\"name\"", 7), 0);
	guest_fini(&g);
}

/* A key-provider event of a KMS is one JSON object of known kind. */
Test(bootinfo, key_provider)
{
	static const char *const bad[] = { "", "kms", "[]",
		"{\"name\":\"kms\"}", "{\"id\":\"\"}",
		"{\"name\":\"other\",\"id\":\"\"}",
		"{\"name\":\"kms\",\"id\":\"0\"}",
		"{\"name\":\"kms\",\"id\":\"\"} x",
		"{\"name\":1,\"id\":\"\"}" };
	static uint8_t large[KEY_PROVIDER_MAX];
	struct refusal why;
	struct boot_info b;
	struct guest g;
	size_t at;

	guest_init(&g);
	at = guest_at(&g, "key-provider");
	json_array_insert(g.log, at, json_array_get(g.log, at));
	guest_quote(&g);
	refused(&g, REASON_BOOT_INFO, "twice");
	json_array_remove(g.log, at);
	json_array_remove(g.log, at);
	guest_quote(&g);
	accepted(&b, &g, BOOT_KMS);
	cr_assert_str_eq(b.key_provider, "");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		guest_insert(&g, at, "key-provider",
		    (struct bytes){ (const uint8_t *)bad[i], strlen(bad[i]) });
		guest_quote(&g);
		cr_assert_eq(guest_boot(&b, &g, BOOT_KMS, &why), ERR_DENIED,
		    "%s", bad[i]);
		cr_assert_eq(why.code, REASON_BOOT_INFO);
		json_array_remove(g.log, at);
	}
	memset(large, ' ', sizeof large);
	memcpy(large, "{\"name\":\"kms\",\"id\":\"\"}", 22);
	guest_insert(&g, at, "key-provider", BYTES_OF(large));
	guest_quote(&g);
	cr_assert_eq(guest_boot(&b, &g, BOOT_KMS, &why), ERR_DENIED);
	json_array_remove(g.log, at);
	guest_insert(
	    &g, at, "key-provider", (struct bytes){ large, sizeof large - 1 });
	guest_quote(&g);
	accepted(&b, &g, BOOT_KMS);
	cr_assert_eq(strlen(b.key_provider), sizeof large - 1);
	guest_fini(&g);
}

/* MRCONFIGID is zero, or V1 or V2 of the measured values, to the last bit;
 * other versions are refused.  When set it is part of mr_aggregated. */
Test(bootinfo, config_id)
{
	struct boot_info plain, b;
	struct guest g;

	guest_init(&g);
	accepted(&plain, &g, BOOT_APP);
	for (int version = 1; version <= 2; version++) {
		uint8_t *id = g.verdict.td.mrconfigid;

		facts_hex(id, 48,
		    version == 1
			? "0122222222222222222222222222222222222222222222222222"
			  "2"
			  "2222222222222000000000000000000000000000000"
			: "027f2ca741da9d356026ab20ca640abf06198829a128817b091b"
			  "b"
			  "c9aec1ed97b60000000000000000000000000000000");
		accepted(&b, &g, BOOT_APP);
		cr_assert_arr_eq(b.mr_system, plain.mr_system, 32);
		cr_assert_neq(
		    memcmp(b.mr_aggregated, plain.mr_aggregated, 32), 0);
		for (size_t i = 0; i < 48 * 8; i++) {
			id[i / 8] ^= (uint8_t)(1u << i % 8);
			if (i % 7 == 0 || i < 8)
				refused(&g, REASON_BOOT_INFO, "bit");
			id[i / 8] ^= (uint8_t)(1u << i % 8);
		}
	}
	/* V2 names the key provider: without its event it cannot be checked. */
	json_array_remove(g.log, guest_at(&g, "key-provider"));
	guest_quote(&g);
	refused(&g, REASON_BOOT_INFO, "V2 without key provider");
	memset(g.verdict.td.mrconfigid, 0, 48);
	g.verdict.td.mrconfigid[47] = 1;
	refused(&g, REASON_BOOT_INFO, "version 0 that is not zero");
	g.verdict.td.mrconfigid[0] = 3;
	refused(&g, REASON_BOOT_INFO, "V3");
	guest_fini(&g);
}

/* MROWNER and MROWNERCONFIG count in mr_aggregated as soon as one is set. */
Test(bootinfo, owner)
{
	struct boot_info plain, a, b;
	struct guest g;

	guest_init(&g);
	accepted(&plain, &g, BOOT_APP);
	g.verdict.td.mrowner[47] = 1;
	accepted(&a, &g, BOOT_APP);
	g.verdict.td.mrowner[47] = 0;
	g.verdict.td.mrownerconfig[47] = 1;
	accepted(&b, &g, BOOT_APP);
	cr_assert_neq(memcmp(plain.mr_aggregated, a.mr_aggregated, 32), 0);
	cr_assert_neq(memcmp(plain.mr_aggregated, b.mr_aggregated, 32), 0);
	cr_assert_neq(memcmp(a.mr_aggregated, b.mr_aggregated, 32), 0);
	guest_fini(&g);
}

/* Other TEEs have other registers: not known here. */
Test(bootinfo, other_tee)
{
	static const enum tee_kind other[] = { TEE_SEV_SNP, TEE_NITRO,
		TEE_SGX };
	struct guest g;

	guest_init(&g);
	for (size_t i = 0; i < 3; i++) {
		g.verdict.tee = other[i];
		refused(&g, REASON_QUOTE_UNSUPPORTED, "tee");
	}
	guest_fini(&g);
}

/* Texts that are not JSON, or too long, are refused for what they are. */
Test(bootinfo, texts)
{
	static const uint8_t big[200 * 1024];
	struct boot_info b;
	struct refusal why;
	struct guest g;
	struct buf log, vm;

	guest_init(&g);
	log = guest_text(g.log);
	vm = guest_text(g.vm);
	cr_assert_eq(boot_info_build(
			 &b, &g.verdict, none, buf_view(&vm), BOOT_APP, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	cr_assert_eq(boot_info_build(&b, &g.verdict, BYTES_OF(big),
			 buf_view(&vm), BOOT_APP, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	cr_assert_eq(boot_info_build(
			 &b, &g.verdict, buf_view(&log), none, BOOT_APP, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_OS_IMAGE);
	cr_assert_eq(boot_info_build(&b, &g.verdict, buf_view(&log),
			 BYTES_OF(big), BOOT_APP, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_OS_IMAGE);
	buf_fini(&log);
	buf_fini(&vm);
	guest_fini(&g);
}

/* compose_hash is over the bytes as they are. */
Test(bootinfo, compose)
{
	uint8_t h[32];

	compose_hash(h, BYTES_STR("{}"));
	cr_assert(facts_eq(h, 32,
	    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8"
	    "a"));
}

/* The fields of a v4 quote's TD report that boot information reads. */
static void
read_td(struct td_report *td, const char *quote_hex)
{
	struct buf q = { 0 };

	facts_hex_buf(&q, quote_hex);
	cr_assert_gt(q.len, 48 + 584);
	memset(td, 0, sizeof *td);
	memcpy(td->mrtd, q.p + 48 + 136, 48);
	memcpy(td->mrconfigid, q.p + 48 + 184, 48);
	memcpy(td->mrowner, q.p + 48 + 232, 48);
	memcpy(td->mrownerconfig, q.p + 48 + 280, 48);
	memcpy(td->rtmr, q.p + 48 + 328, 4 * 48);
	buf_fini(&q);
}

static void
measured(const char *quote_hex, struct bytes json, const char *key)
{
	json_t *all = facts_json("dstack/vectors.json");
	json_t *v = facts_get(all, key);
	static const struct {
		enum boot_variant variant;
		const char *key;
	} t[] = { { BOOT_KMS, "final" }, { BOOT_APP, "boottime" } };
	uint8_t sys[32], agg[32];
	struct td_report td;
	struct event_log log;

	read_td(&td, quote_hex);
	cr_assert_eq(event_log_parse(&log, json, NULL), ERR_OK);
	for (int i = 0; i < 2; i++) {
		json_t *want = facts_get(v, t[i].key);

		cr_assert_eq(
		    boot_info_measure(sys, agg, &td, &log, t[i].variant),
		    ERR_OK);
		cr_assert(facts_eq(sys, 32, facts_str(want, "mr_system")));
		cr_assert(facts_eq(agg, 32, facts_str(want, "mr_aggregated")));
	}
	event_log_fini(&log);
	json_decref(all);
}

static void
measured_file(const char *name, const char *key)
{
	json_t *v = facts_json(name);
	const char *log = facts_str(v, "event_log");

	measured(facts_str(v, "quote"),
	    (struct bytes){ (const uint8_t *)log, strlen(log) }, key);
	json_decref(v);
}

/* mr_system and mr_aggregated of four real quotes, in both variants. */
Test(bootinfo, real_sim_053)
{
	struct buf quote = { 0 }, json = { 0 };

	facts_read(&quote, "dstack/sim-v0.5.3/quote.hex");
	facts_read(&json, "dstack/sim-v0.5.3/eventlog.json");
	while (quote.len > 0 && quote.p[quote.len - 1] <= ' ')
		quote.p[--quote.len] = '\0';
	measured((char *)quote.p, buf_view(&json), "quote sim-v0.5.3");
	buf_fini(&quote);
	buf_fini(&json);
}

Test(bootinfo, real_sim_head)
{
	json_t *v = facts_json("dstack/sim-head/attestation.decoded.json");
	json_t *log = json_array(), *e;
	struct buf text;
	size_t i;

	json_array_foreach(facts_get(v, "event_log"), i, e)
	{
		if (json_integer_value(facts_get(e, "imr")) != 3)
			json_array_append(log, e);
	}
	json_array_foreach(facts_get(v, "runtime_events"), i, e)
	    json_array_append_new(log,
		json_pack("{s:i, s:i, s:s, s:s, s:s}", "imr", 3, "event_type",
		    (int)EVENT_RUNTIME, "digest", "", "event",
		    facts_str(e, "event"), "event_payload",
		    facts_str(e, "payload")));
	text = guest_text(log);
	measured(facts_str(v, "quote"), buf_view(&text), "quote sim-head");
	buf_fini(&text);
	json_decref(log);
	json_decref(v);
}

Test(bootinfo, real_legacy)
{
	measured_file(
	    "dstack/verifier/quote-report.json", "quote verifier/quote-report");
}

Test(bootinfo, real_lite)
{
	measured_file("dstack/verifier/tdx-lite-getquote.json",
	    "quote verifier/tdx-lite-getquote");
}

/* The real 0.6.0 guest is accepted as a whole; a legacy one is refused for
 * its vm_config, and only after its log has replayed. */
Test(bootinfo, real_lite_build)
{
	json_t *v = facts_json("dstack/verifier/tdx-lite-getquote.json");
	const char *log = facts_str(v, "event_log");
	const char *vm = facts_str(v, "vm_config");
	struct verdict verdict = { .tee = TEE_TDX };
	struct refusal why = { 0 };
	struct boot_info b;

	read_td(&verdict.td, facts_str(v, "quote"));
	cr_assert_eq(boot_info_build(&b, &verdict,
			 (struct bytes){ (const uint8_t *)log, strlen(log) },
			 (struct bytes){ (const uint8_t *)vm, strlen(vm) },
			 BOOT_KMS, &why),
	    ERR_OK, "%s", why.detail);
	cr_assert(
	    facts_eq(b.app_id, 20, "86b0e55f2fa8e4fb69d890f14f54d5612707646e"));
	cr_assert(facts_eq(b.os_image_hash, 32,
	    "e6f5cfec20c02e7b97baa213d0f718020b55e040172d90ccbcb946d56c8b09d"
	    "b"));
	cr_assert(facts_eq(b.mr_system, 32,
	    "118f754a080ecb8527df65656ee4e7e97b891cf488ad6a38886ff0dbca0c8f7"
	    "0"));
	cr_assert(facts_eq(b.mr_aggregated, 32,
	    "c758fa624b62536ca77504c4c52745e70880220a178a615a859c52f8b101d2e"
	    "e"));
	json_decref(v);

	v = facts_json("dstack/verifier/quote-report.json");
	log = facts_str(v, "event_log");
	vm = facts_str(v, "vm_config");
	read_td(&verdict.td, facts_str(v, "quote"));
	cr_assert_eq(boot_info_build(&b, &verdict,
			 (struct bytes){ (const uint8_t *)log, strlen(log) },
			 (struct bytes){ (const uint8_t *)vm, strlen(vm) },
			 BOOT_APP, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_OS_IMAGE);
	json_decref(v);
}

/* Leaves of the log what a certificate carries. */
static void
strip(struct guest *g)
{
	for (size_t i = json_array_size(g->log); i-- > 0;) {
		json_t *e = json_array_get(g->log, i);
		const char *payload = NULL;

		cr_assert_eq(
		    json_get_str(&payload, e, "event_payload"), ERR_OK);
		if (json_integer_value(json_object_get(e, "imr")) == 3)
			json_object_set_new(e, "digest", json_string(""));
		else if (strcmp(payload, "414350492044415441") != 0)
			cr_assert_eq(json_array_remove(g->log, i), 0);
	}
}

/* What a stripped log leaves out is what the image's registers say: so it is
 * they that must hold. */
Test(bootinfo, stripped_log)
{
	struct boot_info want, got;
	struct refusal why;
	struct guest g;
	json_t *extra;

	guest_init(&g);
	cr_assert_eq(guest_boot(&want, &g, BOOT_APP, &why), ERR_OK);
	extra = json_deep_copy(json_array_get(g.log, 0));
	strip(&g);
	cr_assert_eq(
	    guest_boot(&got, &g, BOOT_APP, &why), ERR_OK, "%s", why.detail);
	cr_assert_arr_eq(&got, &want, sizeof got);
	for (int i = 0; i < 4; i++) {
		g.verdict.td.rtmr[i][7] ^= 1;
		cr_assert_eq(guest_boot(&got, &g, BOOT_APP, &why), ERR_DENIED);
		cr_assert_eq(why.code,
		    i == 3 ? REASON_EVENT_LOG : REASON_OS_IMAGE, "RTMR%d", i);
		g.verdict.td.rtmr[i][7] ^= 1;
	}
	/* Neither whole nor stripped. */
	cr_assert_eq(json_array_insert_new(g.log, 0, extra), 0);
	cr_assert_eq(guest_boot(&got, &g, BOOT_APP, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	cr_assert_eq(json_array_remove(g.log, 0), 0);
	cr_assert_eq(json_array_remove(g.log, 0), 0);
	cr_assert_eq(guest_boot(&got, &g, BOOT_APP, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	guest_fini(&g);
}
