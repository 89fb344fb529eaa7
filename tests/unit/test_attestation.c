/* VersionedAttestation: what is written is what dstack writes, and only
 * that is read. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/attestation.h"
#include "common/attest/attestation_v1.h"
#include "common/attest/osimage.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "tests/lib/facts.h"
#include "tests/lib/guest.h"

static uint8_t report_data[64];

/* Evidence of the made-up guest, with a stand-in for the quote. */
static struct evidence
evidence(const struct guest *g)
{
	struct evidence ev = { .tee = TEE_TDX };

	memset(report_data, 0xd7, 64);
	cr_assert_eq(buf_set(&ev.quote, "quote", 5), ERR_OK);
	ev.event_log = guest_text(g->log);
	ev.vm_config = guest_text(g->vm);
	return ev;
}

static struct buf
encoded(bool stripped)
{
	struct buf out = { 0 };
	struct evidence ev;
	struct guest g;

	guest_init(&g);
	ev = evidence(&g);
	cr_assert_eq(
	    attestation_encode(&out, &ev, report_data, stripped, NULL), ERR_OK);
	evidence_fini(&ev);
	guest_fini(&g);
	return out;
}

static enum err
decode(const uint8_t *p, size_t len, struct refusal *why)
{
	struct evidence ev = { .quote.len = 77 };
	uint8_t rd[64], *copy = malloc(len > 0 ? len : 1);
	enum err e;

	/* Exact allocations let the sanitizer see every over-read. */
	cr_assert_not_null(copy);
	memcpy(copy, p, len);
	e = attestation_decode(&ev, rd, (struct bytes){ copy, len }, why);
	free(copy);
	if (e == ERR_OK)
		evidence_fini(&ev);
	else
		cr_assert_eq(ev.quote.len, 77);
	return e;
}

/* The empty attestation is the tail of the peer's own CSR vector. */
Test(attestation, empty)
{
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };
	const uint8_t zero[64] = { 0 };

	cr_assert_eq(buf_set(&ev.event_log, "[]", 2), ERR_OK);
	cr_assert_eq(attestation_encode(&out, &ev, zero, false, NULL), ERR_OK);
	cr_assert_eq(out.len, 2 + 3 + 64 + 1);
	for (size_t i = 0; i < out.len; i++)
		cr_assert_eq(out.p[i], 0);
	cr_assert_eq(decode(out.p, out.len, NULL), ERR_OK);
	evidence_fini(&ev);
	buf_fini(&out);
}

/* Evidence goes through unchanged, and still boots. */
Test(attestation, round_trip)
{
	struct buf full = encoded(false), again = { 0 };
	struct evidence ev = { 0 };
	struct boot_info b;
	struct guest g;
	uint8_t rd[64];

	cr_assert_eq(
	    attestation_decode(&ev, rd, buf_view(&full), NULL), ERR_OK);
	cr_assert_eq(ev.tee, TEE_TDX);
	cr_assert_eq(rd[63], 0xd7);
	cr_assert_str_eq((char *)ev.quote.p, "quote");
	guest_init(&g);
	cr_assert_eq(boot_info_build(&b, &g.verdict, buf_view(&ev.event_log),
			 buf_view(&ev.vm_config), BOOT_APP, NULL),
	    ERR_OK);
	cr_assert_eq(attestation_encode(&again, &ev, rd, false, NULL), ERR_OK);
	cr_assert_eq(again.len, full.len);
	cr_assert_arr_eq(again.p, full.p, full.len);
	guest_fini(&g);
	evidence_fini(&ev);
	buf_fini(&full);
	buf_fini(&again);
}

/* The stripped form keeps nine runtime events and three ACPI events. */
Test(attestation, stripped)
{
	struct buf s = encoded(true);
	struct evidence ev = { 0 };
	struct event_log log;
	uint8_t rd[64];

	cr_assert_eq(attestation_decode(&ev, rd, buf_view(&s), NULL), ERR_OK);
	cr_assert_eq(
	    event_log_parse(&log, buf_view(&ev.event_log), NULL), ERR_OK);
	cr_assert_eq(log.n, 12);
	for (size_t i = 0; i < log.n; i++)
		cr_assert_eq(log.event[i].imr, i < 3 ? 0 : 3);
	event_log_fini(&log);
	evidence_fini(&ev);
	buf_fini(&s);
}

/* Every shorter one, and one with a byte behind it, is refused. */
Test(attestation, lengths)
{
	struct buf s = encoded(true);

	for (size_t n = 0; n < s.len; n++)
		cr_assert_eq(decode(s.p, n, NULL), ERR_DENIED, "%zu", n);
	cr_assert_eq(decode(s.p, s.len + 1, NULL), ERR_DENIED);
	cr_assert_eq(decode(s.p, s.len, NULL), ERR_OK);
	buf_fini(&s);
}

/* More than any evidence can be is not looked at, of either version. */
Test(attestation, too_long)
{
	const size_t len = 2 * LIMIT_EVIDENCE + LIMIT_EVENT_LOG;
	uint8_t *big = calloc(1, len), rd[64] = { 5 };
	struct refusal why = { .code = REASON_NONE };
	struct evidence ev = { .quote.len = 77 };

	cr_assert_not_null(big);
	cr_assert_eq(decode(big, len, &why), ERR_DENIED);
	cr_assert_not_null(strstr(why.detail, "bytes"), "%s", why.detail);
	big[0] = 0x83;
	why.detail[0] = '\0';
	cr_assert_eq(
	    attestation_v1_decode(&ev, rd, (struct bytes){ big, len }, &why),
	    ERR_DENIED);
	cr_assert_not_null(strstr(why.detail, "bytes"), "%s", why.detail);
	cr_assert_eq(ev.quote.len, 77);
	cr_assert_eq(rd[0], 5);
	free(big);
}

/* A flipped bit is refused unless it is in what is opaque here (the quote,
 * report data, config, digests of ACPI events), never a crash. */
Test(attestation, bits)
{
	struct buf s = encoded(true);
	size_t accepted = 0;

	for (size_t i = 0; i < s.len; i++) {
		s.p[i] ^= (uint8_t)(1u << i % 8);
		accepted += decode(s.p, s.len, NULL) == ERR_OK;
		s.p[i] ^= (uint8_t)(1u << i % 8);
	}
	cr_assert_gt(accepted, 64);
	cr_assert_lt(accepted, s.len - 400);
	buf_fini(&s);
}

/* Other versions and platforms are unsupported, not malformed. */
Test(attestation, others)
{
	struct buf s = encoded(true);
	struct refusal why;

	for (uint8_t v = 0; v < 6; v++) {
		s.p[1] = v;
		if (v == 0)
			continue;
		cr_assert_eq(decode(s.p, s.len, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_QUOTE_UNSUPPORTED);
	}
	s.p[0] = 1;
	cr_assert_eq(decode(s.p, s.len, &why), ERR_DENIED);
	cr_assert_eq(why.code, REASON_QUOTE_UNSUPPORTED);
	buf_fini(&s);
}

/* Lengths have one form each, and never exceed their bounds. */
Test(attestation, compact)
{
	static const char *const bad[] = { "00000100", /* 0 in two bytes */
		"000002000000", /* 0 in four */
		"0000fd00", /* 63 in two */
		"0000feff0000", /* 16383 in four */
		"00000300000000", /* the long form */
		"0000fefffffe", /* 2^30 - 1 */
		"00000002", "0000000a" };
	uint8_t b[2 + 4 + 80] = { 0 };
	struct buf h = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memset(b, 0, sizeof b);
		facts_hex_buf(&h, bad[i]);
		memcpy(b, h.p, h.len);
		for (size_t n = h.len + 66; n <= h.len + 68; n++)
			cr_assert_eq(
			    decode(b, n, NULL), ERR_DENIED, "%s", bad[i]);
	}
	buf_fini(&h);
}

/* Runtime events that are not RTMR3's: one less, one more, another. */
Test(attestation, runtime_events)
{
	/* Event log with one event ("a", ""), then runtime events. */
	static const char head[] = "000000" /* no quote */
				   "04"
				   "03000000"
				   "01000008"
				   "00"
				   "0461"
				   "00";
	static const struct {
		const char *runtime;
		enum err want;
	} t[] = { { "04046100", ERR_OK }, { "00", ERR_DENIED },
		{ "0804610004610"
		  "0",
		    ERR_DENIED },
		{ "04046200", ERR_DENIED }, { "0404610400", ERR_DENIED },
		{ "04086161"
		  "00",
		    ERR_DENIED } };
	struct buf b = { 0 };
	char hex[400];

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		snprintf(hex, sizeof hex, "%s%s%0130d", head, t[i].runtime, 0);
		facts_hex_buf(&b, hex);
		cr_assert_eq(
		    decode(b.p, b.len, NULL), t[i].want, "%s", t[i].runtime);
	}
	buf_fini(&b);
}

/* Names are UTF-8 without NUL; digests have 48 bytes or none in RTMR3. */
Test(attestation, event_fields)
{
	static const struct {
		const char *event; /* digest, name, payload */
		enum err want;
	} t[] = { { "00046100", ERR_OK }, { "0004ff00", ERR_DENIED },
		{ "00040000", ERR_DENIED }, { "0400046100", ERR_DENIED } };
	struct buf b = { 0 };
	char hex[400];

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		snprintf(hex, sizeof hex,
		    "000000040300000001000008%s04%s%0130d", t[i].event,
		    "046100", 0);
		facts_hex_buf(&b, hex);
		cr_assert_eq(
		    decode(b.p, b.len, NULL), t[i].want, "%s", t[i].event);
	}
	buf_fini(&b);
}

/* The longest quote passes, one byte more does not. */
Test(attestation, quote_limit)
{
	static const uint8_t zero[64], quote[16 * 1024 + 1];
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };

	cr_assert_eq(buf_set(&ev.event_log, "[]", 2), ERR_OK);
	for (size_t over = 0; over < 2; over++) {
		out.len = 0;
		cr_assert_eq(
		    buf_set(&ev.quote, quote, 16 * 1024 + over), ERR_OK);
		cr_assert_eq(
		    attestation_encode(&out, &ev, zero, false, NULL), ERR_OK);
		cr_assert_eq(decode(out.p, out.len, NULL),
		    over == 0 ? ERR_OK : ERR_DENIED);
	}
	evidence_fini(&ev);
	buf_fini(&out);
}

/* A log that does not parse, or with V2 events, is not written. */
Test(attestation, encode_refusals)
{
	static const char v2[] =
	    "[{\"imr\":3,\"event_type\":134217729,\"digest\":\"\",\"event\":"
	    "\"a\",\"event_payload\":\"\",\"version\":2}]";
	struct evidence ev = { .tee = TEE_TDX };
	struct buf out = { 0 };
	struct refusal why;

	cr_assert_eq(buf_set(&ev.event_log, "[", 1), ERR_OK);
	cr_assert_eq(attestation_encode(&out, &ev, report_data, false, &why),
	    ERR_DENIED);
	cr_assert_eq(why.code, REASON_EVENT_LOG);
	cr_assert_eq(buf_set(&ev.event_log, v2, sizeof v2 - 1), ERR_OK);
	cr_assert_eq(attestation_encode(&out, &ev, report_data, false, &why),
	    ERR_UNSUPPORTED);
	cr_assert_eq(out.len, 0);
	evidence_fini(&ev);
}

/* The fixtures of the peer decode, and encode to the same bytes: the full
 * form of its simulator, the stripped form of a real 0.6.0 guest. */
static void
fixture(const struct buf *in, bool stripped)
{
	struct evidence ev = { 0 };
	struct buf out = { 0 };
	uint8_t rd[64];

	cr_assert_eq(attestation_decode(&ev, rd, buf_view(in), NULL), ERR_OK);
	cr_assert_eq(attestation_encode(&out, &ev, rd, stripped, NULL), ERR_OK);
	cr_assert_eq(out.len, in->len);
	cr_assert_arr_eq(out.p, in->p, in->len);
	evidence_fini(&ev);
	buf_fini(&out);
}

Test(attestation, real_full)
{
	struct buf in = { 0 };

	facts_read(&in, "dstack/sim-head/attestation.bin");
	fixture(&in, false);
	buf_fini(&in);
}

Test(attestation, real_stripped)
{
	json_t *v = facts_json("dstack/verifier/tdx-lite-attestation.json");
	struct buf in = { 0 };

	facts_hex_buf(&in, facts_str(v, "attestation"));
	fixture(&in, true);
	buf_fini(&in);
	json_decref(v);
}

/* Other platforms' real attestations are refused as such. */
Test(attestation, real_others)
{
	static const char *const name[] = {
		"dstack/quotes/dstack-attest-nitro_attestation.bin",
		"dstack/quotes/dstack-attest-sev_snp_attestation.bin"
	};
	struct refusal why;

	for (int i = 0; i < 2; i++) {
		struct buf in = { 0 };

		facts_read(&in, name[i]);
		cr_assert_eq(decode(in.p, in.len, &why), ERR_DENIED);
		cr_assert_eq(why.code, REASON_QUOTE_UNSUPPORTED);
		buf_fini(&in);
	}
}
