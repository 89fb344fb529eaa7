#include <string.h>

#include "common/crypto/epochcert.h"

#include "node/agent/epochchain.h"

typedef Devproof__Kms__V1__AppKeys AppKeys;
typedef Devproof__Kms__V1__EpochPublic EpochPublic;

/* All of them, in order, from genesis up to the one that is released. */
static enum err
check_records(const AppKeys *in, struct refusal *why)
{
	struct k256_pub pub;

	for (size_t i = 0; i < in->n_epochs; i++) {
		const EpochPublic *ep = in->epochs[i];

		if (ep->number != i)
			return refuse(why, REASON_EPOCH_UNKNOWN,
			    "the record of epoch %zu is missing", i);
		if (k256_pub_parse(&pub, ep->k256_pub.data, ep->k256_pub.len) !=
		    ERR_OK)
			return refuse(why, REASON_ROOT_MISMATCH,
			    "the root of epoch %zu is no key", i);
	}
	/* epoch + 1 would wrap around. */
	if (in->n_epochs == 0 || in->epoch != in->n_epochs - 1)
		return refuse(why, REASON_EPOCH_UNKNOWN,
		    "records of %zu epochs, for keys of epoch %llu",
		    in->n_epochs, (unsigned long long)in->epoch);
	return ERR_OK;
}

static enum err
check_pin(
    const struct root_pin *pin, const EpochPublic *genesis, struct refusal *why)
{
	struct k256_pub root;
	uint8_t address[20];

	if (k256_pub_parse(
		&root, genesis->k256_pub.data, genesis->k256_pub.len) != ERR_OK)
		return ERR_MALFORMED;
	switch (pin->kind) {
	case ROOT_PIN_NONE:
		return ERR_OK;
	case ROOT_PIN_PUB:
		if (memcmp(pin->b, root.b, sizeof root.b) == 0)
			return ERR_OK;
		break;
	case ROOT_PIN_ADDRESS:
		if (k256_address(address, &root) == ERR_OK &&
		    memcmp(pin->b, address, sizeof address) == 0)
			return ERR_OK;
		break;
	}
	return refuse(why, REASON_ROOT_MISMATCH,
	    "the root of epoch 0 is not the pinned (kms.root)");
}

static enum err
check_registry(
    const AppKeys *in, const struct release_terms *t, struct refusal *why)
{
	if (t->has_registry && in->registry.len == 0)
		return refuse(why, REASON_CHAIN_WRONG,
		    "the release names no registry, where kms.registry does");
	if (t->has_registry &&
	    (in->registry.len != sizeof t->registry ||
		memcmp(in->registry.data, t->registry, sizeof t->registry) !=
		    0))
		return refuse(why, REASON_CHAIN_WRONG,
		    "the release names another registry than kms.registry");
	if (in->epoch > 0 && in->registry.len != sizeof t->registry)
		return refuse(why, REASON_CHAIN_WRONG,
		    "keys of epoch %llu, and no registry",
		    (unsigned long long)in->epoch);
	return ERR_OK;
}

/* After an emergency: is it an anchor's signer that we know? */
static enum err
check_signer(const AppKeys *in, const struct release_terms *t,
    const struct epochcert *c, const struct k256_sig65 *sig,
    struct refusal *why)
{
	unsigned long long n = (unsigned long long)c->epoch;
	uint8_t signer[20];

	if (epochcert_signer(signer, c, sig) != ERR_OK)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "the certificate of epoch %llu is signed by nobody", n);
	for (unsigned i = 0; i < t->n_anchor_signers; i++)
		if (memcmp(t->anchor_signer[i], signer, sizeof signer) == 0)
			return ERR_OK;
	/* Attested code that is pinned has compared with the registry. */
	for (size_t i = 0; t->code_pinned && i < in->n_anchor_signers; i++)
		if (in->anchor_signers[i].len == sizeof signer &&
		    memcmp(in->anchor_signers[i].data, signer, sizeof signer) ==
			0)
			return ERR_OK;
	if (t->n_anchor_signers > 0)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "epoch %llu followed an emergency, and is not signed by "
		    "kms.anchor_signer",
		    n);
	return refuse(why, REASON_ROOT_MISMATCH,
	    "epoch %llu followed an emergency: its link cannot be checked "
	    "from the root before; set kms.anchor_signer or kms.mr_aggregated",
	    n);
}

/* The link to epoch `i` from the one before. */
static enum err
check_link(const AppKeys *in, const struct release_terms *t, size_t i,
    struct refusal *why)
{
	const EpochPublic *ep = in->epochs[i], *before = in->epochs[i - 1];
	struct epochcert c = { .chain_id = t->chain_id,
		.epoch = i,
		.mode = (enum epochcert_mode)ep->mode };
	struct k256_sig65 sig;
	struct k256_pub root;

	if (ep->certificate.len != sizeof sig.b ||
	    ep->ca_spki_hash.len != sizeof c.ca_spki_hash)
		return refuse(why, REASON_EPOCH_UNKNOWN,
		    "the certificate of epoch %zu is missing", i);
	memcpy(sig.b, ep->certificate.data, sizeof sig.b);
	memcpy(c.registry, in->registry.data, sizeof c.registry);
	memcpy(c.k256.b, ep->k256_pub.data, sizeof c.k256.b);
	memcpy(c.ca_spki_hash, ep->ca_spki_hash.data, sizeof c.ca_spki_hash);
	switch (c.mode) {
	case EPOCHCERT_ROUTINE:
		memcpy(root.b, before->k256_pub.data, sizeof root.b);
		if (epochcert_verify(&c, &sig, &root) == ERR_OK)
			return ERR_OK;
		return refuse(why, REASON_ROOT_MISMATCH,
		    "epoch %zu is not certified by the root before it", i);
	case EPOCHCERT_EMERGENCY:
		return check_signer(in, t, &c, &sig, why);
	}
	return refuse(why, REASON_ROOT_MISMATCH,
	    "the certificate of epoch %zu has no such mode", i);
}

enum err
epochchain_verify(
    const AppKeys *in, const struct release_terms *t, struct refusal *why)
{
	enum err e;

	if ((e = check_records(in, why)) != ERR_OK ||
	    (e = check_registry(in, t, why)) != ERR_OK ||
	    (e = check_pin(&t->root, in->epochs[0], why)) != ERR_OK)
		return e;
	for (size_t i = 1; e == ERR_OK && i < in->n_epochs; i++)
		e = check_link(in, t, i, why);
	return e;
}
