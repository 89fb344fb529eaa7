#include <string.h>

#include <criterion/criterion.h>

#include "common/crypto/dstack.h"
#include "tests/lib/fake_ca.h"
#include "tests/lib/fake_kms.h"

#define CHAIN 31337

struct epochcert
fake_kms_cert(
    const struct fake_kms *f, uint64_t epoch, enum epochcert_mode mode)
{
	struct epochcert c = { .chain_id = CHAIN,
		.epoch = epoch,
		.k256 = f->epoch[epoch].root_pub,
		.mode = mode };

	memcpy(c.registry, f->registry, sizeof c.registry);
	memcpy(c.ca_spki_hash, f->epoch[epoch].ca_hash, 32);
	return c;
}

void
fake_kms_certify_as(
    struct fake_kms *f, const struct epochcert *c, const struct k256_secret *by)
{
	uint8_t text[EPOCHCERT_LEN];

	cr_assert_eq(epochcert_message(text, c), ERR_OK);
	cr_assert_eq(k256_sign65(&f->epoch[c->epoch].certificate, by,
			 &(struct bytes){ text, sizeof text }, 1),
	    ERR_OK);
	f->epoch[c->epoch].record.mode = c->mode;
}

void
fake_kms_certify(struct fake_kms *f, uint64_t epoch, enum epochcert_mode mode,
    const struct k256_secret *by)
{
	struct epochcert c = fake_kms_cert(f, epoch, mode);

	fake_kms_certify_as(f, &c, by);
}

static void
make_epoch(struct fake_kms *f, uint64_t number)
{
	struct fake_epoch *e = &f->epoch[number];
	struct p256_pub ca;

	k256_generate(&e->root);
	k256_generate(&e->app);
	p256_generate(&e->ca);
	cr_assert_eq(k256_pubkey(&e->root_pub, &e->root), ERR_OK);
	cr_assert_eq(k256_pubkey(&e->app_pub, &e->app), ERR_OK);
	cr_assert_eq(
	    dstack_sign_app(&e->app_sig, &e->root, f->app_id, &e->app_pub),
	    ERR_OK);
	fake_ca_root(&e->ca_der, &e->ca);
	cr_assert_eq(p256_pubkey(&ca, &e->ca), ERR_OK);
	cr_assert_eq(epochcert_ca_hash(e->ca_hash, &ca), ERR_OK);
	devproof__kms__v1__epoch_public__init(&e->record);
	e->record.number = number;
	e->record.k256_pub = msg_bytes(e->root_pub.b, 33);
	e->record.ca_cert = msg_bytes(e->ca_der.p, e->ca_der.len);
	e->record.ca_spki_hash = msg_bytes(e->ca_hash, 32);
	f->records[number] = &e->record;
	if (number == 0)
		return;
	e->record.certificate = msg_bytes(e->certificate.b, 65);
	fake_kms_certify(f, number, EPOCHCERT_ROUTINE, &e[-1].root);
}

void
fake_kms_release(struct fake_kms *f, uint64_t epoch, uint64_t pinned)
{
	struct fake_epoch *e = &f->epoch[epoch];
	AppKeys *k = &f->keys;

	devproof__kms__v1__app_keys__init(k);
	k->epoch = epoch;
	k->app_id = msg_bytes(f->app_id, 20);
	k->k256_key = msg_bytes(e->app.b, 32);
	k->k256_signature = msg_bytes(e->app_sig.b, 65);
	k->disk_crypt_key = msg_bytes(f->bytes, 32);
	k->env_crypt_key = msg_bytes(f->bytes, 32);
	k->ca_cert = e->record.ca_cert;
	k->os_image_hash = msg_bytes(f->bytes, 32);
	k->epochs = f->records;
	k->n_epochs = epoch + 1;
	k->chain_id = CHAIN;
	k->kms_contract = msg_bytes(f->contract, 20);
	k->block_hash = msg_bytes(f->bytes, 32);
	k->registry = msg_bytes(f->registry, 20);
	k->pinned_epoch = pinned;
}

void
fake_kms_init(struct fake_kms *f)
{
	struct k256_pub pub;

	memset(f, 0, sizeof *f);
	memset(f->app_id, 0x11, 20);
	memset(f->contract, 0x22, 20);
	memset(f->bytes, 0x33, 32);
	memset(f->registry, 0x44, 20);
	k256_generate(&f->signer);
	cr_assert_eq(k256_pubkey(&pub, &f->signer), ERR_OK);
	cr_assert_eq(k256_address(f->signer_address, &pub), ERR_OK);
	f->signers[0] = msg_bytes(f->signer_address, 20);
	for (uint64_t i = 0; i < FAKE_EPOCHS; i++)
		make_epoch(f, i);
	fake_kms_release(f, 0, 0);
	f->terms.chain_id = CHAIN;
	memcpy(f->terms.app_id, f->app_id, 20);
	memcpy(f->terms.kms_contract, f->contract, 20);
}

void
fake_kms_fini(struct fake_kms *f)
{
	for (uint64_t i = 0; i < FAKE_EPOCHS; i++)
		buf_fini(&f->epoch[i].ca_der);
}
