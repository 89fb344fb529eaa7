/* kms_ask: one request of each kind over an attested channel, for tests.
 *
 * The caller owns the reply (msg_reply_free).  NULL: the node refused, and
 * `why` has the reason that it sent.  A channel that fails is a test that
 * fails. */
#ifndef TESTS_LIB_KMS_ASK_H
#define TESTS_LIB_KMS_ASK_H

#include "common/wire/msg.h"
#include "node/channel/channel.h"

KmsReply *kms_ask_meta(struct channel *ch, struct refusal *why);
/* `epoch` -1: the one that the app is pinned to. */
KmsReply *kms_ask_keys(struct channel *ch, int epoch, struct refusal *why);
/* The proof is for the app whose id is all `id`; by another key if `forged`. */
KmsReply *kms_ask_cert(
    struct channel *ch, uint8_t id, bool forged, struct refusal *why);
extern const uint8_t kms_ask_incarnation[32];
KmsReply *kms_ask_join(
    struct channel *ch, const char *slot, struct refusal *why);
KmsReply *kms_ask_sync(struct channel *ch, struct refusal *why);

#endif
