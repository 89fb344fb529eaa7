/* fake_nitro: an AWS of one's own: root, region, zone, instance, enclave,
 * and a signed document, from one description that a test may bend. */
#ifndef TESTS_LIB_FAKE_NITRO_H
#define TESTS_LIB_FAKE_NITRO_H

#include "common/attest/nitro.h"
#include "common/base/limits.h"
#include "common/base/wr.h"
#include "tests/lib/vendor_pki.h"

#define FAKE_NITRO_NOW 1750000000
#define FAKE_NITRO_CERTS 5 /* leaf first, root last */

struct fake_nitro {
	EVP_PKEY *key[FAKE_NITRO_CERTS]; /* owns */
	struct vendor_cert cert[FAKE_NITRO_CERTS];
	struct buf der[FAKE_NITRO_CERTS];
	uint8_t root_sha256[32];
	/* The payload's fields, each as whole CBOR: key and value. */
	uint8_t field_bytes[12][8 * 1024];
	struct wr field[12];
	size_t n_fields;
	bool indefinite; /* the payload's map */
	size_t payload_trailing; /* zeros behind it, signed */
	/* The frame: what stands before the payload, and the tag. */
	struct bytes tag, prot, unprot;
	size_t trailing; /* zeros behind all */
	uint8_t doc[LIMIT_NITRO_DOC + 4096];
	struct wr w;
};

/* fake_nitro_init issues the certificates and describes a document that
 * verifies: 16 PCRs of bytes 0x10 + i, public_key "key", user_data "data",
 * nonce "nonce", time FAKE_NITRO_NOW. */
void fake_nitro_init(struct fake_nitro *f);
void fake_nitro_fini(struct fake_nitro *f);
/* fake_nitro_issue issues the certificates again. */
void fake_nitro_issue(struct fake_nitro *f);
/* fake_nitro_build signs the document and returns it. */
struct bytes fake_nitro_build(struct fake_nitro *f);

/* fake_nitro_field empties the field `key` (made if new) and writes its key;
 * the caller writes the value. */
struct wr *fake_nitro_field(struct fake_nitro *f, const char *key);
/* fake_nitro_again writes a second field of that name. */
struct wr *fake_nitro_again(struct fake_nitro *f, const char *key);
void fake_nitro_drop(struct fake_nitro *f, const char *key);
/* fake_nitro_certs writes `certificate` and `cabundle` from the first `n`
 * certificates of the bundle, root first. */
void fake_nitro_certs(struct fake_nitro *f, size_t n);
void fake_nitro_time(struct fake_nitro *f, uint64_t ms);
/* fake_nitro_pcrs writes `n` PCRs, those in `zero` as zeros. */
void fake_nitro_pcrs(struct fake_nitro *f, unsigned n, uint32_t zero);

/* A CBOR head in its shortest form, a byte string, a text. */
void fake_cbor_head(struct wr *w, unsigned major, uint64_t n);
void fake_cbor_bytes(struct wr *w, const void *p, size_t len);
void fake_cbor_text(struct wr *w, const char *s);

#endif
