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

/* Three of mainnet's blocks: 12,965,001 (London), 17,034,871 (Shanghai) and
 * 23,535,880 (Prague, with all that Cancun added).  Which fields a fork has is
 * only true if the chain's own hash comes out. */
struct genuine {
	const char *hash;
	unsigned n_later;
	const char *field[2 * 22 + 1]; /* name, value */
};

static const struct genuine genuine[] = {
	{ "a32d159805750cbe428b799a49b85dcb2300f61d806786f317260e721727d162", 1,
	    { "parentHash",
		"0x9b83c12c69edb74f6c8dd5d052765c1adf940e320bd1291696e6fa07829e"
		"ee71",
		"miner", "0x829bd824b016326a401d083b33d092293333a830",
		"stateRoot",
		"0x0180d59eb0855ef6dbca806fbe81491bea252ab2e0d3a8bb8786326d598e"
		"3cd9",
		"transactionsRoot",
		"0x03c97f958cc4db3cc60def5ce1e83aaf1490837f5f57c529a6ccffef0d20"
		"1edb",
		"receiptsRoot",
		"0x2335850563dbf51f65a37508f2fdd9da1780f70cfa46734107a2e86a9fde"
		"46d7",
		"logsBloom",
		"0x74adf8cfdd0a1ddf12f3d6d5bbd79cab73a19b6986fc007932d9acffafeb"
		"b747debf512456c87e9afffa5f40fd21ad403b97f3b38e86e9e9db62433eb2"
		"b6f8547ad677fdab07f1adcb83686fb37db9ea7acb113f0d74b397324d9cfb"
		"f8f33cb3dbfb0d256bcbdaf608dd7b1ac168ee40e322b69bf675a6f4fbbbbe"
		"72dccbdd88fab28e7d94685c34bffc9bd1ff98ef777af7ff9793de951d336a"
		"1b75acbc7f11ce9dac7e9942ab6a363b4fbebbc3d738dbee5a993fa7c87adc"
		"e26cbeddfdfcf4d59bba977fb7514a3da550c0b21f399e8bf56778c7dfdcfe"
		"eb2457abef1fe63eaf38ecbabdae6c237afd34378163feb6ccdb42f56782cd"
		"474bdf9ee9fadb94b4",
		"difficulty", "0x1b81c23e05b218", "number", "0xc5d489",
		"gasLimit", "0x1c9c2b6", "gasUsed", "0x1c98978", "timestamp",
		"0x610bdab3", "extraData",
		"0xe4b883e5bda9e7a59ee4bb99e9b1bc030521", "mixHash",
		"0xcb3166ebb1888430069b769145b20ba5e3a55f32fd2fa39f0ebdc08d60b4"
		"557e",
		"nonce", "0x0956e895d988798e", "baseFeePerGas", "0x430da58e",
		"sha3Uncles",
		"0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d4"
		"9347" } },
	{ "17cf53189035bbae5bce5c844355badd701aa9d2dd4b4f5ab1f9f0e8dd9fea5b", 2,
	    { "parentHash",
		"0xe22c56f211f03baadcc91e4eb9a24344e6848c5df4473988f893b58223f5"
		"216c",
		"miner", "0x0b70b578abd96aab5e80d24d1f3c28dbde14356a",
		"stateRoot",
		"0x1d49150d23cc59f06491e138b7a9bf0d307bcd7bb2bab6e38754740931d6"
		"c3ef",
		"transactionsRoot",
		"0xd3deb43136a95fac91dc5a451caf62b18f0d3ffa5d8744b769ac5df6d8ef"
		"40bc",
		"receiptsRoot",
		"0xe4001611ca993adcb8948b4f114bc0985948bee0fef32c4e2292ad87356a"
		"fd58",
		"logsBloom",
		"0x9479b5dce9a45ebc5af9eee4f1a9cb73dfb3437b2b7edff2a5f36addcfa4"
		"319e74212ff4d469c756dfddbeb6db79d5ab5effee57ac57fdfdbbe30a1fd8"
		"ffa9fdb9ddfb19771ffdbd7eff4bdbd3d5f97fdf571edeeafefe5a6eb55ece"
		"ffd739b27ffcff7f16a38dbff45ddd25fb9d7b9bef9bae37e0bb6f7dfbf5fb"
		"f3cdfd5dbdbe57ffdfe7ef77ddb7fef267af53587bfb7ffcb3f9f673fc7eab"
		"abe5fbfe77eddff945e347a6fffdfbfbe8fd7ffee79efcfcce5d77a66db3f9"
		"fabe9f3b8b1d79f9a99bb7af11f93f6f9b736f2cbf5697d57f4b6de478bdfe"
		"f6759dfbbe5bebee7cfff7e9df8acdd46f9777fb47edfaf0b5f5ba74393acf"
		"f5d24bfcf389fb9eff",
		"difficulty", "0x0", "number", "0x103ee77", "gasLimit",
		"0x1c9c380", "gasUsed", "0x1c9503d", "timestamp", "0x64373087",
		"extraData", "0x4e65746865726d696e64", "mixHash",
		"0xd7a4a06e28abcc8ac4e0bab5f0a7e60ea7a0c3de93b2f7e7a4cc3c9a79e6"
		"0186",
		"nonce", "0x0000000000000000", "baseFeePerGas", "0x4b5b025b0",
		"withdrawalsRoot",
		"0xc32381c919dad80afe8fe0df79460418e350725a63f67c55b27ee168ef46"
		"4e5d",
		"sha3Uncles",
		"0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d4"
		"9347" } },
	{ "e38d4bb2060a54519508612f40ef737a09c5b20488c12b0bec2d4f5ea7073c15", 6,
	    { "parentHash",
		"0x1fab238a9630a2e95c8b735ebc63bc2751bc6492f409ee16a7b5a5329851"
		"96eb",
		"miner", "0x4838b106fce9647bdf1e7877bf73ce8b0bad5f97",
		"stateRoot",
		"0xd3c86549e5d57f14bd0b28630b70cb68038ac3334251bd194c93a18d9649"
		"2f39",
		"transactionsRoot",
		"0x9da0226f723a9da4b8df8782930c0e83bd73c4a393069ee7861465188eed"
		"989b",
		"receiptsRoot",
		"0x01d0a60dd8fd8de710a191aba91f82e2a437ac21a6e77b21b2f745809e7f"
		"eadf",
		"logsBloom",
		"0x3effc77fb16497fa74fffeb6ef65dfbd7b97f8dd7f198ff37abfcf5fdeb3"
		"29e7bdbc9d8caffdf765f7b75df9e737eff773fbf639ff9ffb376fb726a7ff"
		"2f68dffea0de7fafd3f7fbff8d5fdff57becf3e76f3f73fefc1ff9bbf9df7f"
		"b3fffff13f577b7fdffeb7f7ffb8cd71ff93fff3bfffd7e3bfbe576daefdff"
		"f6fb5afedf8ffbbd7d7baf977f46fbffceebfbe86fc6ffb6f1eff3fbbfbeb9"
		"eefbf954ffe3fbff9d73b8f9ecfdcfdf7df3fdd9ff3bbfdfe9efe8ffee6ff7"
		"fe4a3ff7a5fefbfffffcffcd7f2bc04bdf7c52d3fdfeff3f7dfe7b4fefa9f4"
		"6edb53c2de9ffb7f3ffdff6fefa67f64f6e7f7bff5af1dffffeff9b99ff86f"
		"ef589e3bbfffdfffb7",
		"difficulty", "0x0", "number", "0x1672108", "gasLimit",
		"0x2aea540", "gasUsed", "0x1d1e02e", "timestamp", "0x68e6df9f",
		"extraData",
		"0x546974616e2028746974616e6275696c6465722e78797a29", "mixHash",
		"0x15350a0cad9bc5cb1298b3710db038850f1df5d8ac00c4ca3b03fb64c7e8"
		"ab78",
		"nonce", "0x0000000000000000", "baseFeePerGas", "0xb9e4be0",
		"withdrawalsRoot",
		"0x0740ba007069960b2d60f77b0ce2648cffa3573accd055d4803eb771e329"
		"03e7",
		"blobGasUsed", "0xc0000", "excessBlobGas", "0x0",
		"parentBeaconBlockRoot",
		"0x2bd55d2f0e1a3d3e181659ebc21bb167527e517de88b39b0d7ebbeeb3e28"
		"eebc",
		"requestsHash",
		"0x965c860907968cab126093a785436ad747495ae45b21dac1b6a92ae0f486"
		"6ce0",
		"sha3Uncles",
		"0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d4"
		"9347" } },
};

Test(header, mainnet_of_later_forks)
{
	for (size_t i = 0; i < sizeof genuine / sizeof genuine[0]; i++) {
		const struct genuine *t = &genuine[i];
		json_t *v = json_object();
		struct header h = { .number = 0 };
		char text[65];

		for (size_t k = 0; t->field[k] != NULL; k += 2)
			(void)json_object_set_new(
			    v, t->field[k], json_string(t->field[k + 1]));
		cr_assert_eq(hash_of(text, v), ERR_OK);
		cr_assert_str_eq(text, t->hash);
		cr_assert_eq(header_from_json(&h, v), ERR_OK);
		cr_assert_eq(h.n_later, t->n_later);
		header_fini(&h);
		/* Without its last field it is another block. */
		(void)json_object_del(v, later[t->n_later - 1]);
		cr_assert_eq(hash_of(text, v), ERR_OK);
		cr_assert_str_neq(text, t->hash);
		json_decref(v);
	}
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
