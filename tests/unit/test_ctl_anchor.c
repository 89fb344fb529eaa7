/* kmsctl anchor ..., and the genesis of an anchor, against the real contracts
 * on a real EVM where there is one. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/eth/abi.h"
#include "kms/ctl/genesis.h"
#include "tests/lib/onchain.h"
#include "tests/lib/tmpdir.h"

#define ANCHOR "0x" ONCHAIN_ANCHOR
#define H22 "0x2222222222222222222222222222222222222222222222222222222222222222"
#define WORDS_MAX 24

/* ---- amounts ---- */

Test(ctl_anchor, ether)
{
	static const char *const bad[] = { "", ".", "1.", ".5", "-1", "+1",
		"1e3", " 1", "1 ", "0x1", "1.2.3", "1,5", "1.-5",
		"0.0000000000000000001" };
	static const char *const big[] = { "18.446744073709551616", "19",
		"99999999999999999999999" };
	static const struct {
		const char *text, *again;
		uint64_t wei;
	} good[] = {
		{ "0", "0", 0 },
		{ "10", "10", 10000000000000000000u },
		{ "0.25", "0.25", 250000000000000000u },
		{ "0.000000000000000001", "0.000000000000000001", 1 },
		{ "10.0", "10", 10000000000000000000u },
		{ "18.446744073709551615", "18.446744073709551615",
		    UINT64_MAX },
	};
	uint64_t wei = 77;
	char text[ETHER_TEXT];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_eq(
		    ether_parse(&wei, bad[i]), ERR_MALFORMED, "%s", bad[i]);
	for (size_t i = 0; i < sizeof big / sizeof *big; i++)
		cr_expect_eq(
		    ether_parse(&wei, big[i]), ERR_LIMIT, "%s", big[i]);
	cr_assert_eq(wei, 77);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		cr_expect_eq(ether_parse(&wei, good[i].text), ERR_OK);
		cr_expect_eq(wei, good[i].wei, "%s", good[i].text);
		ether_text(text, wei);
		cr_expect_str_eq(text, good[i].again);
	}
}

/* ---- the commands ---- */

static struct anvil av;
static char *dir;
static char key_file[512];
static struct contract k;
static struct genesis g;
static const uint8_t kms[20] = { 0xc0, [19] = 1 };

/* Runs "kmsctl <line>" and returns its JSON. */
static enum ctl_exit
run(json_t **out, const char *line)
{
	char copy[1024], *argv[WORDS_MAX] = { NULL }, *text = NULL,
			 *save = NULL;
	int argc = 0;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len), *log = fopen("/dev/null", "w");
	enum ctl_exit rc;

	(void)snprintf(copy, sizeof copy, "kmsctl %s --json", line);
	for (char *w = strtok_r(copy, " ", &save); w != NULL;
	     w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	rc = ctl_main(f, log, argc, argv);
	(void)fclose(f);
	(void)fclose(log);
	*out = NULL;
	cr_assert_eq(json_parse(out, text, len, 1u << 20, NULL, 0), ERR_OK,
	    "%s: %s", line, text);
	free(text);
	return rc;
}

static void
refused(enum ctl_exit want, const char *word, const char *line)
{
	json_t *v;
	enum ctl_exit rc = run(&v, line);
	const char *error = json_string_value(json_object_get(v, "error"));

	cr_assert_eq(rc, want, "%s: %d %s", line, rc, error);
	cr_assert_not_null(error, "%s", line);
	cr_assert_not_null(strstr(error, word), "%s: %s", line, error);
	json_decref(v);
}

/* Command lines that make no sense reach no chain. */
Test(ctl_anchor, usage)
{
#define NOWHERE " --rpc http://127.0.0.1:1"
#define PAID " --chain-id 1 --key-file /nonexistent"
	refused(CTL_USAGE, "which chain", "anchor status");
	refused(CTL_USAGE, "which anchor", "anchor status" NOWHERE);
	refused(CTL_USAGE, "--anchor", "anchor status --anchor 0x12" NOWHERE);
	refused(CTL_USAGE, "sending needs",
	    "anchor seat remove kms0 --anchor " ANCHOR NOWHERE);
	refused(CTL_USAGE, "32 bytes", "anchor seat set kms0 0x12" NOWHERE);
	refused(CTL_USAGE, "slot", "anchor seat set a/b " H22 NOWHERE);
	refused(CTL_USAGE, "slot",
	    "anchor seat remove 12345678901234567890123456789012" NOWHERE);
	refused(
	    CTL_USAGE, "which anchor", "anchor seat remove kms0" NOWHERE PAID);
	refused(CTL_USAGE, "INCARNATION", "anchor recover" NOWHERE);
	refused(
	    CTL_USAGE, "INCARNATION", "anchor recover " H22 " --clear" NOWHERE);
	refused(
	    CTL_USAGE, "INCARNATION", "anchor recover --clear --lossy" NOWHERE);
	refused(CTL_USAGE, "32 bytes", "anchor recover 0x12" NOWHERE);
	refused(CTL_USAGE, "not zero",
	    "anchor recover "
	    "0x00000000000000000000000000000000000000000000000000000000000000"
	    "00" NOWHERE);
	refused(CTL_USAGE, "--fund",
	    "genesis publish --fund much --node http://127.0.0.1:1 --kms "
	    "0x0000000000000000000000000000000000000001" NOWHERE PAID);
	refused(CTL_UNREACHABLE, "anchor",
	    "anchor status --anchor " ANCHOR NOWHERE);
}

static bool
setup(void)
{
	struct buf b = { 0 };
	uint8_t owner[20];

	if (!anvil_start(&av) || !onchain_anchor(&av, kms, 60) ||
	    !onchain_put(&av, "DstackKms", kms))
		return false;
	/* initialize(address owner, address appImplementation) */
	cr_assert_eq(hex_fixed(owner, 20, ONCHAIN_OWNER), ERR_OK);
	cr_assert_eq(buf_set(&b, "\x48\x5c\xc9\x55", 4), ERR_OK);
	cr_assert_eq(abi_put_address(&b, owner, 4096), ERR_OK);
	cr_assert_eq(abi_put_u64(&b, 0, 4096), ERR_OK);
	onchain_owner(&av, "c000000000000000000000000000000000000001", &b);

	dir = tmpdir_new();
	cr_assert_eq(
	    file_join(key_file, sizeof key_file, dir, "owner.key"), ERR_OK);
	cr_assert_eq(file_write(key_file, ONCHAIN_OWNER_KEY, 64, 0600), ERR_OK);
	k = (struct contract){
		.chain_id = ANVIL_CHAIN, .has_kms = true, .has_anchor = true
	};
	(void)snprintf(k.rpc, sizeof k.rpc, "%s", av.url);
	(void)snprintf(k.key_file, sizeof k.key_file, "%s", key_file);
	memcpy(k.kms, kms, 20);
	cr_assert_eq(hex_fixed(k.anchor, 20, ONCHAIN_ANCHOR), ERR_OK);

	g = (struct genesis){ .k256_pub = { 2, 1 } };
	cr_assert_eq(buf_set(&g.ca_spki, "spki", 4), ERR_OK);
	g.anchor.index = 7;
	memset(g.anchor.hash, 0x11, 32);
	memset(g.anchor.incarnation, 0x22, 32);
	memset(g.anchor.signer, 0x33, 20);
	return true;
}

static void
teardown(void)
{
	genesis_fini(&g);
	anvil_stop(&av);
	if (dir != NULL)
		tmpdir_remove(dir);
}

#define LIVE(name) Test(ctl_anchor, name, .fini = teardown, .timeout = 120)
#define NEED_CHAIN() \
	do { \
		if (!setup()) \
			cr_skip("no anvil, or contracts not built"); \
	} while (0)

static enum ctl_exit
run_at(json_t **out, const char *line)
{
	char text[1024];

	(void)snprintf(text, sizeof text,
	    "%s --anchor " ANCHOR " --rpc %s --chain-id 31337 --key-file %s",
	    line, av.url, key_file);
	return run(out, text);
}

static json_t *
status(void)
{
	char text[256];
	json_t *v;

	(void)snprintf(text, sizeof text,
	    "anchor status --anchor " ANCHOR " --rpc %s", av.url);
	cr_assert_eq(run(&v, text), CTL_OK);
	return v;
}

static void
done(const char *line)
{
	json_t *v;

	cr_assert_eq(run_at(&v, line), CTL_OK, "%s: %s", line,
	    json_string_value(json_object_get(v, "error")));
	cr_assert(json_is_string(json_object_get(v, "transaction")));
	json_decref(v);
}

static const char *
text_at(const json_t *v, const char *object, const char *key)
{
	const char *s =
	    json_string_value(json_object_get(json_object_get(v, object), key));

	return s != NULL ? s : "(none)";
}

/* An anchor without a cluster has an owner, seats and nothing else. */
LIVE(before_genesis)
{
	json_t *v;

	NEED_CHAIN();
	v = status();
	cr_assert(json_is_null(json_object_get(v, "point")));
	cr_assert(json_is_null(json_object_get(v, "signer")));
	cr_assert(json_is_null(json_object_get(v, "order")));
	cr_assert(json_is_null(json_object_get(v, "announced")));
	cr_assert_eq(json_array_size(json_object_get(v, "seats")), 0);
	cr_assert_eq(json_integer_value(json_object_get(v, "wait_s")), 60);
	json_decref(v);
	cr_assert_eq(run_at(&v, "anchor recover " H22), CTL_FAILED);
	json_decref(v);
	cr_assert_eq(run_at(&v, "anchor seat remove kms0"), CTL_FAILED);
	json_decref(v);
}

LIVE(seats)
{
	const json_t *seats;
	json_t *v;

	NEED_CHAIN();
	done("anchor seat set kms0 " H22);
	done("anchor seat set kms1 " H22);
	done("anchor seat remove kms0");
	v = status();
	seats = json_object_get(v, "seats");
	cr_assert_eq(json_array_size(seats), 1);
	cr_assert_str_eq(json_string_value(
			     json_object_get(json_array_get(seats, 0), "slot")),
	    "kms1");
	cr_assert_str_eq(json_string_value(json_object_get(
			     json_array_get(seats, 0), "device_id")),
	    H22);
	json_decref(v);
}

static enum err
publish(uint64_t fund, enum reason *code)
{
	FILE *log = fopen("/dev/null", "w");
	const struct ctl c = { .out = log, .log = log };
	struct refusal why = { .code = REASON_NONE };
	uint64_t block = 0;
	enum err e = genesis_send(&block, &c, &k, &g, fund, &why);

	(void)fclose(log);
	cr_assert_eq(e == ERR_OK, block > 0);
	*code = why.code;
	return e;
}

static bool
root_is_there(void)
{
	struct refusal why;
	bool there = false;

	cr_assert_eq(genesis_done(&there, &k, &why), ERR_OK);
	return there;
}

/* Without its anchor no root is published: not when none is named, not when
 * it is another KMS's, and not when another cluster has opened it. */
LIVE(genesis_refused)
{
	static const uint8_t elsewhere[20] = { 0x0e };
	enum reason code;

	NEED_CHAIN();
	k.has_anchor = false;
	cr_assert_eq(publish(0, &code), ERR_DENIED);
	cr_assert_eq(code, REASON_REQUEST);
	k.has_anchor = true;
	cr_assert(onchain_put(&av, "DstackKms", elsewhere));
	memcpy(k.kms, elsewhere, 20);
	cr_assert_eq(publish(0, &code), ERR_DENIED);
	cr_assert_eq(code, REASON_REQUEST);
	memcpy(k.kms, kms, 20);
	memset(g.anchor.hash, 0, 32); /* the contract wants a hash */
	cr_assert_eq(publish(0, &code), ERR_DENIED);
	cr_assert_eq(code, REASON_CONTRACT_OTHER);
	cr_assert(!root_is_there());

	memset(g.anchor.hash, 0x11, 32);
	cr_assert_eq(publish(0, &code), ERR_OK);
	cr_assert(root_is_there());
	g.anchor.hash[0] ^= 1;
	cr_assert_eq(publish(0, &code), ERR_DENIED);
	cr_assert_eq(code, REASON_GENESIS_DONE);
	g.anchor.hash[0] ^= 1;
	g.anchor.signer[0] ^= 1;
	cr_assert_eq(publish(0, &code), ERR_DENIED);
	cr_assert_eq(code, REASON_GENESIS_DONE);
}

/* The anchor opens, its signer can pay, the root is named; all of it can be
 * done again when it was interrupted.  Then a recovery can be named. */
LIVE(genesis_and_recovery)
{
	enum reason code;
	json_t *v;

	NEED_CHAIN();
	cr_assert_eq(publish(GENESIS_FUND_LAB, &code), ERR_OK);
	cr_assert_eq(publish(0, &code), ERR_OK);
	cr_assert(root_is_there());
	v = status();
	cr_assert_str_eq(text_at(v, "signer", "ether"), "10");
	cr_assert_str_eq(text_at(v, "signer", "address"),
	    "0x3333333333333333333333333333333333333333");
	cr_assert_eq(json_integer_value(
			 json_object_get(json_object_get(v, "point"), "index")),
	    7);
	json_decref(v);

	done("anchor recover --lossy " H22);
	v = status();
	cr_assert_str_eq(text_at(v, "order", "incarnation"), H22);
	cr_assert(json_is_true(
	    json_object_get(json_object_get(v, "order"), "lossy")));
	json_decref(v);
	done("anchor recover --clear");
	v = status();
	cr_assert(json_is_null(json_object_get(v, "order")));
	json_decref(v);
}
