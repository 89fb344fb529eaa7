#include <stdlib.h>
#include <string.h>

#include "common/crypto/hash.h"
#include "common/eth/appauth.h"
#include "kms/ctl/gov.h"
#include "kms/ctl/kmsroots.h"

static void
of_registry(struct kmsroots *out, const struct registry_state *s)
{
	for (size_t i = 0; i < s->n_epochs; i++) {
		const struct registry_epoch *x = &s->epoch[i];
		struct kmsroot *r = &out->root[out->n];

		if (x->status != REGISTRY_ACTIVE)
			continue;
		r->epoch = x->number;
		r->k256 = x->k256;
		memcpy(r->ca_spki_hash, x->ca_spki_hash, 32);
		out->n++;
	}
	out->by = "the registry of roots";
}

static enum err
of_kms_info(struct kmsroots *out, struct refusal *why)
{
	struct buf call = { 0 }, answer = { 0 };
	const struct contract *k = &out->k;
	struct appauth_kms_info info;
	struct kmsroot *r = &out->root[0];
	struct p256_pub ca;
	enum err e = appauth_getter(&call, APPAUTH_KMS_INFO);

	if (e == ERR_OK)
		e = contract_call(&answer, k, k->kms, buf_view(&call), why);
	if (e == ERR_OK && appauth_kms_info(&info, buf_view(&answer)) != ERR_OK)
		e = refuse(why, REASON_CHAIN_ANSWER, "not a KMS contract");
	if (e == ERR_OK &&
	    (k256_pub_parse(&r->k256, info.k256_pub.p, info.k256_pub.len) !=
		    ERR_OK ||
		p256_spki_parse(&ca, info.ca_pub.p, info.ca_pub.len) != ERR_OK))
		e = refuse(
		    why, REASON_ROOT_MISMATCH, "the contract names no roots");
	if (e == ERR_OK) {
		sha256(r->ca_spki_hash, info.ca_pub.p, info.ca_pub.len);
		out->n = 1;
		out->by = "the KMS contract";
	}
	buf_fini(&answer);
	buf_fini(&call);
	return e;
}

enum ctl_exit
kmsroots_from_args(
    struct kmsroots *out, const struct ctl *c, const struct args *a)
{
	struct refusal why = { .code = REASON_NONE };
	struct gov *g = NULL;
	enum ctl_exit rc;
	enum err e;

	*out = (struct kmsroots){ .n = 0 };
	if ((rc = contract_from_args(&out->k, c, a, false, false)) != CTL_OK)
		return rc;
	if (out->k.has_registry) {
		if ((g = calloc(1, sizeof *g)) == NULL)
			return ctl_fail(c, CTL_FAILED, "out of memory");
		if ((rc = gov_open(g, c, a, false, true)) == CTL_OK)
			of_registry(out, &g->s);
		free(g);
		/* One that has not taken over the KMS yet knows nothing. */
		if (rc != CTL_OK || out->n > 0)
			return rc;
	}
	if ((rc = contract_from_args(&out->k, c, a, false, true)) != CTL_OK)
		return rc;
	e = of_kms_info(out, &why);
	return e == ERR_OK ? CTL_OK
			   : ctl_denied(c, "the roots on chain", e, &why);
}
