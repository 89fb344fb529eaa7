#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/crypto/hash.h"
#include "tests/lib/fake_amd.h"

#define YEAR_S (365 * 24 * 3600)

static const struct {
	const char *ark, *ask, *asvk, *chip;
	uint8_t family, model;
	uint8_t hwid_len;
} products[SNP_PRODUCT_COUNT] = {
	{ "ARK-Milan", "SEV-Milan", "SEV-VLEK-Milan", "Milan-B0", 0x19, 1, 64 },
	{ "ARK-Genoa", "SEV-Genoa", "SEV-VLEK-Genoa", "Genoa", 0x19, 0x11, 64 },
	{ "ARK-Turin", "SEV-Turin", "SEV-VLEK-Turin", "Turin-C1", 0x1a, 2, 8 },
};

/* Extensions by their full OID, so that ext[].oid can be a literal. */
static const char *const oids[] = {
	"1.3.6.1.4.1.3704.1.1",
	"1.3.6.1.4.1.3704.1.2",
	"1.3.6.1.4.1.3704.1.3.1",
	"1.3.6.1.4.1.3704.1.3.2",
	"1.3.6.1.4.1.3704.1.3.3",
	"1.3.6.1.4.1.3704.1.3.4",
	"1.3.6.1.4.1.3704.1.3.5",
	"1.3.6.1.4.1.3704.1.3.6",
	"1.3.6.1.4.1.3704.1.3.7",
	"1.3.6.1.4.1.3704.1.3.8",
	"1.3.6.1.4.1.3704.1.3.9",
	"1.3.6.1.4.1.3704.1.4",
	"1.3.6.1.4.1.3704.1.5",
};
#define ARC_AT (sizeof "1.3.6.1.4.1.3704.1." - 1)

struct vendor_ext *
fake_amd_ext(struct fake_amd *a, const char *arc)
{
	for (size_t i = 0; i < a->cert[FAKE_VEK].n_ext; i++)
		if (strcmp(a->ext[i].oid + ARC_AT, arc) == 0)
			return &a->ext[i];
	abort(); /* a test names an extension that is not there */
}

void
fake_amd_ext_add(
    struct fake_amd *a, const char *arc, const void *der, size_t len)
{
	struct vendor_ext *e = &a->ext[a->cert[FAKE_VEK].n_ext++];

	assert(
	    a->cert[FAKE_VEK].n_ext <= FAKE_AMD_EXTS && len <= sizeof e->der);
	for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++)
		if (strcmp(oids[i] + ARC_AT, arc) == 0)
			e->oid = oids[i];
	assert(e->oid != NULL);
	memcpy(e->der, der, len);
	e->len = len;
}

void
fake_amd_ext_drop(struct fake_amd *a, const char *arc)
{
	struct vendor_ext *e = fake_amd_ext(a, arc);
	size_t n = --a->cert[FAKE_VEK].n_ext;

	*e = a->ext[n];
	memset(&a->ext[n], 0, sizeof a->ext[n]);
}

void
fake_amd_spl(struct fake_amd *a, const char *arc, uint8_t v)
{
	struct vendor_ext *e = fake_amd_ext(a, arc);
	const uint8_t small[3] = { 2, 1, v }, large[4] = { 2, 2, 0, v };

	e->len = v < 0x80 ? sizeof small : sizeof large;
	memcpy(e->der, v < 0x80 ? small : large, e->len);
}

void
fake_amd_le32(struct fake_amd *a, size_t off, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		a->report[off + (size_t)i] = (uint8_t)(v >> 8 * i);
}

static void
describe_vek(struct fake_amd *a, enum snp_product p, enum snp_key key)
{
	static const char *const arcs[] = { "3.1", "3.2", "3.3", "3.4", "3.5",
		"3.6", "3.7", "3.8", "3.9" };
	const char *skip = p == SNP_TURIN ? "3.4" : "3.9";
	uint8_t text[40] = { 0x16, (uint8_t)strlen(products[p].chip) };
	uint8_t hwid[64];

	a->cert[FAKE_VEK].ext = a->ext;
	fake_amd_ext_add(a, "1", "\x02\x01\x01", 3);
	memcpy(text + 2, products[p].chip, text[1]);
	fake_amd_ext_add(a, "2", text, 2u + text[1]);
	for (size_t i = 0; i < 9; i++)
		if (strcmp(arcs[i], skip) != 0)
			fake_amd_ext_add(a, arcs[i], "\x02\x01\x00", 3);
	fake_amd_spl(a, "3.1", 3);
	fake_amd_spl(a, "3.3", 8);
	fake_amd_spl(a, "3.8", 115);
	if (p == SNP_TURIN)
		fake_amd_spl(a, "3.9", 1);
	if (key == SNP_VLEK) {
		fake_amd_ext_add(a, "5",
		    "\x16\x08"
		    "CN=cloud",
		    10);
		return;
	}
	for (size_t i = 0; i < sizeof hwid; i++)
		hwid[i] = (uint8_t)(0x40 + i);
	fake_amd_ext_add(a, "4", hwid, products[p].hwid_len);
	memcpy(a->report + 0x1a0, hwid, products[p].hwid_len);
}

static void
describe_report(struct fake_amd *a, enum snp_product p, enum snp_key key)
{
	static const uint8_t tcb_old[8] = { 3, 0, 0, 0, 0, 0, 8, 115 };
	static const uint8_t tcb_turin[8] = { 1, 3, 0, 8, 0, 0, 0, 115 };
	static const size_t tcbs[] = { 0x38, 0x180, 0x1e0, 0x1f0 };

	fake_amd_le32(a, 0, 3);
	a->report[0x0a] = 0x03; /* policy: SMT, and bit 17 */
	fake_amd_le32(a, 0x34, 1);
	a->report[0x40] = 0x20; /* ALIAS_CHECK_COMPLETE */
	fake_amd_le32(a, 0x48, (uint32_t)key << 2);
	memset(a->report + 0x50, 0xd0, 64);
	memset(a->report + 0x90, 0x3e, 48);
	memset(a->report + 0xc0, 0x40, 32);
	a->report[0x188] = products[p].family;
	a->report[0x189] = products[p].model;
	a->report[0x18a] = 1;
	for (size_t i = 0; i < sizeof tcbs / sizeof tcbs[0]; i++)
		memcpy(a->report + tcbs[i],
		    p == SNP_TURIN ? tcb_turin : tcb_old, 8);
	a->report[0x1e8] = 29;
	a->report[0x1e9] = 55;
	a->report[0x1ea] = 1;
}

void
fake_amd_init(struct fake_amd *a, enum snp_product p, enum snp_key key)
{
	const char *ask = key == SNP_VLEK ? products[p].asvk : products[p].ask;

	memset(a, 0, sizeof *a);
	a->key[FAKE_ARK] = vendor_rsa();
	a->key[FAKE_ASK] = vendor_rsa();
	a->key[FAKE_VEK] = vendor_ec("P-384");
	for (int i = 0; i < FAKE_AMD_CERTS; i++)
		a->cert[i] = (struct vendor_cert){
			.key = a->key[i],
			.issuer_key = a->key[i < FAKE_ARK ? i + 1 : i],
			.serial = i == FAKE_VEK ? 0 : 0x10000 + i,
			.from = FAKE_AMD_NOW - YEAR_S,
			.until = FAKE_AMD_NOW + YEAR_S,
			.ca = i != FAKE_VEK,
		};
	a->cert[FAKE_ARK].subject = products[p].ark;
	a->cert[FAKE_ARK].issuer = products[p].ark;
	a->cert[FAKE_ASK].subject = ask;
	a->cert[FAKE_ASK].issuer = products[p].ark;
	a->cert[FAKE_ASK].constraints = "critical,CA:TRUE,pathlen:0";
	a->cert[FAKE_VEK].subject = key == SNP_VLEK ? "SEV-VLEK" : "SEV-VCEK";
	a->cert[FAKE_VEK].issuer = ask;
	describe_report(a, p, key);
	describe_vek(a, p, key);
}

void
fake_amd_fini(struct fake_amd *a)
{
	for (int i = 0; i < FAKE_AMD_CERTS; i++) {
		EVP_PKEY_free(a->key[i]);
		buf_fini(&a->der[i]);
	}
	buf_fini(&a->crl);
}

void
fake_amd_sign(struct fake_amd *a, EVP_PKEY *key)
{
	uint8_t rs[96], *sig = a->report + SNP_SIGNED_LEN;

	vendor_sign(rs, key, a->report, SNP_SIGNED_LEN);
	memset(sig, 0, SNP_REPORT_LEN - SNP_SIGNED_LEN);
	for (int i = 0; i < 48; i++) {
		sig[i] = rs[47 - i];
		sig[72 + i] = rs[95 - i];
	}
}

void
fake_amd_build(struct fake_amd *a)
{
	for (int i = 0; i < FAKE_AMD_CERTS; i++)
		vendor_cert_der(&a->der[i], &a->cert[i]);
	sha256(a->ark_sha256, a->der[FAKE_ARK].p, a->der[FAKE_ARK].len);
	fake_amd_sign(a, a->key[FAKE_VEK]);
	a->ev = (struct snp_evidence){
		.report = BYTES_OF(a->report),
		.vek = buf_view(&a->der[FAKE_VEK]),
		.ask = buf_view(&a->der[FAKE_ASK]),
		.ark = buf_view(&a->der[FAKE_ARK]),
		.crl = buf_view(&a->crl),
	};
}
