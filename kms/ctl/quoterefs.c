#include <string.h>

#include "common/base/hex.h"
#include "kms/ctl/quoterefs.h"

#define REF_MAX 64 /* report data */

/* Digits for `len` bytes; report data for at most as many. */
static enum err
read_value(
    uint8_t out[static REF_MAX], const char *text, const char *name, size_t len)
{
	const char *s = hex_skip_0x(text);
	size_t n = 0;
	enum err e;

	memset(out, 0, REF_MAX);
	e = hex_decode(out, len, &n, s, strlen(s));
	if (e != ERR_OK || n == 0 ||
	    (n != len && strcmp(name, "report-data") != 0))
		return ERR_MALFORMED;
	return ERR_OK;
}

static const struct {
	const char *name;
	size_t len;
} values[] = {
	{ "mrtd", 48 },
	{ "rtmr0", 48 },
	{ "rtmr1", 48 },
	{ "rtmr2", 48 },
	{ "rtmr3", 48 },
	{ "mrenclave", 32 },
	{ "mrsigner", 32 },
	{ "measurement", 48 },
	{ "host-data", 32 },
	{ "pcr0", 48 },
	{ "pcr1", 48 },
	{ "pcr2", 48 },
	{ "report-data", 64 },
};

enum err
quoterefs_valid(const struct args *a, struct refusal *why)
{
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		const char *text = args_get(a, values[i].name);
		uint8_t v[REF_MAX];

		if (text == NULL ||
		    read_value(v, text, values[i].name, values[i].len) ==
			ERR_OK)
			continue;
		(void)refuse(why, REASON_REFERENCE,
		    "--%s: must be %zu bytes in hex", values[i].name,
		    values[i].len);
		return ERR_MALFORMED;
	}
	return ERR_OK;
}

static enum err
compare(struct quotereport *r, const char *check, const struct quoteref *ref,
    const uint8_t *want, const char *want_in, struct refusal *why)
{
	char found[2 * REF_MAX + 1], expected[2 * REF_MAX + 1];
	bool same = memcmp(want, ref->p, ref->len) == 0;

	quotereport_row(r,
	    &(struct quoterow){ .step = QUOTEREPORT_REFS,
		.check = check,
		.found = hex_encode(found, ref->p, ref->len),
		.found_in = ref->in,
		.expected = hex_encode(expected, want, ref->len),
		.expected_in = want_in,
		.codes = "REFERENCE",
		.holds = same ? ROW_HOLDS : ROW_DIFFERS });
	if (same)
		return ERR_OK;
	return refuse(why, REASON_REFERENCE, "REFERENCE: %s is not that of %s",
	    check, want_in);
}

/* A value that this kind of evidence does not have cannot be compared, which
 * must not look like equal. */
static enum err
check_known(const struct args *a, const struct quoteref *ref, size_t n,
    struct refusal *why)
{
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		size_t k = 0;

		if (args_get(a, values[i].name) == NULL)
			continue;
		while (k < n && strcmp(ref[k].name, values[i].name) != 0)
			k++;
		if (k == n)
			return refuse(why, REASON_REFERENCE,
			    "REFERENCE: this evidence has no %s",
			    values[i].name);
	}
	return ERR_OK;
}

enum err
quoterefs_check(struct quotereport *r, const struct args *a,
    const struct quoteref *ref, size_t n, struct refusal *why)
{
	enum err first = check_known(a, ref, n, why);

	/* All are compared, so that the report has every difference. */
	for (size_t i = 0; i < n; i++) {
		const char *text = args_get(a, ref[i].name);
		uint8_t want[REF_MAX];
		struct refusal later;
		char option[40];
		enum err e;

		if (text == NULL)
			continue;
		if (read_value(want, text, ref[i].name, ref[i].len) != ERR_OK)
			return ERR_MALFORMED;
		(void)snprintf(option, sizeof option, "--%.32s", ref[i].name);
		e = compare(r, ref[i].name, &ref[i], want, option,
		    first == ERR_OK ? why : &later);
		first = first == ERR_OK ? e : first;
	}
	return first;
}

enum err
quoterefs_reply(struct quotereport *r, const uint8_t said[static 64],
    const uint8_t found[static 64], struct refusal *why)
{
	return compare(r, "report data",
	    &(struct quoteref){ "report data", found, 64, "TD report" }, said,
	    "the reply", why);
}
