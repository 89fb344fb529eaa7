/* What kms/gate writes to the chain and reads from it, without memory: no half
 * of a call, no half of an object, and no answer that nobody gave. */
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/base/secret.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "kms/gate/anchorabi.h"
#include "kms/gate/checkin.h"
#include "kms/gate/codes.h"
#include "kms/gate/gate.h"
#include "kms/gate/registry.h"
#include "tests/lib/nomem/nomem.h"
#include "tests/lib/registry_says.h"

#define NOW ((int64_t)MOCK_TIME(101))
#define CHAIN 31337

static const uint8_t contract[20] = { 0x9f, 0xe4 };
static const uint8_t kms[20] = { 0xc0, 0xff, 0xee }, anchor[20] = { 0xa2 };
static const uint8_t app[20] = { 0x11, 0x22 }, h32[32] = { 0x77, 0x66 };
static struct k256_secret key;
static struct k256_pub root, next_root;

static void
setup(void)
{
	cr_assert_eq(secret_process_init(), ERR_OK);
	k256_generate(&key);
	cr_assert_eq(k256_pubkey(&next_root, &key), ERR_OK);
	k256_generate(&key);
	cr_assert_eq(k256_pubkey(&root, &key), ERR_OK);
}

TestSuite(nomem_chain, .init = setup, .timeout = 240);

/* ---- calls as bytes ---- */

static const struct k256_sig65 sig;
static const struct registry_holders holders = { .order = 1, .epoch = 2 };
static const struct registry_handover handover[3];

#define WRITER(name, ...) \
	static enum err name(struct buf *b) \
	{ \
		return __VA_ARGS__; \
	}
WRITER(state, anchorabi_call_state(b))
WRITER(genesis, anchorabi_genesis(b, 7, h32, kms, h32))
WRITER(recovery, anchorabi_name_recovery(b, h32, true))
WRITER(set_seat, anchorabi_set_seat(b, "kms0", h32))
WRITER(remove_seat, anchorabi_remove_seat(b, "kms0"))
WRITER(pin_of, registryabi_call_pin_of(b, app))
WRITER(publish,
    registryabi_publish_root(b, &root, h32, &sig, &holders, &sig, &sig))
WRITER(attest, registryabi_attest_holders(b, &holders, &sig, &sig))
WRITER(activate, registryabi_activate(b, 2))
WRITER(handovers, registryabi_record_handovers(b, 4, handover, 3, &sig))
WRITER(register_genesis, registryabi_register_genesis(b, &root, h32))
WRITER(order, registryabi_order_rotation(b, REGISTRY_ROUTINE, 5, 6))
WRITER(withdraw, registryabi_withdraw_order(b))
WRITER(confirm, registryabi_confirm_root(b, 2, h32))
WRITER(retire, registryabi_retire(b, 2, 9))
WRITER(pin, registryabi_pin(b, app, 2))

static enum err
sign(struct buf *b, enum anchor_write_kind kind)
{
	const struct anchorabi_at at = { .chain_id = CHAIN };
	const struct anchor_write w = {
		.kind = kind, .from = { 1, 2, { 3 } }, .to = { 1, 4, { 5 } }
	};

	return anchorabi_write(b, &at, &w, 6, &key);
}
WRITER(advance, sign(b, ANCHOR_ADVANCE))
WRITER(announce, sign(b, ANCHOR_ANNOUNCE))
WRITER(veto, sign(b, ANCHOR_VETO))
WRITER(open_again, sign(b, ANCHOR_OPEN))

static enum err (*const writer[])(struct buf *b) = { state, genesis, recovery,
	set_seat, remove_seat, pin_of, publish, attest, activate, handovers,
	register_genesis, order, withdraw, confirm, retire, pin, advance,
	announce, veto, open_again };

/* A buffer with room for `cap` bytes and no more. */
static struct buf
room(size_t cap)
{
	struct buf b = { 0 };

	cr_assert_eq(buf_reserve(&b, cap), ERR_OK);
	b.cap = cap;
	return b;
}

/* However far the buffer reaches, and whichever allocation fails behind it:
 * a writer says so, and once there is memory it writes the same. */
Test(nomem_chain, writers)
{
	for (size_t i = 0; i < sizeof writer / sizeof writer[0]; i++) {
		struct buf want = { 0 };

		cr_assert_eq(writer[i](&want), ERR_OK);
		for (size_t cap = 0; cap <= want.len; cap += 4)
			for (unsigned n = 1, hit = 1; hit != 0; n++) {
				struct buf b = room(cap);
				enum err e;

				failmalloc_arm(
				    FAILMALLOC_THREAD, FAILMALLOC_ONE, n);
				e = writer[i](&b);
				(void)failmalloc_disarm();
				hit = failmalloc_hit();
				cr_assert_eq(e, hit ? ERR_NOMEM : ERR_OK,
				    "writer %zu, %zu bytes, allocation %u", i,
				    cap, n);
				if (cap < want.len && n == 1)
					cr_assert(hit);
				b.len = 0;
				cr_assert_eq(writer[i](&b), ERR_OK);
				cr_assert_eq(b.len, want.len);
				cr_assert_arr_eq(b.p, want.p, want.len);
				buf_fini(&b);
			}
		buf_fini(&want);
	}
}

/* ---- objects, and what they read ---- */

static struct mock_chain *m;

struct world {
	bool proof;
	struct chainview *v;
	struct gate *g;
	struct anchor *a;
	struct registry *r;
	struct checkin *c;
	unsigned what;
};

/* Each look is a new one. */
static uint64_t
mono(void)
{
	static uint64_t ms;

	return ms += 100000;
}

static void
fini(void *arg)
{
	struct world *w = arg;

	checkin_free(w->c);
	registry_free(w->r);
	anchor_free(w->a);
	gate_free(w->g);
	chainview_free(w->v);
	*w = (struct world){ .proof = w->proof, .what = w->what };
}

static enum err
make(void *arg)
{
	struct world *w = arg;
	struct chainview_options vo = { .n = 3,
		.quorum = 2,
		.chain_id = CHAIN,
		.tag = CHAIN_FINALIZED,
		.max_age_s = UINT32_MAX,
		.poll_ms = 1,
		.timeout_ms = 20000,
		.proof = w->proof,
		.urls = mock_urls(m),
		.mono_ms = mono };
	struct anchor_options ao = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 3,
		.timeout_ms = 20000 };
	struct registry_options ro = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 3,
		.timeout_ms = 20000 };
	struct checkin_options co = { .chain_id = CHAIN,
		.urls = mock_urls(m),
		.n_urls = 3,
		.timeout_ms = 20000 };
	static const struct standard_code code;
	enum err e;

	fini(w);
	if ((e = chainview_new(&w->v, &vo)) != ERR_OK)
		return e;
	ao.view = ro.view = co.view = w->v;
	memcpy(ao.contract, anchor, 20);
	memcpy(ro.contract, contract, 20);
	memcpy(ro.kms, kms, 20);
	memcpy(ro.anchor, anchor, 20);
	memcpy(co.contract, contract, 20);
	if ((e = gate_new(&w->g, w->v, contract)) == ERR_OK && w->proof)
		e = gate_pin(w->g, &code, 1);
	if (e == ERR_OK && (e = anchor_new(&w->a, &ao)) == ERR_OK &&
	    (e = registry_new(&w->r, &ro)) == ERR_OK)
		e = checkin_new(&w->c, &co);
	return e;
}

/* What was not made is not there. */
static void
check_made(void *arg, enum err e)
{
	const struct world *w = arg;

	cr_assert_eq(w->c != NULL, e == ERR_OK);
	if (w->v == NULL)
		cr_assert_null(w->g);
	if (w->g == NULL)
		cr_assert_null(w->a);
	if (w->a == NULL)
		cr_assert_null(w->r);
}

static void
chain(void)
{
	m = mock_chain_new(3, CHAIN);
	mock_head(m, MOCK_ALL, 120, 110, 100);
}

Test(nomem_chain, objects)
{
	struct world w = { .proof = false };
	const struct nomem_op op = { .name = "objects",
		.run = make,
		.check = check_made,
		.fini = fini };

	chain();
	cr_assert_gt(nomem_each(&op, &w), 10);
	w.proof = true;
	cr_assert_gt(nomem_each(&op, &w), 12);
	mock_chain_free(m);
}

static void
make_it(void *arg)
{
	cr_assert_eq(make(arg), ERR_OK);
}

static enum err
read_info(struct world *w, struct chain_block *b)
{
	struct gate_kms_info info = { .ca_pub_len = 0 };
	enum err e = gate_kms_info(w->g, NOW, &info, b, NULL);

	cr_assert_eq(info.k256_pub_len, e == ERR_OK ? 33 : 0);
	return e;
}

static enum err
read_gateway(struct world *w, struct chain_block *b)
{
	char id[GATE_GATEWAY_ID_MAX] = "unset";
	enum err e = gate_gateway_app_id(w->g, NOW, id, b, NULL);

	cr_assert_str_eq(id, e == ERR_OK ? "gw" : "unset");
	return e;
}

static enum err
read_registered(struct world *w, struct chain_block *b)
{
	bool is = false;
	enum err e = gate_app_registered(w->g, app, NOW, &is, b, NULL);

	cr_assert_eq(is, e == ERR_OK);
	return e;
}

static enum err
read_allowed(struct world *w, struct chain_block *b)
{
	const struct boot_info bi = { .tcb_status = TCB_UP_TO_DATE };
	struct gate_decision d = { .block.number = 0 };
	enum err e = gate_ask(w->g, GATE_APP, &bi, NOW, &d, NULL);

	*b = d.block;
	return e;
}

static enum err
read_choice(struct world *w, struct chain_block *b)
{
	struct registry_choice c = { .number = 77 };
	enum err e = registry_choose(w->r, app, NULL, NOW, &c, NULL);

	*b = c.block;
	cr_assert_eq(c.number, e == ERR_OK ? 1 : 77);
	return e;
}

static enum err
read_found(struct world *w, struct chain_block *b)
{
	static const uint8_t batch[1][32] = { { 1 } };
	struct checkin_found f = { .which = 77 };
	enum err e = checkin_find(w->c, NOW, batch, 1, &f, NULL);

	*b = f.block;
	cr_assert_eq(f.found, e == ERR_OK);
	return e;
}

/* What the contract says is that of the fuzzer's corpus. */
static enum err
read_anchor(struct world *w, struct chain_block *b)
{
	struct anchor_view v = { .vetoes = 77 };
	enum err e = anchor_read(w->a, NOW, &v, NULL);

	*b = v.block;
	cr_assert_eq(v.vetoes, e == ERR_OK ? 2 : 77);
	return e;
}

/* Nobody takes it, and says so: ERR_OK here. */
static enum err
send_in_vain(struct world *w, struct chain_block *b)
{
	struct refusal why = { .code = REASON_NONE };
	const uint8_t batch[32] = { 1 };
	enum err e = checkin_send(w->c, batch, &key, &why);

	cr_assert_neq(e, ERR_OK);
	if (e != ERR_AGAIN || strstr(why.detail, "too low") == NULL)
		return e;
	b->number = 100;
	return ERR_OK;
}

static enum err (*const reader[])(struct world *w,
    struct chain_block *b) = { read_info, read_gateway, read_registered,
	read_allowed, read_choice, read_found, read_anchor, send_in_vain };

/* A refusal tells no block, and leaves what it was to fill in. */
static enum err
read_one(void *arg)
{
	struct world *w = arg;
	struct chain_block b = { .number = 0 };
	enum err e = reader[w->what](w, &b);

	cr_assert_eq(b.number, e == ERR_OK ? 100 : 0);
	return e;
}

static void
says(void)
{
	struct registry_state s;
	struct buf b = { 0 };

	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(
		    abi_put_u64(&b, 0x80 + 0x60 * i, 1u << 20), ERR_OK);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(abi_put_bytes(&b, root.b, 33, 1u << 20), ERR_OK);
	mock_answer(m, MOCK_ALL, APPAUTH_KMS_INFO, b.p, b.len);
	b.len = 0;
	cr_assert_eq(abi_put_u64(&b, 0x20, 1u << 20), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, "gw", 2, 1u << 20), ERR_OK);
	mock_answer(m, MOCK_ALL, APPAUTH_GATEWAY_APP_ID, b.p, b.len);
	b.len = 0;
	cr_assert_eq(abi_put_u64(&b, 1, 1u << 20), ERR_OK);
	mock_answer(m, MOCK_ALL, APPAUTH_REGISTERED_APPS, b.p, b.len);
	cr_assert_eq(abi_put_u64(&b, 0x40, 1u << 20), ERR_OK);
	cr_assert_eq(abi_put_bytes(&b, "", 0, 1u << 20), ERR_OK);
	mock_answer(m, MOCK_ALL, APPAUTH_IS_APP_ALLOWED, b.p, b.len);
	b.len = 0;
	cr_assert_eq(abi_put_u64(&b, MOCK_TIME(99), 1u << 20), ERR_OK);
	mock_answer(m, MOCK_ALL, 0x6edb6422u /* at(bytes32) */, b.p, b.len);
	buf_fini(&b);
	cr_assert_eq(
	    file_read(&b, "fuzz/corpora/anchor/announced", 4096), ERR_OK);
	mock_answer_at(m, MOCK_ALL, anchor, REGISTRY_STATE, b.p, b.len);
	buf_fini(&b);
	mock_canned(
	    m, MOCK_ALL, "eth_getTransactionCount", "\"result\":\"0x5\"");
	mock_canned(
	    m, MOCK_ALL, "eth_maxPriorityFeePerGas", "\"result\":\"0x3\"");
	mock_canned(m, MOCK_ALL, "eth_estimateGas", "\"result\":\"0x5208\"");
	mock_canned(m, MOCK_ALL, "eth_sendRawTransaction",
	    "\"error\":{\"code\":-32000,\"message\":\"nonce too low\"}");
	registry_says_new(&s, kms, anchor);
	registry_says_epoch(&s, &root, h32, REGISTRY_ROUTINE);
	registry_says_epoch(&s, &next_root, h32, REGISTRY_ROUTINE);
	registry_says(m, MOCK_ALL, contract, &s);
	registry_says_pin(m, MOCK_ALL, contract, 1);
}

/* Endpoints that could not be asked, or not be heard, are as good as silent. */
Test(nomem_chain, readers)
{
	struct world w = { .proof = false };
	const struct nomem_op op = { .name = "reader",
		.setup = make_it,
		.run = read_one,
		.fini = fini,
		.also = 1u << ERR_AGAIN,
		.sparse = true };

	chain();
	says();
	for (; w.what < sizeof reader / sizeof reader[0]; w.what++)
		cr_assert_gt(nomem_each(&op, &w), 5);
	mock_chain_free(m);
}

/* Code that could not be kept is not there, and there is no reference to it. */
static enum err
put_code(void *arg)
{
	static const uint8_t bytes[40] = { 0x60 };
	struct codes **codes = arg;
	uint8_t hash[32];
	const struct code *k, *kept;

	if (*codes == NULL && (*codes = codes_new(1024)) == NULL)
		return ERR_NOMEM;
	k = codes_put(*codes, BYTES_OF(bytes));
	keccak256(hash, bytes, sizeof bytes);
	kept = codes_get(*codes, hash);
	cr_assert_eq(k, kept);
	codes_unref(kept);
	codes_unref(k);
	return k != NULL ? ERR_OK : ERR_NOMEM;
}

static void
drop_codes(void *arg)
{
	struct codes **codes = arg;

	codes_free(*codes);
	*codes = NULL;
}

Test(nomem_chain, codes)
{
	struct codes *codes = NULL;
	const struct nomem_op op = {
		.name = "codes_put", .run = put_code, .fini = drop_codes
	};

	cr_assert_eq(nomem_each(&op, &codes), 2);
}
