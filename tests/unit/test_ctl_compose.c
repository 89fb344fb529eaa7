/* compose: expected hashes are those of @phala/dstack-sdk 0.5.8
 * (getComposeHash), run once over the same texts. */
#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "common/crypto/hash.h"
#include "kms/ctl/compose.h"
#include "tests/lib/facts.h"

static enum err
canon(struct buf *out, const char *text, bool clean)
{
	json_t *v = NULL;
	enum err e;

	cr_assert_eq(json_parse_js(&v, text, strlen(text), 1 << 20, NULL, 0),
	    ERR_OK, "%s", text);
	e = compose_canonical(out, v, clean);
	json_decref(v);
	return e;
}

static void
expect(const char *text, bool clean, const char *hash)
{
	struct buf b = { 0 };
	uint8_t got[32];

	cr_assert_eq(canon(&b, text, clean), ERR_OK);
	sha256(got, b.p, b.len);
	cr_assert(facts_eq(got, 32, hash), "%s -> %s", text, (char *)b.p);
	buf_fini(&b);
}

/* The canonical form is the SDK's, byte for byte. */
Test(ctl_compose, as_the_sdk)
{
	expect("{\"b\":1,\"a\":2}", false,
	    "d3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772");
	expect("{\"a\":{\"z\":[{\"y\":1,\"x\":2}],\"b\":null},\"B\":true}",
	    false,
	    "55a2a6c59d8a59e00f5e74af4917b7470b422d7058f6653e004246dc458b1882");
	expect("{}", false,
	    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

/* JavaScript puts keys that are array indices first, in their order as
 * numbers, and no others: not "01", not 2^32 - 1. */
Test(ctl_compose, keys_that_are_numbers)
{
	expect("{\"10\":1,\"9\":2,\"a\":3,\"01\":4,\"4294967294\":5,"
	       "\"4294967295\":6}",
	    false,
	    "29ad1c39046541c14b5a7fa2d9088e0522fe09b59bca38846f46e5721348b2a0");
}

/* Keys sort by UTF-16 units: U+1F600 (a surrogate pair) before U+FF5E. */
Test(ctl_compose, keys_beyond_the_first_plane)
{
	expect("{\"\\ud83d\\ude00\":1,\"\\uff5e\":2,\"\xc3\xa9\":3,\"e\":4}",
	    false,
	    "562848907ba05d3289fd45a0bfd4d030f0454f2113a35a7e6457e29547dd94a8");
}

/* Only what JSON.stringify escapes is escaped. */
Test(ctl_compose, escapes)
{
	expect("{\"s\":\"a\\u0001\\b\\t\\n\\f\\r\\\"\\\\/\\u007f\\u2028"
	       "\xc3\xa9\"}",
	    false,
	    "a6d29a68fc8f13c6f2f9e1fa503081ab8a6ab5e0a493bf4da09b8f1917747657");
}

/* Numbers are doubles, written as JavaScript writes them. */
Test(ctl_compose, numbers)
{
	expect("{\"n\":[0,-0,1.0,1e21,1e-7,0.000001,5e-324,"
	       "1.7976931348623157e308,-1.5,100,1e2,9007199254740993,0.1,"
	       "1e23]}",
	    false,
	    "10ec6866fb775b633fd80b1ed56914e38a1d558ed4dfcbf076e16f7c1add1c45");
}

Test(ctl_compose, number_forms)
{
	static const struct {
		double v;
		const char *text;
	} good[] = { { 0, "0" }, { -0.0, "0" }, { 1, "1" }, { -1, "-1" },
		{ 123.456, "123.456" }, { 1e20, "100000000000000000000" },
		{ 1e21, "1e+21" }, { 1.5e300, "1.5e+300" },
		{ 0.000001, "0.000001" }, { 0.0000001, "1e-7" },
		{ 1.25e-9, "1.25e-9" }, { 4294967296.0, "4294967296" } };
	char out[COMPOSE_NUMBER_MAX];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		cr_assert_eq(compose_number(out, good[i].v), ERR_OK);
		cr_assert_str_eq(out, good[i].text);
	}
	cr_assert_eq(compose_number(out, (double)INFINITY), ERR_MALFORMED);
	cr_assert_eq(compose_number(out, (double)NAN), ERR_MALFORMED);
}

/* normalize drops the other runner's file and an empty script only. */
Test(ctl_compose, normalize)
{
	static const char bash[] =
	    "{\"runner\":\"bash\",\"docker_compose_file\":\"x\","
	    "\"bash_script\":\"y\",\"pre_launch_script\":\"\"}";
	static const char docker[] =
	    "{\"runner\":\"docker-compose\",\"docker_compose_file\":\"x\","
	    "\"bash_script\":\"y\",\"pre_launch_script\":\"z\"}";

	expect(bash, false,
	    "c573c40cd175ba88a3fccc942bb5541d06b876c64f7976d558e144a607e22472");
	expect(bash, true,
	    "dcb81dcef62d27202583dd4f3b01274c42aafd5cb945d3bac79eb527de42a530");
	expect(docker, false,
	    "df9b66aecbec3c0e67fccb5bcf5742c95d150c6d44d8276556da14fd83b7c64d");
	expect(docker, true,
	    "f62fcc905ecf51b53121203a9ee5f94d1963a52cd824f7ea15a8489e1f339877");
}

/* Traps of JavaScript: a member `constructor` keeps an object, and all that is
 * in it, from being sorted; `__proto__` is lost where one is sorted. */
Test(ctl_compose, traps_of_javascript)
{
	expect("{\"b\":1,\"constructor\":{\"z\":1,\"y\":2},\"a\":{\"d\":1,"
	       "\"c\":2}}",
	    false,
	    "27478a0fc50be88568f2a9677d0a8aaa1e82bd670f3b6ddb9455a6429e978bdd");
	expect("{\"x\":{\"constructor\":1,\"b\":{\"z\":1,\"y\":2},\"a\":1,"
	       "\"2\":3,\"1\":2},\"__proto__\":{\"q\":1},\"a\":1}",
	    false,
	    "4f9ed805cfcd96c13fa12fca056b371cb0d2d490e44e566f3f22e2b22f63f196");
	expect("{\"__proto__\":3,\"constructor\":null,\"a\":1}", false,
	    "6c2a216bf34a98dfcb861772e624ba36885fe7edbe8027804dbdbba9e4f2a98b");
	expect("{\"x\":[{\"__proto__\":{\"b\":1},\"b\":2}]}", false,
	    "9a3d0d3d4f5e7c9fef66235e4de28b877f7a14762c3d0c3fdbdf8594c1d2a4af");
	expect("{\"constructor\":{\"b\":1},\"__proto__\":{\"a\":1},"
	       "\"pre_launch_script\":\"\"}",
	    true,
	    "adbd0769bae7ab75f5184f7e2a63f5098087508f788e3109387330e19ed61cc1");
}

/* More digits than an integer has are a double, too. */
Test(ctl_compose, long_numbers)
{
	expect("{\"n\":12345678901234567890,\"m\":-9223372036854775809,"
	       "\"k\":123456789012345678901234567890}",
	    false,
	    "0049c5ce5754472e18105c2b83fac4818a5decf45d7f049c3e88c01cc370799e");
}

/* What no double holds, a lone surrogate, a member twice: JavaScript has an
 * answer, but a guest would not start; nor is NaN any JSON. */
Test(ctl_compose, not_json)
{
	static const char *const bad[] = { "{\"x\":1e999}", "{\"x\":NaN}",
		"{\"x\":Infinity}", "{\"x\":-Infinity}", "{\"x\":\"\\ud800\"}",
		"{\"x\":1,\"x\":2}", "{\"x\":01}" };
	json_t *v = NULL;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_eq(
		    json_parse_js(&v, bad[i], strlen(bad[i]), 1 << 20, NULL, 0),
		    ERR_MALFORMED, "%s", bad[i]);
	cr_assert_null(v);
}

/* An app-compose.json is an object: anything else has no canonical form. */
Test(ctl_compose, objects_only)
{
	static const char *const bad[] = { "[]", "1", "\"x\"", "null", "true",
		"[{}]" };
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_eq(canon(&b, bad[i], false), ERR_MALFORMED);
		cr_assert_eq(canon(&b, bad[i], true), ERR_MALFORMED);
	}
	buf_fini(&b);
}
