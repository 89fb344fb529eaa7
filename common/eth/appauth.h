/* appauth: the questions of dstack's contracts as calldata, and their
 * answers: IAppAuth, and what a key service reads of DstackKms.
 *
 * dstack-compat.md 5.1 and 5.3, eth-toolchain.md 5.2. */
#ifndef COMMON_ETH_APPAUTH_H
#define COMMON_ETH_APPAUTH_H

#include "common/attest/bootinfo.h"

#define APPAUTH_IS_APP_ALLOWED 0x1e079198u
#define APPAUTH_IS_KMS_ALLOWED 0xe067ec9du
#define APPAUTH_KMS_INFO 0x09177063u
#define APPAUTH_GATEWAY_APP_ID 0x95f51931u
#define APPAUTH_REGISTERED_APPS 0xa6c4cce9u

/* appauth_call replaces `out` by the selector and the AppBootInfo tuple.
 * ERR_MALFORMED: `bi` is out of its own bounds; ERR_NOMEM. */
enum err appauth_call(
    struct buf *out, uint32_t selector, const struct boot_info *bi);

/* appauth_getter replaces `out` by the selector of a call without
 * arguments. */
enum err appauth_getter(struct buf *out, uint32_t selector);

/* appauth_of_app replaces `out` by the call of a getter that takes an app's
 * address. */
enum err appauth_of_app(
    struct buf *out, uint32_t selector, const uint8_t app_id[static 20]);

/* appauth_answer reads (bool isAllowed, string reason); ERR_MALFORMED. */
enum err appauth_answer(bool *allowed, struct bytes *reason, struct bytes in);

/* What kmsInfo() returns; borrowed from the answer. */
struct appauth_kms_info {
	struct bytes k256_pub;
	struct bytes ca_pub;
	struct bytes quote;
	struct bytes event_log;
};
enum err appauth_kms_info(struct appauth_kms_info *out, struct bytes in);

#endif
