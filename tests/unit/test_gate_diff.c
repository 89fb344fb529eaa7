/* The gate in mode proof against the chain's own word: over many random states
 * of the contracts it allows what eth_call allows at the same block, refuses
 * what eth_call refuses, with the same reason, and nothing else.
 *
 * STATES=10000 in the environment asks for as many; a test run takes some
 * hundreds.  A state is one app's at one block: what its contract is and holds,
 * and what the KMS contract holds.  Skipped unless contracts/ has been built and
 * Foundry is installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/abi.h"
#include "common/eth/rpc.h"
#include "common/net/fetch.h"
#include "kms/gate/gate.h"
#include "tests/lib/onchain.h"

#define APPS 24u
#define STATES_DEFAULT 480u
#define PICKS 3u /* of everything that is listed by hash */

static struct anvil a;
static uint64_t seed = 7;
static uint64_t fake_ms = 1000;

static const uint8_t kms[20] = { [0] = 0xc0, [19] = 1 };
static const uint8_t kms_impl[20] = { [0] = 0xc0, [19] = 2 };
static const uint8_t app_impl[20] = { [0] = 0xc0, [19] = 3 };
static const uint8_t other_impl[20] = { [0] = 0xc0, [19] = 4 };

static struct views {
	struct chainview *v;
	struct gate *g;
} asked, executed, pinned;

static uint64_t
mono(void)
{
	return fake_ms;
}

static uint32_t
below(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- batches of requests ---- */

static struct buf batch;
static unsigned n_batch;

static void
add(const char *method, const char *params)
{
	cr_assert_eq(buf_printf(&batch,
			 "%c{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"%s\","
			 "\"params\":%s}",
			 n_batch == 0 ? '[' : ',', n_batch + 1, method, params),
	    ERR_OK);
	n_batch++;
}

static void
flush(void)
{
	struct fetch_request rq = { .url = a.url,
		.content_type = "application/json",
		.timeout_ms = 60000,
		.max_reply = 8u << 20 };
	struct fetch_reply r;
	json_t *v = NULL;

	if (n_batch == 0)
		return;
	cr_assert_eq(buf_printf(&batch, "]"), ERR_OK);
	rq.post = buf_view(&batch);
	fetch_all(&r, &rq, 1);
	cr_assert_eq(r.err, ERR_OK, "%s: %s", err_text(r.err), (char *)batch.p);
	cr_assert_eq(
	    json_parse(&v, r.body.p, r.body.len, 8u << 20, NULL, 0), ERR_OK);
	cr_assert_eq(json_array_size(v), n_batch);
	for (unsigned i = 0; i < n_batch; i++)
		cr_assert_not_null(
		    json_object_get(json_array_get(v, i), "result"), "%s",
		    (char *)r.body.p);
	json_decref(v);
	fetch_reply_fini(&r);
	batch.len = 0;
	n_batch = 0;
}

/* Requests of one batch are not in order. */
static void
mine(void)
{
	flush();
	anvil_rpc(&a, "evm_mine", "[]");
}

static void
set_slot(const uint8_t at[static 20], const uint8_t slot[static 32],
    const uint8_t value[static 32])
{
	char hex[41], s[65], v[65], params[256];

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"0x%s\",\"0x%s\"]",
	    hex_encode(hex, at, 20), hex_encode(s, slot, 32),
	    hex_encode(v, value, 32));
	add("anvil_setStorageAt", params);
}

static void
set_code(const uint8_t at[static 20], const char *code)
{
	char hex[41], params[512];

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"0x%s\"]",
	    hex_encode(hex, at, 20), code);
	add("anvil_setCode", params);
}

static void
set_impl(const uint8_t at[static 20], const uint8_t impl[static 20])
{
	uint8_t word[32] = { 0 };

	memcpy(word + 12, impl, 20);
	set_slot(at, standard_implementation_slot, word);
}

/* The owner calls a function of words. */
static void
send(const uint8_t to[static 20], uint32_t selector, const uint8_t (*arg)[32],
    unsigned n)
{
	char hex[41], word[65];
	struct buf params = { 0 };

	cr_assert_eq(buf_printf(&params,
			 "[{\"from\":\"0x" ONCHAIN_OWNER
			 "\",\"to\":\"0x%s\",\"gas\":\"0x30d40\",\"data\":"
			 "\"0x%08x",
			 hex_encode(hex, to, 20), selector),
	    ERR_OK);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(
		    buf_printf(&params, "%s", hex_encode(word, arg[i], 32)),
		    ERR_OK);
	cr_assert_eq(buf_printf(&params, "\"}]"), ERR_OK);
	add("eth_sendTransaction", (char *)params.p);
	buf_fini(&params);
}

/* ---- the contracts ---- */

enum what {
	STANDARD, /* a proxy of DstackApp */
	DIRECT, /* DstackApp's code at the address itself */
	UPGRADED, /* a proxy of code that is on no list */
	TIMELOCK,
	QUORUM,
	THE_KMS, /* a proxy of DstackKms */
	NOTHING,
	RAW, /* a few bytes of hostile or odd code */
};

static struct app {
	uint8_t id[20];
	enum what what;
} app[APPS];

/* Returns (word on top of the stack, 0x40, 0). */
#define ANSWER \
	"60005260406020526000604052" \
	"60606000f3"

static const char *const raw[] = {
	"60006000fd", /* reverts */
	"00", /* returns nothing */
	"5b600056", /* does not end */
	"6001" ANSWER, /* consents */
	"6000" ANSWER,
	"6002" ANSWER, /* a bool of 2 */
	"426001"
	"16" ANSWER, /* by the parity of the time */
	"436001"
	"16" ANSWER, /* of the number */
	"486001"
	"16" ANSWER, /* of the base fee */
	"446001"
	"16" ANSWER, /* of prevRandao */
	"5a6001"
	"16" ANSWER, /* of the gas that is left */
	"4715" ANSWER, /* has it no ether? */
	"3415" ANSWER, /* was it sent none? */
	"600054" ANSWER, /* what slot 0 holds */
	"4215"
	"6000"
	"55"
	"6001" ANSWER, /* writes first */
	"fe",
	"60016000"
	"20"
	"15" ANSWER,
	"3380"
	"15" ANSWER, /* leaves something on the stack */
	"6000600060006000"
	"3b15" ANSWER,
};
#define RAWS (sizeof raw / sizeof raw[0])

static const uint8_t zero[32], one[32] = { [31] = 1 };

static void
address_word(uint8_t out[static 32], const uint8_t address[static 20])
{
	memset(out, 0, 12);
	memcpy(out + 12, address, 20);
}

/* Everything that is listed is one of a few. */
static void
pick(uint8_t out[static 32], uint8_t kind)
{
	memset(out, 0, 32);
	out[0] = kind;
	out[31] = (uint8_t)below(PICKS);
}

static void
make_app(unsigned i)
{
	static const enum what plan[] = { STANDARD, STANDARD, STANDARD, DIRECT,
		UPGRADED, TIMELOCK, QUORUM, THE_KMS, NOTHING, RAW, RAW, RAW };
	struct app *p = &app[i];
	uint8_t args[6][32] = { { 0 } };

	p->what = plan[i % (sizeof plan / sizeof plan[0])];
	p->id[0] = 0xa0;
	p->id[19] = (uint8_t)i;
	switch (p->what) {
	case STANDARD:
	case UPGRADED:
	case THE_KMS:
		cr_assert(onchain_put(&a, "ERC1967Proxy", p->id));
		set_impl(p->id,
		    p->what == STANDARD       ? app_impl
			: p->what == UPGRADED ? other_impl
					      : kms_impl);
		break;
	case DIRECT:
		cr_assert(onchain_put(&a, "DstackApp", p->id));
		break;
	case TIMELOCK:
		cr_assert(onchain_put(&a, "TimelockAppAuth", p->id));
		break;
	case QUORUM:
		cr_assert(onchain_put(&a, "QuorumAppAuth", p->id));
		break;
	case NOTHING:
		return;
	case RAW:
		set_code(p->id, raw[below(RAWS)]);
		return;
	}
	hex_fixed(args[0] + 12, 20, ONCHAIN_OWNER) == ERR_OK ? (void)0
							     : abort();
	if (p->what == STANDARD || p->what == DIRECT || p->what == UPGRADED)
		send(p->id, 0x9ed28193, args, 6);
}

static void
open_view(
    struct views *o, bool proof, const struct standard_code *code, unsigned n)
{
	const char *url[1] = { a.url };
	const struct chainview_options co = { .urls = url,
		.n = 1,
		.quorum = 1,
		.chain_id = ANVIL_CHAIN,
		.tag = CHAIN_LATEST,
		.max_age_s = 1000000,
		.max_ahead_s = 1000000,
		.poll_ms = 10,
		.timeout_ms = 60000,
		.proof = proof,
		.mono_ms = mono };

	cr_assert_eq(chainview_new(&o->v, &co), ERR_OK);
	cr_assert_eq(gate_new(&o->g, o->v, kms), ERR_OK);
	if (n > 0)
		cr_assert_eq(gate_pin(o->g, code, n), ERR_OK);
}

static struct standard_code
code_at(enum standard_role role, const uint8_t address[static 20])
{
	struct standard_code c = { .role = role };
	struct buf code = { 0 };
	char params[64], hex[41];
	json_t *v;

	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]",
	    hex_encode(hex, address, 20));
	v = anvil_ask(&a, "eth_getCode", params);
	cr_assert_eq(rpc_data(&code, 1u << 17, v), ERR_OK);
	keccak256(c.hash, code.p, code.len);
	buf_fini(&code);
	json_decref(v);
	return c;
}

static bool
setup(void)
{
	uint8_t args[2][32] = { { 0 } };
	struct standard_code code[4];
	json_t *v;
	struct buf text = { 0 };

	if (!anvil_start(&a))
		return false;
	if (!onchain_put(&a, "DstackKms", kms_impl) ||
	    !onchain_put(&a, "DstackApp", app_impl) ||
	    !onchain_put(&a, "ERC1967Proxy", kms))
		return false;
	anvil_rpc(&a, "evm_setAutomine", "[false]");
	/* DstackApp with one byte behind it: another hash, the same rules. */
	v = anvil_ask(&a, "eth_getCode",
	    "[\"0xc000000000000000000000000000000000000003\",\"latest\"]");
	cr_assert_eq(buf_printf(&text,
			 "[\"0xc000000000000000000000000000000000000004\","
			 "\"%s00\"]",
			 json_string_value(v)),
	    ERR_OK);
	anvil_rpc(&a, "anvil_setCode", (char *)text.p);
	buf_fini(&text);
	json_decref(v);
	set_impl(kms, kms_impl);
	cr_assert_eq(hex_fixed(args[0] + 12, 20, ONCHAIN_OWNER), ERR_OK);
	address_word(args[1], app_impl);
	send(kms, 0x485cc955, args, 2);
	for (unsigned i = 0; i < APPS; i++)
		make_app(i);
	mine();
	code[0] = code_at(STANDARD_PROXY, kms);
	code[1] = code_at(STANDARD_KMS, kms_impl);
	code[2] = code_at(STANDARD_APP, app_impl);
	code[3] = code_at(STANDARD_APP, app[3].id);
	open_view(&asked, false, NULL, 0);
	open_view(&executed, true, NULL, 0);
	open_view(&pinned, true, code, 4);
	return true;
}

/* ---- changes ---- */

static void
change_kms(void)
{
	static const uint32_t selector[] = { 0x06a3ae96, 0x9425bac6, 0x3e32d346,
		0x2adee48d, 0x4d5922a1, 0x9e6f3114 };
	static const uint8_t kind[] = { 1, 1, 2, 2, 3, 3 };
	unsigned k = below(6);
	uint8_t word[1][32];

	/* More is added than removed. */
	if (below(4) != 0)
		k &= ~1u;
	pick(word[0], kind[k]);
	send(kms, selector[k], word, 1);
}

/* By its own function; removed by hand, as no function does that. */
static void
change_registration(const struct app *p)
{
	uint8_t in[64] = { [63] = 5 }, slot[32], word[1][32];

	address_word(word[0], p->id);
	if (below(5) != 0) {
		send(kms, 0x17a1d80f, word, 1);
		return;
	}
	memcpy(in, word[0], 32);
	keccak256(slot, in, sizeof in);
	set_slot(kms, slot, zero);
}

static void
change_dstack_app(const struct app *p)
{
	static const uint32_t list[] = { 0xdfc77223, 0x67b3f22c, 0x2a819728,
		0x1d266200 };
	static const uint32_t flags[] = { 0x7c4beeb8, 0x6e4c7422 };
	uint8_t word[1][32];
	unsigned k = below(4);

	if (below(3) == 0) {
		memcpy(word[0], below(2) == 0 ? zero : one, 32);
		send(p->id, flags[below(2)], word, 1);
		return;
	}
	if (below(3) != 0)
		k &= ~1u;
	pick(word[0], k < 2 ? 4 : 3);
	send(p->id, list[k], word, 1);
}

/* AppRules' words, whatever they mean: slots of any number, also absurd ones. */
static void
change_slots(const struct app *p)
{
	uint8_t slot[32] = { 0 }, value[32] = { 0 }, in[64] = { 0 };

	if (below(2) == 0) {
		slot[31] = (uint8_t)below(8);
	} else {
		pick(in, below(2) == 0 ? 4 : 3);
		in[63] = (uint8_t)below(8);
		keccak256(slot, in, sizeof in);
	}
	for (unsigned i = 0; i < 8; i++)
		if (below(2) == 0)
			value[24 + i] = (uint8_t)below(256);
	if (below(3) == 0)
		memset(value, 0, 32);
	if (below(3) == 0)
		memcpy(value, one, 32);
	set_slot(p->id, slot, value);
}

static void
change_app(const struct app *p)
{
	if (below(3) == 0)
		change_registration(p);
	switch (p->what) {
	case STANDARD:
		/* Its owner may replace the implementation, also by one that
		 * is none, or come back. */
		if (below(12) == 0)
			set_impl(p->id, below(2) == 0 ? other_impl : app[8].id);
		else if (below(3) == 0)
			set_impl(p->id, app_impl);
		[[fallthrough]];
	case UPGRADED:
	case DIRECT:
		change_slots(p);
		change_dstack_app(p);
		change_dstack_app(p);
		break;
	case TIMELOCK:
	case QUORUM:
	case THE_KMS:
		change_slots(p);
		change_slots(p);
		break;
	case NOTHING:
		break;
	case RAW:
		set_code(p->id, raw[below(RAWS)]);
		set_slot(p->id, zero, below(2) == 0 ? zero : one);
		break;
	}
}

static void
next_state(void)
{
	for (unsigned i = 0; i < 2; i++)
		change_kms();
	for (unsigned i = 0; i < APPS; i++)
		if (below(3) != 0)
			change_app(&app[i]);
	mine();
	fake_ms += 1000;
}

/* ---- questions ---- */

static void
random_question(struct boot_info *bi, const struct app *p)
{
	*bi =
	    (struct boot_info){ .tcb_status = below(3) == 0 ? TCB_OUT_OF_DATE
							    : TCB_UP_TO_DATE };
	memcpy(bi->app_id, p->id, 20);
	pick(bi->os_image_hash, 1);
	pick(bi->mr_aggregated, 2);
	pick(bi->device_id, 3);
	pick(bi->compose_hash, 4);
	bi->has_instance_id = below(2) == 0;
	bi->instance_id[0] = (uint8_t)below(256);
	if (below(4) == 0) {
		bi->n_advisories = 1;
		(void)snprintf(bi->advisory[0], ADVISORY_LEN, "INTEL-SA-00001");
	}
}

struct answer {
	enum err e;
	struct refusal why;
	struct gate_decision d;
};

static struct answer
ask(struct gate *g, enum gate_kind kind, const struct boot_info *bi)
{
	struct answer r = { .why = { .code = REASON_NONE } };

	r.e = gate_ask(g, kind, bi, clock_wall_s(), &r.d, &r.why);
	return r;
}

static unsigned seen[REASON_COUNT], n_allowed, n_denied;

/* Words about a call that failed are each side's own. */
static bool
same_text(const struct answer *x, const struct answer *y)
{
	static const char failed[] = "call failed";

	return strcmp(x->why.detail, y->why.detail) == 0 ||
	    (strncmp(x->why.detail, failed, sizeof failed - 1) == 0 &&
		strncmp(y->why.detail, failed, sizeof failed - 1) == 0);
}

static void
compare(const char *how, const struct answer *want, const struct answer *got,
    const struct app *p)
{
	cr_assert(got->e == want->e && got->why.code == want->why.code &&
		same_text(want, got) &&
		memcmp(got->d.block.hash, want->d.block.hash, 32) == 0,
	    "app %u (%u), block %lu: %s says %s %s '%s', anvil %s %s '%s'",
	    p->id[19], (unsigned)p->what, (unsigned long)want->d.block.number,
	    how, err_text(got->e), reason_label(got->why.code), got->why.detail,
	    err_text(want->e), reason_label(want->why.code), want->why.detail);
}

static void
question(const struct app *p, enum gate_kind kind)
{
	struct answer want, got;
	struct boot_info bi;

	random_question(&bi, p);
	want = ask(asked.g, kind, &bi);
	cr_assert(want.e == ERR_OK || want.e == ERR_DENIED, "%s %s",
	    err_text(want.e), want.why.detail);
	n_allowed += want.e == ERR_OK;
	n_denied += want.e == ERR_DENIED;
	seen[want.why.code]++;
	got = ask(pinned.g, kind, &bi);
	compare("slots", &want, &got, p);
	got = ask(executed.g, kind, &bi);
	compare("execution", &want, &got, p);
}

static void
close_view(struct views *o)
{
	gate_free(o->g);
	chainview_free(o->v);
}

static void
teardown(void)
{
	close_view(&asked);
	close_view(&executed);
	close_view(&pinned);
	buf_fini(&batch);
	anvil_stop(&a);
}

Test(gate_diff, as_the_chain_says_and_nothing_else, .fini = teardown,
    .timeout = 7200)
{
	const char *wish = getenv("STATES"), *start = getenv("SEED");
	unsigned long want =
	    wish != NULL ? strtoul(wish, NULL, 10) : STATES_DEFAULT;
	unsigned long done = 0, blocks = 0;

	seed = start != NULL ? strtoull(start, NULL, 10)
			     : (uint64_t)clock_wall_s();
	(void)printf("# SEED=%llu\n", (unsigned long long)seed);
	if (!setup())
		cr_skip("no anvil, or contracts not built");
	for (; done < want; blocks++) {
		next_state();
		for (unsigned i = 0; i < APPS; i++, done++)
			question(&app[i], GATE_APP);
		question(&app[0], GATE_KMS);
	}
	(void)printf("# %lu states of apps at %lu blocks: %u allowed, "
		     "%u refused",
	    done, blocks, n_allowed, n_denied);
	for (unsigned i = 1; i < REASON_COUNT; i++)
		if (seen[i] > 0)
			(void)printf(
			    ", %s %u", reason_label((enum reason)i), seen[i]);
	(void)printf("\n");
	if (done < STATES_DEFAULT)
		return;
	/* All that matters was seen. */
	cr_assert_gt(n_allowed, done / 50);
	cr_assert_gt(seen[REASON_CONTRACT_APP_UNKNOWN], 0);
	cr_assert_gt(seen[REASON_CONTRACT_OS_IMAGE], 0);
	cr_assert_gt(seen[REASON_CONTRACT_COMPOSE], 0);
	cr_assert_gt(seen[REASON_CONTRACT_TCB], 0);
}
