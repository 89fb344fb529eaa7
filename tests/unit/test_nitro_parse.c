/* Nitro documents made by hand, and the cursor beneath: what fake_nitro, which
 * signs whole ones, does not bend. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/attest/cborrd.h"
#include "common/attest/nitro.h"

#define ES384 "\x84\x44\xa1\x01\x38\x22\xa0"
#define SIXTEEN "0123456789abcdef"
#define NINETY_SIX SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN
#define SIGNATURE "\x58\x60" NINETY_SIX

static void
refused(const char *doc, size_t len, const char *detail)
{
	struct nitro_doc out = { .n_cabundle = 77 };
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(nitro_parse(&out,
			 (struct bytes){ (const uint8_t *)doc, len }, &why),
	    ERR_DENIED);
	cr_assert_eq(strncmp(why.detail, detail, strlen(detail)), 0,
	    "%s, not %s", why.detail, detail);
	cr_assert_eq(out.n_cabundle, 77);
}

#define REFUSED(doc, detail) refused(doc, sizeof(doc) - 1, detail)

/* Payload and signature are byte strings. */
Test(nitro_parse, frame)
{
	REFUSED(ES384 "\x61q" SIGNATURE, "COSE: payload");
	REFUSED(ES384 "\xf6" SIGNATURE, "COSE: payload");
	REFUSED(ES384 "\xa0" SIGNATURE, "COSE: payload");
	REFUSED(ES384 "\x40"
		      "\x78\x60" NINETY_SIX,
	    "SIGNATURE_LEN");
	REFUSED(ES384 "\x40"
		      "\x58\x5f" NINETY_SIX,
	    "TRAILING 1");
	REFUSED(ES384 "\x40"
		      "\x40",
	    "SIGNATURE_LEN");
	REFUSED(ES384 "\x40"
		      "\x58\x61" NINETY_SIX,
	    "CBOR_TRUNC: COSE_Sign1");
}

/* The payload is one map, its keys are texts that are known. */
Test(nitro_parse, payload)
{
	REFUSED(ES384 "\x40" SIGNATURE, "CBOR_TRUNC: payload");
	REFUSED(ES384 "\x41\x80" SIGNATURE, "CBOR: payload");
	REFUSED(ES384 "\x41\xf6" SIGNATURE, "CBOR: payload");
	REFUSED(ES384 "\x41\xbf" SIGNATURE, "CBOR_TRUNC: payload");
	REFUSED(ES384 "\x41\xa1" SIGNATURE, "CBOR_TRUNC: payload key");
	REFUSED(ES384 "\x43\xa1\x01\x01" SIGNATURE, "CBOR: payload key");
	REFUSED(ES384 "\x43\xa1\x41q" SIGNATURE, "CBOR: payload key");
	REFUSED(ES384 "\x42\xa1\xff" SIGNATURE, "CBOR: payload key");
	REFUSED(ES384 "\x42\xbf\xf6" SIGNATURE, "CBOR: payload key");
	REFUSED(ES384 "\x43\xa1\x61q" SIGNATURE, "UNKNOWN_FIELD: q");
	REFUSED(ES384 "\x41\xa0" SIGNATURE, "FIELD module_id: missing");
	REFUSED(ES384 "\x42\xbf\xff" SIGNATURE, "FIELD module_id: missing");
	REFUSED(ES384 "\x42\xa0q" SIGNATURE, "TRAILING 1 in the payload");
	/* A long name is told as far as 32. */
	REFUSED(ES384 "\x58\x24\xa1\x78\x21" SIXTEEN SIXTEEN "g" SIGNATURE,
	    "UNKNOWN_FIELD: " SIXTEEN SIXTEEN);
}

/* ---- the cursor ---- */

/* Lists end where they say, and not behind what there is. */
Test(nitro_parse, lists)
{
	struct cborrd r;
	struct cborrd_list l;

	r = (struct cborrd){ .p = (const uint8_t *)"\x82\x01", .left = 2 };
	l = cborrd_open(&r, CBORRD_ARRAY);
	cr_assert(cborrd_more(&r, &l));
	cr_assert_eq(cborrd_next(&r).n, 1);
	cr_assert(cborrd_more(&r, &l)); /* it says so */
	cr_assert_eq(cborrd_next(&r).type, CBORRD_BAD);
	cr_assert(r.bad && r.truncated);
	cr_assert_not(cborrd_more(&r, &l));

	r = (struct cborrd){ .p = (const uint8_t *)"\x9f\x01", .left = 2 };
	l = cborrd_open(&r, CBORRD_ARRAY);
	cr_assert(cborrd_more(&r, &l));
	cr_assert_eq(cborrd_next(&r).n, 1);
	cr_assert_not(cborrd_more(&r, &l)); /* no end to it */
	cr_assert(r.bad && r.truncated);

	r = (struct cborrd){ .p = (const uint8_t *)"\x9f\xff\x05", .left = 3 };
	l = cborrd_open(&r, CBORRD_ARRAY);
	cr_assert_not(cborrd_more(&r, &l));
	cr_assert_not(r.bad);
	cr_assert_eq(cborrd_next(&r).n, 5);

	r = (struct cborrd){ .p = (const uint8_t *)"\xa1\x01", .left = 2 };
	l = cborrd_open(&r, CBORRD_ARRAY); /* it is a map */
	cr_assert(r.bad);
	cr_assert_not(cborrd_more(&r, &l));
}

/* Floats of each size are told from numbers, and are nobody's value. */
Test(nitro_parse, floats)
{
	const struct bytes in[] = { BYTES_STR("\xf9\x3c\x01"),
		BYTES_STR("\xfa\x3f\x80\x00\x00"),
		BYTES_STR("\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00") };

	for (size_t i = 0; i < 3; i++) {
		struct cborrd r = { .p = in[i].p, .left = in[i].len };

		cr_assert_eq(cborrd_next(&r).type, CBORRD_OTHER, "%zu", i);
		cr_assert(!r.bad && r.left == 0);
		r = (struct cborrd){ .p = in[i].p, .left = in[i].len - 1 };
		cr_assert_eq(cborrd_next(&r).type, CBORRD_BAD);
		cr_assert(r.bad && r.truncated);
	}
}
