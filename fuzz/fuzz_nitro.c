/* fuzz_nitro: nitro_parse and nitro_verify.
 *
 * What parses must lie inside the input and be all there is; nothing is ever
 * accepted under AWS's root, unless its document were the input. */
#include <string.h>

#include "common/attest/nitro.h"
#include "common/base/limits.h"
#include "common/crypto/hash.h"
#include "fuzz/must.h"

#define NOW 1750000000 /* when the certificates of the corpus are in date */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
inside(struct bytes b, struct bytes in)
{
	must(b.p >= in.p && (size_t)(b.p - in.p) <= in.len &&
	    b.len <= in.len - (size_t)(b.p - in.p));
}

static void
parsed(const struct nitro_doc *d, struct bytes in)
{
	const struct nitro_opt *opt[] = { &d->public_key, &d->user_data,
		&d->nonce };

	must(in.len <= LIMIT_NITRO_DOC);
	inside(d->payload, in);
	must(d->signature + 96 == in.p + in.len);
	inside(d->module_id, d->payload);
	must(d->module_id.len > 0 && d->module_id.len <= NITRO_MODULE_ID_MAX);
	inside(d->certificate, d->payload);
	must(d->n_cabundle > 0 && d->n_cabundle <= NITRO_CABUNDLE_MAX);
	for (size_t i = 0; i < d->n_cabundle; i++) {
		inside(d->cabundle[i], d->payload);
		must(d->cabundle[i].len <= NITRO_CERT_MAX);
	}
	for (int i = 0; i < NITRO_N_PCRS; i++)
		if (d->pcr[i] != NULL)
			inside((struct bytes){ d->pcr[i], NITRO_PCR_LEN },
			    d->payload);
	must(d->pcr[0] != NULL && d->pcr[1] != NULL && d->pcr[2] != NULL);
	for (int i = 0; i < 3; i++)
		if (opt[i]->present) {
			inside(opt[i]->b, d->payload);
			must(opt[i]->b.len <= NITRO_FIELD_MAX);
		}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct nitro_policy strict;
	struct bytes in = { data, size };
	struct nitro_options o = { .now = NOW };
	struct nitro_verdict v;
	struct nitro_doc d;
	uint8_t root[32];

	if (nitro_parse(&d, in, NULL) != ERR_OK)
		return 0;
	parsed(&d, in);
	must(nitro_verify(&v, in, &o, NULL) != ERR_OK);
	sha256(root, d.cabundle[0].p, d.cabundle[0].len);
	o.simulated_root = root;
	if (nitro_verify(&v, in, &o, NULL) != ERR_OK)
		return 0;
	must(v.simulated && v.timestamp_ms / 1000 <= NOW + NITRO_SKEW_S);
	must(memcmp(v.root_fingerprint, root, 32) == 0);
	must(memcmp(v.pcr[0], d.pcr[0], NITRO_PCR_LEN) == 0);
	must(nitro_accept(&v, &strict, NULL) == ERR_DENIED);
	return 0;
}
