/* The TDX device with a folder in the kernel's place: `kernel` does, at the
 * right moments, what configfs-tsm does (tdx-dcap.md 3.1). */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/attest/quote.h"
#include "common/base/file.h"
#include "common/crypto/hash.h"
#include "node/tee/platform.h"
#include "tests/lib/simworld.h"

static struct simworld w;
static struct sim_host host;
static char reports[600], rtmr3[600], run[600];
static const uint8_t rd[64] = { 5, 5 };

/* What the kernel does wrong. */
static struct {
	const char *provider;
	const char *missing; /* a file that is not there */
	unsigned intruders; /* attempts that another writer disturbs */
	bool other_report_data;
	bool short_quote;
	bool huge_quote;
	bool junk; /* zero bytes behind the quote */
	unsigned calls;
} k;

static void
file_put(const char *dir, const char *name, const void *p, size_t len)
{
	char path[1200];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	if (k.missing != NULL && strcmp(name, k.missing) == 0)
		return;
	cr_assert_eq(file_write(path, p, len, 0600), ERR_OK);
}

static void
generation(const char *dir, unsigned g)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%u\n", g);
	file_put(dir, "generation", text, strlen(text));
}

static void
make_outblob(const char *dir)
{
	static uint8_t zeros[20000];
	struct buf in = { 0 }, q = { 0 };
	struct td_report td = { 0 };
	char path[1200];

	(void)snprintf(path, sizeof path, "%s/inblob", dir);
	cr_assert_eq(file_read(&in, path, 64), ERR_OK);
	cr_assert_eq(in.len, 64);
	sim_host_td(&td, &host);
	memcpy(td.report_data, in.p, 64);
	td.report_data[0] ^= k.other_report_data;
	cr_assert_eq(sim_quote(&q, &host.qe, &td), ERR_OK);
	if (k.junk)
		cr_assert_eq(buf_append(&q, zeros, 3065, 100000), ERR_OK);
	if (k.huge_quote)
		cr_assert_eq(buf_append(&q, zeros, 20000, 100000), ERR_OK);
	file_put(dir, "outblob", q.p, k.short_quote ? 700 : q.len);
	buf_fini(&in);
	buf_fini(&q);
}

static void
kernel(void *cookie, const char *dir, enum tdx_stage stage)
{
	static const char *const file[] = { "provider", "generation", "inblob",
		"outblob" };
	char path[1200];

	(void)cookie;
	switch (stage) {
	case TDX_MADE:
		k.calls++;
		file_put(dir, "provider", k.provider, strlen(k.provider));
		generation(dir, 7);
		file_put(dir, "inblob", "", 0);
		break;
	case TDX_WRITTEN:
		make_outblob(dir);
		generation(dir, k.calls <= k.intruders ? 9 : 8);
		break;
	case TDX_DONE:
		for (size_t i = 0; i < 4; i++) {
			(void)snprintf(
			    path, sizeof path, "%s/%s", dir, file[i]);
			(void)unlink(path);
		}
		break;
	}
}

static void
setup(void)
{
	static const uint8_t zero[48];

	simworld_init(&w);
	cr_assert_eq(sim_host_load(&host, w.host), ERR_OK);
	(void)snprintf(reports, sizeof reports, "%s/report", w.dir);
	(void)snprintf(rtmr3, sizeof rtmr3, "%s/rtmr3:sha384", w.dir);
	(void)snprintf(run, sizeof run, "%s/run", w.dir);
	cr_assert_eq(file_mkdirs(reports), ERR_OK);
	cr_assert_eq(file_mkdirs(run), ERR_OK);
	cr_assert_eq(file_write(rtmr3, zero, 48, 0600), ERR_OK);
	memset(&k, 0, sizeof k);
	k.provider = "tdx_guest\n";
}

static void
teardown(void)
{
	sim_host_fini(&host);
	simworld_fini(&w);
}

TestSuite(tdx, .init = setup, .fini = teardown, .timeout = 60);

static enum err
boot(struct tee **out, struct refusal *why)
{
	const struct tdx_paths paths = {
		.reports = reports, .rtmr3 = rtmr3, .settle = kernel
	};
	struct tee_options o = { .run_dir = run };
	struct platform p = { 0 };
	enum err e = tdx_platform_boot(&p, &o, &paths, why);

	return e == ERR_OK ? tee_start(out, &p, &o, why) : e;
}

static struct tee *
booted(void)
{
	struct refusal why = { 0 };
	struct tee *t = NULL;

	cr_assert_eq(boot(&t, &why), ERR_OK, "%s", why.detail);
	return t;
}

static enum err
quote(struct buf *q, struct refusal *why)
{
	struct tee *t = booted();
	enum err e;

	*why = (struct refusal){ 0 };
	e = tee_quote(t, q, rd, why);
	tee_close(t);
	/* No instance is left behind. */
	cr_assert_eq(rmdir(reports), 0);
	cr_assert_eq(mkdir(reports, 0700), 0);
	return e;
}

static void
assert_no_quote(enum err want, enum reason reason)
{
	struct buf q = { 0 };
	struct refusal why;
	enum err e = quote(&q, &why);

	cr_assert_eq(e, want, "%s: %s", err_text(e), why.detail);
	cr_assert_eq(
	    why.code, reason, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_eq(q.len, 0);
	buf_fini(&q);
}

/* A healthy device gives a quote over our report data, in one attempt;
 * zero bytes behind it are cut off. */
Test(tdx, quote)
{
	struct buf a = { 0 }, b = { 0 };
	struct refusal why;
	struct quote q;

	cr_assert_eq(quote(&a, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(k.calls, 1);
	cr_assert_eq(quote_parse(&q, buf_view(&a), &why), ERR_OK);
	cr_assert_arr_eq(q.td.report_data, rd, 64);
	k.junk = true;
	cr_assert_eq(quote(&b, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(b.len, a.len);
	buf_fini(&a);
	buf_fini(&b);
}

/* Another provider's reports are no TDX quotes. */
Test(tdx, wrong_provider)
{
	k.provider = "sev_guest\n";
	assert_no_quote(ERR_UNSUPPORTED, REASON_INTERNAL);
	k.provider = "";
	assert_no_quote(ERR_UNSUPPORTED, REASON_INTERNAL);
}

/* Files that are not there end the attempt. */
Test(tdx, missing_files)
{
	static const char *const file[] = { "provider", "generation",
		"outblob" };

	for (size_t i = 0; i < 3; i++) {
		k.missing = file[i];
		k.calls = 0;
		assert_no_quote(ERR_UNSUPPORTED, REASON_INTERNAL);
		cr_assert_eq(k.calls, 1);
	}
}

/* Somebody else wrote to the instance: try again, but not for ever. */
Test(tdx, generation_changed)
{
	struct buf q = { 0 };
	struct refusal why;

	k.intruders = 2;
	cr_assert_eq(quote(&q, &why), ERR_OK, "%s", why.detail);
	cr_assert_eq(k.calls, 3);
	k.intruders = 1000;
	k.calls = 0;
	assert_no_quote(ERR_AGAIN, REASON_INTERNAL);
	cr_assert_eq(k.calls, 4);
	buf_fini(&q);
}

/* Quotes over other report data, cut short, or of another kind are refused. */
Test(tdx, bad_quotes)
{
	k.other_report_data = true;
	assert_no_quote(ERR_DENIED, REASON_REPORT_DATA);
	k.other_report_data = false;
	k.short_quote = true;
	assert_no_quote(ERR_DENIED, REASON_QUOTE_MALFORMED);
	k.short_quote = false;
	k.huge_quote = true;
	assert_no_quote(ERR_LIMIT, REASON_INTERNAL);
}

/* Without configfs-tsm there is no TEE here. */
Test(tdx, no_configfs)
{
	struct refusal why = { 0 };
	struct tee *t = NULL;

	cr_assert_eq(rmdir(reports), 0);
	cr_assert_eq(boot(&t, &why), ERR_UNSUPPORTED);
	cr_assert_null(t);
}

/* Plays the register: what was written is folded into its value. */
static void
fold(uint8_t value[48])
{
	struct buf d = { 0 };

	cr_assert_eq(file_read(&d, rtmr3, 48), ERR_OK);
	cr_assert_eq(d.len, 48);
	rtmr_extend(value, d.p);
	cr_assert_eq(file_write(rtmr3, value, 48, 0600), ERR_OK);
	buf_fini(&d);
}

/* An extend writes the event's digest; after a restart of the process the
 * log is read again and must replay to the register. */
Test(tdx, extend_and_restart)
{
	struct tee *t = booted();
	uint8_t value[48] = { 0 }, digest[48];
	struct buf d = { 0 }, before = { 0 }, after = { 0 };

	cr_assert_eq(tee_extend(t, "app-id", BYTES_STR("a")), ERR_OK);
	event_digest_v1(digest, "app-id", BYTES_STR("a"));
	cr_assert_eq(file_read(&d, rtmr3, 48), ERR_OK);
	cr_assert_arr_eq(d.p, digest, 48);
	fold(value);
	cr_assert_eq(tee_extend(t, "compose-hash", BYTES_STR("b")), ERR_OK);
	fold(value);
	cr_assert_eq(tee_event_log(t, &before), ERR_OK);
	tee_close(t);

	t = booted();
	cr_assert_eq(tee_event_log(t, &after), ERR_OK);
	cr_assert_str_eq((char *)before.p, (char *)after.p);
	tee_close(t);
	buf_fini(&d);
	buf_fini(&before);
	buf_fini(&after);
}

/* An event that was logged but not measured (a crash between) is dropped;
 * any other difference is refused. */
Test(tdx, log_and_register_differ)
{
	struct tee *t = booted();
	uint8_t value[48] = { 0 };
	struct refusal why = { 0 };
	struct buf log = { 0 };

	cr_assert_eq(tee_extend(t, "one", BYTES_STR("a")), ERR_OK);
	fold(value);
	cr_assert_eq(tee_extend(t, "two", BYTES_STR("b")), ERR_OK);
	tee_close(t);
	cr_assert_eq(file_write(rtmr3, value, 48, 0600), ERR_OK);
	t = booted();
	cr_assert_eq(tee_event_log(t, &log), ERR_OK);
	cr_assert_not_null(strstr((char *)log.p, "one"));
	cr_assert_null(strstr((char *)log.p, "two"));
	tee_close(t);
	t = NULL;

	value[0] ^= 1;
	cr_assert_eq(file_write(rtmr3, value, 48, 0600), ERR_OK);
	cr_assert_eq(boot(&t, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	cr_assert_null(t);
	buf_fini(&log);
}

/* A register that cannot be written takes no event, in the log neither. */
Test(tdx, extend_fails)
{
	struct tee *t = booted();
	struct buf log = { 0 };

	cr_assert_eq(unlink(rtmr3), 0);
	cr_assert_eq(tee_extend(t, "gone", BYTES_STR("a")), ERR_UNSUPPORTED);
	cr_assert_eq(tee_event_log(t, &log), ERR_OK);
	cr_assert_str_eq((char *)log.p, "[]");
	tee_close(t);
	buf_fini(&log);
}

/* The log of the guest's boot comes first, and broken ones are refused. */
Test(tdx, boot_log)
{
	static const char *const bad[] = { "{}", "[1]", "[{}]", "[",
		"[{\"imr\":0,\"event_type\":1}] x" };
	static const char good[] =
	    "[{\"imr\":1,\"event_type\":4,\"digest\":\""
	    "394341b7182cd227c5c6b07ef8000cdfd86136c4292b8e576573ad7ed9ae4101"
	    "9f5818b4b971c9effc60e1ad9f1289f0\",\"event\":\"\","
	    "\"event_payload\":\"0011\"}]";
	struct refusal why = { 0 };
	struct tee *t = NULL;
	struct buf log = { 0 };
	char path[700];

	(void)snprintf(path, sizeof path, "%s/boot_events.json", run);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_assert_eq(
		    file_write(path, bad[i], strlen(bad[i]), 0600), ERR_OK);
		cr_assert_eq(boot(&t, &why), ERR_DENIED, "%s", bad[i]);
		cr_assert_eq(why.code, REASON_EVENT_LOG);
		cr_assert_null(t);
	}
	cr_assert_eq(file_write(path, good, sizeof good - 1, 0600), ERR_OK);
	t = booted();
	cr_assert_eq(tee_event_log(t, &log), ERR_OK);
	cr_assert_not_null(strstr((char *)log.p, "394341b7"));
	cr_assert_not_null(strstr((char *)log.p, "\"event_payload\":\"\""));
	tee_close(t);
	buf_fini(&log);
}

/* TDX gives no sealing key. */
Test(tdx, no_seal_key)
{
	struct tee *t = booted();
	uint8_t key[32];

	cr_assert_eq(tee_seal_key(t, key, "x"), ERR_UNSUPPORTED);
	cr_assert(!tee_simulated(t));
	tee_close(t);
}
