/* Block headers: read from JSON, hashed as each fork has them. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/crypto/keccak.h"
#include "common/eth/header.h"
#include "common/eth/rlprd.h"

#define ZERO32 \
	"0x0000000000000000000000000000000000000000000000000000000000000000"
#define EMPTY \
	"0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"

/* Mainnet's first block, whose hash everybody knows. */
static json_t *
genesis(void)
{
	char bloom[2 + 512 + 1] = "0x";

	memset(bloom + 2, '0', 512);
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,"
			 "s:s,s:s,s:s,s:[]}",
	    "parentHash", ZERO32, "sha3Uncles",
	    "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d4934"
	    "7",
	    "miner", "0x0000000000000000000000000000000000000000", "stateRoot",
	    "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f054"
	    "4",
	    "transactionsRoot", EMPTY, "receiptsRoot", EMPTY, "logsBloom",
	    bloom, "difficulty", "0x400000000", "number", "0x0", "gasLimit",
	    "0x1388", "gasUsed", "0x0", "timestamp", "0x0", "extraData",
	    "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82f"
	    "a",
	    "mixHash", ZERO32, "nonce", "0x0000000000000042", "hash", ZERO32,
	    "uncles");
}

static enum err
hash_of(char out[65], const json_t *v)
{
	struct header h = { .number = 0 };
	uint8_t hash[32];
	enum err e = header_from_json(&h, v);

	if (e == ERR_OK) {
		cr_assert_eq(header_hash(hash, &h), ERR_OK);
		hex_encode(out, hash, 32);
		header_fini(&h);
	}
	return e;
}

Test(header, fields_that_are_missing_or_malformed)
{
	static const char *const keys[] = { "parentHash", "sha3Uncles", "miner",
		"stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
		"difficulty", "number", "gasLimit", "gasUsed", "timestamp",
		"extraData", "mixHash", "nonce" };
	static const char *const bad[] = { NULL, "", "0x", "0x0g", "0x012", "1",
		"0x00000000000000000000000000000000000000000000000000000000000"
		"0000000" };
	char text[65];

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
			json_t *v = genesis();
			enum err e;

			/* Extra data may be anything, also nothing. */
			if (i == 12 && (k == 2 || k == 6))
				goto next;
			if (bad[k] == NULL)
				(void)json_object_del(v, keys[i]);
			else
				(void)json_object_set_new(
				    v, keys[i], json_string(bad[k]));
			e = hash_of(text, v);
			cr_assert_eq(e, ERR_MALFORMED, "%s: %s", keys[i],
			    bad[k] == NULL ? "none" : bad[k]);
		next:
			json_decref(v);
		}
	cr_assert_eq(hash_of(text, NULL), ERR_MALFORMED);
}

static const char *const later[] = {
#define X(name, text) text,
	HEADER_LATER(X)
#undef X
};

static bool
is_hash(size_t i)
{
	return i == 1 || i == 4 || i == 5 || i == 6;
}

static void
set_later(json_t *v, size_t i)
{
	(void)json_object_set_new(
	    v, later[i], json_string(is_hash(i) ? EMPTY : "0x7"));
}

/* A later field without one before it, of another form, or null in between. */
Test(header, layouts_that_no_fork_has)
{
	char text[65];

	for (size_t gap = 0; gap + 1 < HEADER_N_LATER; gap++) {
		json_t *v = genesis();

		for (size_t i = 0; i <= gap + 1; i++)
			if (i != gap)
				set_later(v, i);
		cr_assert_eq(hash_of(text, v), ERR_MALFORMED, "%zu", gap);
		(void)json_object_set_new(v, later[gap], json_null());
		cr_assert_eq(hash_of(text, v), ERR_MALFORMED);
		(void)json_object_set_new(
		    v, later[gap], json_string(is_hash(gap) ? "0x7" : "0x07"));
		cr_assert_eq(hash_of(text, v), ERR_MALFORMED);
		set_later(v, gap);
		cr_assert_eq(hash_of(text, v), ERR_OK);
		json_decref(v);
	}
}

Test(header, mainnet_genesis)
{
	char text[65];
	json_t *v = genesis();

	cr_assert_eq(hash_of(text, v), ERR_OK);
	cr_assert_str_eq(text,
	    "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3");
	/* Members that are not of the header change nothing; null is none. */
	(void)json_object_set_new(v, "size", json_string("0x7"));
	(void)json_object_set_new(v, "totalDifficulty", json_integer(3));
	(void)json_object_set_new(v, "baseFeePerGas", json_null());
	cr_assert_eq(hash_of(text, v), ERR_OK);
	cr_assert_str_eq(text,
	    "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3");
	json_decref(v);
}

/* Each field, one value higher, makes another hash; so does each fork. */
Test(header, all_is_hashed)
{
	static char seen[32][65];
	char text[65];
	size_t n = 0;
	json_t *v = genesis();
	const char *key;
	json_t *value;
	void *tmp;

	for (size_t i = 0; i <= HEADER_N_LATER; i++) {
		cr_assert_eq(hash_of(seen[n++], v), ERR_OK);
		if (i < HEADER_N_LATER)
			set_later(v, i);
	}
	json_object_foreach_safe(v, tmp, key, value)
	{
		char was[600], now[600];
		size_t len = json_string_length(value);

		if (strcmp(key, "hash") == 0 || !json_is_string(value))
			continue;
		(void)snprintf(was, sizeof was, "%s", json_string_value(value));
		(void)snprintf(now, sizeof now, "%s", was);
		now[len - 1] = now[len - 1] == 'f' ? 'e' : 'f';
		(void)json_object_set_new(v, key, json_string(now));
		cr_assert_eq(hash_of(text, v), ERR_OK, "%s", key);
		(void)json_object_set_new(v, key, json_string(was));
		for (size_t i = 0; i < n; i++)
			cr_assert_str_neq(text, seen[i], "%s", key);
		cr_assert_lt(n, 32);
		memcpy(seen[n++], text, 65);
	}
	cr_assert_eq(n, 9 + 15 + HEADER_N_LATER);
	json_decref(v);
}

/* As many items as the fork has fields, each where it belongs. */
Test(header, rlp_of_every_fork)
{
	json_t *v = genesis();

	for (size_t n = 0; n <= HEADER_N_LATER; n++) {
		struct header h = { .number = 0 };
		struct buf b = { 0 };
		struct rd r, m;
		size_t items = 0;

		cr_assert_eq(header_from_json(&h, v), ERR_OK);
		cr_assert_eq(h.n_later, n);
		cr_assert_eq(header_rlp(&b, &h), ERR_OK);
		r = (struct rd){ .p = b.p, .left = b.len };
		m = rlprd_list(&r);
		cr_assert(rd_done(&r));
		for (; m.left > 0; items++) {
			struct bytes s = rlprd_str(&m);

			if (items >= 15)
				cr_assert_eq(
				    s.len, is_hash(items - 15) ? 32 : 1);
		}
		cr_assert_eq(items, 15 + n);
		buf_fini(&b);
		header_fini(&h);
		if (n < HEADER_N_LATER)
			set_later(v, n);
	}
	json_decref(v);
}
