/* fuzz_release: what a KMS may answer to an app's agent.
 *
 * Targets: msg_reply_parse, release_verify, epochchain_verify, cacert_spki.
 *
 * Input: how u8, then edits {offset u16, xor u8} of the honest release of an
 * epoch; or, with how & 128, a reply as it is.  how & 3 is the epoch, & 12 what
 * the agent has pinned, & 16 that it asks for that epoch by number, & 32 that
 * it is of an instance, & 64 that it is another's app.
 *
 * Asserted: with a pinned root, what is accepted has the app's own key of that
 * epoch, and its own replica's, whatever was edited; an honest release is
 * accepted; a refusal has a reason and writes nothing. */
#include <string.h>

#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/crypto/epochcert.h"
#include "common/wire/msg.h"
#include "fuzz/must.h"
#include "kms/keys/certs.h"
#include "node/agent/release.h"

#define EPOCHS 3
#define CHAIN 31337

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t app_id[20] = { 0x11 }, other_app[20] = { 0x12 },
		     instance[20] = { 0x21 }, contract[20] = { 0x22 },
		     registry[20] = { 0x44 };
static struct app_keys keys[EPOCHS];
static struct epoch_public pub[EPOCHS];
/* Replies to GetAppKeys, packed: without and with a replica's key. */
static struct buf honest[EPOCHS][2];

static void
pack(unsigned n, bool replica, Devproof__Kms__V1__EpochPublic **records,
    ProtobufCBinaryData ca)
{
	Devproof__Kms__V1__AppKeys k;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;

	devproof__kms__v1__app_keys__init(&k);
	k.epoch = k.pinned_epoch = n;
	k.app_id = msg_bytes(app_id, 20);
	k.k256_key = msg_bytes(keys[n].k256.b, 32);
	k.k256_signature = msg_bytes(keys[n].k256_signature.b, 65);
	k.disk_crypt_key = msg_bytes(keys[n].disk_crypt_key, 32);
	k.env_crypt_key = msg_bytes(keys[n].env_crypt_key, 32);
	if (replica) {
		k.replica_key = msg_bytes(keys[n].replica.b, 32);
		k.replica_signature =
		    msg_bytes(keys[n].replica_signature.b, 65);
	}
	k.ca_cert = ca;
	k.os_image_hash = msg_bytes(keys[0].env_crypt_key, 32);
	k.epochs = records;
	k.n_epochs = n + 1;
	k.chain_id = CHAIN;
	k.kms_contract = msg_bytes(contract, 20);
	k.block_number = 7;
	k.block_hash = msg_bytes(keys[0].env_crypt_key, 32);
	k.registry = msg_bytes(registry, 20);
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS;
	m.app_keys = &k;
	must(msg_reply_pack(&honest[n][replica], &m) == ERR_OK);
}

static void
init(void)
{
	static Devproof__Kms__V1__EpochPublic record[EPOCHS], *list[EPOCHS];
	static struct buf ca[EPOCHS];
	static uint8_t hash[EPOCHS][32];
	static struct k256_sig65 sig[EPOCHS];
	struct epoch_roots *r[EPOCHS] = { NULL };
	uint8_t root[2][32];

	must(secret_process_init() == ERR_OK);
	log_set_level(LOG_ERROR);
	for (unsigned n = 0; n < EPOCHS; n++) {
		memset(root[0], 0x31 + (int)n, 32);
		memset(root[1], 0x51 + (int)n, 32);
		must(epoch_roots_import(&r[n], n, root[0], root[1]) == ERR_OK);
		epoch_roots_public(r[n], &pub[n]);
		must(keys_app(&keys[n], r[n], app_id, instance) == ERR_OK);
		must(certs_root(&ca[n], r[n]) == ERR_OK);
		must(epochcert_ca_hash(hash[n], &pub[n].ca) == ERR_OK);
		devproof__kms__v1__epoch_public__init(&record[n]);
		record[n].number = n;
		record[n].k256_pub = msg_bytes(pub[n].k256.b, 33);
		record[n].ca_cert = msg_bytes(ca[n].p, ca[n].len);
		record[n].ca_spki_hash = msg_bytes(hash[n], 32);
		record[n].state = 2;
		if (n > 0) {
			must(epoch_certificate(&sig[n], r[n - 1], &pub[n],
				 CHAIN, registry, 0) == ERR_OK);
			record[n].certificate = msg_bytes(sig[n].b, 65);
		}
		list[n] = &record[n];
		pack(n, false, list, record[n].ca_cert);
		pack(n, true, list, record[n].ca_cert);
	}
	for (unsigned n = 0; n < EPOCHS; n++)
		epoch_roots_free(r[n]);
}

/* As configured: the root of epoch 0, as a key or as an address, or none. */
static void
terms_of(struct release_terms *t, uint8_t how)
{
	*t = (struct release_terms){ .chain_id = CHAIN };
	memcpy(t->app_id, (how & 64) != 0 ? other_app : app_id, 20);
	memcpy(t->kms_contract, contract, 20);
	t->has_instance_id = (how & 32) != 0;
	memcpy(t->instance_id, instance, 20);
	t->root.kind = (how & 12) == 0 ? ROOT_PIN_NONE
	    : (how & 4) != 0           ? ROOT_PIN_PUB
				       : ROOT_PIN_ADDRESS;
	if (t->root.kind == ROOT_PIN_PUB)
		memcpy(t->root.b, pub[0].k256.b, 33);
	else if (t->root.kind == ROOT_PIN_ADDRESS)
		must(k256_address(t->root.b, &pub[0].k256) == ERR_OK);
	t->has_registry = (how & 12) == 12;
	memcpy(t->registry, registry, 20);
}

static void
check(const struct app_release *r, const struct release_terms *t, uint8_t how,
    const uint64_t *asked, bool whole)
{
	uint64_t n = r->epoch;

	must(asked == NULL || n == *asked);
	must(t->has_instance_id || !r->has_replica);
	if (t->root.kind == ROOT_PIN_NONE)
		return;
	/* Nobody else's root signed anything. */
	must(n < EPOCHS && (how & 64) == 0);
	must(memcmp(r->k256.b, keys[n].k256.b, 32) == 0);
	must(memcmp(&r->root, &pub[n].k256, sizeof r->root) == 0);
	must(memcmp(&r->genesis, &pub[0].k256, sizeof r->genesis) == 0);
	if (r->has_replica)
		must(memcmp(r->replica.b, keys[n].replica.b, 32) == 0);
	must(!t->has_registry || memcmp(r->registry, registry, 20) == 0);
	must(!whole || n == (how & 3u) % EPOCHS);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	static struct app_release r, blank;
	struct rd in = { .p = data, .left = size };
	uint8_t how = rd_u8(&in);
	uint64_t epoch = (how & 3u) % EPOCHS;
	const uint64_t *asked = (how & 16) != 0 ? &epoch : NULL;
	const struct buf *h;
	struct release_terms t;
	struct refusal why = { 0 };
	struct buf b = { 0 };
	KmsReply *m = NULL;
	bool whole = true;
	enum err e;

	if (!ready)
		init();
	ready = true;
	if (size == 0)
		return 0;
	terms_of(&t, how);
	h = &honest[epoch][(how & 32) != 0];
	if ((how & 128) != 0) {
		must(buf_set(&b, in.p, in.left) == ERR_OK);
		whole = false;
	} else {
		must(buf_set(&b, h->p, h->len) == ERR_OK);
	}
	for (; (how & 128) == 0 && in.left >= 3;) {
		uint16_t at = rd_be16(&in);
		uint8_t x = rd_u8(&in);

		b.p[at % b.len] ^= x;
	}
	whole = whole && memcmp(b.p, h->p, h->len) == 0;
	if (msg_reply_parse(&m, buf_view(&b)) == ERR_OK &&
	    m->body_case == DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS) {
		memset(&r, 0x5a, sizeof r);
		memset(&blank, 0x5a, sizeof blank);
		e = release_verify(&r, m->app_keys, &t, asked, &why);
		if (e == ERR_OK)
			check(&r, &t, how, asked, whole);
		else
			must(why.code != REASON_NONE &&
			    memcmp(&r, &blank, sizeof r) == 0);
		must(!whole || (e == ERR_OK) == ((how & 64) == 0));
	} else {
		must(!whole);
	}
	msg_reply_free(m);
	buf_wipe(&b);
	return 0;
}
