/* The event log: what is measured is what is shown, or it is refused. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/eventlog.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"

/* A digest of 48 bytes for events of RTMR0-2. */
#define D48 \
	"f9974020ef507068183313d0ca808e0d1ca9b2d1ad0c61f5784e7157c362c065" \
	"36f5ddacdad4451693f48fcc72fff624"
#define RT(name, payload) \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":" \
	"\"" name "\",\"event_payload\":\"" payload "\"}"

static enum err
parse(struct event_log *out, const char *text)
{
	struct refusal why = { 0 };
	enum err e = event_log_parse(
	    out, (struct bytes){ (const uint8_t *)text, strlen(text) }, &why);

	if (e != ERR_OK) {
		cr_assert_eq(e, ERR_DENIED);
		cr_assert_eq(why.code, REASON_EVENT_LOG);
	}
	return e;
}

/* Digests of the marker events are the published ones. */
Test(eventlog, v1_digests)
{
	const struct bytes none = { NULL, 0 };
	uint8_t d[48];

	event_digest_v1(d, "system-preparing", none);
	cr_assert(facts_eq(d, 48, D48));
	event_digest_v1(d, "boot-mr-done", none);
	cr_assert(facts_eq(d, 48,
	    "98bd7e6bd3952720b65027fd494834045d06b4a714bf737a06b874638b3ea00f"
	    "f402f7f583e3e3b05e921c8570433ac6"));
	event_digest_v1(d, "system-ready", none);
	cr_assert(facts_eq(d, 48,
	    "1a76b2a80a0be71eae59f80945d876351a7a3fb8e9fd1ff1cede5734aa84ea11"
	    "fd72b4edfbb6f04e5a85edd114c751bd"));
}

/* A V2 event is hashed as JCS text, and its preimage must be that text. */
Test(eventlog, v2_digest)
{
	struct event_log log;
	char hex[400];
	struct buf b = { 0 };
	static const char text[] = "{\"name\":\"system-preparing\","
				   "\"payload\":\"\",\"type\":134217729}";
	static const char fmt[] =
	    "[{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":"
	    "\"system-preparing\",\"event_payload\":\"\",\"version\":2,"
	    "\"preimage\":\"%s\"}]";

	hex_encode(hex, (const uint8_t *)text, sizeof text - 1);
	cr_assert_eq(buf_printf(&b, fmt, hex), ERR_OK);
	cr_assert_eq(parse(&log, (char *)b.p), ERR_OK);
	cr_assert(log.event[0].v2);
	cr_assert(facts_eq(log.event[0].digest, 48,
	    "918e390aef67de4520d37d7e046dd222038e0a8385825072383ab194543ffa30"
	    "46a9a48fdabbc16e6ba9ff24249ba88f"));
	event_log_fini(&log);
	b.len = 0;
	hex[1] = 'c';
	cr_assert_eq(buf_printf(&b, fmt, hex), ERR_OK);
	cr_assert_eq(parse(&log, (char *)b.p), ERR_DENIED);
	b.len = 0;
	hex[strlen(hex) - 2] = '\0';
	cr_assert_eq(buf_printf(&b, fmt, hex), ERR_OK);
	cr_assert_eq(parse(&log, (char *)b.p), ERR_DENIED);
	buf_fini(&b);
}

/* The published log of ten events replays to the published RTMR3, as V1
 * and as V2, whole and up to boot-mr-done. */
Test(eventlog, synthetic_replay)
{
	static const char spki[] =
	    "3059301306072a8648ce3d020106082a8648ce3d03010703420004f4608c1c2c"
	    "25d9fc8b152400e88a80711d212c71aee8693be40bf97fa03a87308ec8a98b6e"
	    "9326c75ca3e302cfef8a80ac03d38a88277765e2f91169748222b9";
	char provider[400];
	uint8_t empty[32], img[32], r[48];
	struct {
		const char *name;
		const char *payload;
	} ev[10] = { { "system-preparing", "" },
		{ "app-id", "00112233445566778899aabbccddeeff00112233" },
		{ "compose-hash", NULL }, { "gpu-policy-hash", NULL },
		{ "instance-id", "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3" },
		{ "boot-mr-done", "" }, { "os-image-hash", NULL },
		{ "key-provider", NULL }, { "storage-fs", "65787434" },
		{ "system-ready", "" } };
	char hex[4][800];

	snprintf(provider, sizeof provider, "{\"name\":\"kms\",\"id\":\"%s\"}",
	    spki);
	sha256(empty, "{}", 2);
	sha256(img, "img", 3);
	ev[2].payload = hex_encode(hex[0], empty, 32);
	ev[3].payload = hex_encode(hex[1], empty, 32);
	ev[6].payload = hex_encode(hex[2], img, 32);
	ev[7].payload =
	    hex_encode(hex[3], (const uint8_t *)provider, strlen(provider));
	for (int version = 1; version <= 2; version++) {
		struct event_log log;
		struct buf b = { 0 };

		for (int i = 0; i < 10; i++)
			cr_assert_eq(
			    buf_printf(&b,
				"%s{\"imr\":3,\"event_type\":134217729,"
				"\"digest\":\"\",\"event\":\"%s\","
				"\"event_payload\":\"%s\",\"version\":%d}",
				i == 0 ? "[" : ",", ev[i].name, ev[i].payload,
				version),
			    ERR_OK);
		cr_assert_eq(buf_printf(&b, "]"), ERR_OK);
		cr_assert_eq(parse(&log, (char *)b.p), ERR_OK);
		event_log_replay(r, &log, 3, NULL);
		cr_assert(facts_eq(r, 48,
		    version == 1
			? "651c652980df0f15e4116f513be318e6027402ae98faab06a5b5"
			  "0"
			  "05c16a3110132c1c0d2b836b4941103fa51c0a9987d"
			: "e54b1cc78aa5505eee66adc03f064acc8521edcff59c0d1f8517"
			  "e"
			  "e4e98cb83c88a1f4f379ef06db0e25722b3175af996"));
		event_log_replay(r, &log, 3, "boot-mr-done");
		if (version == 1)
			cr_assert_eq(
			    memcmp(r, "\x98\x02\x60\x36\x8a\x99\x98\x6f", 8),
			    0);
		event_log_replay(r, &log, 0, NULL);
		for (int i = 0; i < 48; i++)
			cr_assert_eq(r[i], 0);
		event_log_fini(&log);
		buf_fini(&b);
	}
}

/* Anything that is not a whole log of well-formed events is refused. */
Test(eventlog, refusals)
{
	static const char *const bad[] = { "", "{}", "null", "[1]", "[{}]",
		"[" RT("a", "") "]x", "[" RT("a", ""),
		/* types and ranges */
		"[{\"imr\":4,\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":\"\",\"event_payload\":\"\"}]",
		"[{\"imr\":-1,\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":\"\",\"event_payload\":\"\"}]",
		"[{\"imr\":0,\"event_type\":4294967296,\"digest\":\"" D48
		"\",\"event\":\"\",\"event_payload\":\"\"}]",
		"[{\"imr\":\"0\",\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":\"\",\"event_payload\":\"\"}]",
		"[{\"imr\":0,\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":\"\"}]",
		"[{\"imr\":0,\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":null,\"event_payload\":\"\"}]",
		"[{\"imr\":0,\"imr\":0,\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":\"\",\"event_payload\":\"\"}]",
		/* digests of RTMR0-2: missing, short, long */
		"[{\"imr\":0,\"event_type\":1,\"digest\":\"\",\"event\":\"\","
		"\"event_payload\":\"\"}]",
		"[{\"imr\":0,\"event_type\":1,\"digest\":\"00\",\"event\":\"\","
		"\"event_payload\":\"\"}]",
		"[{\"imr\":0,\"event_type\":1,\"digest\":\"" D48
		"00\",\"event\":\"\",\"event_payload\":\"\"}]",
		/* RTMR3 holds runtime events only */
		"[{\"imr\":3,\"event_type\":1,\"digest\":\"" D48
		"\",\"event\":\"\",\"event_payload\":\"\"}]",
		/* a digest that is not that of the event */
		"[{\"imr\":3,\"event_type\":134217729,\"digest\":\"" D48
		"\",\"event\":\"system-ready\",\"event_payload\":\"\"}]",
		"[{\"imr\":3,\"event_type\":134217729,\"digest\":\"" D48
		"\",\"event\":\"system-preparing\",\"event_payload\":\"00\"}]",
		/* payloads */
		"[" RT("a", "0") "]", "[" RT("a", "zz") "]",
		/* names that hide another, or that hold a NUL */
		"[" RT("key-provider:{", "") "]", "[" RT("a\\u0000b", "") "]",
		/* versions */
		"[{\"imr\":3,\"event_type\":134217729,\"digest\":\"\","
		"\"event\":\"a\",\"event_payload\":\"\",\"version\":0}]",
		"[{\"imr\":3,\"event_type\":134217729,\"digest\":\"\","
		"\"event\":\"a\",\"event_payload\":\"\",\"version\":3}]",
		"[{\"imr\":3,\"event_type\":134217729,\"digest\":\"\","
		"\"event\":\"a\\\"b\",\"event_payload\":\"\",\"version\":2}]" };
	struct event_log log = { .n = 99 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(parse(&log, bad[i]), ERR_DENIED, "%s", bad[i]);
	cr_assert_eq(log.n, 99);
}

/* Too many events, too long a name or a text are refused. */
Test(eventlog, limits)
{
	struct event_log log;
	struct buf b = { 0 };
	static char big[129 * 1024];

	for (int i = 0; i <= EVENT_MAX; i++)
		cr_assert_eq(
		    buf_printf(&b, "%s%s", i == 0 ? "[" : ",", RT("a", "")),
		    ERR_OK);
	cr_assert_eq(buf_printf(&b, "]"), ERR_OK);
	cr_assert_eq(parse(&log, (char *)b.p), ERR_DENIED);
	for (size_t n = EVENT_NAME_MAX - 1; n <= EVENT_NAME_MAX; n++) {
		b.len = 0;
		cr_assert_eq(buf_printf(&b,
				 "[{\"imr\":3,\"event_type\":134217729,"
				 "\"digest\":\"\",\"event\":\"%0*d\","
				 "\"event_payload\":\"\"}]",
				 (int)n, 0),
		    ERR_OK);
		if (n < EVENT_NAME_MAX) {
			cr_assert_eq(parse(&log, (char *)b.p), ERR_OK);
			event_log_fini(&log);
		} else {
			cr_assert_eq(parse(&log, (char *)b.p), ERR_DENIED);
		}
	}
	memset(big, ' ', sizeof big - 3);
	memcpy(big + sizeof big - 3, "[]", 3);
	cr_assert_eq(parse(&log, big), ERR_DENIED);
	buf_fini(&b);
}

/* Events are found before system-ready only, and only in RTMR3; colons in
 * names are the app's own matter after it. */
Test(eventlog, find)
{
	struct event_log log;

	cr_assert_eq(parse(&log,
			 "[{\"imr\":1,\"event_type\":134217729,\"digest\":"
			 "\"" D48 "\",\"event\":\"app-id\","
			 "\"event_payload\":\"ff\"}," RT("app-id", "01") "," RT(
			     "app-id", "02") "," RT("system-ready",
			     "") "," RT("late", "03") "," RT("a:b", "") "]"),
	    ERR_OK);
	cr_assert_eq(event_log_find(&log, "app-id")->payload.p[0], 1);
	cr_assert_not_null(event_log_find(&log, "system-ready"));
	cr_assert_null(event_log_find(&log, "late"));
	cr_assert_null(event_log_find(&log, "app-i"));
	event_log_fini(&log);
	cr_assert_null(log.event);
	event_log_fini(&log);
}

/* The logs of three real quotes replay to their four registers. */
static void
replays(const char *quote_hex, struct bytes json)
{
	struct event_log log;
	struct buf q = { 0 };
	uint8_t r[48];

	facts_hex_buf(&q, quote_hex);
	cr_assert_eq(event_log_parse(&log, json, NULL), ERR_OK);
	for (uint32_t i = 0; i < 4; i++) {
		event_log_replay(r, &log, i, NULL);
		cr_assert_arr_eq(r, q.p + 48 + 328 + 48 * i, 48);
	}
	event_log_fini(&log);
	buf_fini(&q);
}

Test(eventlog, real_simulator_quote)
{
	struct buf quote = { 0 }, json = { 0 };

	facts_read(&quote, "dstack/sim-v0.5.3/quote.hex");
	facts_read(&json, "dstack/sim-v0.5.3/eventlog.json");
	while (quote.len > 0 && quote.p[quote.len - 1] <= ' ')
		quote.p[--quote.len] = '\0';
	replays((char *)quote.p, buf_view(&json));
	buf_fini(&quote);
	buf_fini(&json);
}

static void
replays_file(const char *name)
{
	json_t *v = facts_json(name);
	const char *log = facts_str(v, "event_log");

	replays(facts_str(v, "quote"),
	    (struct bytes){ (const uint8_t *)log, strlen(log) });
	json_decref(v);
}

Test(eventlog, real_legacy_quote)
{
	replays_file("dstack/verifier/quote-report.json");
}

Test(eventlog, real_lite_quote)
{
	replays_file("dstack/verifier/tdx-lite-getquote.json");
}
