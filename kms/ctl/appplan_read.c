/* What the chain says about an app's contract. */
#include <string.h>

#include "common/eth/abi.h"
#include "kms/ctl/appplan.h"
#include "kms/ctl/calls.h"
#include "kms/ctl/councilabi.h"

/* ERC-165 */
#define SUPPORTS_INTERFACE 0x01ffc9a7u
#define IS_APP_ALLOWED 0x1e079198u /* IAppAuth */
#define MANAGEMENT 0x8fd37527u /* IAppAuthBasicManagement */
/* AppRules, TimelockAppAuth, Ownable2Step, TimelockController */
#define NOTICE 0x9c94e6c6u
#define COMPOSE_FROM 0x55e43061u
#define DEVICE_FROM 0xdd1a7d05u
#define ANY_DEVICE_FROM 0x7aa40634u
#define ANY_TCB_FROM 0x4dc1382eu
#define PENDING_OWNER 0xe30c3978u
#define MIN_DELAY 0xf27a0c92u
#define UPGRADE 0x4f1ef286u
#define YEARS_MAX ((uint64_t)100 * 366 * 86400)

struct reader {
	const struct contract *k;
	struct refusal *why;
	enum err err; /* the first; nothing is asked after it */
};

/* probe asks one word.  False: the contract does not answer that, as one that
 * lacks the function does not. */
static bool
probe(uint8_t out[static 32], struct reader *r, const uint8_t to[static 20],
    const struct buf *call)
{
	struct buf answer = { 0 };
	bool ok = false;
	enum err e;

	if (r->err != ERR_OK)
		return false;
	e = contract_call_from(&answer, r->k, NULL, to, buf_view(call), r->why);
	if (e == ERR_OK && answer.len == 32) {
		memcpy(out, answer.p, 32);
		ok = true;
	} else if (e != ERR_OK && r->why->code != REASON_CONTRACT_OTHER) {
		r->err = e;
	}
	buf_fini(&answer);
	return ok;
}

static bool
ask_u64(uint64_t *out, struct reader *r, const uint8_t to[static 20],
    uint32_t selector, const uint8_t *arg)
{
	struct buf call = { 0 };
	uint8_t word[32];
	bool ok;

	if (arg != NULL)
		r->err = r->err != ERR_OK ? r->err
					  : calls_bytes32(&call, selector, arg);
	else
		r->err =
		    r->err != ERR_OK ? r->err : calls_getter(&call, selector);
	ok = probe(word, r, to, &call) &&
	    abi_get_u64(out, (struct bytes){ word, 32 }) == ERR_OK;
	buf_fini(&call);
	return ok;
}

static bool
ask_address(uint8_t out[static 20], struct reader *r,
    const uint8_t to[static 20], uint32_t selector)
{
	struct buf call = { 0 };
	uint8_t word[32];
	bool ok;

	if (r->err == ERR_OK)
		r->err = calls_getter(&call, selector);
	ok = probe(word, r, to, &call) &&
	    abi_get_address(out, (struct bytes){ word, 32 }) == ERR_OK;
	buf_fini(&call);
	return ok;
}

/* The argument is left-aligned, as bytes4 is. */
static bool
supports(struct reader *r, const uint8_t to[static 20], uint32_t id)
{
	uint8_t arg[32] = { (uint8_t)(id >> 24), (uint8_t)(id >> 16),
		(uint8_t)(id >> 8), (uint8_t)id };
	uint64_t yes;

	return ask_u64(&yes, r, to, SUPPORTS_INTERFACE, arg) && yes == 1;
}

/* From when on; of a contract without times 1 if it is allowed. */
static uint64_t
from(struct reader *r, const struct appplan_facts *f, uint32_t timed,
    uint32_t plain, const uint8_t *arg)
{
	uint64_t v = 0;
	bool times = f->kind == APPPLAN_TIMELOCK || f->kind == APPPLAN_QUORUM;

	(void)ask_u64(&v, r, f->app, times ? timed : plain, arg);
	return v;
}

/* A council tells its members, votes and notice. */
static bool
read_council(
    struct appplan_facts *f, struct reader *r, const uint8_t at[static 20])
{
	struct buf call = { 0 }, answer = { 0 };
	struct council_state s;
	bool ok = false;
	enum err e;

	if (r->err != ERR_OK)
		return false;
	e = councilabi_call_state(&call);
	if (e == ERR_OK)
		e = contract_call_from(
		    &answer, r->k, NULL, at, buf_view(&call), r->why);
	if (e == ERR_OK && councilabi_state(&s, buf_view(&answer)) == ERR_OK) {
		f->votes = s.k;
		f->members = s.members.n;
		f->owner_notice_s = s.notice_s;
		ok = true;
	} else if (e != ERR_OK && r->why->code != REASON_CONTRACT_OTHER) {
		r->err = e;
	}
	buf_fini(&answer);
	buf_fini(&call);
	return ok;
}

static void
read_owner(struct appplan_facts *f, struct reader *r)
{
	static const uint8_t nobody[20];
	bool code = false;

	(void)ask_address(f->pending_owner, r, f->app, PENDING_OWNER);
	if (memcmp(f->owner, nobody, 20) == 0) {
		f->owner_kind = APPPLAN_NOBODY;
		return;
	}
	if (r->err == ERR_OK)
		r->err = contract_has_code(&code, r->k, f->owner, r->why);
	if (r->err != ERR_OK || !code)
		f->owner_kind = APPPLAN_ACCOUNT;
	else if (read_council(f, r, f->owner))
		f->owner_kind = APPPLAN_COUNCIL;
	else if (ask_u64(&f->owner_notice_s, r, f->owner, MIN_DELAY, NULL))
		f->owner_kind = APPPLAN_CONTROLLER;
	else
		f->owner_kind = APPPLAN_CONTRACT;
	if (f->owner_notice_s > YEARS_MAX)
		f->owner_notice_s = YEARS_MAX;
}

/* upgradeToAndCall to the code that is there, by its owner: only a contract
 * that has given upgrades up refuses that.  Asked, not sent. */
static void
read_proxy(struct appplan_facts *f, struct reader *r)
{
	struct buf call = { 0 }, answer = { 0 };
	uint8_t code[20];
	enum err e;

	if (r->err == ERR_OK)
		r->err = contract_implementation(
		    &f->proxy, code, r->k, f->app, r->why);
	/* Nobody upgrades what nobody owns; and the zero address, asked as
	 * the sender, would seem to be the owner. */
	f->frozen = f->owner_kind == APPPLAN_NOBODY;
	if (r->err != ERR_OK || !f->proxy || f->frozen)
		return;
	e = calls_address(&call, UPGRADE, code);
	if (e == ERR_OK)
		e = abi_put_u64(&call, 2 * ABI_WORD, 256);
	if (e == ERR_OK)
		e = abi_put_bytes(&call, NULL, 0, 256);
	if (e == ERR_OK)
		e = contract_call_from(
		    &answer, r->k, f->owner, f->app, buf_view(&call), r->why);
	if (e != ERR_OK && r->why->code == REASON_CONTRACT_OTHER)
		f->frozen = true;
	else
		r->err = e;
	buf_fini(&answer);
	buf_fini(&call);
}

static void
read_kind(struct appplan_facts *f, struct reader *r)
{
	uint8_t none[32] = { 0 };
	uint64_t v;

	if (!supports(r, f->app, IS_APP_ALLOWED)) {
		if (r->err == ERR_OK)
			r->err = refuse(r->why, REASON_CHAIN_ANSWER,
			    "no app's contract there: it does not say that it "
			    "has isAppAllowed (ERC-165)");
		return;
	}
	if (!ask_address(f->owner, r, f->app, CALL_OWNER) ||
	    !supports(r, f->app, MANAGEMENT)) {
		f->kind = APPPLAN_FOREIGN;
		return;
	}
	if (!ask_u64(&v, r, f->app, COMPOSE_FROM, none)) {
		f->kind = APPPLAN_PLAIN;
		return;
	}
	f->kind = memcmp(f->owner, f->app, 20) == 0 ? APPPLAN_QUORUM
						    : APPPLAN_TIMELOCK;
	if (f->kind == APPPLAN_TIMELOCK &&
	    (!ask_u64(&f->notice_s, r, f->app, NOTICE, NULL) ||
		f->notice_s > YEARS_MAX))
		f->kind = APPPLAN_FOREIGN;
}

static void
read_lists(
    struct appplan_facts *f, struct reader *r, const struct appplan_wish *w)
{
	uint64_t v = 0;

	if (w->has_new)
		f->new_from =
		    from(r, f, COMPOSE_FROM, CALL_HAS_COMPOSE, w->new_hash);
	if (w->has_old)
		f->old_from =
		    from(r, f, COMPOSE_FROM, CALL_HAS_COMPOSE, w->old_hash);
	for (unsigned i = 0; i < w->n_add; i++)
		f->add_from[i] =
		    from(r, f, DEVICE_FROM, CALL_HAS_DEVICE, w->add[i]);
	for (unsigned i = 0; i < w->n_remove; i++)
		f->remove_from[i] =
		    from(r, f, DEVICE_FROM, CALL_HAS_DEVICE, w->remove[i]);
	f->any_device_from = from(r, f, ANY_DEVICE_FROM, CALL_ANY_DEVICE, NULL);
	if (f->kind == APPPLAN_TIMELOCK || f->kind == APPPLAN_QUORUM)
		(void)ask_u64(&f->any_tcb_from, r, f->app, ANY_TCB_FROM, NULL);
	/* Contracts of before v0.5.9 do not ask for patches. */
	else if (!ask_u64(&v, r, f->app, CALL_REQUIRE_TCB, NULL) || v == 0)
		f->any_tcb_from = 1;
}

enum err
appplan_read(struct appplan_facts *out, const struct contract *k,
    const uint8_t app[static 20], const struct appplan_wish *w,
    struct refusal *why)
{
	struct reader r = { .k = k, .why = why };
	struct buf call = { 0 };
	bool code = false;

	*out = (struct appplan_facts){ .has_kms = k->has_kms };
	memcpy(out->app, app, sizeof out->app);
	r.err = contract_block_time(&out->now, k, why);
	if (r.err == ERR_OK)
		r.err = contract_has_code(&code, k, app, why);
	if (r.err == ERR_OK && !code)
		return refuse(
		    why, REASON_CHAIN_ANSWER, "there is no contract there");
	read_kind(out, &r);
	read_owner(out, &r);
	read_proxy(out, &r);
	read_lists(out, &r, w);
	if (r.err == ERR_OK && k->has_kms &&
	    (r.err = calls_address(&call, CALL_HAS_APP, app)) == ERR_OK)
		r.err = contract_call_bool(
		    &out->registered, k, k->kms, buf_view(&call), why);
	buf_fini(&call);
	return r.err;
}

enum err
appplan_try(const struct contract *k, const struct appplan_facts *f,
    const struct appplan_step *s, struct refusal *why)
{
	struct buf answer = { 0 };
	enum err e = contract_call_from(
	    &answer, k, f->owner, f->app, buf_view(&s->data), why);

	buf_fini(&answer);
	return e;
}
