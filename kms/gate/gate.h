/* gate: the question "may this CVM have it?", put to the contracts.
 *
 * The answer is that of isAppAllowed or isKmsAllowed of one DstackKms
 * compatible contract at the block that the chain view has pinned: as its
 * endpoints agree, or, with a view in mode proof, as proven state has it.  It is
 * kept for that block and forgotten with it.  Contracts behind it belong
 * to anybody: whatever they return, only their own app is refused.
 *
 * Thread-safe; blocks as chainview does. */
#ifndef KMS_GATE_GATE_H
#define KMS_GATE_GATE_H

#include "common/attest/bootinfo.h"
#include "kms/gate/chainview.h"
#include "kms/gate/standard.h"

struct gate; /* opaque */

enum gate_kind {
	GATE_APP, /* isAppAllowed */
	GATE_KMS, /* isKmsAllowed */
};

/* gate_new: `view` is borrowed until gate_free.  ERR_NOMEM. */
enum err gate_new(struct gate **out, struct chainview *view,
    const uint8_t kms_contract[static 20]);
/* gate_pin, before the first question and with a view in mode proof: the code
 * that the KMS contract may run.  What it answers is then computed from its
 * slots, and a KMS contract of other code is not asked (CHAIN_CODE); see
 * standard.h.  ERR_CONFIG: a view in mode quorum, or too many. */
enum err gate_pin(struct gate *g, const struct standard_code *code, unsigned n);
/* No other thread may be inside any call then; NULL is fine. */
void gate_free(struct gate *g);

struct gate_decision {
	struct chain_block block; /* at which the contracts were asked */
	bool cached;
};

/* gate_ask.  `*out` is set on ERR_OK and ERR_DENIED alike.
 *
 * ERR_OK         the contracts allow it
 * ERR_DENIED     they do not: CONTRACT_ reasons, the detail is their own
 *                text, made printable; or their answer is none
 *                (CHAIN_ANSWER: not canonical, or too large)
 * ERR_AGAIN      the chain cannot be read: CHAIN_ reasons of chainview
 * ERR_MALFORMED  `bi` breaks its own bounds
 * ERR_NOMEM */
enum err gate_ask(struct gate *g, enum gate_kind kind,
    const struct boot_info *bi, int64_t now, struct gate_decision *out,
    struct refusal *why);

/* What the contract says of the root: an SEC1 point and a DER public key,
 * both as they were registered (nothing is parsed here), or empty. */
#define GATE_PUB_MAX 512
struct gate_kms_info {
	uint8_t k256_pub[GATE_PUB_MAX];
	size_t k256_pub_len;
	uint8_t ca_pub[GATE_PUB_MAX];
	size_t ca_pub_len;
};

/* gate_kms_info: kmsInfo() at the current block.  Errors as gate_ask. */
enum err gate_kms_info(struct gate *g, int64_t now, struct gate_kms_info *out,
    struct chain_block *at, struct refusal *why);

/* gate_gateway_app_id: the text of gatewayAppId(), "" if none is set.
 * Text that is not printable ASCII, or too long, is CHAIN_ANSWER. */
#define GATE_GATEWAY_ID_MAX 128
enum err gate_gateway_app_id(struct gate *g, int64_t now,
    char out[static GATE_GATEWAY_ID_MAX], struct chain_block *at,
    struct refusal *why);

/* gate_app_registered: does the KMS contract know this app?  Asks each time. */
enum err gate_app_registered(struct gate *g, const uint8_t app_id[static 20],
    int64_t now, bool *out, struct chain_block *at, struct refusal *why);

/* Counts since gate_new, of gate_ask only. */
/* gate_block: the block at which a question would be answered now.  Errors as
 * chainview_get. */
enum err gate_block(
    struct gate *g, int64_t now, struct chain_block *out, struct refusal *why);

struct gate_stats {
	uint64_t allowed;
	uint64_t denied;
	uint64_t again;
	uint64_t from_cache;
	uint64_t by_reason[REASON_COUNT]; /* of denied and again */
};
void gate_stats(struct gate *g, struct gate_stats *out);

#endif
