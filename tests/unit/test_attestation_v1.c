/* VersionedAttestation, version 1: MessagePack as another writer makes it, and
 * as we read it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/attest/eventlog.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"

#define LOG \
	"[{\"imr\":0,\"event_type\":10,\"digest\":\"" \
	"111111111111111111111111111111111111111111111111" \
	"111111111111111111111111111111111111111111111111\"," \
	"\"event\":\"acpi-rsdp\",\"event_payload\":\"414350492044415441\"}," \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\"," \
	"\"event\":\"app-id\",\"event_payload\":\"ea54\"}," \
	"{\"imr\":3,\"event_type\":134217729,\"digest\":\"\"," \
	"\"event\":\"system-ready\",\"event_payload\":\"\"}"

/* A small one, byte for byte. */
Test(attestation_v1, small)
{
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };
	uint8_t rd[64];

	memset(rd, 0xd7, sizeof rd);
	cr_assert_eq(buf_set(&ev.quote, "quote", 5), ERR_OK);
	cr_assert_eq(buf_printf(&ev.event_log, LOG "]"), ERR_OK);
	cr_assert_eq(buf_set(&ev.vm_config, "{}", 2), ERR_OK);
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(out.len, 648);
	cr_assert(facts_eq(out.p, out.len,
	    "83a776657273696f6e01a8706c6174666f726d82a46b696e64a3746478a46461"
	    "746182a571756f74659571756f7465a96576656e745f6c6f679385a3696d7200"
	    "aa6576656e745f747970650aa6646967657374c4301111111111111111111111"
	    "1111111111111111111111111111111111111111111111111111111111111111"
	    "1111111111a56576656e74a9616370692d72736470ad6576656e745f7061796c"
	    "6f6164c40941435049204441544185a3696d7203aa6576656e745f74797065ce"
	    "08000001a6646967657374c4302ad5e9854cadde0e3b724012e61e367b880d4d"
	    "00f00859dbf92deaaa14b33fd056a9ce4492b327e8a10041a0c7d0284aa56576"
	    "656e74a66170702d6964ad6576656e745f7061796c6f6164c402ea5485a3696d"
	    "7203aa6576656e745f74797065ce08000001a6646967657374c4301a76b2a80a"
	    "0be71eae59f80945d876351a7a3fb8e9fd1ff1cede5734aa84ea11fd72b4edfb"
	    "b6f04e5a85edd114c751bda56576656e74ac73797374656d2d7265616479ad65"
	    "76656e745f7061796c6f6164c400a5737461636b82a46b696e64a66473746163"
	    "6ba46461746183ab7265706f72745f64617461dc0040ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7"
	    "ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ccd7ae72756e74696d655f65"
	    "76656e74739282a56576656e74a66170702d6964a77061796c6f6164c402ea54"
	    "82a56576656e74ac73797374656d2d7265616479a77061796c6f6164c400a663"
	    "6f6e666967a27b7d"));
	/* It appends. */
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(out.len, 2 * 648);
	evidence_fini(&ev);
	buf_fini(&out);
}

static void
add_event(struct buf *log, const char *name, size_t len)
{
	cr_assert_eq(buf_printf(log,
			 ",{\"imr\":3,\"event_type\":134217729,\"digest\":\"\","
			 "\"event\":\"%s\",\"event_payload\":\"",
			 name),
	    ERR_OK);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(buf_printf(log, "5a"), ERR_OK);
	cr_assert_eq(buf_printf(log, "\"}"), ERR_OK);
}

/* With the longer heads of arrays, strings and bytes, and numbers above 127. */
Test(attestation_v1, large)
{
	static const size_t lens[] = { 255, 256, 300 };
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };
	uint8_t rd[64], q[5000], config[300], h[32];
	char name[41];

	for (size_t i = 0; i < sizeof q; i++)
		q[i] = (uint8_t)i;
	memcpy(rd, q, sizeof rd);
	memset(config, 'c', sizeof config);
	memset(name, 'n', 40);
	name[40] = '\0';
	cr_assert_eq(buf_set(&ev.quote, q, sizeof q), ERR_OK);
	cr_assert_eq(buf_set(&ev.vm_config, config, sizeof config), ERR_OK);
	cr_assert_eq(buf_printf(&ev.event_log, LOG), ERR_OK);
	for (size_t i = 0; i < 3; i++)
		add_event(&ev.event_log, name, lens[i]);
	for (int i = 0; i < 12; i++) {
		(void)snprintf(name, sizeof name, "e%d", i);
		add_event(&ev.event_log, name, 0);
	}
	cr_assert_eq(buf_printf(&ev.event_log, "]"), ERR_OK);
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	cr_assert_eq(out.len, 12049);
	sha256(h, out.p, out.len);
	cr_assert(facts_eq(h, 32,
	    "d0412bb74783219af3e51ed3f57941f21de40744e9d5bead0e01c1611e00e54"
	    "1"));
	evidence_fini(&ev);
	buf_fini(&out);
}

/* A log that does not parse is refused, and nothing is appended. */
Test(attestation_v1, refusals)
{
	static const char short_digest[] =
	    "[{\"imr\":3,\"event_type\":134217729,\"digest\":\"00\","
	    "\"event\":\"app-id\",\"event_payload\":\"ea54\"}]";
	const char *const logs[] = { "", "{}", "[1]", short_digest };
	struct refusal why = { .code = REASON_NONE };
	const uint8_t rd[64] = { 0 };

	for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
		struct evidence ev = { .tee = TEE_TDX };
		struct buf out = { 0 };

		cr_assert_eq(
		    buf_set(&ev.event_log, logs[i], strlen(logs[i])), ERR_OK);
		cr_assert_eq(
		    attestation_v1_encode(&out, &ev, rd, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_EVENT_LOG);
		cr_assert_eq(out.len, 0);
		evidence_fini(&ev);
	}
}

/* ---- Reading ---- */

static enum err
decode(struct bytes in, struct refusal *why)
{
	struct evidence ev = { .quote.len = 77 };
	uint8_t rd[64], *copy = malloc(in.len > 0 ? in.len : 1);
	enum err e;

	/* Exact allocations let the sanitizer see every over-read. */
	cr_assert_not_null(copy);
	if (in.len > 0)
		memcpy(copy, in.p, in.len);
	e = attestation_decode(&ev, rd, (struct bytes){ copy, in.len }, why);
	free(copy);
	if (e == ERR_OK)
		evidence_fini(&ev);
	else
		cr_assert_eq(ev.quote.len, 77);
	return e;
}

/* The one of "small", in pieces that a test puts together otherwise. */
#define VERSION \
	"a776657273696f6e" \
	"01"
#define TDX \
	"a46b696e64" \
	"a3746478"
#define QUOTE \
	"a571756f7465" \
	"a571756f7465"
#define EVENT_LOG "a96576656e745f6c6f67"
#define IMR \
	"a3696d72" \
	"03"
#define TYPE \
	"aa6576656e745f74797065" \
	"ce08000001"
#define DIGEST \
	"a6646967657374" \
	"c400"
#define EVENT \
	"a56576656e74" \
	"a161"
#define EVENT_PAYLOAD \
	"ad6576656e745f7061796c6f6164" \
	"c401ff"
#define EVENT_1 \
	"91" \
	"85" IMR TYPE DIGEST EVENT EVENT_PAYLOAD
#define QUOTE_OK \
	"a571756f7465" \
	"920107"
#define PLATFORM "a8706c6174666f726d"
#define PLATFORM_OK \
	PLATFORM "82" TDX "a464617461" \
		 "82" QUOTE_OK EVENT_LOG EVENT_1
#define STACK "a5737461636b"
#define DSTACK \
	"a46b696e64" \
	"a664737461636b"
#define REPORT_DATA "ab7265706f72745f64617461"
#define ZERO_16 "00000000000000000000000000000000"
#define ZERO_64 ZERO_16 ZERO_16 ZERO_16 ZERO_16
#define REPORT_OK REPORT_DATA "dc0040" ZERO_64
#define RUNTIME "ae72756e74696d655f6576656e7473"
#define RUNTIME_PAYLOAD \
	"a77061796c6f6164" \
	"c401ff"
#define RUNTIME_OK \
	RUNTIME "91" \
		"82" EVENT RUNTIME_PAYLOAD
#define CONFIG "a6636f6e666967"
#define CONFIG_OK CONFIG "a27b7d"
#define STACK_OK \
	STACK "82" DSTACK "a464617461" \
	      "83" REPORT_OK RUNTIME_OK CONFIG_OK
#define STACK_DATA(data) STACK "82" DSTACK "a464617461" data
#define PLATFORM_DATA(data) PLATFORM "82" TDX "a464617461" data

/* Other kinds and versions are unsupported, and named. */
Test(attestation_v1, others)
{
	static const struct {
		const char *hex, *word;
	} t[] = {
		{ "83"
		  "a776657273696f6e"
		  "02" PLATFORM_OK STACK_OK,
		    "version" },
		{ "83"
		  "a776657273696f6e"
		  "00" PLATFORM_OK STACK_OK,
		    "version" },
		{ "83"
		  "a776657273696f6e"
		  "a131" PLATFORM_OK STACK_OK,
		    "version" },
		/* gcp-tdx, sev-snp, dstack-pod; TDX is not tdx. */
		{ "83" VERSION PLATFORM "82"
		  "a46b696e64"
		  "a76763702d746478"
		  "a464617461"
		  "80" STACK_OK,
		    "platform is gcp-tdx" },
		{ "83" VERSION PLATFORM "82"
		  "a46b696e64"
		  "a77365762d736e70"
		  "a464617461"
		  "80" STACK_OK,
		    "platform is sev-snp" },
		{ "83" VERSION PLATFORM "82"
		  "a46b696e64"
		  "a3544458"
		  "a464617461"
		  "80" STACK_OK,
		    "platform is TDX" },
		{ "83" VERSION PLATFORM_OK STACK "82"
		  "a46b696e64"
		  "aa64737461636b2d706f64"
		  "a464617461"
		  "80",
		    "stack is dstack-pod" },
		{ "83" VERSION PLATFORM_OK STACK "82"
		  "a46b696e64"
		  "a76473746163"
		  "6b0a"
		  "a464617461"
		  "80",
		    "stack is dstack?" },
	};
	struct refusal why = { .code = REASON_NONE };
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		facts_hex_buf(&b, t[i].hex);
		cr_assert_eq(decode(buf_view(&b), &why), ERR_DENIED, "%zu", i);
		cr_assert_eq(why.code, REASON_QUOTE_UNSUPPORTED, "%zu", i);
		cr_assert_not_null(
		    strstr(why.detail, t[i].word), "%s", why.detail);
	}
	buf_fini(&b);
}

/* What is no attestation of version 1. */
Test(attestation_v1, malformed)
{
	static const char *const bad[] = {
		"83",
		"de",
		"df",
		"dfffffffff",
		"de000fc0",
		/* a member less, one more, one of another name, one twice */
		"de0002" VERSION PLATFORM_OK,
		"de0004" VERSION PLATFORM_OK STACK_OK "a16100",
		"83" VERSION PLATFORM_OK "a16100",
		"83" VERSION VERSION STACK_OK,
		"de0004" VERSION VERSION PLATFORM_OK STACK_OK,
		/* something behind it; a name that is a number, and a bin */
		"83" VERSION PLATFORM_OK STACK_OK "c0",
		"83"
		"01"
		"01" PLATFORM_OK STACK_OK,
		"83"
		"c40776657273696f6e"
		"01" PLATFORM_OK STACK_OK,
		/* kind without data, data without kind, kind a number */
		"83" VERSION PLATFORM "81" TDX STACK_OK,
		"83" VERSION PLATFORM "81"
		"a46461746180" STACK_OK,
		"83" VERSION PLATFORM "82"
		"a46b696e6401"
		"a46461746180" STACK_OK,
		"83" VERSION PLATFORM "c0" STACK_OK,
		"83" VERSION PLATFORM_OK STACK "c2",
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "91"
					   "85" IMR TYPE DIGEST "a56576656e74"
					   "01" EVENT_PAYLOAD) STACK_OK,
		/* the quote: text, nil, numbers of 256, of -1, a float */
		"83" VERSION PLATFORM_DATA("82" QUOTE EVENT_LOG EVENT_1)
		    STACK_OK,
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "c0" EVENT_LOG EVENT_1) STACK_OK,
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "91cd0100" EVENT_LOG EVENT_1)
		    STACK_OK,
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "91ff" EVENT_LOG EVENT_1) STACK_OK,
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "91d0ff" EVENT_LOG EVENT_1) STACK_OK,
		"83" VERSION PLATFORM_DATA(
		    "82"
		    "a571756f7465"
		    "91cb0000000000000000" EVENT_LOG EVENT_1) STACK_OK,
		/* more than there is: in bytes, in items */
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "c6ffffffff" EVENT_LOG EVENT_1)
		    STACK_OK,
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "ddffffffff" EVENT_LOG EVENT_1)
		    STACK_OK,
		/* events: no array, too many, a digest of 49 */
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "80")
		    STACK_OK,
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "dd00000201")
		    STACK_OK,
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "91"
					   "85" IMR TYPE "a6646967657374"
					   "c431" ZERO_16 ZERO_16 ZERO_16
					   "00" EVENT EVENT_PAYLOAD) STACK_OK,
		/* a member of an event less, another, its name with a NUL */
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "91"
					   "84" IMR TYPE DIGEST EVENT) STACK_OK,
		"83" VERSION PLATFORM_DATA(
		    "82" QUOTE_OK EVENT_LOG "91"
		    "86" IMR TYPE DIGEST EVENT EVENT_PAYLOAD "a16100") STACK_OK,
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "91"
					   "85" IMR TYPE DIGEST "a56576656e74"
					   "a100" EVENT_PAYLOAD) STACK_OK,
		"83" VERSION PLATFORM_DATA("82" QUOTE_OK EVENT_LOG "91"
					   "85" IMR TYPE DIGEST "a56576656e74"
					   "a1ff" EVENT_PAYLOAD) STACK_OK,
		/* report data of 63, of 65; config as bytes, and no UTF-8
		 * is not our matter */
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_DATA "c43f" ZERO_16 ZERO_16 ZERO_16
		    "000000000000000000000000000000" RUNTIME_OK CONFIG_OK),
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_DATA "c441" ZERO_64 "00" RUNTIME_OK CONFIG_OK),
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_OK RUNTIME_OK CONFIG "c4027b7d"),
		/* runtime events: one less, one more, another name, payload,
		 * version */
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_OK RUNTIME "90" CONFIG_OK),
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_OK RUNTIME "92"
		    "82" EVENT RUNTIME_PAYLOAD
		    "82" EVENT RUNTIME_PAYLOAD CONFIG_OK),
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_OK RUNTIME "91"
		    "82"
		    "a56576656e74"
		    "a162" RUNTIME_PAYLOAD CONFIG_OK),
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_OK RUNTIME "91"
		    "82" EVENT "a77061796c6f6164"
		    "c401fe" CONFIG_OK),
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_OK RUNTIME "91"
		    "83" EVENT RUNTIME_PAYLOAD "a776657273696f6e"
		    "02" CONFIG_OK),
		/* what a later version may mean by more */
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "84" REPORT_OK RUNTIME_OK CONFIG_OK
		    "b37265706f72745f646174615f7061796c6f6164"
		    "c0"),
	};
	struct refusal why = { .code = REASON_NONE };
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		facts_hex_buf(&b, bad[i]);
		cr_assert_eq(decode(buf_view(&b), &why), ERR_DENIED, "%zu", i);
		cr_assert_eq(
		    why.code, REASON_QUOTE_MALFORMED, "%zu: %s", i, why.detail);
	}
	/* An event that parses, and is none. */
	facts_hex_buf(&b,
	    "83" VERSION PLATFORM_DATA(
		"82" QUOTE_OK EVENT_LOG "91"
		"86" IMR TYPE DIGEST EVENT EVENT_PAYLOAD "a776657273696f6e"
		"03") STACK_OK);
	cr_assert_eq(decode(buf_view(&b), &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	buf_fini(&b);
}

/* A V2 event may show what is hashed, which must be that. */
#define V2 "a776657273696f6e02"
#define PREIMAGE_1 \
	"a8707265696d616765c42c" \
	"7b226e616d65223a2261222c227061796c6f6164223a2266" \
	"66222c2274797065223a3133343231373732397d"

static void
preimage(const char *hex, enum err want)
{
	struct refusal why = { .code = REASON_NONE };
	struct buf all = { 0 }, b = { 0 };

	cr_assert_eq(
	    buf_printf(&all,
		"83" VERSION PLATFORM_DATA(
		    "82" QUOTE_OK EVENT_LOG "91"
		    "87" IMR TYPE DIGEST EVENT EVENT_PAYLOAD V2 "%s")
		    STACK_DATA("83" REPORT_OK RUNTIME "91"
			       "83" EVENT RUNTIME_PAYLOAD V2 CONFIG_OK),
		hex),
	    ERR_OK);
	facts_hex_buf(&b, (char *)all.p);
	cr_assert_eq(decode(buf_view(&b), &why), want, "%s", why.detail);
	cr_assert(want == ERR_OK || why.code == REASON_EVENT_LOG);
	buf_fini(&all);
	buf_fini(&b);
}

Test(attestation_v1, preimages)
{
	char other[] = PREIMAGE_1;

	preimage(other, ERR_OK);
	other[strlen(other) - 1] ^= 1;
	preimage(other, ERR_DENIED);
	preimage("a8707265696d616765c400", ERR_DENIED);
}

/* Values within values end at a bound, however deep they go. */
Test(attestation_v1, depth)
{
	struct buf b = { 0 };

	facts_hex_buf(&b, "83" VERSION PLATFORM);
	for (size_t i = 0; i < 100000; i++)
		cr_assert_eq(buf_append(&b, "\x91", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(decode(buf_view(&b), NULL), ERR_DENIED);
	buf_fini(&b);
}

/* Members in any order, bin for an array, longer heads than needed, nil for
 * what need not be there. */
Test(attestation_v1, other_writers)
{
	static const char *const good[] = {
		"83" VERSION PLATFORM_OK STACK_OK,
		"de0003" STACK_OK PLATFORM_OK VERSION,
		"df00000003" STACK_OK VERSION PLATFORM_OK,
		"83"
		"d90776657273696f6e"
		"cf0000000000000001" PLATFORM_OK STACK_OK,
		"83" VERSION PLATFORM "82"
		"a464617461"
		"82" EVENT_LOG EVENT_1 QUOTE_OK TDX STACK_OK,
		"83" VERSION PLATFORM_DATA("82"
					   "a571756f7465"
					   "c4020107" EVENT_LOG EVENT_1)
		    STACK_OK,
		"83" VERSION PLATFORM_DATA(
		    "82"
		    "a571756f7465"
		    "dd00000002cc01cd0007" EVENT_LOG EVENT_1) STACK_OK,
		"83" VERSION PLATFORM_DATA(
		    "82" QUOTE_OK EVENT_LOG "91"
		    "87" IMR TYPE "a6646967657374"
		    "90" EVENT EVENT_PAYLOAD "a776657273696f6e"
		    "c0"
		    "a8707265696d616765"
		    "c0") STACK_OK,
		"83" VERSION PLATFORM_OK STACK_DATA(
		    "83" REPORT_DATA "c440" ZERO_64 RUNTIME_OK CONFIG
		    "dA00027b7d"),
	};
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct evidence ev = { 0 };
		struct refusal why = { .detail = "" };
		struct event_log log;
		uint8_t rd[64];

		facts_hex_buf(&b, good[i]);
		cr_assert_eq(attestation_decode(&ev, rd, buf_view(&b), &why),
		    ERR_OK, "%zu: %s", i, why.detail);
		cr_assert(facts_eq(ev.quote.p, ev.quote.len, "0107"));
		cr_assert(facts_eq(ev.vm_config.p, ev.vm_config.len, "7b7d"));
		cr_assert(facts_eq(rd, 64, ZERO_64));
		cr_assert_eq(
		    event_log_parse(&log, buf_view(&ev.event_log), NULL),
		    ERR_OK);
		cr_assert_eq(log.n, 1);
		cr_assert(facts_eq(
		    log.event[0].payload.p, log.event[0].payload.len, "ff"));
		event_log_fini(&log);
		evidence_fini(&ev);
	}
	buf_fini(&b);
}

/* Ours comes back as it was, V2 events too; every shorter one and every one
 * with a byte behind it is refused; a flipped bit never crashes. */
Test(attestation_v1, round_trip, .timeout = 120)
{
	struct evidence ev = { .tee = TEE_TDX }, back = { 0 };
	struct buf out = { 0 }, again = { 0 };
	size_t accepted = 0;
	uint8_t rd[64], got[64];

	memset(rd, 0xd7, sizeof rd);
	cr_assert_eq(buf_set(&ev.quote, "\0\x80quote\xff", 8), ERR_OK);
	cr_assert_eq(buf_printf(&ev.event_log,
			 LOG ",{\"imr\":3,\"event_type\":134217729,\"digest\":"
			     "\"\",\"event\":\"v2\",\"event_payload\":\"01\","
			     "\"version\":2}]"),
	    ERR_OK);
	cr_assert_eq(buf_set(&ev.vm_config, "{}", 2), ERR_OK);
	cr_assert_eq(attestation_v1_encode(&out, &ev, rd, NULL), ERR_OK);
	for (size_t n = 0; n < out.len; n++)
		cr_assert_eq(decode((struct bytes){ out.p, n }, NULL),
		    ERR_DENIED, "%zu", n);
	for (size_t i = 0; i < out.len; i++) {
		out.p[i] ^= (uint8_t)(1u << i % 8);
		accepted += decode(buf_view(&out), NULL) == ERR_OK;
		out.p[i] ^= (uint8_t)(1u << i % 8);
	}
	/* In the quote, report data, config, and the digest of RTMR0. */
	cr_assert_lt(accepted, 8 + 64 * 2 + 2 + 48 + 32);
	cr_assert_eq(
	    attestation_decode(&back, got, buf_view(&out), NULL), ERR_OK);
	cr_assert_arr_eq(got, rd, 64);
	cr_assert_eq(back.tee, TEE_TDX);
	cr_assert_eq(back.quote.len, 8);
	cr_assert_arr_eq(back.quote.p, ev.quote.p, 8);
	cr_assert_eq(attestation_v1_encode(&again, &back, got, NULL), ERR_OK);
	cr_assert_eq(again.len, out.len);
	cr_assert_arr_eq(again.p, out.p, out.len);
	cr_assert_eq(buf_append(&out, "\xc0", 1, SIZE_MAX), ERR_OK);
	cr_assert_eq(decode(buf_view(&out), NULL), ERR_DENIED);
	evidence_fini(&ev);
	evidence_fini(&back);
	buf_fini(&out);
	buf_fini(&again);
}

/* The longest quote passes, one byte more does not. */
Test(attestation_v1, quote_limit)
{
	static const uint8_t zero[64];
	static uint8_t quote[16 * 1024 + 1];
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };

	memset(quote, 0xff, sizeof quote);
	cr_assert_eq(buf_set(&ev.event_log, "[]", 2), ERR_OK);
	for (size_t over = 0; over < 2; over++) {
		out.len = 0;
		cr_assert_eq(
		    buf_set(&ev.quote, quote, 16 * 1024 + over), ERR_OK);
		cr_assert_eq(
		    attestation_v1_encode(&out, &ev, zero, NULL), ERR_OK);
		cr_assert_eq(decode(buf_view(&out), NULL),
		    over == 0 ? ERR_OK : ERR_DENIED);
	}
	evidence_fini(&ev);
	buf_fini(&out);
}
