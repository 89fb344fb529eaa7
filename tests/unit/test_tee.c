#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/quote.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "node/tee/simimage.h"
#include "tests/lib/simworld.h"

static struct simworld w;
static const uint8_t rd[64] = { 7 };

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

TestSuite(tee, .init = setup, .fini = teardown, .timeout = 60);

/* The register of a quote equals the replay of the log beside it. */
static bool
consistent(const struct evidence *ev)
{
	struct event_log log = { 0 };
	struct quote q;
	struct refusal why = { 0 };
	uint8_t r[48];
	bool ok = true;

	cr_assert_eq(event_log_parse(&log, buf_view(&ev->event_log), &why),
	    ERR_OK, "%s", why.detail);
	cr_assert_eq(quote_parse(&q, buf_view(&ev->quote), &why), ERR_OK);
	for (uint32_t i = 0; i < 4; i++) {
		event_log_replay(r, &log, i, NULL);
		ok = ok && memcmp(r, q.td.rtmr[i], 48) == 0;
	}
	event_log_fini(&log);
	return ok;
}

static void
evidence_drop(struct evidence *ev)
{
	buf_fini(&ev->quote);
	buf_fini(&ev->event_log);
	buf_fini(&ev->vm_config);
}

/* Events are measured in dstack's V1 form and show in log and quote. */
Test(tee, extend)
{
	struct tee *t = simworld_boot(&w);
	struct evidence ev = { 0 };
	struct event_log log;
	const struct event *e;
	uint8_t d[48];

	cr_assert_eq(
	    tee_extend(t, "system-preparing", (struct bytes){ 0 }), ERR_OK);
	cr_assert_eq(tee_extend(t, "app-id", BYTES_STR("\x01\x02")), ERR_OK);
	cr_assert_eq(tee_evidence(t, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(ev.tee, TEE_TDX);
	cr_assert(consistent(&ev));
	cr_assert_eq(
	    event_log_parse(&log, buf_view(&ev.event_log), NULL), ERR_OK);
	e = &log.event[log.n - 1];
	cr_assert_eq(e->imr, 3);
	cr_assert_str_eq(e->name, "app-id");
	event_digest_v1(d, "app-id", BYTES_STR("\x01\x02"));
	cr_assert_arr_eq(e->digest, d, 48);
	event_log_fini(&log);
	evidence_drop(&ev);
	tee_close(t);
}

/* Only the ACPI events of registers 0 to 2 keep a payload. */
Test(tee, boot_payloads_are_empty)
{
	struct tee *t = simworld_boot(&w);
	struct buf b = { 0 };
	struct event_log log;
	unsigned acpi = 0;

	cr_assert_eq(tee_event_log(t, &b), ERR_OK);
	cr_assert_eq(event_log_parse(&log, buf_view(&b), NULL), ERR_OK);
	for (size_t i = 0; i < log.n; i++) {
		bool is_acpi = log.event[i].type == 10;

		acpi += is_acpi;
		cr_assert_eq(log.event[i].payload.len, is_acpi ? 9 : 0);
	}
	cr_assert_eq(acpi, 3);
	event_log_fini(&log);
	buf_fini(&b);
	tee_close(t);
}

/* A boot starts from zero: no event of an earlier life is left. */
Test(tee, boot_resets_rtmr3)
{
	struct tee *t = simworld_boot(&w);
	struct buf first = { 0 }, second = { 0 }, file = { 0 };
	char path[600];

	cr_assert_eq(tee_event_log(t, &first), ERR_OK);
	cr_assert_eq(tee_extend(t, "x", BYTES_STR("y")), ERR_OK);
	tee_close(t);
	(void)snprintf(path, sizeof path, "%s/rtmr3.json", w.run);
	cr_assert_eq(file_read(&file, path, 100000), ERR_OK);
	cr_assert_not_null(strstr((char *)file.p, "\"x\""));
	t = simworld_boot(&w);
	cr_assert_eq(tee_event_log(t, &second), ERR_OK);
	cr_assert_str_eq((char *)first.p, (char *)second.p);
	cr_assert_eq(file_read(&file, path, 100000), ERR_OK);
	cr_assert_null(strstr((char *)file.p, "\"x\""));
	tee_close(t);
	buf_fini(&first);
	buf_fini(&second);
	buf_fini(&file);
}

/* What does not fit the log is not measured: log and quote still agree. */
Test(tee, extend_limits)
{
	struct tee *t = simworld_boot(&w);
	struct evidence ev = { 0 };
	char name[EVENT_NAME_MAX + 1];
	static uint8_t big[LIMIT_EVENT_LOG];
	enum err e = ERR_OK;

	memset(name, 'n', sizeof name);
	name[EVENT_NAME_MAX] = '\0';
	cr_assert_eq(tee_extend(t, name, (struct bytes){ 0 }), ERR_LIMIT);
	cr_assert_eq(tee_extend(t, "big", BYTES_OF(big)), ERR_LIMIT);
	cr_assert_eq(
	    tee_extend(t, "\xff\xfe", (struct bytes){ 0 }), ERR_MALFORMED);
	for (unsigned i = 0; i < 8 && e == ERR_OK; i++)
		e = tee_extend(
		    t, "chunk", (struct bytes){ big, sizeof big / 8 });
	cr_assert_eq(e, ERR_LIMIT);
	cr_assert_eq(tee_extend(t, "small", BYTES_STR("s")), ERR_OK);
	cr_assert_eq(tee_evidence(t, &ev, rd, NULL), ERR_OK);
	cr_assert(consistent(&ev));
	evidence_drop(&ev);
	tee_close(t);
}

static void *
extender(void *arg)
{
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(
		    tee_extend(arg, "tick", BYTES_STR("tock")), ERR_OK);
	return NULL;
}

/* Evidence taken while events are measured is consistent, or not given. */
Test(tee, evidence_under_extends)
{
	struct tee *t = simworld_boot(&w);
	pthread_t th[2];
	unsigned good = 0;

	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&th[i], NULL, extender, t), 0);
	for (unsigned i = 0; i < 20; i++) {
		struct evidence ev = { 0 };
		enum err e = tee_evidence(t, &ev, rd, NULL);

		cr_assert(e == ERR_OK || e == ERR_AGAIN);
		if (e == ERR_OK)
			cr_assert(consistent(&ev));
		evidence_drop(&ev);
	}
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(pthread_join(th[i], NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct evidence ev = { 0 };

		good +=
		    tee_evidence(t, &ev, rd, NULL) == ERR_OK && consistent(&ev);
		evidence_drop(&ev);
	}
	cr_assert_eq(good, 3);
	tee_close(t);
}

/* The host names the app's compose file in MRCONFIGID if it is told one, as
 * dstack-compat.md 3.5 has V1; else, and for another file, not that one. */
Test(tee, compose_in_config_id)
{
	static const uint8_t none[48];
	uint8_t hash[32], v1[48] = { 1 };
	struct tee_options o = { .simulated = true,
		.sim_host = w.host,
		.sim_image = w.image,
		.run_dir = w.run };
	struct refusal why = { 0 };

	memset(hash, 0xc4, sizeof hash);
	memcpy(v1 + 1, hash, 32);
	for (unsigned i = 0; i < 3; i++) {
		struct buf quote = { 0 };
		struct tee *t = NULL;
		struct quote q;

		o.sim_compose_hash = i == 0 ? NULL : hash;
		hash[31] = i == 2 ? 0 : 0xc4;
		cr_assert_eq(tee_boot(&t, &o, &why), ERR_OK, "%s", why.detail);
		cr_assert_eq(tee_quote(t, &quote, rd, &why), ERR_OK);
		cr_assert_eq(quote_parse(&q, buf_view(&quote), &why), ERR_OK);
		cr_assert_eq(memcmp(q.td.mrconfigid, none, 48) == 0, i == 0);
		cr_assert_eq(memcmp(q.td.mrconfigid, v1, 48) == 0, i == 1);
		buf_fini(&quote);
		tee_close(t);
	}
}

static void
seal(uint8_t out[32], const char *host, const char *image, const char *label)
{
	char h[600], i[600];
	struct tee_options o = { .simulated = true,
		.sim_host = h,
		.sim_image = i,
		.run_dir = w.run };
	struct tee *t = NULL;

	(void)snprintf(h, sizeof h, "%s/hosts/%s", w.dir, host);
	(void)snprintf(i, sizeof i, "%s/images/%s", w.dir, image);
	cr_assert_eq(tee_boot(&t, &o, NULL), ERR_OK);
	cr_assert_eq(tee_extend(t, "x", BYTES_STR("y")), ERR_OK);
	cr_assert_eq(tee_seal_key(t, out, label), ERR_OK);
	tee_close(t);
}

/* Another host, image or label gets another key; a reboot the same. */
Test(tee, seal_key)
{
	uint8_t k[32], again[32], other[32];

	cr_assert_eq(sim_host_create(w.dir, "h2", SIMWORLD_NOW), ERR_OK);
	cr_assert_eq(sim_image_create(w.dir, "kms2", "seed2"), ERR_OK);
	seal(k, "h1", "kms", "store");
	seal(again, "h1", "kms", "store");
	cr_assert_arr_eq(k, again, 32);
	seal(other, "h2", "kms", "store");
	cr_assert_arr_neq(k, other, 32);
	seal(other, "h1", "kms2", "store");
	cr_assert_arr_neq(k, other, 32);
	seal(other, "h1", "kms", "other");
	cr_assert_arr_neq(k, other, 32);
	/* A debug TD must not open what an honest one has sealed. */
	cr_assert_eq(
	    sim_host_set(w.dir, "h1", SIM_FAULT_DEBUG, SIMWORLD_NOW), ERR_OK);
	seal(other, "h1", "kms", "store");
	cr_assert_arr_neq(k, other, 32);
}

/* Without host, image or run folder nothing boots, and the reason says so. */
Test(tee, bad_options)
{
	struct tee_options o = { .simulated = true,
		.sim_host = w.host,
		.sim_image = w.image,
		.run_dir = w.run };
	struct tee_options bad;
	struct refusal why = { 0 };
	struct tee *t = NULL;
	char path[600];

	bad = o;
	bad.run_dir = NULL;
	cr_assert_eq(tee_boot(&t, &bad, &why), ERR_CONFIG);
	bad = o;
	bad.sim_host = NULL;
	cr_assert_eq(tee_boot(&t, &bad, &why), ERR_CONFIG);
	bad = o;
	bad.sim_host = "/nonexistent";
	cr_assert_eq(tee_boot(&t, &bad, &why), ERR_DENIED);
	bad = o;
	bad.sim_image = w.host;
	cr_assert_eq(tee_boot(&t, &bad, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_OS_IMAGE);
	(void)snprintf(path, sizeof path, "%s/host.json", w.host);
	cr_assert_eq(file_write(path, "{}", 2, 0600), ERR_OK);
	cr_assert_eq(tee_boot(&t, &o, &why), ERR_DENIED);
	cr_assert_null(t);
}
