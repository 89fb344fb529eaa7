/* What a KMS node sends is taken only if it follows from what is pinned: app
 * key, root of its epoch, certificates back to the root of epoch 0. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/crypto/v2key.h"

#include "node/agent/cacert.h"
#include "node/agent/release.h"
#include "tests/lib/fake_ca.h"
#include "tests/lib/fake_kms.h"

static struct fake_kms kms;
static const uint64_t zero = 0, one = 1, two = 2, three = 3;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	log_set_level(LOG_ERROR);
	fake_kms_init(&kms);
}

static void
teardown(void)
{
	fake_kms_fini(&kms);
}

TestSuite(agent_release, .init = setup, .fini = teardown);

static void
denied_with(const uint64_t *epoch, enum reason code, const char *words)
{
	struct app_release r = { .epoch = 99 };
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(
	    release_verify(&r, &kms.keys, &kms.terms, epoch, &why), ERR_DENIED);
	cr_assert_eq(
	    why.code, code, "%s: %s", reason_label(why.code), why.detail);
	cr_assert_not_null(strstr(why.detail, words), "%s", why.detail);
	cr_assert_eq(r.epoch, 99, "output touched");
}

static void
denied(const uint64_t *epoch, enum reason code)
{
	denied_with(epoch, code, "");
}

static void
allowed(const uint64_t *epoch)
{
	const struct fake_epoch *e = &kms.epoch[kms.keys.epoch];
	struct app_release r;
	struct refusal why = { .code = REASON_NONE };

	cr_assert_eq(release_verify(&r, &kms.keys, &kms.terms, epoch, &why),
	    ERR_OK, "%s", why.detail);
	cr_assert_eq(r.epoch, kms.keys.epoch);
	cr_assert_eq(r.pinned, kms.keys.pinned_epoch);
	cr_assert_arr_eq(r.k256.b, e->app.b, 32);
	cr_assert_arr_eq(r.root.b, e->root_pub.b, 33);
	cr_assert_arr_eq(r.genesis.b, kms.epoch[0].root_pub.b, 33);
	cr_assert_eq(r.has_registry, kms.keys.registry.len == 20);
}

/* What was asked for is what is taken. */
Test(agent_release, good)
{
	allowed(NULL);
	allowed(&zero);
	fake_kms_release(&kms, 3, 3);
	allowed(NULL);
	allowed(&three);
	fake_kms_release(&kms, 1, 3);
	allowed(&one);
	/* A KMS without a registry. */
	fake_kms_release(&kms, 0, 0);
	kms.keys.registry.len = 0;
	kms.epoch[0].record.ca_spki_hash.len = 0;
	allowed(NULL);
}

/* A release of another KMS, app, epoch or size is refused. */
Test(agent_release, not_ours)
{
	uint8_t other[20] = { 1 };

	denied(&one, REASON_EPOCH_UNKNOWN);
	kms.keys.chain_id++;
	denied(NULL, REASON_CHAIN_WRONG);
	kms.keys.chain_id--;
	kms.keys.kms_contract.data = other;
	denied(NULL, REASON_CHAIN_WRONG);
	kms.keys.kms_contract.data = kms.contract;
	kms.keys.app_id.data = other;
	denied(NULL, REASON_BOOT_INFO);
	kms.keys.app_id.len = 19;
	denied(NULL, REASON_BOOT_INFO);
	kms.keys.app_id = msg_bytes(kms.app_id, 20);
	kms.keys.k256_key.len = 31;
	denied(NULL, REASON_REQUEST);
	kms.keys.k256_key.len = 32;
	kms.keys.registry.len = 19;
	denied(NULL, REASON_REQUEST);
}

/* By default it is the pinned epoch, and never one that is newer. */
Test(agent_release, pin)
{
	fake_kms_release(&kms, 1, 2);
	denied_with(NULL, REASON_EPOCH_UNKNOWN, "pinned");
	denied_with(&two, REASON_EPOCH_UNKNOWN, "asked for");
	allowed(&one);
	fake_kms_release(&kms, 2, 1);
	denied_with(NULL, REASON_EPOCH_UNKNOWN, "pinned");
	denied_with(&two, REASON_EPOCH_CLOSED, "newer");
}

/* The app key must be signed by the root of its epoch, for this app. */
Test(agent_release, signature)
{
	struct fake_epoch *e = &kms.epoch[0];
	struct k256_secret other;
	struct k256_pub pub;
	uint8_t id[20] = { 9 };

	k256_generate(&other);
	cr_assert_eq(k256_pubkey(&pub, &other), ERR_OK);
	/* by another root */
	cr_assert_eq(
	    dstack_sign_app(&e->app_sig, &other, kms.app_id, &e->app_pub),
	    ERR_OK);
	denied(NULL, REASON_ROOT_MISMATCH);
	/* by the root of another epoch */
	cr_assert_eq(dstack_sign_app(&e->app_sig, &kms.epoch[1].root,
			 kms.app_id, &e->app_pub),
	    ERR_OK);
	denied(NULL, REASON_ROOT_MISMATCH);
	/* for another app */
	cr_assert_eq(
	    dstack_sign_app(&e->app_sig, &e->root, id, &e->app_pub), ERR_OK);
	denied(NULL, REASON_ROOT_MISMATCH);
	/* over another key */
	cr_assert_eq(
	    dstack_sign_app(&e->app_sig, &e->root, kms.app_id, &pub), ERR_OK);
	denied(NULL, REASON_ROOT_MISMATCH);
	memset(e->app_sig.b, 0, 65);
	denied(NULL, REASON_ROOT_MISMATCH);
	memset(e->app.b, 0, 32);
	denied(NULL, REASON_ROOT_MISMATCH);
}

/* A pinned root, by key or address, is the only one taken: of epoch 0, and so
 * of all that follow from it. */
Test(agent_release, pinned_root)
{
	struct k256_pub genesis = kms.epoch[0].root_pub;

	for (uint64_t i = 0; i < FAKE_EPOCHS; i++) {
		fake_kms_release(&kms, i, i);
		kms.terms.root.kind = ROOT_PIN_PUB;
		memcpy(kms.terms.root.b, genesis.b, 33);
		allowed(NULL);
		kms.terms.root.b[32] ^= 1;
		denied(NULL, REASON_ROOT_MISMATCH);
		kms.terms.root.kind = ROOT_PIN_ADDRESS;
		cr_assert_eq(k256_address(kms.terms.root.b, &genesis), ERR_OK);
		allowed(NULL);
		kms.terms.root.b[0] ^= 1;
		denied_with(NULL, REASON_ROOT_MISMATCH, "kms.root");
	}
	/* The root of a later epoch is no pin. */
	kms.terms.root.kind = ROOT_PIN_PUB;
	memcpy(kms.terms.root.b, kms.epoch[3].root_pub.b, 33);
	denied(NULL, REASON_ROOT_MISMATCH);
}

/* ---- the certificates ---- */

/* Every record and every certificate must be there, in order. */
Test(agent_release, missing_link)
{
	EpochPublic *swap;

	fake_kms_release(&kms, 2, 2);
	kms.keys.n_epochs = 2;
	denied(NULL, REASON_EPOCH_UNKNOWN);
	kms.keys.n_epochs = 4;
	denied(NULL, REASON_EPOCH_UNKNOWN);
	kms.keys.n_epochs = 0;
	denied(NULL, REASON_EPOCH_UNKNOWN);
	kms.keys.n_epochs = 3;
	allowed(NULL);
	/* Only from epoch 1 on. */
	kms.keys.epochs = kms.records + 1;
	kms.keys.n_epochs = 2;
	denied_with(NULL, REASON_EPOCH_UNKNOWN, "epoch 0 is missing");
	kms.keys.epochs = kms.records;
	kms.keys.n_epochs = 3;
	swap = kms.records[1];
	kms.records[1] = kms.records[2];
	denied(NULL, REASON_EPOCH_UNKNOWN);
	kms.records[1] = swap;
	kms.epoch[1].record.certificate.len = 0;
	denied_with(NULL, REASON_EPOCH_UNKNOWN, "certificate of epoch 1");
	kms.epoch[1].record.certificate.len = 65;
	kms.epoch[1].record.ca_spki_hash.len = 0;
	denied_with(NULL, REASON_EPOCH_UNKNOWN, "certificate of epoch 1");
	kms.epoch[1].record.ca_spki_hash.len = 32;
	kms.epoch[1].record.k256_pub.data = kms.bytes;
	kms.epoch[1].record.k256_pub.len = 32;
	denied(NULL, REASON_ROOT_MISMATCH);
}

/* A certificate is of one chain, registry, epoch, key, CA and mode, and the
 * root before signs it: in the middle of the chain and at its end. */
Test(agent_release, wrong_link)
{
	for (uint64_t i = 1; i <= 3; i++) {
		const struct k256_secret *before = &kms.epoch[i - 1].root;
		const struct epochcert good =
		    fake_kms_cert(&kms, i, EPOCHCERT_ROUTINE);
		struct epochcert c[5] = { good, good, good, good, good };

		fake_kms_release(&kms, 3, 3);
		c[0].chain_id++;
		c[1].registry[0] ^= 1;
		c[2].k256 = kms.epoch[0].root_pub;
		c[3].ca_spki_hash[31] ^= 1;
		c[4].mode = EPOCHCERT_EMERGENCY;
		for (size_t k = 0; k < 5; k++) {
			fake_kms_certify_as(&kms, &c[k], before);
			kms.epoch[i].record.mode = EPOCHCERT_ROUTINE;
			denied_with(
			    NULL, REASON_ROOT_MISMATCH, "not certified by");
		}
		/* that of another epoch, for the same key */
		c[0] = good;
		c[0].epoch = i == 3 ? 2 : i + 1;
		fake_kms_certify_as(&kms, &c[0], before);
		kms.epoch[i].certificate = kms.epoch[c[0].epoch].certificate;
		fake_kms_certify(&kms, c[0].epoch, EPOCHCERT_ROUTINE,
		    &kms.epoch[c[0].epoch - 1].root);
		denied(NULL, REASON_ROOT_MISMATCH);
		/* signed by the anchor's signer, by itself, by the next */
		fake_kms_certify(&kms, i, EPOCHCERT_ROUTINE, &kms.signer);
		denied(NULL, REASON_ROOT_MISMATCH);
		fake_kms_certify(
		    &kms, i, EPOCHCERT_ROUTINE, &kms.epoch[i].root);
		denied(NULL, REASON_ROOT_MISMATCH);
		memset(kms.epoch[i].certificate.b, 0, 65);
		denied(NULL, REASON_ROOT_MISMATCH);
		fake_kms_certify(&kms, i, EPOCHCERT_ROUTINE, before);
		allowed(NULL);
	}
}

/* The registry is named in every certificate, and the one that is pinned. */
Test(agent_release, registry)
{
	uint8_t other[20] = { 5 };

	fake_kms_release(&kms, 2, 2);
	kms.keys.registry.len = 0;
	denied_with(NULL, REASON_CHAIN_WRONG, "no registry");
	kms.keys.registry = msg_bytes(other, 20);
	denied(NULL, REASON_ROOT_MISMATCH);
	fake_kms_release(&kms, 2, 2);
	kms.terms.has_registry = true;
	memcpy(kms.terms.registry, other, 20);
	denied_with(NULL, REASON_CHAIN_WRONG, "kms.registry");
	fake_kms_release(&kms, 0, 0);
	denied_with(NULL, REASON_CHAIN_WRONG, "kms.registry");
	kms.keys.registry.len = 0;
	denied_with(NULL, REASON_CHAIN_WRONG, "kms.registry");
	memcpy(kms.terms.registry, kms.registry, 20);
	denied(NULL, REASON_CHAIN_WRONG);
	fake_kms_release(&kms, 0, 0);
	allowed(NULL);
	fake_kms_release(&kms, 2, 2);
	allowed(NULL);
}

/* After an emergency the root before counts for nothing; who signed must be
 * an anchor's signer that is configured, or that pinned code vouches for. */
Test(agent_release, emergency)
{
	struct k256_secret thief;

	k256_generate(&thief);
	fake_kms_certify(&kms, 2, EPOCHCERT_EMERGENCY, &kms.signer);
	fake_kms_release(&kms, 3, 3);
	denied_with(NULL, REASON_ROOT_MISMATCH, "set kms.anchor_signer");
	/* Nobody's word on who the signer is counts, if the code is not known */
	kms.keys.anchor_signers = kms.signers;
	kms.keys.n_anchor_signers = 1;
	denied_with(NULL, REASON_ROOT_MISMATCH, "set kms.anchor_signer");
	kms.terms.code_pinned = true;
	allowed(NULL);
	kms.keys.n_anchor_signers = 0;
	denied_with(NULL, REASON_ROOT_MISMATCH, "set kms.anchor_signer");
	kms.terms.code_pinned = false;
	kms.terms.n_anchor_signers = 2;
	memset(kms.terms.anchor_signer[0], 0xee, 20);
	denied_with(NULL, REASON_ROOT_MISMATCH, "not signed by");
	memcpy(kms.terms.anchor_signer[1], kms.signer_address, 20);
	allowed(NULL);
	/* The stolen root, in either mode. */
	fake_kms_certify(&kms, 2, EPOCHCERT_EMERGENCY, &kms.epoch[1].root);
	denied_with(NULL, REASON_ROOT_MISMATCH, "not signed by");
	fake_kms_certify(&kms, 2, EPOCHCERT_EMERGENCY, &thief);
	denied(NULL, REASON_ROOT_MISMATCH);
	fake_kms_certify(&kms, 2, EPOCHCERT_EMERGENCY, &kms.signer);
	kms.epoch[2].record.mode = EPOCHCERT_ROUTINE;
	denied_with(NULL, REASON_ROOT_MISMATCH, "not certified by");
	kms.epoch[2].record.mode = 2;
	denied(NULL, REASON_ROOT_MISMATCH);
	/* Before it and without it nothing is needed. */
	kms.terms.n_anchor_signers = 0;
	fake_kms_release(&kms, 1, 3);
	allowed(&one);
}

/* ---- the CA ---- */

/* The CA must be a certificate, its epoch's, and the one app-compose names. */
Test(agent_release, ca)
{
	uint8_t spki[P256_SPKI_LEN];
	struct p256_secret other;
	struct buf other_der = { 0 };

	cr_assert_eq(cacert_spki(spki, buf_view(&kms.epoch[0].ca_der)), ERR_OK);
	kms.terms.key_provider_id = (struct bytes){ spki, sizeof spki };
	allowed(NULL);
	spki[90] ^= 1;
	denied(NULL, REASON_ROOT_MISMATCH);
	kms.terms.key_provider_id.len = 90;
	denied(NULL, REASON_ROOT_MISMATCH);
	kms.terms.key_provider_id.len = 0;
	p256_generate(&other);
	fake_ca_root(&other_der, &other);
	kms.keys.ca_cert = msg_bytes(other_der.p, other_der.len);
	denied(NULL, REASON_ROOT_MISMATCH);
	/* In the record, too: but its hash is what is certified. */
	kms.epoch[0].record.ca_cert = kms.keys.ca_cert;
	denied(NULL, REASON_ROOT_MISMATCH);
	kms.keys.ca_cert.len--;
	denied(NULL, REASON_ROOT_MISMATCH);
	kms.keys.ca_cert.len = 0;
	denied(NULL, REASON_ROOT_MISMATCH);
	fake_kms_release(&kms, 2, 2);
	kms.epoch[2].record.ca_cert = msg_bytes(other_der.p, other_der.len);
	kms.keys.ca_cert = kms.epoch[2].record.ca_cert;
	denied(NULL, REASON_ROOT_MISMATCH);
	buf_fini(&other_der);
}

/* key_provider_id is followed through rotations from a pinned root alone:
 * before the first certificate nothing ties a CA to a root. */
Test(agent_release, provider_of_a_former_epoch)
{
	uint8_t spki[P256_SPKI_LEN];

	cr_assert_eq(cacert_spki(spki, buf_view(&kms.epoch[0].ca_der)), ERR_OK);
	kms.terms.key_provider_id = (struct bytes){ spki, sizeof spki };
	fake_kms_release(&kms, 2, 2);
	denied_with(NULL, REASON_ROOT_MISMATCH, "set kms.root");
	kms.terms.root.kind = ROOT_PIN_PUB;
	memcpy(kms.terms.root.b, kms.epoch[0].root_pub.b, 33);
	allowed(NULL);
	spki[90] ^= 1;
	denied(NULL, REASON_ROOT_MISMATCH);
	/* A later one's is no former one's. */
	cr_assert_eq(cacert_spki(spki, buf_view(&kms.epoch[3].ca_der)), ERR_OK);
	denied(NULL, REASON_ROOT_MISMATCH);
	cr_assert_eq(cacert_spki(spki, buf_view(&kms.epoch[1].ca_der)), ERR_OK);
	allowed(NULL);
	cr_assert_eq(cacert_spki(spki, buf_view(&kms.epoch[2].ca_der)), ERR_OK);
	kms.terms.root.kind = ROOT_PIN_NONE;
	allowed(NULL);
}

/* ---- certificate chains and PEM ---- */

TestSuite(agent_cacert, .init = setup, .fini = teardown);

/* A chain must be for our key, whole, and under our root. */
Test(agent_cacert, chain)
{
	uint8_t leaf[P256_SPKI_LEN], root[P256_SPKI_LEN];
	struct buf a[3] = { { 0 } }, b[3] = { { 0 } }, mixed[3];
	struct p256_secret key;
	struct p256_pub pub;

	p256_generate(&key);
	cr_assert_eq(p256_pubkey(&pub, &key), ERR_OK);
	cr_assert_eq(p256_spki(leaf, &pub), ERR_OK);
	cr_assert_eq(cacert_spki(root, buf_view(&kms.epoch[0].ca_der)), ERR_OK);
	fake_ca_chain(a, &kms.epoch[0].ca, &pub);
	fake_ca_chain(b, &kms.epoch[0].ca, &pub);
	cr_assert_eq(cacert_chain(a, leaf, root), ERR_OK);
	cr_assert_eq(cacert_chain(a, root, root), ERR_AUTH);
	cr_assert_eq(cacert_chain(a, leaf, leaf), ERR_AUTH);
	/* A link of another issue of the same names does not fit. */
	memcpy(mixed, a, sizeof mixed);
	mixed[1] = b[1];
	cr_assert_eq(cacert_chain(mixed, leaf, root), ERR_AUTH);
	memcpy(mixed, a, sizeof mixed);
	mixed[0] = a[2];
	cr_assert_eq(cacert_chain(mixed, leaf, root), ERR_AUTH);
	memcpy(mixed, a, sizeof mixed);
	mixed[2].len--;
	cr_assert_eq(cacert_chain(mixed, leaf, root), ERR_MALFORMED);
	a[0].p[a[0].len - 1] ^= 1;
	cr_assert_neq(cacert_chain(a, leaf, root), ERR_OK);
	for (size_t i = 0; i < 3; i++) {
		buf_fini(&a[i]);
		buf_fini(&b[i]);
	}
}

/* PEM has lines of 64 and exactly the announced length. */
Test(agent_cacert, pem)
{
	uint8_t in[138];

	for (size_t n = 0; n <= sizeof in; n++) {
		struct buf out = { 0 };

		memset(in, 0xff, n);
		cr_assert_eq(
		    cacert_pem(&out, "X", (struct bytes){ in, n }), ERR_OK);
		cr_assert_eq(out.len, cacert_pem_len("X", n));
		buf_fini(&out);
	}
	struct buf out = { 0 };

	cr_assert_eq(cacert_pem(&out, "X", (struct bytes){ in, 4 }), ERR_OK);
	cr_assert_str_eq(
	    (char *)out.p, "-----BEGIN X-----\n/////w==\n-----END X-----\n");
	buf_fini(&out);
}

/* ---- what one replica alone has ---- */

static struct k256_secret replica;
static struct k256_sig65 replica_sig;

/* The release gets the key of an instance whose id is all `id`, for the epoch
 * and app that it says, signed by `root`. */
static void
with_replica(uint64_t epoch, uint8_t id, const struct k256_secret *root)
{
	struct v2key_owner owner = { .epoch = epoch };
	struct k256_pub pub;

	memcpy(owner.app_id, kms.app_id, 20);
	memset(owner.instance_id, id, 20);
	k256_generate(&replica);
	cr_assert_eq(k256_pubkey(&pub, &replica), ERR_OK);
	cr_assert_eq(
	    v2key_sign_replica(&replica_sig, root, &owner, &pub), ERR_OK);
	kms.keys.replica_key = msg_bytes(replica.b, 32);
	kms.keys.replica_signature = msg_bytes(replica_sig.b, 65);
}

/* It must be signed by the epoch's root, for this instance of this app. */
Test(agent_release, replica)
{
	struct k256_secret *root = &kms.epoch[0].root;
	struct app_release r;

	kms.terms.has_instance_id = true;
	memset(kms.terms.instance_id, 0x55, 20);
	with_replica(0, 0x55, root);
	allowed(NULL);
	cr_assert_eq(
	    release_verify(&r, &kms.keys, &kms.terms, NULL, NULL), ERR_OK);
	cr_assert(r.has_replica);
	cr_assert_arr_eq(r.replica.b, replica.b, 32);

	with_replica(0, 0x56, root);
	denied_with(NULL, REASON_ROOT_MISMATCH, "for this instance");
	with_replica(1, 0x55, root);
	denied_with(NULL, REASON_ROOT_MISMATCH, "for this instance");
	with_replica(0, 0x55, &kms.epoch[1].root);
	denied_with(NULL, REASON_ROOT_MISMATCH, "for this instance");
	with_replica(0, 0x55, root);
	replica_sig.b[7] ^= 1;
	denied_with(NULL, REASON_ROOT_MISMATCH, "for this instance");
	with_replica(0, 0x55, root);
	memset(replica.b, 0xff, 32);
	denied_with(NULL, REASON_ROOT_MISMATCH, "no key");
	with_replica(0, 0x55, root);
	kms.keys.replica_key.len = 31;
	denied_with(NULL, REASON_ROOT_MISMATCH, "no key");
	/* A node that sends none releases all the rest. */
	kms.keys.replica_key.len = 0;
	cr_assert_eq(
	    release_verify(&r, &kms.keys, &kms.terms, NULL, NULL), ERR_OK);
	cr_assert(!r.has_replica);
	/* Who has no instance id takes none. */
	with_replica(0, 0x55, root);
	kms.terms.has_instance_id = false;
	cr_assert_eq(
	    release_verify(&r, &kms.keys, &kms.terms, NULL, NULL), ERR_OK);
	cr_assert(!r.has_replica);
}
