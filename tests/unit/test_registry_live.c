/* The registry of roots against the real contract on a real EVM: the life of
 * epochs from genesis to destruction, every call and every digest of
 * registryabi, and the state after each step.  Skipped unless contracts/ has
 * been built and Foundry is installed. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/crypto/hash.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/contract.h"
#include "kms/gate/anchorabi.h"
#include "kms/gate/registryabi.h"
#include "tests/lib/onchain.h"

#define WINDOW 600u
#define NOTICE 3600u
#define AGE 300u
#define AUTHORITY "a000000000000000000000000000000000000002"
#define KMS "c0ffee0000000000000000000000000000000000"

static struct anvil av;
static struct contract k;
static uint8_t kms[20], registry[20], authority[20], app[20];
static struct registryabi_at here = { .chain_id = ANVIL_CHAIN };
static struct k256_secret cluster, root[4];
static struct k256_pub root_pub[4];
static uint8_t ca[32], genesis_ca[32];
static struct registry_state s;

static void
look_named(const char *name)
{
	struct refusal why = { 0 };
	struct buf call = { 0 }, answer = { 0 };
	const char *dir = getenv("REGISTRY_STATES"); /* for the corpus */
	char path[256];

	cr_assert_eq(registryabi_call_state(&call), ERR_OK);
	cr_assert_eq(
	    contract_call(&answer, &k, registry, buf_view(&call), &why), ERR_OK,
	    "%s", why.detail);
	cr_assert_eq(
	    registryabi_state(&s, buf_view(&answer)), ERR_OK, "%s", name);
	if (dir != NULL) {
		(void)snprintf(path, sizeof path, "%s/%s", dir, name);
		cr_assert_eq(
		    file_write(path, answer.p, answer.len, 0600), ERR_OK);
	}
	buf_fini(&call);
	buf_fini(&answer);
}

static uint64_t
now(void)
{
	struct rpc_request rq = { av.url, "eth_getBlockByNumber",
		"[\"latest\",false]", 30000, 1u << 20 };
	struct rpc_reply r;
	uint64_t t = 0;

	rpc_all(&r, &rq, 1);
	cr_assert_eq(r.err, ERR_OK);
	cr_assert_eq(
	    rpc_quantity(&t, json_object_get(r.result, "timestamp")), ERR_OK);
	rpc_reply_fini(&r);
	return t;
}

static void
pass(unsigned seconds)
{
	char params[32];

	(void)snprintf(params, sizeof params, "[%u]", seconds);
	anvil_rpc(&av, "evm_increaseTime", params);
	anvil_rpc(&av, "anvil_mine", "[\"0x1\"]");
}

static void
by_authority(struct buf *call)
{
	onchain_from(&av, AUTHORITY, ONCHAIN_REGISTRY, call);
}

static void
by_anyone(struct buf *call)
{
	onchain_owner(&av, ONCHAIN_REGISTRY, call);
}

static void
impersonate(const char *address)
{
	uint8_t a[20];
	char params[64];

	cr_assert_eq(hex_fixed(a, 20, address), ERR_OK);
	onchain_fund(&av, a);
	(void)snprintf(params, sizeof params, "[\"0x%s\"]", address);
	anvil_rpc(&av, "anvil_impersonateAccount", params);
}

static bool
setup(void)
{
	static const uint8_t spki[] = "the SPKI of a CA";
	struct bytes info[4] = { { root_pub[0].b, 33 }, { spki, sizeof spki },
		{ spki, 0 }, { spki, 0 } };
	uint8_t signer[20], device[32] = { 0xde }, hash[32] = { 0x05 };
	struct k256_pub pub;
	struct buf b = { 0 };

	cr_assert_eq(hex_fixed(kms, 20, KMS), ERR_OK);
	cr_assert_eq(hex_fixed(registry, 20, ONCHAIN_REGISTRY), ERR_OK);
	cr_assert_eq(hex_fixed(authority, 20, AUTHORITY), ERR_OK);
	memset(app, 0xa9, sizeof app);
	memcpy(here.contract, registry, 20);
	if (!anvil_start(&av) || !onchain_anchor(&av, kms, 60) ||
	    !onchain_put(&av, "DstackKms", kms) ||
	    !onchain_put(&av, "OperatorCouncil", authority) ||
	    !onchain_registry(&av, kms, authority, WINDOW, NOTICE, AGE))
		return false;
	memcpy(k.rpc, av.url, sizeof av.url);
	impersonate(AUTHORITY);
	k256_generate(&cluster);
	cr_assert_eq(k256_pubkey(&pub, &cluster), ERR_OK);
	cr_assert_eq(k256_address(signer, &pub), ERR_OK);
	for (size_t i = 0; i < 4; i++) {
		k256_generate(&root[i]);
		cr_assert_eq(k256_pubkey(&root_pub[i], &root[i]), ERR_OK);
	}
	memset(ca, 0xca, sizeof ca);
	sha256(genesis_ca, spki, sizeof spki);
	cr_assert_eq(anchorabi_genesis(&b, 5, hash, signer, device), ERR_OK);
	onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	for (char slot[] = "a"; slot[0] <= 'c'; slot[0]++) {
		cr_assert_eq(anchorabi_set_seat(&b, slot, device), ERR_OK);
		onchain_owner(&av, ONCHAIN_ANCHOR, &b);
	}
	/* initialize(owner, no factory) */
	cr_assert_eq(buf_reserve(&b, 68), ERR_OK);
	memset(b.p, 0, 68);
	cr_assert_eq(hex_fixed(b.p, 4, "485cc955"), ERR_OK);
	cr_assert_eq(hex_fixed(b.p + 16, 20, ONCHAIN_OWNER), ERR_OK);
	b.len = 68;
	onchain_owner(&av, KMS, &b);
	cr_assert_eq(calls_set_kms_info(&b, info), ERR_OK);
	onchain_owner(&av, KMS, &b);
	cr_assert_eq(calls_address(&b, CALL_REGISTER_APP, app), ERR_OK);
	onchain_owner(&av, KMS, &b);
	return true;
}

static struct k256_sig65
sign(const struct k256_secret *key, const uint8_t digest[static 32])
{
	struct k256_sig65 sig;

	cr_assert_eq(k256_sign_digest(&sig, key, digest), ERR_OK);
	return sig;
}

static struct k256_sig65
certificate(uint64_t epoch, enum registry_mode mode)
{
	uint8_t text[121] = "devproof-kms-epoch:", hash[32];
	uint8_t *p = text + 19;

	for (int i = 0; i < 8; i++) {
		p[7 - i] = (uint8_t)((uint64_t)ANVIL_CHAIN >> 8 * i);
		p[35 - i] = (uint8_t)(epoch >> 8 * i);
	}
	memcpy(p + 8, registry, 20);
	memcpy(p + 36, root_pub[epoch].b, 33);
	memcpy(p + 69, ca, 32);
	p[101] = (uint8_t)mode;
	keccak256(hash, text, sizeof text);
	return sign(
	    mode == REGISTRY_ROUTINE ? &root[epoch - 1] : &cluster, hash);
}

static struct registry_holders
holders(uint64_t epoch, uint8_t digest[static 32])
{
	struct registry_holders h = { .order = s.order.number,
		.epoch = epoch,
		.seats = 5,
		.as_of = now() };

	registry_root_hash(h.root_hash, &root_pub[epoch], ca);
	memcpy(h.seats_hash, s.seats_hash, 32);
	registry_holders_digest(digest, &here, &h);
	return h;
}

static void
ordered(enum registry_mode mode, uint64_t retire_after)
{
	struct buf b = { 0 };

	cr_assert_eq(
	    registryabi_order_rotation(&b, mode, 7, retire_after), ERR_OK);
	by_authority(&b);
	look_named(mode == REGISTRY_ROUTINE ? "ordered" : "emergency");
	cr_assert_eq(s.order.epoch, s.active + 1);
	cr_assert_eq(s.order.mode, mode);
	cr_assert_eq(s.order.not_before, 7);
	cr_assert_eq(s.order.retire_after, retire_after);
	cr_assert_eq(
	    registry_epoch_of(&s, s.active + 1)->status, REGISTRY_ORDERED);
}

static void
published(uint64_t epoch)
{
	uint8_t digest[32];
	struct registry_holders h = holders(epoch, digest);
	struct k256_sig65 cert = certificate(epoch, s.order.mode),
			  by_root = sign(&root[epoch], digest),
			  by_cluster = sign(&cluster, digest);
	const struct registry_epoch *x;
	struct buf b = { 0 };

	cr_assert_eq(registryabi_publish_root(&b, &root_pub[epoch], ca, &cert,
			 &h, &by_root, &by_cluster),
	    ERR_OK);
	by_anyone(&b);
	look_named("published");
	x = registry_epoch_of(&s, epoch);
	cr_assert_eq(x->status, REGISTRY_PUBLISHED);
	cr_assert_arr_eq(x->k256.b, root_pub[epoch].b, 33);
	cr_assert_arr_eq(x->ca_spki_hash, ca, 32);
	cr_assert_eq(x->holders, 5);
	cr_assert_eq(x->held_as_of, h.as_of);
	cr_assert_arr_eq(x->held_seats, s.seats_hash, 32);
	cr_assert_eq(x->order, s.order.number);
}

static void
activated(uint64_t epoch)
{
	uint8_t digest[32];
	struct registry_holders h;
	struct k256_sig65 by_root, by_cluster;
	struct buf b = { 0 };

	pass(WINDOW);
	h = holders(epoch, digest);
	by_root = sign(&root[epoch], digest);
	by_cluster = sign(&cluster, digest);
	cr_assert_eq(
	    registryabi_attest_holders(&b, &h, &by_root, &by_cluster), ERR_OK);
	by_anyone(&b);
	cr_assert_eq(registryabi_activate(&b, epoch), ERR_OK);
	by_anyone(&b);
	look_named("active");
	cr_assert_eq(s.active, epoch);
	cr_assert_eq(s.order.epoch, 0);
	cr_assert_eq(registry_epoch_of(&s, epoch)->status, REGISTRY_ACTIVE);
}

static void
recorded(uint64_t from, size_t n)
{
	struct registry_handover list[REGISTRY_HANDOVERS_MAX] = { 0 };
	uint8_t head[32], digest[32];
	struct k256_sig65 sig;
	struct buf b = { 0 };

	memcpy(head, s.handover_head, 32);
	for (size_t i = 0; i < n; i++) {
		list[i].audit = 100 + from + i;
		list[i].epoch = s.active;
		memset(list[i].slot, 'a', 1);
		memset(list[i].incarnation, (int)i + 1, 32);
		memset(list[i].device_id, 2, 32);
		memset(list[i].mr_aggregated, 3, 32);
		registry_handover_step(head, from + i, &list[i]);
	}
	registry_handover_digest(digest, &here, from + n, head);
	sig = sign(&cluster, digest);
	cr_assert_eq(
	    registryabi_record_handovers(&b, from, list, n, &sig), ERR_OK);
	by_anyone(&b);
	look_named("handovers");
	cr_assert_eq(s.handovers, from + n);
	cr_assert_arr_eq(s.handover_head, head, 32);
}

static uint64_t
pin_of(void)
{
	struct refusal why = { 0 };
	struct buf call = { 0 }, answer = { 0 };
	uint64_t pin = UINT64_MAX;

	cr_assert_eq(registryabi_call_pin_of(&call, app), ERR_OK);
	cr_assert_eq(
	    contract_call(&answer, &k, registry, buf_view(&call), &why),
	    ERR_OK);
	cr_assert_eq(abi_get_u64(&pin, buf_view(&answer)), ERR_OK);
	buf_fini(&call);
	buf_fini(&answer);
	return pin;
}

/* What the contract accepts was signed and encoded as it wants it, and what
 * it says afterwards is read. */
Test(registry_live, a_life, .timeout = 120)
{
	uint8_t hash[32];
	struct buf b = { 0 };
	char text[41];

	if (!setup())
		cr_skip_test("no anvil, or contracts/ is not built");
	look_named("empty");
	cr_assert_eq(s.n_epochs, 0);
	cr_assert_eq(s.veto_window_s, WINDOW);
	cr_assert_eq(s.notice_s, NOTICE);
	cr_assert_eq(s.holders_age_s, AGE);
	cr_assert_arr_eq(s.kms, kms, 20);
	cr_assert_arr_eq(s.authority, authority, 20);

	cr_assert_eq(
	    registryabi_register_genesis(&b, &root_pub[0], genesis_ca), ERR_OK);
	by_authority(&b);
	look_named("genesis");
	cr_assert_eq(s.n_epochs, 1);
	cr_assert_arr_eq(s.epoch[0].k256.b, root_pub[0].b, 33);
	recorded(0, 1);
	recorded(1, REGISTRY_HANDOVERS_MAX);

	/* a routine rotation, withdrawn once, vetoed once */
	ordered(REGISTRY_ROUTINE, 0);
	cr_assert_eq(registryabi_withdraw_order(&b), ERR_OK);
	by_authority(&b);
	look_named("withdrawn");
	cr_assert_eq(s.order.epoch, 0);
	cr_assert_eq(s.order.number, 1);
	ordered(REGISTRY_ROUTINE, NOTICE);
	published(1);
	cr_assert_eq(registryabi_veto_root(&b, 1), ERR_OK);
	by_authority(&b);
	look_named("vetoed");
	cr_assert_eq(s.vetoes, 1);
	k256_generate(&root[1]);
	cr_assert_eq(k256_pubkey(&root_pub[1], &root[1]), ERR_OK);
	published(1);
	activated(1);
	cr_assert_neq(s.epoch[0].retire_at, 0);

	/* the app moves, and back it cannot: epoch 0 has an end */
	cr_assert_eq(pin_of(), 0);
	cr_assert_eq(registryabi_pin(&b, app, 1), ERR_OK);
	impersonate(hex_encode(text, app, 20));
	onchain_from(&av, text, ONCHAIN_REGISTRY, &b);
	cr_assert_eq(pin_of(), 1);

	/* an emergency: voted for first */
	ordered(REGISTRY_EMERGENCY, 0);
	registry_root_hash(hash, &root_pub[2], ca);
	cr_assert_eq(registryabi_confirm_root(&b, 2, hash), ERR_OK);
	by_authority(&b);
	look_named("confirmed");
	cr_assert_arr_eq(s.order.confirmed, hash, 32);
	published(2);
	activated(2);

	/* the ends of the others */
	cr_assert_eq(registryabi_taint(&b, 1), ERR_OK);
	by_authority(&b);
	look_named("tainted");
	cr_assert_eq(s.epoch[1].status, REGISTRY_TAINTED);
	pass(NOTICE);
	cr_assert_eq(registryabi_destroy(&b, 0), ERR_OK);
	by_authority(&b);
	cr_assert_eq(registryabi_retire(&b, 1, now() + NOTICE + 60), ERR_OK);
	by_authority(&b);
	look_named("destroyed");
	cr_assert_eq(s.epoch[0].status, REGISTRY_DESTROYED);
	cr_assert_neq(s.epoch[1].retire_at, 0);
	ordered(REGISTRY_ROUTINE, NOTICE);
	published(3);
	anvil_stop(&av);
}
