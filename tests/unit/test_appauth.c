#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/appauth.h"

static struct boot_info
example(void)
{
	struct boot_info bi = { .tee = TEE_TDX,
		.has_instance_id = true,
		.tcb_status = TCB_UP_TO_DATE };

	memset(bi.app_id, 0x11, sizeof bi.app_id);
	memset(bi.compose_hash, 0x22, 32);
	memset(bi.instance_id, 0x33, sizeof bi.instance_id);
	memset(bi.device_id, 0x44, 32);
	memset(bi.mr_aggregated, 0x55, 32);
	memset(bi.mr_system, 0x66, 32);
	memset(bi.os_image_hash, 0x77, 32);
	return bi;
}

static void
add_advisory(struct boot_info *bi, const char *text)
{
	(void)snprintf(
	    bi->advisory[bi->n_advisories++], ADVISORY_LEN, "%s", text);
}

#define Z24 "000000000000000000000000000000000000000000000000"
#define WORD(x) Z24 "00000000000000" x
#define X4(x) x x x x
#define X20(x) X4(x) X4(x) X4(x) X4(x) X4(x)
#define X32(x) X20(x) X4(x) X4(x) X4(x)
#define ADDRESS(x) "000000000000000000000000" X20(x)

/* All three from Foundry's `cast calldata 'isAppAllowed((...))'`. */
static const char up_to_date[] = "1e079198" WORD("20") ADDRESS("11") X32("22")
    ADDRESS("33") X32("44") X32("55") X32("66") X32("77") Z24
    "0000000000000120" Z24
    "0000000000000160" WORD("08") "5570546f446174650000000000000000000000000000"
				  "00000000000000000000" WORD("00");
static const char two_advisories[] = "1e079198" WORD("20") ADDRESS("11")
    X32("22") ADDRESS("00") X32("44") X32("55") X32("66") X32("77") Z24
    "0000000000000120" Z24 "0000000000000160" WORD(
	"1c") "4f75744f6644617465436f6e66696775726174696f6e4e65656465640000000"
	      "0" WORD("02") WORD("40") WORD("80")
		  WORD("0e") "494e54454c2d53412d3030383337000000000000000000000"
			     "000000000000000" WORD(
				 "0e") "494e54454c2d53412d303130333600000000000"
				       "0000000000000000000000000";
static const char long_status[] = "1e079198" WORD("20") ADDRESS("11") X32("22")
    ADDRESS("33") X32("44") X32("55") X32("66") X32("77") Z24
    "0000000000000120" Z24 "0000000000000180" WORD(
	"24") "544452656c61756e636841647669736564436f6e66696775726174696f6e4e65"
	      "656465640000000000000000000000000000000000000000000000000000000"
	      "0" WORD("01") WORD("20")
		  WORD("0e") "494e54454c2d53412d3030363135000000000000000000000"
			     "000000000000000";

static void
expect(const struct boot_info *bi, const char *hex)
{
	struct buf b = { 0 };
	char text[4096];

	cr_assert_eq(appauth_call(&b, APPAUTH_IS_APP_ALLOWED, bi), ERR_OK);
	cr_assert_lt(2 * b.len, sizeof text);
	hex_encode(text, b.p, b.len);
	cr_assert_str_eq(text, hex);
	buf_fini(&b);
}

/* Calldata is byte for byte what the reference encoder writes. */
Test(appauth, calldata)
{
	struct boot_info bi = example();

	expect(&bi, up_to_date);

	bi = example();
	bi.tcb_status = TCB_RELAUNCH_CONFIGURATION;
	add_advisory(&bi, "INTEL-SA-00615");
	expect(&bi, long_status);

	/* Without an instance id the address is zero, whatever is there. */
	bi = example();
	bi.has_instance_id = false;
	bi.tcb_status = TCB_OUT_OF_DATE_CONFIGURATION;
	add_advisory(&bi, "INTEL-SA-00837");
	add_advisory(&bi, "INTEL-SA-01036");
	expect(&bi, two_advisories);
}

/* The two questions differ in their selector only. */
Test(appauth, selectors)
{
	static const char sig[] = "isKmsAllowed((address,bytes32,address,"
				  "bytes32,bytes32,bytes32,bytes32,string,"
				  "string[]))";
	struct boot_info bi = example();
	struct buf app = { 0 }, kms = { 0 };
	uint8_t h[32];

	cr_assert_eq(appauth_call(&app, APPAUTH_IS_APP_ALLOWED, &bi), ERR_OK);
	cr_assert_eq(appauth_call(&kms, APPAUTH_IS_KMS_ALLOWED, &bi), ERR_OK);
	cr_assert_eq(app.len, kms.len);
	cr_assert_arr_eq(app.p + 4, kms.p + 4, app.len - 4);
	keccak256(h, sig, strlen(sig));
	cr_assert_arr_eq(kms.p, h, 4);
	cr_assert_eq(appauth_getter(&kms, APPAUTH_KMS_INFO), ERR_OK);
	keccak256(h, "kmsInfo()", 9);
	cr_assert_eq(kms.len, 4);
	cr_assert_arr_eq(kms.p, h, 4);
	cr_assert_eq(appauth_getter(&kms, APPAUTH_GATEWAY_APP_ID), ERR_OK);
	keccak256(h, "gatewayAppId()", 14);
	cr_assert_arr_eq(kms.p, h, 4);
	buf_fini(&app);
	buf_fini(&kms);
}

/* As many advisories as a boot info can hold fit; more is a bad struct. */
Test(appauth, bounds)
{
	struct boot_info bi = example();
	struct buf b = { 0 };

	while (bi.n_advisories < ADVISORY_MAX)
		add_advisory(&bi, "INTEL-SA-0000000000000x");
	cr_assert_eq(appauth_call(&b, APPAUTH_IS_APP_ALLOWED, &bi), ERR_OK);
	bi.n_advisories++;
	cr_assert_eq(
	    appauth_call(&b, APPAUTH_IS_APP_ALLOWED, &bi), ERR_MALFORMED);
	bi.n_advisories = 1;
	memset(bi.advisory[0], 'A', ADVISORY_LEN); /* no NUL */
	cr_assert_eq(
	    appauth_call(&b, APPAUTH_IS_APP_ALLOWED, &bi), ERR_MALFORMED);
	bi = example();
	bi.tcb_status = TCB_STATUS_COUNT;
	cr_assert_eq(
	    appauth_call(&b, APPAUTH_IS_APP_ALLOWED, &bi), ERR_MALFORMED);
	buf_fini(&b);
}
