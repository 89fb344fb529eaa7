/* fuzz_rpc: what an endpoint of the chain may answer to a JSON-RPC request.
 *
 * Targets: rpc_parse, rpc_quantity, rpc_fixed, rpc_data.
 *
 * Asserted: an answer counts only as one of result and error; a value that is
 * taken is the one encoding of itself (Ethereum JSON-RPC: quantities without
 * leading zeros, data with two digits a byte), so that writing it again gives
 * the same text but for the case of its digits. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/hex.h"
#include "common/eth/rpc.h"

#define MAX (1u << 18)
#define DATA_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
quantity(const json_t *v)
{
	char again[32];
	uint64_t n;

	if (rpc_quantity(&n, v) != ERR_OK)
		return;
	(void)snprintf(again, sizeof again, "0x%" PRIx64, n);
	assert(strcasecmp(again, json_string_value(v)) == 0);
}

static void
octets(const json_t *v)
{
	static char again[2 * DATA_MAX + 3];
	struct buf b = { 0 };
	uint8_t fixed[32];

	if (rpc_data(&b, DATA_MAX, v) == ERR_OK) {
		assert(b.len <= DATA_MAX);
		memcpy(again, "0x", 3);
		if (b.len > 0)
			hex_encode(again + 2, b.p, b.len);
		assert(strcasecmp(again, json_string_value(v)) == 0);
		/* The same of a known length, and of no other. */
		if (b.len == sizeof fixed)
			assert(rpc_fixed(fixed, sizeof fixed, v) == ERR_OK &&
			    memcmp(fixed, b.p, b.len) == 0);
		else
			assert(rpc_fixed(fixed, sizeof fixed, v) != ERR_OK);
	}
	buf_fini(&b);
}

static void
values(const json_t *v)
{
	const char *key;
	json_t *member;
	size_t i;

	quantity(v);
	octets(v);
	json_array_foreach(v, i, member)
	{
		quantity(member);
		octets(member);
	}
	json_object_foreach((json_t *)(uintptr_t)v, key, member)
	{
		quantity(member);
		octets(member);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_reply r;

	if (size > MAX)
		return 0;
	rpc_parse(&r, 1, (struct bytes){ data, size });
	assert((r.result != NULL) == (r.err == ERR_OK));
	(void)rpc_failed_in_evm(&r);
	if (r.err == ERR_OK)
		values(r.result);
	rpc_reply_fini(&r);
	return 0;
}
