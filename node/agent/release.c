#include <string.h>

#include "common/base/secret.h"

#include "node/agent/cacert.h"
#include "node/agent/release.h"

static bool
is(ProtobufCBinaryData b, const void *p, size_t len)
{
	return b.len == len && memcmp(b.data, p, len) == 0;
}

static bool
copy(void *out, size_t len, ProtobufCBinaryData b)
{
	if (b.len != len)
		return false;
	memcpy(out, b.data, len);
	return true;
}

/* The public record of the epoch, among those that came along. */
static const Devproof__Kms__V1__EpochPublic *
find_epoch(const Devproof__Kms__V1__AppKeys *in)
{
	for (size_t i = 0; i < in->n_epochs; i++)
		if (in->epochs[i]->number == in->epoch)
			return in->epochs[i];
	return NULL;
}

static enum err
check_pin(const struct root_pin *pin, const struct k256_pub *root,
    struct refusal *why)
{
	uint8_t address[20];

	switch (pin->kind) {
	case ROOT_PIN_NONE:
		return ERR_OK;
	case ROOT_PIN_PUB:
		if (memcmp(pin->b, root->b, sizeof root->b) == 0)
			return ERR_OK;
		break;
	case ROOT_PIN_ADDRESS:
		if (k256_address(address, root) == ERR_OK &&
		    memcmp(pin->b, address, sizeof address) == 0)
			return ERR_OK;
		break;
	}
	return refuse(why, REASON_ROOT_MISMATCH, "root key is not the pinned");
}

/* Key -> app key's signature -> root -> pin. */
static enum err
check_root(struct app_release *r, const Devproof__Kms__V1__EpochPublic *ep,
    const struct release_terms *t, struct refusal *why)
{
	struct k256_pub app, root;

	if (k256_pubkey(&app, &r->k256) != ERR_OK)
		return refuse(why, REASON_ROOT_MISMATCH, "app key is no key");
	if (dstack_recover_app(&root, &r->k256_signature, t->app_id, &app) !=
	    ERR_OK)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "app key's signature recovers no key");
	if (!is(ep->k256_pub, root.b, sizeof root.b))
		return refuse(why, REASON_ROOT_MISMATCH,
		    "app key is not signed by its epoch's root");
	r->root = root;
	return check_pin(&t->root, &root, why);
}

static enum err
check_ca(struct app_release *r, const Devproof__Kms__V1__AppKeys *in,
    const Devproof__Kms__V1__EpochPublic *ep, const struct release_terms *t,
    struct refusal *why)
{
	uint8_t other[P256_SPKI_LEN];

	if (cacert_spki(r->ca_spki,
		(struct bytes){ in->ca_cert.data, in->ca_cert.len }) != ERR_OK)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "root CA: no P-256 "
		    "certificate");
	/* The record's certificate may be another one over the same key. */
	if (ep->ca_cert.len > 0 &&
	    (cacert_spki(
		 other, (struct bytes){ ep->ca_cert.data, ep->ca_cert.len }) !=
		    ERR_OK ||
		memcmp(other, r->ca_spki, sizeof other) != 0))
		return refuse(
		    why, REASON_ROOT_MISMATCH, "root CA is not its epoch's");
	if (t->key_provider_id.len > 0 &&
	    (t->key_provider_id.len != sizeof r->ca_spki ||
		memcmp(t->key_provider_id.p, r->ca_spki, sizeof r->ca_spki) !=
		    0))
		return refuse(why, REASON_ROOT_MISMATCH,
		    "root CA is not app-compose's key_provider_id");
	return ERR_OK;
}

enum err
release_verify(struct app_release *out, const Devproof__Kms__V1__AppKeys *in,
    const struct release_terms *t, const uint64_t *epoch, struct refusal *why)
{
	const Devproof__Kms__V1__EpochPublic *ep = find_epoch(in);
	struct app_release r = { .epoch = in->epoch,
		.block_number = in->block_number };
	enum err e;

	if (in->chain_id != t->chain_id ||
	    !is(in->kms_contract, t->kms_contract, 20)) {
		e = refuse(why, REASON_CHAIN_WRONG, "release of another KMS");
		goto done;
	}
	if (!is(in->app_id, t->app_id, 20)) {
		e = refuse(why, REASON_BOOT_INFO, "release for another app");
		goto done;
	}
	if (ep == NULL || (epoch != NULL && *epoch != in->epoch)) {
		e = refuse(why, REASON_EPOCH_UNKNOWN,
		    "not the epoch asked "
		    "for, or without its record");
		goto done;
	}
	if (!copy(r.k256.b, sizeof r.k256.b, in->k256_key) ||
	    !copy(r.k256_signature.b, sizeof r.k256_signature.b,
		in->k256_signature) ||
	    !copy(r.os_image_hash, sizeof r.os_image_hash, in->os_image_hash)) {
		e = refuse(why, REASON_REQUEST, "release has wrong sizes");
		goto done;
	}
	if ((e = check_root(&r, ep, t, why)) != ERR_OK)
		goto done;
	if ((e = check_ca(&r, in, ep, t, why)) != ERR_OK)
		goto done;
	*out = r;
done:
	release_wipe(&r);
	return e;
}

void
release_wipe(struct app_release *r)
{
	secret_wipe(r, sizeof *r);
}
