/* Real contracts, on state that real transactions made, in our EVM and in
 * anvil's: ours behind their proxies, an app of one owner with notice, one
 * of several owners, one whose instances need an NFT, anchor and registry.
 * Skipped where Foundry is not installed or contracts/ is not built. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "tests/lib/evm_diff.h"
#include "tests/lib/evm_gen.h"
#include "tests/lib/onchain.h"

#define ZERO24 "000000000000000000000000"
#define OWNER_WORD ZERO24 ONCHAIN_OWNER
#define ARRAY_LEN(a) (sizeof(a) / sizeof(a)[0])

static struct anvil av;
static struct evm_world w;
static struct evm_block block;
static struct evm_gen rng = { .seed = 1 };
static unsigned n_calls, n_allowed, n_refused;

/* What is on the chain. */
static uint8_t kms[20], app[20], timelock[20], quorum[20], nft[20];
static uint8_t licences[20], anchor[20], registry[20];
static uint8_t owner[20];

/* Hashes that mean something there: two of each kind. */
static uint8_t hash[8][32];
enum { COMPOSE, COMPOSE2, DEVICE, DEVICE2, IMAGE, IMAGE2, MR, MR2 };

static void
selector(struct buf *b, const char *signature)
{
	uint8_t h[32];

	keccak256(h, signature, strlen(signature));
	cr_assert_eq(buf_set(b, h, 4), ERR_OK);
}

static void
put(struct buf *b, const uint8_t *v, size_t len)
{
	uint8_t word[32] = { 0 };

	if (len > 0)
		memcpy(word + 32 - len, v, len);
	cr_assert_eq(abi_put_bytes32(b, word, 1 << 16), ERR_OK);
}

/* A transaction of the owner with up to one argument; state is new then. */
static void
send(const uint8_t to[static 20], const char *signature, const uint8_t *v,
    size_t len)
{
	struct buf b = { 0 };
	char hex[41];

	selector(&b, signature);
	if (len > 0)
		put(&b, v, len);
	onchain_owner(&av, hex_encode(hex, to, 20), &b);
	evm_world_fini(&w);
	evm_diff_block(&block, &av);
}

/* Counts what a contract allows. */
static enum evm_outcome
ask(const uint8_t to[static 20], struct bytes data, uint64_t gas)
{
	struct buf out = { 0 };
	struct bytes reason;
	enum evm_outcome o;
	bool yes;

	struct evm_call c = { .data = data, .gas = gas, .max_return = 1 << 20 };

	memcpy(c.to, to, 20);
	if (evm_gen_next(&rng) % 4 == 0)
		memcpy(c.from, owner, 20);
	w.anvil = &av;
	n_calls++;
	o = evm_diff_call(&w, &out, &c, &block, false);
	if (o == EVM_RETURNED &&
	    abi_get_bool_string(&yes, &reason, buf_view(&out)) == ERR_OK) {
		n_allowed += yes;
		n_refused += !yes;
	}
	buf_fini(&out);
	return o;
}

static const char *
word_of(char out[static 65], const uint8_t address[static 20])
{
	(void)snprintf(out, 65, ZERO24 "%040d", 0);
	hex_encode(out + 24, address, 20);
	return out;
}

/* ERC-1967 proxy of `impl`, set up by `init`. */
static bool
proxy(uint8_t at[static 20], const uint8_t impl[static 20],
    const struct buf *init)
{
	char args[2048], a[65];
	size_t n;

	n = (size_t)snprintf(args, sizeof args, "%s%064x%064zx",
	    word_of(a, impl), 0x40, init->len);
	hex_encode(args + n, init->p, init->len);
	n += 2 * init->len;
	while ((n / 2 - 96) % 32 != 0)
		args[n++] = '0';
	args[n] = '\0';
	return onchain_new(&av, "ERC1967Proxy", args, at);
}

static bool
deploy_standard(void)
{
	uint8_t kms_code[20], app_code[20];
	struct buf init = { 0 };
	bool ok;

	if (!onchain_new(&av, "DstackKms", "", kms_code) ||
	    !onchain_new(&av, "DstackApp", "", app_code))
		return false;
	selector(&init, "initialize(address,address)");
	put(&init, owner, 20);
	put(&init, app_code, 20);
	ok = proxy(kms, kms_code, &init);
	selector(&init, "initialize(address,bool,bool,bool,bytes32,bytes32)");
	put(&init, owner, 20);
	put(&init, NULL, 0);
	put(&init, (const uint8_t[]){ 1 }, 1);
	put(&init, NULL, 0);
	put(&init, hash[DEVICE], 32);
	put(&init, hash[COMPOSE], 32);
	ok = ok && proxy(app, app_code, &init);
	buf_fini(&init);
	return ok;
}

static bool
deploy_others(void)
{
	char args[2048], a[65], b[65], d[65], c[65];

	hex_encode(d, hash[DEVICE], 32);
	hex_encode(c, hash[COMPOSE], 32);
	(void)snprintf(args, sizeof args, OWNER_WORD "%064x%064x%064x%s%s",
	    3600, 1, 0, d, c);
	if (!onchain_new(&av, "TimelockAppAuth", args, timelock))
		return false;
	(void)snprintf(args, sizeof args,
	    "%064x%064x%064x%064x%064x%064x%s%s%064x" OWNER_WORD "%064x%064x",
	    0x100, 2, 3600, 86400, 0, 0, d, c, 3, 0x1111, 0x2222);
	if (!onchain_new(&av, "QuorumAppAuth", args, quorum) ||
	    !onchain_new(&av, "LicenceToken", OWNER_WORD, licences))
		return false;
	(void)snprintf(args, sizeof args, "%s%s", word_of(a, licences), c);
	if (!onchain_new(&av, "NftAppAuth", args, nft))
		return false;
	(void)snprintf(
	    args, sizeof args, OWNER_WORD "%s%064x", word_of(a, kms), 3600);
	if (!onchain_new(&av, "ClusterAnchor", args, anchor))
		return false;
	(void)snprintf(args, sizeof args, "%s%s%s%064x%064x%064x",
	    word_of(a, kms), word_of(b, anchor), word_of(d, quorum), 3600, 3600,
	    3600);
	return onchain_new(&av, "RootRegistry", args, registry);
}

static bool
setup(void)
{
	bool ok;

	cr_assert_eq(hex_fixed(owner, 20, ONCHAIN_OWNER), ERR_OK);
	for (uint8_t i = 0; i < ARRAY_LEN(hash); i++)
		keccak256(hash[i], &i, 1);
	if (!anvil_start(&av))
		return false;
	ok = deploy_standard() && deploy_others();
	if (ok)
		send(kms, "addOsImageHash(bytes32)", hash[IMAGE], 32);
	return ok;
}

/* ---- decisions ----------------------------------------------------------- */

static const uint8_t *
pick(int first)
{
	return hash[first + (evm_gen_next(&rng) % 4 == 0)];
}

static void
random_boot(struct boot_info *bi)
{
	const uint8_t *const id[] = { app, timelock, quorum, nft, owner };

	memset(bi, 0, sizeof *bi);
	memcpy(bi->app_id, id[evm_gen_next(&rng) % 5], 20);
	memcpy(bi->compose_hash, pick(COMPOSE), 32);
	bi->has_instance_id = true;
	bi->instance_id[19] = (uint8_t)(evm_gen_next(&rng) % 3);
	memcpy(bi->device_id, pick(DEVICE), 32);
	memcpy(bi->mr_aggregated, pick(MR), 32);
	memcpy(bi->os_image_hash, pick(IMAGE), 32);
	bi->tcb_status =
	    evm_gen_next(&rng) % 4 == 0 ? TCB_OUT_OF_DATE : TCB_UP_TO_DATE;
	bi->n_advisories = (unsigned)(evm_gen_next(&rng) % 4);
	for (unsigned i = 0; i < bi->n_advisories; i++)
		(void)snprintf(bi->advisory[i], ADVISORY_LEN, "INTEL-SA-%05u",
		    (unsigned)(evm_gen_next(&rng) % 1000));
}

static void
decisions(unsigned n)
{
	const uint8_t *const to[] = { kms, kms, app, timelock, quorum, nft };
	struct buf b = { 0 };
	struct boot_info bi;

	while (n-- > 0) {
		random_boot(&bi);
		cr_assert_eq(
		    appauth_call(&b,
			evm_gen_next(&rng) % 8 == 0 ? APPAUTH_IS_KMS_ALLOWED
						    : APPAUTH_IS_APP_ALLOWED,
			&bi),
		    ERR_OK);
		enum evm_outcome o =
		    ask(to[evm_gen_next(&rng) % 6], buf_view(&b), 1000000);
		cr_assert_neq(o, EVM_UNSUPPORTED);
		cr_assert_neq(o, EVM_FAILED);
		/* Too little gas, at any point. */
		if (n % 4 == 0)
			(void)ask(to[evm_gen_next(&rng) % 6], buf_view(&b),
			    45000 + evm_gen_next(&rng) % 30000);
		/* A byte is another, or the end is missing. */
		if (b.len > 4 && n % 2 == 0) {
			b.p[4 + evm_gen_next(&rng) % (b.len - 4)] ^=
			    (uint8_t)(1u << evm_gen_next(&rng) % 8);
			if (n % 8 == 0)
				b.len -= (size_t)(evm_gen_next(&rng) % b.len);
			(void)ask(
			    to[evm_gen_next(&rng) % 6], buf_view(&b), 1000000);
		}
	}
	buf_fini(&b);
}

/* Things that owners do, one after the other. */
static void
change(void)
{
	uint8_t bit[1] = { (uint8_t)(evm_gen_next(&rng) % 2) };
	uint8_t id[1] = { (uint8_t)(evm_gen_next(&rng) % 3) };
	static bool minted[3];

	switch (evm_gen_next(&rng) % 10) {
	case 0:
		send(app, "addComposeHash(bytes32)", pick(COMPOSE), 32);
		break;
	case 1:
		send(app, "removeComposeHash(bytes32)", pick(COMPOSE), 32);
		break;
	case 2:
		send(app, "setAllowAnyDevice(bool)", bit, 1);
		break;
	case 3:
		send(app, "setRequireTcbUpToDate(bool)", bit, 1);
		break;
	case 4:
		send(kms,
		    bit[0] ? "addOsImageHash(bytes32)"
			   : "removeOsImageHash(bytes32)",
		    pick(IMAGE), 32);
		break;
	case 5:
		send(kms, "registerApp(address)",
		    (const uint8_t *[]){
			app, timelock, quorum, nft }[evm_gen_next(&rng) % 4],
		    20);
		break;
	case 6:
		send(kms, "addKmsAggregatedMr(bytes32)", pick(MR), 32);
		break;
	case 7:
		send(kms, "addKmsDevice(bytes32)", pick(DEVICE), 32);
		break;
	case 8:
		send(timelock,
		    bit[0] ? "addComposeHash(bytes32)"
			   : "removeComposeHash(bytes32)",
		    pick(COMPOSE), 32);
		break;
	default:
		if (minted[id[0]]) {
			send(licences, "burn(uint256)", id, 1);
		} else {
			struct buf b = { 0 };
			char hex[41];

			selector(&b, "mint(address,uint256)");
			put(&b, owner, 20);
			put(&b, id, 1);
			onchain_owner(&av, hex_encode(hex, licences, 20), &b);
			evm_world_fini(&w);
			evm_diff_block(&block, &av);
		}
		minted[id[0]] = !minted[id[0]];
		break;
	}
	if (evm_gen_next(&rng) % 4 == 0) {
		anvil_rpc(&av, "evm_increaseTime", "[\"0x708\"]");
		anvil_rpc(&av, "anvil_mine", "[\"0x1\"]");
		evm_diff_block(&block, &av);
	}
}

/* ---- everything else ------------------------------------------------------ */

static void
random_word(struct buf *b)
{
	const uint8_t *const known[] = { kms, app, timelock, quorum, owner,
		licences, anchor, registry };
	uint8_t v[32];

	switch (evm_gen_next(&rng) % 6) {
	case 0:
		put(b, known[evm_gen_next(&rng) % ARRAY_LEN(known)], 20);
		break;
	case 1:
		put(b, hash[evm_gen_next(&rng) % ARRAY_LEN(hash)], 32);
		break;
	case 2:
		for (size_t i = 0; i < 32; i++)
			v[i] = (uint8_t)evm_gen_next(&rng);
		put(b, v, 32);
		break;
	case 3:
		v[0] = (uint8_t)(evm_gen_next(&rng) % 16 * 32);
		put(b, v, 1);
		break;
	default:
		v[0] = (uint8_t)(evm_gen_next(&rng) % 4);
		put(b, v, 1);
		break;
	}
}

/* Every function that the contract has, with arguments that may make sense. */
static void
every_function(const uint8_t at[static 20], const char *name, unsigned rounds)
{
	struct buf file = { 0 }, b = { 0 };
	json_t *v = NULL, *id;
	const char *signature;
	char path[128];

	(void)snprintf(
	    path, sizeof path, "contracts/out/%s.sol/%s.json", name, name);
	cr_assert_eq(file_read(&file, path, 4u << 20), ERR_OK);
	cr_assert_eq(
	    json_parse(&v, file.p, file.len, 4u << 20, NULL, 0), ERR_OK);
	json_object_foreach(json_object_get(v, "methodIdentifiers"), signature,
	    id) for (unsigned i = 0; i < rounds; i++)
	{
		selector(&b, signature);
		for (uint64_t n = evm_gen_next(&rng) % 8; n > 0; n--)
			random_word(&b);
		(void)ask(at, buf_view(&b), 2000000);
	}
	json_decref(v);
	buf_fini(&b);
	buf_fini(&file);
}

Test(evm_contracts, the_same_as_anvil, .timeout = 300)
{
	const char *more = getenv("EVM_ROUNDS");
	unsigned rounds = more != NULL ? (unsigned)strtoul(more, NULL, 10) : 1;

	if (!setup()) {
		anvil_stop(&av);
		cr_skip_test("no anvil, or contracts/ is not built");
	}
	for (unsigned i = 0; i < 25 * rounds; i++) {
		decisions(4);
		change();
	}
	decisions(4);
	every_function(kms, "DstackKms", rounds);
	every_function(app, "DstackApp", rounds);
	every_function(timelock, "TimelockAppAuth", rounds);
	every_function(quorum, "QuorumAppAuth", rounds);
	every_function(nft, "NftAppAuth", rounds);
	every_function(licences, "LicenceToken", rounds);
	every_function(anchor, "ClusterAnchor", rounds);
	every_function(registry, "RootRegistry", rounds);
	(void)fprintf(stderr, "# %u calls; %u decisions allow, %u refuse\n",
	    n_calls, n_allowed, n_refused);
	cr_assert_gt(n_allowed, 10);
	cr_assert_gt(n_refused, 10);
	evm_world_fini(&w);
	anvil_stop(&av);
}
