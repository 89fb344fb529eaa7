/* The structure of a quote, from a skeleton built here: nothing is signed,
 * since quote_parse checks no signature. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/dcap.h"
#include "common/attest/quote.h"
#include "common/base/limits.h"
#include "common/base/wr.h"

#define CAP (LIMIT_QUOTE + 64)
#define CERT "-----BEGIN CERTIFICATE-----\n"

/* What to build; the defaults make a good version 4 TDX quote. */
struct shape {
	uint16_t version;
	uint16_t key_type;
	uint32_t tee;
	uint16_t body_type; /* version 5 */
	uint32_t body_size; /* as claimed */
	size_t body_len; /* as present */
	uint16_t outer_type;
	size_t qe_auth_len;
	uint16_t inner_type;
	size_t cert_len;
	size_t inner_extra; /* bytes behind the inner data */
	size_t outer_extra; /* bytes behind the outer data */
	size_t trailing;
	bool bad_vendor;
};

static const uint8_t vendor[16] = { 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c,
	0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07 };

static struct shape
v4(void)
{
	return (struct shape){ .version = 4,
		.key_type = 2,
		.tee = 0x81,
		.body_len = 584,
		.outer_type = 6,
		.qe_auth_len = 32,
		.inner_type = 5,
		.cert_len = sizeof CERT };
}

static struct shape
v5(uint16_t type, size_t len)
{
	struct shape s = v4();

	s.version = 5;
	s.body_type = type;
	s.body_size = (uint32_t)len;
	s.body_len = len;
	return s;
}

static struct shape
v3(void)
{
	struct shape s = v4();

	s.version = 3;
	s.tee = 0;
	s.body_len = 384;
	return s;
}

/* Bytes that differ by place, so that a wrong offset shows. */
static void
fill(struct wr *w, size_t n, uint8_t seed)
{
	for (size_t i = 0; i < n; i++)
		wr_u8(w, (uint8_t)(seed + i * 7));
}

static size_t
inner_len(const struct shape *s)
{
	return 384 + 64 + 2 + s->qe_auth_len + 6 + s->cert_len + s->inner_extra;
}

static struct bytes
build(uint8_t *out, const struct shape *s)
{
	struct wr w = { .p = out, .cap = CAP };
	size_t inner = inner_len(s);

	wr_le16(&w, s->version);
	wr_le16(&w, s->key_type);
	wr_le32(&w, s->tee);
	wr_le32(&w, 0);
	wr_bytes(&w, vendor, sizeof vendor);
	if (s->bad_vendor)
		w.p[w.len - 1] ^= 1;
	fill(&w, 20, 1);
	if (s->version == 5) {
		wr_le16(&w, s->body_type);
		wr_le32(&w, s->body_size);
	}
	fill(&w, s->body_len, 2);
	wr_le32(&w,
	    (uint32_t)(128 + (s->version == 3 ? 0u : 6u) + inner +
		s->outer_extra));
	fill(&w, 64, 3); /* signature */
	fill(&w, 64, 4); /* key */
	if (s->version != 3) {
		wr_le16(&w, s->outer_type);
		wr_le32(&w, (uint32_t)inner);
	}
	fill(&w, 384, 5);
	fill(&w, 64, 6);
	wr_le16(&w, (uint16_t)s->qe_auth_len);
	fill(&w, s->qe_auth_len, 7);
	wr_le16(&w, s->inner_type);
	wr_le32(&w, (uint32_t)s->cert_len);
	fill(&w, s->cert_len, 8);
	fill(&w, s->inner_extra, 9);
	fill(&w, s->outer_extra, 9);
	wr_zero(&w, s->trailing);
	cr_assert(wr_ok(&w));
	return (struct bytes){ out, w.len };
}

static void
accepted(const struct shape *s, struct quote *q, uint8_t *room)
{
	struct refusal why = { 0 };

	cr_assert(
	    quote_parse(q, build(room, s), &why) == ERR_OK, "%s", why.detail);
}

/* Refused with this code, and the output left alone. */
static void
refused(const struct shape *s, const char *code)
{
	static uint8_t room[CAP];
	struct refusal why = { 0 };
	struct quote q, before;

	memset(&q, 0x5a, sizeof q);
	before = q;
	cr_assert(
	    quote_parse(&q, build(room, s), &why) == ERR_DENIED, "%s", code);
	cr_assert(strncmp(why.detail, code, strlen(code)) == 0, "%s, not %s",
	    why.detail, code);
	cr_assert(why.code == REASON_QUOTE_MALFORMED ||
	    why.code == REASON_QUOTE_UNSUPPORTED);
	cr_assert(memcmp(&q, &before, sizeof q) == 0);
}

/* Every field of a version 4 TDX quote is where the reference says. */
Test(quote, v4_fields)
{
	static uint8_t room[CAP];
	struct shape s = v4();
	struct quote q;

	s.trailing = 70;
	accepted(&s, &q, room);
	cr_assert_eq(q.version, 4);
	cr_assert_eq(q.tee, TEE_TDX);
	cr_assert_eq(q.signed_part.p, room);
	cr_assert_eq(q.signed_part.len, 632);
	cr_assert_eq(q.body.p, room + 48);
	cr_assert_eq(q.body.len, 584);
	cr_assert_eq(q.signature, room + 636);
	cr_assert_eq(q.att_key, room + 700);
	cr_assert_eq(q.qe_report, room + 770);
	cr_assert_eq(q.qe_report_signature, room + 1154);
	cr_assert_eq(q.qe_auth.p, room + 1220);
	cr_assert_eq(q.qe_auth.len, 32);
	cr_assert_eq(q.cert_type, 5);
	cr_assert_eq(q.cert_data.p, room + 1258);
	cr_assert_eq(q.cert_data.len, sizeof CERT);
	cr_assert_eq(q.canonical_len, 1258 + sizeof CERT);
	cr_assert(
	    memcmp(q.td.report_data, room + QUOTE_V4_REPORT_DATA, 64) == 0);
	cr_assert(memcmp(q.td.tee_tcb_svn, room + 48, 16) == 0);
	cr_assert(memcmp(q.td.mrsignerseam, room + 112, 48) == 0);
	cr_assert(memcmp(q.td.td_attributes, room + 168, 8) == 0);
	cr_assert(memcmp(q.td.mrtd, room + 184, 48) == 0);
	cr_assert(memcmp(q.td.rtmr[3], room + 520, 48) == 0);
	cr_assert(!q.td.has_15);
}

/* Version 5 signs its descriptor; a 1.5 report has two fields more. */
Test(quote, v5_fields)
{
	static uint8_t room[CAP];
	struct shape s = v5(3, 648);
	struct quote q;

	accepted(&s, &q, room);
	cr_assert_eq(q.signed_part.len, 702);
	cr_assert_eq(q.att_key, room + 770);
	cr_assert_eq(q.qe_report, room + 840);
	cr_assert(memcmp(q.td.mrtd, room + 190, 48) == 0);
	cr_assert(memcmp(q.td.report_data, room + 574, 64) == 0);
	cr_assert(q.td.has_15);
	cr_assert(memcmp(q.td.tee_tcb_svn_2, room + 638, 16) == 0);
	cr_assert(memcmp(q.td.mrservicetd, room + 654, 48) == 0);

	s = v5(2, 584);
	accepted(&s, &q, room);
	cr_assert_eq(q.signed_part.len, 638);
	cr_assert(!q.td.has_15);
}

/* SGX quotes parse, with no TD report. */
Test(quote, sgx)
{
	static uint8_t room[CAP];
	struct shape s = v3();
	struct quote q;

	accepted(&s, &q, room);
	cr_assert_eq(q.tee, TEE_SGX);
	cr_assert_eq(q.signed_part.len, 432);
	cr_assert_eq(q.qe_report, room + 564);
	cr_assert_eq(q.cert_data.p, room + 1052);
	s = v4();
	s.tee = 0;
	s.body_len = 384;
	accepted(&s, &q, room);
	cr_assert_eq(q.tee, TEE_SGX);
	s = v5(1, 384);
	s.tee = 0;
	accepted(&s, &q, room);
	cr_assert_eq(q.signed_part.len, 438);
}

/* Cut anywhere before the end of the auth data, a quote is refused. */
Test(quote, every_truncation)
{
	static uint8_t room[CAP];
	const struct shape shapes[] = { v3(), v4(), v5(2, 584), v5(3, 648) };
	struct quote q;

	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		struct bytes b = build(room, &shapes[i]);

		for (size_t n = 0; n < b.len; n++) {
			struct refusal why = { 0 };
			uint8_t *cut = malloc(n + 1);

			/* A block of its own: a sanitizer sees overruns. */
			cr_assert_not_null(cut);
			memcpy(cut, room, n);
			cr_assert(quote_parse(&q, (struct bytes){ cut, n },
				      &why) == ERR_DENIED);
			cr_assert_eq(why.code, REASON_QUOTE_MALFORMED);
			free(cut);
		}
	}
}

/* Header fields: one value each, or few. */
Test(quote, header)
{
	struct shape s;

	for (unsigned v = 0; v < 300; v++) {
		s = v4();
		if (v >= 3 && v <= 5)
			continue;
		s.version = (uint16_t)v;
		refused(&s, "QUOTE_VERSION");
	}
	for (uint16_t k = 0; k < 5; k++) {
		s = v4();
		s.key_type = k;
		if (k != 2)
			refused(&s, "ATT_KEY_TYPE");
	}
	s = v4();
	s.tee = 0x82;
	refused(&s, "TEE_TYPE");
	s.tee = 0x8100;
	refused(&s, "TEE_TYPE");
	s = v3();
	s.tee = 0x81;
	refused(&s, "TEE_TYPE");
	s = v4();
	s.bad_vendor = true;
	refused(&s, "QE_VENDOR_ID");
}

/* P16: version 5: type, size and TEE type must all agree. */
Test(quote, body_descriptor)
{
	struct shape s = v5(0, 584);

	refused(&s, "BODY_TYPE");
	s = v5(4, 648);
	refused(&s, "BODY_TYPE");
	s = v5(1, 384); /* an SGX report under the TDX type */
	refused(&s, "BODY_TYPE");
	s = v5(2, 584);
	s.tee = 0;
	refused(&s, "BODY_TYPE");
	s = v5(2, 648);
	refused(&s, "BODY_SIZE");
	s = v5(3, 584);
	refused(&s, "BODY_SIZE");
	s = v5(3, 648);
	s.body_size = 647;
	refused(&s, "BODY_SIZE");
	s.body_size = 649;
	refused(&s, "BODY_SIZE");
	s.body_size = UINT32_MAX;
	refused(&s, "BODY_SIZE");
}

/* Types of certification data: outer exactly 6, inner 1 to 5. */
Test(quote, certification_types)
{
	static uint8_t room[CAP];
	struct quote q;

	for (uint16_t t = 0; t < 10; t++) {
		struct shape s = v4();

		s.outer_type = t;
		if (t != 6)
			refused(&s, "CERT_DATA_TYPE: outer");
		s = v4();
		s.inner_type = t;
		if (t < 1 || t > 5)
			refused(&s, "CERT_DATA_TYPE: inner");
		else
			accepted(&s, &q, room);
	}
}

/* No byte may hide inside the auth data. */
Test(quote, bytes_inside)
{
	struct shape s = v4();

	s.outer_extra = 1;
	refused(&s, "AUTH_TRAILING: outer");
	s = v4();
	s.inner_extra = 1;
	refused(&s, "AUTH_TRAILING: inner");
	s = v3();
	s.inner_extra = 4;
	refused(&s, "AUTH_TRAILING: auth");
}

/* Every size field, off by one or huge, is refused. */
Test(quote, size_fields)
{
	static uint8_t room[CAP];
	static const size_t at[] = { 632, 766, 1218, 1254 };
	static const size_t width[] = { 4, 4, 2, 4 };
	static const uint32_t delta[] = { 1, UINT32_MAX, 256, 0x7fffffff,
		0x80000000 };

	for (size_t i = 0; i < 4; i++)
		for (size_t d = 0; d < sizeof delta / sizeof delta[0]; d++) {
			struct shape s = v4();
			struct bytes b = build(room, &s);
			struct refusal why = { 0 };
			struct quote q;
			uint32_t v = 0;

			for (size_t k = width[i]; k-- > 0;)
				v = v << 8 | room[at[i] + k];
			v += delta[d];
			if (width[i] == 2 && (delta[d] & 0xffff) == 0)
				continue;
			for (size_t k = 0; k < width[i]; k++)
				room[at[i] + k] = (uint8_t)(v >> (8 * k));
			cr_assert(quote_parse(&q, b, &why) == ERR_DENIED,
			    "size at %zu + %u", at[i], delta[d]);
		}
}

/* P29: QE auth data: any length up to the bound, none beyond. */
Test(quote, qe_auth)
{
	static uint8_t room[CAP];
	struct shape s = v4();
	struct quote q;

	s.qe_auth_len = 0;
	accepted(&s, &q, room);
	cr_assert_eq(q.qe_auth.len, 0);
	s.qe_auth_len = LIMIT_QE_AUTH;
	accepted(&s, &q, room);
	s.qe_auth_len = LIMIT_QE_AUTH + 1;
	refused(&s, "QUOTE_TRUNCATED: QE auth");
}

/* P17, P28: what trails (buffers of fixed size, a host's leftovers) changes
 * nothing, up to the cap. */
Test(quote, trailing)
{
	static uint8_t room[CAP];
	struct shape s = v4();
	struct refusal why = { 0 };
	struct quote q, same;
	struct bytes b;

	s.trailing = 3065;
	accepted(&s, &q, room);
	cr_assert_eq(q.canonical_len, 1258 + sizeof CERT);
	b = build(room, &s);
	memset(room + q.canonical_len, 0xa5, b.len - q.canonical_len);
	cr_assert(quote_parse(&same, b, &why) == ERR_OK);
	cr_assert_eq(same.canonical_len, q.canonical_len);
	cr_assert_eq(same.signed_part.len, q.signed_part.len);
	cr_assert_eq(same.cert_data.len, q.cert_data.len);
	cr_assert(memcmp(&same.td, &q.td, sizeof q.td) == 0);
	memset(room + q.canonical_len, 0, b.len - q.canonical_len);

	s.trailing = LIMIT_QUOTE - 1258 - sizeof CERT;
	accepted(&s, &q, room);
	s.trailing++;
	refused(&s, "QUOTE_SIZE");
}

/* A quote without a readable chain names no platform. */
Test(quote, platform_needs_a_chain)
{
	static uint8_t room[CAP];
	struct shape s = v4();
	struct refusal why = { 0 };
	uint8_t fmspc[6] = { 9 };
	bool ca = true;

	cr_assert(
	    dcap_platform(fmspc, &ca, build(room, &s), &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_PCK_CHAIN);
	s.inner_type = 3;
	cr_assert(
	    dcap_platform(fmspc, &ca, build(room, &s), &why) == ERR_DENIED);
	cr_assert_eq(why.code, REASON_QUOTE_UNSUPPORTED);
	cr_assert_eq(fmspc[0], 9);
}
