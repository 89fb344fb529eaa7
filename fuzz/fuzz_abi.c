/* fuzz_abi: what a contract may answer.
 *
 * Targets: abi_get_bool_string, abi_get_dynamic, appauth_kms_info.
 *
 * The first byte chooses the reader.  Asserted: what is accepted is the one
 * encoding of its value, so that writing it again gives the same bytes. */
#include <assert.h>
#include <string.h>

#include "common/eth/abi.h"
#include "common/eth/appauth.h"

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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = { data + 1, size - 1 };

	if (size == 0 || size > MAX / 4)
		return 0;
	if (data[0] % 3 == 0)
		bool_string(in);
	else
		four(in);
	return 0;
}
