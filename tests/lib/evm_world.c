#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/crypto/keccak.h"
#include "common/eth/rpc.h"
#include "tests/lib/evm_world.h"

void
evm_world_fini(struct evm_world *w)
{
	for (size_t i = 0; i < w->n; i++) {
		buf_fini(&w->a[i]->code);
		free(w->a[i]);
	}
	w->n = 0;
}

static struct evm_world_account *
find(struct evm_world *w, const uint8_t address[static 20])
{
	for (size_t i = 0; i < w->n; i++)
		if (memcmp(w->a[i]->address, address, 20) == 0)
			return w->a[i];
	return NULL;
}

struct evm_world_account *
evm_world_at(struct evm_world *w, const uint8_t address[static 20])
{
	struct evm_world_account *a = find(w, address);

	if (a == NULL) {
		a = calloc(1, sizeof *a);
		assert(a != NULL && w->n < EVM_WORLD_ACCOUNTS);
		memcpy(a->address, address, 20);
		w->a[w->n++] = a;
	}
	return a;
}

void
evm_world_code(
    struct evm_world *w, const uint8_t address[static 20], struct bytes code)
{
	struct evm_world_account *a = evm_world_at(w, address);
	enum err e = buf_set(&a->code, code.p, code.len);

	assert(e == ERR_OK);
	a->has_account = a->has_code = true;
	a->account.exists = true;
	a->account.nonce = 1;
	keccak256(a->account.code_hash, code.p, code.len);
}

void
evm_world_slot(struct evm_world *w, const uint8_t address[static 20],
    const uint8_t key[static 32], const uint8_t value[static 32])
{
	struct evm_world_account *a = evm_world_at(w, address);
	size_t i = 0;

	while (i < a->n_slots && memcmp(a->slot[i].key, key, 32) != 0)
		i++;
	assert(i < EVM_WORLD_SLOTS);
	if (i == a->n_slots)
		a->n_slots++;
	memcpy(a->slot[i].key, key, 32);
	memcpy(a->slot[i].value, value, 32);
}

static enum err
account(void *cookie, struct evm_account *out, const uint8_t address[static 20])
{
	const struct evm_world_account *a = find(cookie, address);

	if (a == NULL || !a->has_account)
		return ERR_NOTFOUND;
	*out = a->account;
	return ERR_OK;
}

static enum err
code(void *cookie, struct bytes *out, const uint8_t address[static 20])
{
	const struct evm_world_account *a = find(cookie, address);

	if (a == NULL || !a->has_code)
		return ERR_NOTFOUND;
	*out = buf_view(&a->code);
	return ERR_OK;
}

static enum err
storage(void *cookie, uint8_t out[static 32], const uint8_t address[static 20],
    const uint8_t slot[static 32])
{
	const struct evm_world_account *a = find(cookie, address);

	if (a == NULL)
		return ERR_NOTFOUND;
	for (size_t i = 0; i < a->n_slots; i++)
		if (memcmp(a->slot[i].key, slot, 32) == 0) {
			memcpy(out, a->slot[i].value, 32);
			return ERR_OK;
		}
	return ERR_NOTFOUND;
}

/* The caller owns the answer. */
static json_t *
ask(struct evm_world *w, const char *method, const char *params)
{
	const struct rpc_request rq = { w->anvil->url, method, params, 30000,
		1u << 20 };
	struct rpc_reply r;

	w->n_asked++;
	rpc_all(&r, &rq, 1);
	if (r.err != ERR_OK) {
		(void)fprintf(stderr, "%s %s: %s\n", method, params, r.message);
		abort();
	}
	return r.result;
}

static void
word(uint8_t out[static 32], json_t *v)
{
	const char *s = json_string_value(v);
	char hex[65];

	assert(s != NULL && strlen(s) >= 2 && strlen(s) <= 66);
	(void)snprintf(hex, sizeof hex, "%064d", 0);
	memcpy(hex + 64 - (strlen(s) - 2), s + 2, strlen(s) - 2);
	enum err e = hex_fixed(out, 32, hex);
	assert(e == ERR_OK);
	json_decref(v);
}

static void
fetch(struct evm_world *w, const struct evm_missing *m)
{
	struct evm_world_account *a = evm_world_at(w, m->address);
	char hex[41], slot[65], params[256];
	uint8_t value[32];
	json_t *v;
	enum err e;

	hex_encode(hex, m->address, 20);
	(void)snprintf(params, sizeof params, "[\"0x%s\",\"latest\"]", hex);
	if (m->what == EVM_MISSING_SLOT) {
		(void)snprintf(params, sizeof params,
		    "[\"0x%s\",\"0x%s\",\"latest\"]", hex,
		    hex_encode(slot, m->slot, 32));
		word(value, ask(w, "eth_getStorageAt", params));
		evm_world_slot(w, m->address, m->slot, value);
		return;
	}
	if (!a->has_code) {
		v = ask(w, "eth_getCode", params);
		e = rpc_data(&a->code, EVM_CODE_MAX, v);
		assert(e == ERR_OK);
		json_decref(v);
		a->has_code = true;
	}
	if (m->what != EVM_MISSING_ACCOUNT)
		return;
	/* Absent and empty are the same to the EVM. */
	a->has_account = a->account.exists = true;
	keccak256(a->account.code_hash, a->code.p, a->code.len);
	word(a->account.balance, ask(w, "eth_getBalance", params));
	word(value, ask(w, "eth_getTransactionCount", params));
	for (size_t i = 24; i < 32; i++)
		a->account.nonce = a->account.nonce << 8 | value[i];
}

enum evm_outcome
evm_world_run(struct evm_world *w, struct buf *out, struct evm_missing *missing,
    const struct evm_call *c, const struct evm_block *b, uint64_t *gas_used)
{
	const struct evm_state s = { w, account, code, storage };
	enum evm_outcome o;

	for (;;) {
		o = evm_run(out, missing, c, b, &s, gas_used);
		if (o != EVM_MISSING || w->anvil == NULL)
			return o;
		fetch(w, missing);
	}
}
