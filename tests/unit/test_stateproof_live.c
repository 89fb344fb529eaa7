/* Headers and proofs that are not of our making: those of a real chain. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/eth/header.h"
#include "common/eth/rpc.h"
#include "common/eth/stateproof.h"
#include "tests/lib/anvil.h"

#define SLOTS 24u

static struct anvil a;

static void
teardown(void)
{
	anvil_stop(&a);
}

/* Blocks of the forks that anvil has headers of, also with transactions in
 * them.  (Its blocks before Cancun have fields that theirs did not have.) */
Test(stateproof_live, header_of_each_fork, .fini = teardown, .timeout = 120)
{
	static const char *const forks[] = { "shanghai", "cancun", "prague",
		"osaka" };
	static const char send[] =
	    "[{\"from\":\"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266\","
	    "\"to\":\"0x00000000000000000000000000000000000000aa\","
	    "\"value\":\"0x7\"}]";

	for (size_t i = 0; i < sizeof forks / sizeof forks[0]; i++) {
		if (!anvil_start_fork(&a, forks[i]))
			cr_skip("no anvil");
		anvil_rpc(&a, "evm_setAutomine", "[false]");
		for (unsigned n = 0; n < 4; n++) {
			struct header h;
			uint8_t hash[32], want[32];
			char at[32];
			json_t *b;

			(void)snprintf(at, sizeof at, "[\"0x%x\",false]", n);
			b = anvil_ask(&a, "eth_getBlockByNumber", at);
			cr_assert_eq(header_from_json(&h, b), ERR_OK);
			cr_assert_geq(h.n_later, 2);
			cr_assert_eq(header_hash(hash, &h), ERR_OK);
			cr_assert_eq(
			    rpc_fixed(want, 32, json_object_get(b, "hash")),
			    ERR_OK);
			cr_assert_arr_eq(hash, want, 32);
			cr_assert_eq(h.number, n);
			header_fini(&h);
			json_decref(b);
			if (n == 1)
				anvil_rpc(&a, "eth_sendTransaction", send);
			anvil_rpc(&a, "evm_mine", "[]");
		}
		anvil_stop(&a);
	}
}

struct nodes {
	struct buf buf[MPT_DEPTH_MAX];
	struct bytes view[MPT_DEPTH_MAX];
	size_t n;
};

static void
read_nodes(struct nodes *out, const json_t *list)
{
	out->n = json_array_size(list);
	cr_assert_leq(out->n, MPT_DEPTH_MAX);
	for (size_t i = 0; i < out->n; i++) {
		cr_assert_eq(
		    rpc_data(&out->buf[i], 4096, json_array_get(list, i)),
		    ERR_OK);
		out->view[i] = buf_view(&out->buf[i]);
	}
}

static void
nodes_fini(struct nodes *p)
{
	for (size_t i = 0; i < MPT_DEPTH_MAX; i++)
		buf_fini(&p->buf[i]);
}

/* A slot that was set, set back to zero, or never touched. */
static void
set_slot(unsigned slot, unsigned value)
{
	char params[256];

	(void)snprintf(params, sizeof params,
	    "[\"0x00000000000000000000000000000000000000bb\",\"0x%x\","
	    "\"0x%064x\"]",
	    slot, value);
	anvil_rpc(&a, "anvil_setStorageAt", params);
}

static void
check_slot(const uint8_t storage_root[static 32], const json_t *one,
    unsigned slot, unsigned want)
{
	static struct nodes p;
	uint8_t key[32] = { [30] = (uint8_t)(slot >> 8), (uint8_t)slot };
	uint8_t word[32] = { 9 }, want_word[32] = { [31] = (uint8_t)want };

	read_nodes(&p, json_object_get(one, "proof"));
	cr_assert_eq(
	    stateproof_slot(word, storage_root, key, p.view, p.n), ERR_OK);
	cr_assert_arr_eq(word, want_word, 32);
	if (p.n > 0) {
		p.n--;
		cr_assert_eq(
		    stateproof_slot(word, storage_root, key, p.view, p.n),
		    ERR_AUTH);
		p.n++;
		p.buf[p.n - 1].p[p.buf[p.n - 1].len / 2] ^= 1;
		cr_assert_eq(
		    stateproof_slot(word, storage_root, key, p.view, p.n),
		    ERR_AUTH);
	}
	nodes_fini(&p);
	p = (struct nodes){ .n = 0 };
}

static void
check_all(const uint8_t state_root[static 32])
{
	static const uint8_t addr[20] = { [19] = 0xbb }, other[20] = { 0x77 };
	static struct nodes p;
	struct stateproof_account acc = { .nonce = 0 };
	char params[2048];
	size_t at;
	json_t *v;

	at = (size_t)snprintf(params, sizeof params,
	    "[\"0x00000000000000000000000000000000000000bb\",[");
	for (unsigned i = 0; i < SLOTS; i++)
		at += (size_t)snprintf(params + at, sizeof params - at,
		    "%s\"0x%064x\"", i > 0 ? "," : "", i * 37);
	(void)snprintf(params + at, sizeof params - at, "],\"latest\"]");
	v = anvil_ask(&a, "eth_getProof", params);
	read_nodes(&p, json_object_get(v, "accountProof"));
	cr_assert_eq(
	    stateproof_account(&acc, state_root, addr, p.view, p.n), ERR_OK);
	cr_assert(acc.exists);
	/* The same nodes say nothing of another address, or that it is not. */
	if (stateproof_account(&acc, state_root, other, p.view, p.n) == ERR_OK)
		cr_assert(!acc.exists);
	cr_assert_eq(
	    stateproof_account(&acc, state_root, addr, p.view, p.n), ERR_OK);
	for (unsigned i = 0; i < SLOTS; i++)
		check_slot(acc.storage_root,
		    json_array_get(json_object_get(v, "storageProof"), i),
		    i * 37, i % 3 == 0 ? i + 1 : 0);
	nodes_fini(&p);
	json_decref(v);
	v = anvil_ask(&a, "eth_getProof",
	    "[\"0x7700000000000000000000000000000000000000\",[],\"latest\"]");
	read_nodes(&p, json_object_get(v, "accountProof"));
	cr_assert_eq(
	    stateproof_account(&acc, state_root, other, p.view, p.n), ERR_OK);
	cr_assert(!acc.exists);
	nodes_fini(&p);
	json_decref(v);
}

Test(stateproof_live, accounts_and_slots, .fini = teardown, .timeout = 120)
{
	struct header h;
	json_t *b;

	if (!anvil_start(&a))
		cr_skip("no anvil");
	anvil_rpc(&a, "anvil_setCode",
	    "[\"0x00000000000000000000000000000000000000bb\",\"0x6001\"]");
	for (unsigned i = 0; i < SLOTS; i++)
		if (i % 3 != 2)
			set_slot(i * 37, i + 1);
	for (unsigned i = 1; i < SLOTS; i += 3)
		set_slot(i * 37, 0);
	anvil_rpc(&a, "evm_mine", "[]");
	b = anvil_ask(&a, "eth_getBlockByNumber", "[\"latest\",false]");
	cr_assert_eq(header_from_json(&h, b), ERR_OK);
	check_all(h.state_root);
	header_fini(&h);
	json_decref(b);
}
