/* Times and calls in words that people can vote on. */
#include <string.h>

#include <criterion/criterion.h>

#include "kms/ctl/callwords.h"
#include "kms/ctl/when.h"
#include "tests/lib/facts.h"

static void
span_is(uint64_t seconds, const char *want)
{
	char text[WHEN_TEXT];

	when_span(text, seconds);
	cr_assert_str_eq(text, want);
}

Test(ctl_words, spans)
{
	span_is(0, "0 s");
	span_is(59, "59 s");
	span_is(60, "1 min");
	span_is(61, "1 min 1 s");
	span_is(7200, "2 h");
	span_is(86400 + 3600, "1 d 1 h");
	span_is(86400 + 59, "1 d");
	span_is(UINT64_MAX, "213503982334601 d 7 h");
}

static void
seen_is(uint64_t at, uint64_t now, const char *want)
{
	char text[WHEN_TEXT];

	when_seen(text, at, now);
	cr_assert_str_eq(text, want);
}

Test(ctl_words, dates)
{
	seen_is(0, 5, "-");
	seen_is(UINT64_MAX, 5, "-");
	seen_is(1700000000, 1700000000 - 90,
	    "2023-11-14 22:13:20 UTC (in 1 min 30 s)");
	seen_is(
	    1700000000, 1700000000 + 3600, "2023-11-14 22:13:20 UTC (1 h ago)");
}

Test(ctl_words, spans_read)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} good[] = { { "90", 90 }, { "90s", 90 }, { "15min", 900 },
		{ "2h", 7200 }, { "7d", 604800 } };
	static const char *const bad[] = { "", "d", "-1", "1w", "2 h", "1h30",
		"99999999999999999999", "4294967296" };
	uint64_t s;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		cr_assert_eq(when_parse(&s, good[i].text), ERR_OK);
		cr_assert_eq(s, good[i].seconds);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(
		    when_parse(&s, bad[i]), ERR_MALFORMED, "%s", bad[i]);
}

#define Z62 "00000000000000000000000000000000000000000000000000000000000000"
#define Z24 "000000000000000000000000"

static void
words_are(const char *hex, const char *want)
{
	char words[CALLWORDS_MAX];
	struct buf b = { 0 };

	facts_hex_buf(&b, hex);
	callwords(words, buf_view(&b));
	cr_assert_str_eq(words, want);
	buf_fini(&b);
}

Test(ctl_words, calls)
{
	words_are("91da71ff" Z62 "01" Z62 "00" Z62 "78",
	    "orderRotation(mode emergency, not before -, retire the old after "
	    "2 min)");
	words_are("f8178c59", "withdrawOrder()");
	words_are("1b86ac3a" Z24 "5fbdb2315678afecb367f032d93f642f64180aa3" Z62
		  "02",
	    "pin(app 0x5FbDB2315678afecb367f032d93F642f64180aa3, epoch 2)");
	words_are("e7b5528f"
		  "6b6d733000000000000000000000000000000000000000000000000000"
		  "000000" Z62 "07",
	    "setSeat(slot kms0, device 0x" Z62 "07)");
	words_are("42a6ebea" Z62 "40" Z62 "01" Z62 "01" Z24
		  "5fbdb2315678afecb367f032d93f642f64180aa3",
	    "setMembers(1 of 1: 0x5FbDB2315678afecb367f032d93F642f64180aa3)");
}

/* What is not exactly such a call is not called one. */
Test(ctl_words, lies)
{
	words_are("f8178c5900", "unknown call 0xf8178c59 with 1 bytes");
	words_are("ca0fa0ad" Z62, "unknown call 0xca0fa0ad with 31 bytes");
	words_are("ca0fa0ad01" Z62, "unknown call 0xca0fa0ad with 32 bytes");
	words_are("12345678" Z62 "00", "unknown call 0x12345678 with 32 bytes");
	words_are("12", "unknown call 0x00000000 with 1 bytes");
}
