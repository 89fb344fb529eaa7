/* kms_ask: one request of each kind over an attested channel, for tests.
 *
 * The caller owns the reply (msg_reply_free).  NULL: the node refused, and
 * `why` has the reason that it sent.  A channel that fails is a test that
 * fails. */
#ifndef TESTS_LIB_KMS_ASK_H
#define TESTS_LIB_KMS_ASK_H

#include "common/wire/msg.h"
#include "kms/cluster/incarnation.h"

KmsReply *kms_ask_meta(struct channel *ch, struct refusal *why);
/* The env key of the app whose id is all `id`. */
KmsReply *kms_ask_env_pub(struct channel *ch, uint8_t id, struct refusal *why);
/* `epoch` -1: the one that the app is pinned to. */
KmsReply *kms_ask_keys(struct channel *ch, int epoch, struct refusal *why);
/* The proof is for the app whose id is all `id`; by another key if `forged`. */
KmsReply *kms_ask_cert(
    struct channel *ch, uint8_t id, bool forged, struct refusal *why);
/* The same, proven, with an attestation that `attest` makes for the key
 * (`spki`, P256_SPKI_LEN bytes). */
typedef void kms_ask_attest(void *cookie, struct buf *out, const uint8_t *spki);
KmsReply *kms_ask_cert_attested(struct channel *ch, uint8_t id,
    kms_ask_attest *attest, void *cookie, struct refusal *why);
/* An honest Join: signed by `i` as `slot`, over this session. */
KmsReply *kms_ask_join(struct channel *ch, const char *slot,
    struct incarnation *i, struct refusal *why);
/* Any other one. */
KmsReply *kms_ask_join_as(struct channel *ch, const char *slot,
    const uint8_t incarnation[static INCARNATION_ID_LEN],
    const uint8_t signature[static INCARNATION_SIG_LEN], struct refusal *why);
KmsReply *kms_ask_counter(
    struct channel *ch, const char *name, struct refusal *why);
/* `operation` fills the 16 bytes that name the attempt. */
KmsReply *kms_ask_increment(struct channel *ch, const char *name,
    uint64_t expected, uint8_t operation, struct refusal *why);

#endif
