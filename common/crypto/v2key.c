#include <string.h>

#include "common/base/lp.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "common/crypto/v2key.h"

#define FIELDS_MAX 6

/* A prefix, and fields with their lengths: 1 + 2 * FIELDS_MAX parts. */
struct message {
	struct bytes part[1 + 2 * FIELDS_MAX];
	uint8_t len[FIELDS_MAX][4];
	size_t n;
};

static void
message(
    struct message *m, const char *prefix, const struct bytes *field, size_t n)
{
	m->part[0] = (struct bytes){ (const uint8_t *)prefix, strlen(prefix) };
	lp_parts(m->part + 1, m->len, field, n);
	m->n = 1 + 2 * n;
}

static struct bytes
word(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static void
put_epoch(uint8_t out[static 8], uint64_t epoch)
{
	struct wr w = { .p = out, .cap = 8 };

	wr_be64(&w, epoch);
}

enum err
v2key_derive(uint8_t out[static 32], const uint8_t ikm[static 32],
    const char *label, const char *algorithm, const struct v2key_owner *owner,
    struct bytes path)
{
	uint8_t epoch[8];
	const struct bytes field[] = { word(label), BYTES_OF(epoch),
		word(algorithm), BYTES_OF(owner->app_id),
		BYTES_OF(owner->instance_id), path };
	struct message m;

	put_epoch(epoch, owner->epoch);
	message(&m, "", field, 6);
	return hkdf_sha256(out, 32, BYTES_STR("devproof-kms/v2"),
	    (struct bytes){ ikm, 32 }, m.part, m.n);
}

/* `epoch` is room for the number. */
static void
replica_message(struct message *m, uint8_t epoch[static 8],
    const struct v2key_owner *owner, const struct k256_pub *replica)
{
	const struct bytes field[] = { { epoch, 8 }, BYTES_OF(owner->app_id),
		BYTES_OF(owner->instance_id), BYTES_OF(replica->b) };

	put_epoch(epoch, owner->epoch);
	message(m, "devproof-kms-replica:", field, 4);
}

enum err
v2key_sign_replica(struct k256_sig65 *out, const struct k256_secret *root,
    const struct v2key_owner *owner, const struct k256_pub *replica)
{
	struct message m;
	uint8_t epoch[8];

	replica_message(&m, epoch, owner, replica);
	return k256_sign65(out, root, m.part, m.n);
}

enum err
v2key_recover_replica(struct k256_pub *root, const struct k256_sig65 *sig,
    const struct v2key_owner *owner, const struct k256_pub *replica)
{
	struct message m;
	uint8_t epoch[8];

	replica_message(&m, epoch, owner, replica);
	return k256_recover65(root, sig, m.part, m.n);
}

static void
claim_message(struct message *m, const struct v2key_claim *claim)
{
	const struct bytes field[] = { word(claim->algorithm), claim->path,
		claim->purpose, claim->pub };

	message(m, "devproof-kms-replica-key:", field, 4);
}

enum err
v2key_sign_claim(struct k256_sig65 *out, const struct k256_secret *replica,
    const struct v2key_claim *claim)
{
	struct message m;

	claim_message(&m, claim);
	return k256_sign65(out, replica, m.part, m.n);
}

enum err
v2key_recover_claim(struct k256_pub *replica, const struct k256_sig65 *sig,
    const struct v2key_claim *claim)
{
	struct message m;

	claim_message(&m, claim);
	return k256_recover65(replica, sig, m.part, m.n);
}
