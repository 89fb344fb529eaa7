/* AMD's extensions of a leaf, one wrong at a time. */
#include <string.h>

#include <criterion/criterion.h>

#include <openssl/evp.h>

#include "common/attest/vekext.h"
#include "tests/lib/vendor_pki.h"

#define NOW 1800000000
#define OID "1.3.6.1.4.1.3704.1."

static EVP_PKEY *key;

static void
setup(void)
{
	key = vendor_ec("P-384");
}

static void
teardown(void)
{
	EVP_PKEY_free(key);
}

TestSuite(vekext, .init = setup, .fini = teardown);

static const struct vendor_ext product = {
	.oid = OID "2", .der = "\x16\x05Milan", .len = 7
};

/* What is read of a leaf with the product and `n` others. */
static enum err
read_exts(struct vekext *out, const struct vendor_ext *more, size_t n)
{
	struct vendor_ext ext[4] = { product };
	struct vendor_cert c = { .subject = "Anchor",
		.issuer = "Anchor",
		.key = key,
		.issuer_key = key,
		.alg = VENDOR_ECDSA_SHA384,
		.serial = 1,
		.from = NOW,
		.until = NOW + 1,
		.ca = true };
	struct buf der[2] = { 0 };
	struct certpath *p;
	size_t at;
	enum err e;

	cr_assert_lt(n, 4);
	memcpy(ext + 1, more, n * sizeof ext[0]);
	vendor_cert_der(&der[1], &c);
	c.ca = false;
	c.ext = ext;
	c.n_ext = 1 + n;
	vendor_cert_der(&der[0], &c);
	cr_assert_eq(
	    certpath_new(&p, &at,
		(const struct bytes[2]){ buf_view(&der[0]), buf_view(&der[1]) },
		2),
	    ERR_OK);
	e = vekext_read(out, p);
	certpath_free(p);
	buf_fini(&der[0]);
	buf_fini(&der[1]);
	return e;
}

static void
refused(const char *arc, const char *der, size_t len)
{
	struct vendor_ext x = { .oid = arc, .len = len };
	struct vekext out = { .hwid_len = 77 };

	memcpy(x.der, der, len);
	cr_assert_eq(read_exts(&out, &x, 1), ERR_MALFORMED, "%s %zu", arc, len);
	cr_assert_eq(out.hwid_len, 77);
}

#define REFUSED(arc, text) refused(OID arc, text, sizeof text - 1)

/* Texts are IA5Strings of printable characters, in their one form. */
Test(vekext, texts)
{
	struct vendor_ext x = {
		.oid = OID "5", .der = "\x16\x04 csp", .len = 6
	};
	struct vekext out;

	REFUSED("5", "");
	REFUSED("5", "\x16");
	REFUSED("5", "\x16\x00");
	REFUSED("5",
	    "\x0c\x03"
	    "csp"); /* UTF8String */
	REFUSED("5",
	    "\x16\x02"
	    "csp");
	REFUSED("5",
	    "\x16\x04"
	    "csp");
	REFUSED("5",
	    "\x16\x81\x03"
	    "csp");
	REFUSED("5",
	    "\x16\x03"
	    "c\np");
	REFUSED("5",
	    "\x16\x03"
	    "c\x7fp");
	REFUSED("5",
	    "\x16\x03"
	    "c\x00p");
	REFUSED("5",
	    "\x16\x40"
	    "0123456789abcdef0123456789abcdef"
	    "0123456789abcdef0123456789abcdef");
	cr_assert_eq(read_exts(&out, &x, 1), ERR_OK);
	cr_assert_str_eq(out.csp_id, " csp");
	cr_assert_str_eq(out.product, "Milan");
	cr_assert_eq(out.hwid_len, 0);
}

/* Versions are INTEGERs of 0 to 255 in their one form. */
Test(vekext, versions)
{
	static const struct {
		const char *der;
		size_t len;
		uint8_t want;
	} good[] = { { "\x02\x01\x00", 3, 0 }, { "\x02\x01\x7f", 3, 127 },
		{ "\x02\x02\x00\x80", 4, 128 },
		{ "\x02\x02\x00\xff", 4, 255 } };
	struct vekext out;

	REFUSED("3.1", "");
	REFUSED("3.1", "\x02\x01");
	REFUSED("3.1", "\x02\x01\x80"); /* negative */
	REFUSED("3.1", "\x02\x02\x00\x7f"); /* a zero too many */
	REFUSED("3.1", "\x02\x02\x01\x80"); /* above 255 */
	REFUSED("3.1", "\x02\x03\x00\x80"); /* of another length */
	REFUSED("3.1", "\x02\x02\x7f");
	REFUSED("3.1", "\x0a\x01\x01"); /* ENUMERATED */
	REFUSED("3.1", "\x0a\x02\x00\x80");
	REFUSED("3.1", "\x02\x03\x00\x00\x80");
	REFUSED("3.9", "\x02\x01\x80");
	for (size_t i = 0; i < 4; i++) {
		struct vendor_ext x = { .oid = OID "3.8", .len = good[i].len };

		memcpy(x.der, good[i].der, good[i].len);
		cr_assert_eq(read_exts(&out, &x, 1), ERR_OK);
		cr_assert(out.has_spl[8] && !out.has_spl[1]);
		cr_assert_eq(out.spl[8], good[i].want);
	}
}

/* A chip has 8 or 64 bytes, raw or in an OCTET STRING. */
Test(vekext, chips)
{
	static const size_t bad[] = { 0, 1, 7, 9, 11, 63, 65, 67 };
	struct vendor_ext x = { .oid = OID "4" };
	struct vekext out;
	char id[80] = { 4, 8 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		refused(OID "4", id, bad[i]);
	id[0] = 3; /* a BIT STRING */
	refused(OID "4", id, 10);
	id[0] = 4;
	id[1] = 7;
	refused(OID "4", id, 10);
	id[1] = 9;
	refused(OID "4", id, 10);
	id[1] = 8;
	refused(OID "4", id, 66);
	memset(id + 2, 9, 64);
	memcpy(x.der, id, 10);
	x.len = 10;
	cr_assert_eq(read_exts(&out, &x, 1), ERR_OK);
	cr_assert_eq(out.hwid_len, 8);
	cr_assert_eq(out.hwid[0], 9);
	x.len = 8; /* raw, and the first bytes are just bytes */
	cr_assert_eq(read_exts(&out, &x, 1), ERR_OK);
	cr_assert_eq(out.hwid_len, 8);
	cr_assert_eq(out.hwid[0], 4);
}

/* Each is there once. */
Test(vekext, twice)
{
	static const struct {
		const char *oid, *der;
		size_t len;
	} t[] = { { OID "2", "\x16\x05Genoa", 7 },
		{ OID "3.3", "\x02\x01\x01", 3 }, { OID "4", "12345678", 8 },
		{ OID "5", "\x16\x01q", 3 } };
	struct vekext out = { .hwid_len = 77 };

	for (size_t i = 0; i < 4; i++) {
		struct vendor_ext x[2] = {
			{ .oid = t[i].oid, .len = t[i].len },
			{ .oid = t[i].oid, .len = t[i].len },
		};

		memcpy(x[0].der, t[i].der, t[i].len);
		memcpy(x[1].der, t[i].der, t[i].len);
		cr_assert_eq(read_exts(&out, x, 2), ERR_MALFORMED, "%zu", i);
		cr_assert_eq(out.hwid_len, 77);
		/* The product is there already. */
		if (i > 0)
			cr_assert_eq(
			    read_exts(&(struct vekext){ 0 }, x, 1), ERR_OK);
	}
}
