#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/base/ct.h"
#include "common/base/name.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "kms/cluster/incarnation.h"

static const char label[] = "devproof-kms/peer-hello/v1";

#define TEXT_MAX (sizeof label - 1 + 1 + 1 + SLOT_MAX + 32)

static_assert(INCARNATION_ID_LEN == crypto_sign_PUBLICKEYBYTES, "Ed25519");
static_assert(INCARNATION_SIG_LEN == crypto_sign_BYTES, "Ed25519");

struct incarnation {
	uint8_t id[INCARNATION_ID_LEN];
	pthread_mutex_t lock; /* of the page that `key` is in */
	uint8_t *key; /* owns, secret; closed but for a signature */
};

enum err
incarnation_new(struct incarnation **out)
{
	struct incarnation *i = calloc(1, sizeof *i);
	uint8_t seed[crypto_sign_SEEDBYTES];

	if (i == NULL || pthread_mutex_init(&i->lock, NULL) != 0) {
		free(i);
		return ERR_NOMEM;
	}
	if ((i->key = secret_new(crypto_sign_SECRETKEYBYTES)) == NULL) {
		incarnation_free(i);
		return ERR_NOMEM;
	}
	secret_random(seed, sizeof seed);
	(void)crypto_sign_seed_keypair(i->id, i->key, seed); /* cannot fail */
	secret_wipe(seed, sizeof seed);
	secret_wipe_stack();
	CT_PUBLIC(i->id);
	secret_lock(i->key);
	*out = i;
	return ERR_OK;
}

void
incarnation_free(struct incarnation *i)
{
	if (i == NULL)
		return;
	secret_free(i->key);
	(void)pthread_mutex_destroy(&i->lock);
	free(i);
}

const uint8_t *
incarnation_id(const struct incarnation *i)
{
	return i->id;
}

/* What is signed; 0: not a slot's name. */
static size_t
text(uint8_t out[static TEXT_MAX], enum channel_role role, const char *slot,
    const uint8_t *handshake_hash)
{
	struct wr w = { .p = out, .cap = TEXT_MAX };

	if (!name_ok(slot, SLOT_MAX))
		return 0;
	wr_str(&w, label);
	wr_u8(&w, (uint8_t)role);
	wr_u8(&w, (uint8_t)strlen(slot));
	wr_str(&w, slot);
	wr_bytes(&w, handshake_hash, 32);
	return wr_ok(&w) ? w.len : 0;
}

enum err
incarnation_sign(uint8_t sig[static INCARNATION_SIG_LEN], struct incarnation *i,
    enum channel_role role, const char *slot,
    const uint8_t handshake_hash[static 32])
{
	uint8_t t[TEXT_MAX];
	size_t n = text(t, role, slot, handshake_hash);

	if (n == 0)
		return ERR_MALFORMED;
	(void)pthread_mutex_lock(&i->lock);
	secret_open_ro(i->key);
	(void)crypto_sign_detached(sig, NULL, t, n, i->key); /* cannot fail */
	secret_lock(i->key);
	secret_wipe_stack();
	(void)pthread_mutex_unlock(&i->lock);
	return ERR_OK;
}

enum err
incarnation_verify(const uint8_t sig[static INCARNATION_SIG_LEN],
    const uint8_t id[static INCARNATION_ID_LEN], enum channel_role role,
    const char *slot, const uint8_t handshake_hash[static 32])
{
	uint8_t t[TEXT_MAX];
	size_t n = text(t, role, slot, handshake_hash);

	/* Refuses keys of small order and signatures in a second form. */
	if (n == 0 || crypto_sign_verify_detached(sig, t, n, id) != 0)
		return ERR_AUTH;
	return ERR_OK;
}
