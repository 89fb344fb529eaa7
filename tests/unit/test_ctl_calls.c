#include <criterion/criterion.h>

#include <string.h>

#include "common/crypto/keccak.h"
#include "kms/ctl/calls.h"
#include "tests/lib/facts.h"

/* Each selector is that of its signature in Solidity. */
Test(ctl_calls, selectors)
{
	static const struct {
		uint32_t selector;
		const char *signature;
	} all[] = {
		{ CALL_ADD_KMS_MR, "addKmsAggregatedMr(bytes32)" },
		{ CALL_REMOVE_KMS_MR, "removeKmsAggregatedMr(bytes32)" },
		{ CALL_ADD_KMS_DEVICE, "addKmsDevice(bytes32)" },
		{ CALL_REMOVE_KMS_DEVICE, "removeKmsDevice(bytes32)" },
		{ CALL_ADD_OS_IMAGE, "addOsImageHash(bytes32)" },
		{ CALL_REMOVE_OS_IMAGE, "removeOsImageHash(bytes32)" },
		{ CALL_REGISTER_APP, "registerApp(address)" },
		{ CALL_HAS_KMS_MR, "kmsAllowedAggregatedMrs(bytes32)" },
		{ CALL_HAS_KMS_DEVICE, "kmsAllowedDeviceIds(bytes32)" },
		{ CALL_HAS_OS_IMAGE, "allowedOsImages(bytes32)" },
		{ CALL_HAS_APP, "registeredApps(address)" },
		{ CALL_ADD_COMPOSE, "addComposeHash(bytes32)" },
		{ CALL_REMOVE_COMPOSE, "removeComposeHash(bytes32)" },
		{ CALL_ADD_DEVICE, "addDevice(bytes32)" },
		{ CALL_REMOVE_DEVICE, "removeDevice(bytes32)" },
		{ CALL_HAS_COMPOSE, "allowedComposeHashes(bytes32)" },
		{ CALL_HAS_DEVICE, "allowedDeviceIds(bytes32)" },
		{ CALL_SET_ANY_DEVICE, "setAllowAnyDevice(bool)" },
		{ CALL_SET_REQUIRE_TCB, "setRequireTcbUpToDate(bool)" },
		{ CALL_ANY_DEVICE, "allowAnyDevice()" },
		{ CALL_REQUIRE_TCB, "requireTcbUpToDate()" },
		{ CALL_OWNER, "owner()" },
	};
	static const char event[] = "AppDeployedViaFactory(address,address)";
	uint8_t h[32];

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct buf b = { 0 };

		keccak256(h, all[i].signature, strlen(all[i].signature));
		cr_assert_eq(calls_getter(&b, all[i].selector), ERR_OK);
		cr_assert_eq(b.len, 4);
		cr_expect_eq(memcmp(b.p, h, 4), 0, "%s", all[i].signature);
		buf_fini(&b);
	}
	keccak256(h, event, strlen(event));
	cr_assert_eq(memcmp(h, calls_app_deployed_topic, 32), 0);
}

#define WORD_0(last) \
	"00000000000000000000000000000000000000000000000000000000000000" last
#define AB33 \
	"abababababababababababababababababababababababababababababababab" \
	"ab"

/* setKmsInfo's tuple of four byte strings is laid out as Foundry's cast
 * does it, empty and unaligned members included. */
Test(ctl_calls, set_kms_info)
{
	uint8_t long_one[33];
	const struct bytes member[4] = { { (const uint8_t *)"\1\2", 2 },
		{ NULL, 0 }, { long_one, 33 }, { (const uint8_t *)"[]", 2 } };
	struct buf b = { 0 };

	memset(long_one, 0xab, sizeof long_one);
	cr_assert_eq(calls_set_kms_info(&b, member), ERR_OK);
	bool same = facts_eq(b.p, b.len,
	    "7d025352" WORD_0("20") WORD_0("80") WORD_0("c0")
		WORD_0("e0") "0000000000000000000000000000000000000000000000000"
			     "000000000000140" WORD_0(
				 "02") "010200000000000000000000000000000000000"
				       "0000000000000000000000000" WORD_0("00")
					   WORD_0("21") AB33
	    "0000000000000000000000000000000000000000000000000000000000000"
	    "0" WORD_0("02") "5b5d000000000000000000000000000000000000000000000"
			     "000000000000000");
	cr_assert(same);
	buf_fini(&b);
}

/* More than a contract may be given is refused, not sent. */
Test(ctl_calls, too_large)
{
	static const uint8_t big[300 * 1024];
	const struct bytes member[4] = { { big, 33 }, { big, 91 },
		{ big, sizeof big }, { big, 2 } };
	struct buf b = { 0 };

	cr_assert_eq(calls_set_kms_info(&b, member), ERR_LIMIT);
	buf_fini(&b);
}

/* The six arguments of deployAndRegisterApp come in the contract's order. */
Test(ctl_calls, deploy_app)
{
	struct calls_deploy_app d = { .require_tcb = true };
	struct buf b = { 0 };
	bool same;

	memset(d.owner, 0x11, sizeof d.owner);
	memset(d.device, 0x22, sizeof d.device);
	memset(d.compose, 0x33, sizeof d.compose);
	cr_assert_eq(calls_deploy_app(&b, &d), ERR_OK);
	same = facts_eq(b.p, b.len,
	    "9cb9c31f"
	    "000000000000000000000000111111111111111111111111111111111111111"
	    "1" WORD_0("00") WORD_0("01")
		WORD_0("00") "2222222222222222222222222222222222222222222222222"
			     "222222222222222"
			     "3333333333333333333333333333333333333333333333333"
			     "333333333333333");
	cr_assert(same);
	buf_fini(&b);
}
