#include <string.h>

#include "common/base/memfail.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "common/crypto/v2key.h"

#include "node/agent/cacert.h"
#include "node/agent/epochchain.h"
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

/* Key -> app key's signature -> root; epochchain.h has shown whose that is. */
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
	return ERR_OK;
}

/* The CA that the app insists on is that of the epoch, or of one that it
 * follows from: but what ties CAs of former epochs to their roots are the
 * certificates alone, which begin at a root that is pinned. */
static bool
provider_ok(const struct app_release *r, const Devproof__Kms__V1__AppKeys *in,
    const struct release_terms *t)
{
	const struct bytes id = t->key_provider_id;
	uint8_t hash[32];

	if (id.len == 0 ||
	    (id.len == sizeof r->ca_spki &&
		memcmp(id.p, r->ca_spki, sizeof r->ca_spki) == 0))
		return true;
	if (t->root.kind == ROOT_PIN_NONE && !t->code_pinned)
		return false;
	sha256(hash, id.p, id.len);
	for (size_t i = 0; i < in->n_epochs; i++)
		if (is(in->epochs[i]->ca_spki_hash, hash, sizeof hash))
			return true;
	return false;
}

static enum err
check_ca(struct app_release *r, const Devproof__Kms__V1__AppKeys *in,
    const Devproof__Kms__V1__EpochPublic *ep, const struct release_terms *t,
    struct refusal *why)
{
	uint8_t other[P256_SPKI_LEN], hash[32];

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
	/* What the certificate of the epoch is about; genesis has none. */
	sha256(hash, r->ca_spki, sizeof r->ca_spki);
	if ((in->epoch > 0 || ep->ca_spki_hash.len > 0) &&
	    !is(ep->ca_spki_hash, hash, sizeof hash))
		return refuse(why, REASON_ROOT_MISMATCH,
		    "root CA is not the one that its epoch's record names");
	if (provider_ok(r, in, t))
		return ERR_OK;
	return refuse(why, REASON_ROOT_MISMATCH,
	    in->epoch == 0 ? "root CA is not app-compose's key_provider_id"
			   : "root CA is not app-compose's key_provider_id; "
			     "to follow that through rotations set kms.root");
}

/* The instance's own key: a node of an older version sends none. */
static enum err
check_replica(struct app_release *r, const Devproof__Kms__V1__AppKeys *in,
    const struct release_terms *t, struct refusal *why)
{
	struct v2key_owner owner = { .epoch = r->epoch };
	struct k256_pub pub, root;

	if (!t->has_instance_id || in->replica_key.len == 0)
		return ERR_OK;
	memcpy(owner.app_id, t->app_id, 20);
	memcpy(owner.instance_id, t->instance_id, 20);
	if (!copy(r->replica.b, sizeof r->replica.b, in->replica_key) ||
	    !copy(r->replica_signature.b, sizeof r->replica_signature.b,
		in->replica_signature) ||
	    k256_pubkey(&pub, &r->replica) != ERR_OK)
		return refuse(
		    why, REASON_ROOT_MISMATCH, "replica's key is no key");
	if (v2key_recover_replica(&root, &r->replica_signature, &owner, &pub) !=
		ERR_OK ||
	    memcmp(root.b, r->root.b, sizeof root.b) != 0)
		return refuse(why, REASON_ROOT_MISMATCH,
		    "replica's key is not signed by the epoch's root for this "
		    "instance");
	r->has_replica = true;
	return ERR_OK;
}

enum err
release_verify(struct app_release *out, const Devproof__Kms__V1__AppKeys *in,
    const struct release_terms *t, const uint64_t *epoch, struct refusal *why)
{
	const Devproof__Kms__V1__EpochPublic *ep;
	struct app_release r = { .epoch = in->epoch,
		.pinned = in->pinned_epoch,
		.has_registry = in->registry.len > 0,
		.block_number = in->block_number };
	uint64_t before = memfail_count();
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
	if (in->epoch != (epoch != NULL ? *epoch : in->pinned_epoch)) {
		e = refuse(why, REASON_EPOCH_UNKNOWN,
		    epoch != NULL ? "not the epoch asked for"
				  : "not the epoch that the app is pinned to");
		goto done;
	}
	if (in->epoch > in->pinned_epoch) {
		e = refuse(why, REASON_EPOCH_CLOSED,
		    "keys of an epoch newer than the app's pin");
		goto done;
	}
	if ((e = epochchain_verify(in, t, why)) != ERR_OK)
		goto done;
	ep = in->epochs[in->epoch];
	if (!copy(r.k256.b, sizeof r.k256.b, in->k256_key) ||
	    !copy(r.k256_signature.b, sizeof r.k256_signature.b,
		in->k256_signature) ||
	    !copy(r.env_crypt_key, sizeof r.env_crypt_key, in->env_crypt_key) ||
	    !copy(r.genesis.b, sizeof r.genesis.b, in->epochs[0]->k256_pub) ||
	    (r.has_registry &&
		!copy(r.registry, sizeof r.registry, in->registry)) ||
	    !copy(r.os_image_hash, sizeof r.os_image_hash, in->os_image_hash)) {
		e = refuse(why, REASON_REQUEST, "release has wrong sizes");
		goto done;
	}
	if ((e = check_root(&r, ep, t, why)) != ERR_OK)
		goto done;
	if ((e = check_replica(&r, in, t, why)) != ERR_OK)
		goto done;
	if ((e = check_ca(&r, in, ep, t, why)) != ERR_OK)
		goto done;
	*out = r;
done:
	release_wipe(&r);
	e = memfail_err(before, e);
	/* What could not be looked at is not wrong. */
	if (e == ERR_NOMEM && why != NULL)
		*why = (struct refusal){ .code = REASON_NONE };
	return e;
}

void
release_wipe(struct app_release *r)
{
	secret_wipe(r, sizeof *r);
}
