#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/collateral.h"
#include "common/base/limits.h"

#define HEX16 "00112233445566778899aabbccddeeff"
#define SIG HEX16 HEX16 HEX16 HEX16

#define BUNDLE \
	"{\"tcb_info\":\"{ \\\"a\\\": 1}\",\"tcb_info_signature\":\"" SIG \
	"\",\"tcb_info_issuer_chain\":\"P1\",\"qe_identity\":\"{}\"," \
	"\"qe_identity_signature\":\"" SIG "\"," \
	"\"qe_identity_issuer_chain\":\"P2\",\"root_ca_crl\":\"3001\"," \
	"\"pck_crl\":\"3002\"}"

static enum err
parse(struct collateral *c, const char *text, struct refusal *why)
{
	return collateral_from_json(c, text, strlen(text), why);
}

/* What goes in comes out, byte for byte; optional members stay optional. */
Test(collateral, round_trip)
{
	struct collateral c = { 0 }, d = { 0 };
	struct buf b = { 0 };
	struct refusal why = { 0 };

	cr_assert(parse(&c, BUNDLE, &why) == ERR_OK, "%s", why.detail);
	cr_assert_str_eq((char *)c.tcb_info.p, "{ \"a\": 1}");
	cr_assert_eq(c.tcb_info_signature[63], 0xff);
	cr_assert_eq(c.pck_crl.len, 2);
	cr_assert_eq(c.pck_crl.p[1], 2);
	cr_assert_eq(c.pck_chain.len, 0);
	cr_assert(buf_set(&c.pck_chain, "P3", 2) == ERR_OK);
	cr_assert(collateral_to_json(&b, &c) == ERR_OK);
	cr_assert(collateral_from_json(&d, b.p, b.len, &why) == ERR_OK);
	cr_assert_str_eq((char *)d.tcb_info.p, (char *)c.tcb_info.p);
	cr_assert_str_eq((char *)d.pck_chain.p, "P3");
	cr_assert(
	    memcmp(d.qe_identity_signature, c.qe_identity_signature, 64) == 0);
	cr_assert_eq(d.root_ca_crl.p[1], 1);
	cr_assert_eq(d.pck_crl_chain.len, 0);
	collateral_fini(&c);
	collateral_fini(&d);
	buf_fini(&b);
}

/* P20: each of these bundles has one thing wrong; a signature has exactly
 * 128 digits. */
Test(collateral, refusals)
{
	static const struct {
		const char *from, *to;
	} c[] = {
		{ "\"tcb_info\"", "\"tcb_inf0\"" },
		{ "\"qe_identity\"", "\"qe_identity\":\"{}\",\"qe_identity\"" },
		{ HEX16 "\",", "\"," },
		{ "0011", "001" },
		{ "0011", "0x0011" },
		{ "0011", "zz11" },
		{ "\"3001\"", "\"300\"" },
		{ "\"3001\"", "[]" },
		{ "\"P1\"", "null" },
		{ "\"P1\"", "\"P\\u0000\"" },
		{ "{\"tcb_info\"", "[{\"tcb_info\"" },
		{ "\"3002\"}", "\"3002\"} x" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct collateral out;
		struct buf b = { 0 };
		struct refusal why = { 0 };
		static const char good[] = BUNDLE;
		const char *at = strstr(good, c[i].from);

		cr_assert_not_null(at);
		cr_assert(buf_printf(&b, "%.*s%s%s", (int)(at - good), good,
			      c[i].to, at + strlen(c[i].from)) == ERR_OK);
		cr_assert(
		    collateral_from_json(&out, b.p, b.len, &why) == ERR_DENIED,
		    "%s -> %s", c[i].from, c[i].to);
		cr_assert_eq(why.code, REASON_COLLATERAL_INVALID);
		buf_fini(&b);
	}
}

static enum err
split(struct buf *inner, const char *text)
{
	uint8_t sig[64];

	return collateral_split(inner, sig,
	    (struct bytes){ (const uint8_t *)text, strlen(text) }, "tcbInfo");
}

/* P21: the inner object comes out with the very bytes that were signed. */
Test(collateral, split)
{
	static const char *const inner =
	    "{ \"a\" :\"}\\\"{\\\\\", \"b\":{\"c\":[{}]} }";
	struct buf b = { 0 }, text = { 0 };

	cr_assert(
	    buf_printf(&text, " {\"tcbInfo\": %s ,\"signature\":\"" SIG "\"}\n",
		inner) == ERR_OK);
	cr_assert(split(&b, (char *)text.p) == ERR_OK);
	cr_assert_str_eq((char *)b.p, inner);
	text.len = 0;
	cr_assert(
	    buf_printf(&text, "{\"signature\":\"" SIG "\",\"tcbInfo\":%s}",
		inner) == ERR_OK);
	cr_assert(split(&b, (char *)text.p) == ERR_OK);
	cr_assert_str_eq((char *)b.p, inner);

	/* Cut anywhere, it is refused. */
	for (size_t n = 0; n < text.len; n++) {
		uint8_t sig[64];

		cr_assert(collateral_split(&b, sig, (struct bytes){ text.p, n },
			      "tcbInfo") == ERR_MALFORMED);
	}
	buf_fini(&b);
	buf_fini(&text);
}

/* Anything but exactly the two members is refused. */
Test(collateral, split_refusals)
{
	static const char *const bad[] = { "", "{}", "[]", "null",
		"{\"tcbInfo\":{}}", "{\"signature\":\"" SIG "\"}",
		"{\"tcbInfo\":{},\"tcbInfo\":{}}",
		"{\"signature\":\"" SIG "\",\"signature\":\"" SIG "\"}",
		"{\"tcbInfo\":{},\"signature\":\"" SIG "\",\"x\":1}",
		"{\"enclaveIdentity\":{},\"signature\":\"" SIG "\"}",
		"{\"tcbInfo\":[],\"signature\":\"" SIG "\"}",
		"{\"tcbInfo\":\"{}\",\"signature\":\"" SIG "\"}",
		"{\"tcbInfo\":{},\"signature\":\"" SIG "00\"}",
		"{\"tcbInfo\":{},\"signature\":\"" HEX16 "\"}",
		"{\"tcbInfo\":{},\"signature\":" SIG "}",
		"{\"tcbInfo\":{},\"signature\":\"" SIG "\"} x",
		"{\"tcbInfo\":{} \"signature\":\"" SIG "\"}",
		"{\"tcb\\u0049nfo\":{},\"signature\":\"" SIG "\"}",
		"x{\"tcbInfo\":{},\"signature\":\"" SIG "\"}" };
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert(split(&b, bad[i]) == ERR_MALFORMED, "%s", bad[i]);
	cr_assert_eq(b.len, 0);
}
