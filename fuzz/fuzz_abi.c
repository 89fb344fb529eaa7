/* fuzz_abi: what a contract or an endpoint may answer.
 *
 * Targets: abi_get_bool_string, abi_get_dynamic, appauth_kms_info,
 * rpc_parse, rpc_quantity, rpc_data.
 *
 * The first byte chooses the reader.  Asserted: what is accepted is the one
 * encoding of its value, so that writing it again gives the same bytes. */
#include <assert.h>
#include <string.h>

#include "common/eth/abi.h"
#include "common/eth/appauth.h"
#include "common/eth/rpc.h"

#define MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_put(enum err e)
{
	assert(e == ERR_OK);
}

static void
must_equal(struct buf *again, struct bytes in)
{
	assert(again->len == in.len && memcmp(again->p, in.p, in.len) == 0);
	buf_fini(again);
}

static void
bool_string(struct bytes in)
{
	struct buf b = { 0 };
	struct bytes t;
	char text[201];
	bool flag;

	if (abi_get_bool_string(&flag, &t, in) != ERR_OK)
		return;
	abi_text(text, sizeof text, t);
	assert(strlen(text) <= 200);
	must_put(abi_put_u64(&b, flag, MAX));
	must_put(abi_put_u64(&b, (size_t)2 * ABI_WORD, MAX));
	must_put(abi_put_bytes(&b, t.p, t.len, MAX));
	must_equal(&b, in);
}

static void
four(struct bytes in)
{
	struct appauth_kms_info k;
	struct buf b = { 0 };
	size_t at = (size_t)4 * ABI_WORD;

	if (appauth_kms_info(&k, in) != ERR_OK)
		return;
	const struct bytes m[4] = { k.k256_pub, k.ca_pub, k.quote,
		k.event_log };

	for (size_t i = 0; i < 4; i++) {
		must_put(abi_put_u64(&b, at, MAX));
		at += abi_bytes_size(m[i].len);
	}
	for (size_t i = 0; i < 4; i++)
		must_put(abi_put_bytes(&b, m[i].p, m[i].len, MAX));
	must_equal(&b, in);
}

static void
response(struct bytes in)
{
	struct rpc_reply r;
	struct buf b = { 0 };
	uint64_t v;

	rpc_parse(&r, 1, in);
	assert((r.result != NULL) == (r.err == ERR_OK));
	(void)rpc_failed_in_evm(&r);
	if (r.err == ERR_OK) {
		if (rpc_data(&b, 4096, r.result) == ERR_OK)
			assert(b.len <= 4096);
		if (rpc_quantity(&v, r.result) == ERR_OK)
			assert(json_string_length(r.result) <= 18);
	}
	buf_fini(&b);
	rpc_reply_fini(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data + 1, size - 1 };

	if (size == 0 || size > MAX / 4)
		return 0;
	switch (data[0] % 3) {
	case 0:
		bool_string(in);
		break;
	case 1:
		four(in);
		break;
	default:
		response(in);
		break;
	}
	return 0;
}
