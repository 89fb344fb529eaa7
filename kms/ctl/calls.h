/* calls: calldata of the contracts' functions that kmsctl sends.
 *
 * Selectors and argument order: dstack-compat.md 5.3.  Each function
 * replaces `out`. */
#ifndef KMS_CTL_CALLS_H
#define KMS_CTL_CALLS_H

#include <stdbool.h>

#include "common/base/buf.h"

/* DstackKms: one bytes32, or one address. */
#define CALL_ADD_KMS_MR 0x3e32d346u
#define CALL_REMOVE_KMS_MR 0x2adee48du
#define CALL_ADD_KMS_DEVICE 0x4d5922a1u
#define CALL_REMOVE_KMS_DEVICE 0x9e6f3114u
#define CALL_ADD_OS_IMAGE 0x06a3ae96u
#define CALL_REMOVE_OS_IMAGE 0x9425bac6u
#define CALL_REGISTER_APP 0x17a1d80fu
#define CALL_SET_ROOT_REGISTRY 0xf41781b2u
#define CALL_HAS_KMS_MR 0xf6fe4f40u
#define CALL_HAS_KMS_DEVICE 0x13eb9770u
#define CALL_HAS_OS_IMAGE 0x9a4e1d18u
#define CALL_HAS_APP 0xa6c4cce9u
/* DstackApp: one bytes32, or one bool. */
#define CALL_ADD_COMPOSE 0xdfc77223u
#define CALL_REMOVE_COMPOSE 0x67b3f22cu
#define CALL_ADD_DEVICE 0x2a819728u
#define CALL_REMOVE_DEVICE 0x1d266200u
#define CALL_HAS_COMPOSE 0x2f6622e5u
#define CALL_HAS_DEVICE 0xbf8b211bu
#define CALL_SET_ANY_DEVICE 0x7c4beeb8u
#define CALL_SET_REQUIRE_TCB 0x6e4c7422u
/* CheckIn: one bytes32. */
#define CALL_CHECKED_IN_AT 0x6edb6422u
/* No argument. */
#define CALL_ANY_DEVICE 0x3440a16au
#define CALL_REQUIRE_TCB 0x0aa58c83u
#define CALL_OWNER 0x8da5cb5bu
#define CALL_ROOT_REGISTRY 0xb96b161cu

/* Topic 0 of AppDeployedViaFactory(address indexed, address indexed). */
extern const uint8_t calls_app_deployed_topic[32];

enum err calls_getter(struct buf *out, uint32_t selector);
enum err calls_bytes32(
    struct buf *out, uint32_t selector, const uint8_t v[static 32]);
enum err calls_address(
    struct buf *out, uint32_t selector, const uint8_t v[static 20]);
enum err calls_bool(struct buf *out, uint32_t selector, bool v);

/* setKmsInfo((k256Pubkey, caPubkey, quote, eventlog)) */
enum err calls_set_kms_info(struct buf *out, const struct bytes member[4]);

struct calls_deploy_app {
	uint8_t owner[20];
	bool disable_upgrades;
	bool require_tcb;
	bool any_device;
	uint8_t device[32]; /* zero: none */
	uint8_t compose[32]; /* zero: none */
};
/* deployAndRegisterApp of six arguments. */
enum err calls_deploy_app(struct buf *out, const struct calls_deploy_app *d);

#endif
