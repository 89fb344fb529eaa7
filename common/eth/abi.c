#include <assert.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "common/eth/abi.h"

static bool
all_zero(const uint8_t *p, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= p[i];
	return any == 0;
}

/* A word that must be a number below 2^64; otherwise the cursor is bad. */
static uint64_t
rd_word(struct rd *r)
{
	const uint8_t *high = rd_bytes(r, ABI_WORD - 8);
	uint64_t v = rd_be64(r);

	if (high == NULL || !all_zero(high, ABI_WORD - 8))
		r->bad = true;
	return v;
}

/* Length, bytes, zero padding up to a whole word. */
static struct bytes
rd_dynamic(struct rd *r)
{
	uint64_t len = rd_word(r);
	const uint8_t *p, *pad;
	size_t pad_len = (ABI_WORD - (size_t)(len % ABI_WORD)) % ABI_WORD;

	if (len > r->left)
		r->bad = true;
	p = rd_bytes(r, (size_t)len);
	pad = rd_bytes(r, pad_len);
	if (pad != NULL && !all_zero(pad, pad_len))
		r->bad = true;
	return (struct bytes){ p, (size_t)len };
}

/* Everything behind a head of `head` bytes whose last `n` words are the
 * offsets of `n` dynamic members, in order and without gaps. */
static enum err
members(struct bytes *out, size_t n, struct bytes in, size_t head)
{
	struct rd heads = { .p = in.p, .left = in.len };
	struct rd tail = heads;
	struct bytes tmp[ABI_MEMBERS_MAX];

	assert(n >= 1 && n <= ABI_MEMBERS_MAX && head >= n * ABI_WORD);
	(void)rd_bytes(&tail, head);
	(void)rd_bytes(&heads, head - n * ABI_WORD);
	for (size_t i = 0; i < n; i++) {
		/* The compiler places each member right behind the last. */
		if (rd_word(&heads) != in.len - tail.left)
			return ERR_MALFORMED;
		tmp[i] = rd_dynamic(&tail);
		if (heads.bad || tail.bad)
			return ERR_MALFORMED;
	}
	if (!rd_done(&tail))
		return ERR_MALFORMED;
	memcpy(out, tmp, n * sizeof tmp[0]);
	return ERR_OK;
}

static bool
bool_word(bool *out, const uint8_t *w)
{
	if (!all_zero(w, ABI_WORD - 1) || w[ABI_WORD - 1] > 1)
		return false;
	*out = w[ABI_WORD - 1] == 1;
	return true;
}

enum err
abi_get_bool(bool *out, struct bytes in)
{
	if (in.len != ABI_WORD || !bool_word(out, in.p))
		return ERR_MALFORMED;
	return ERR_OK;
}

enum err
abi_get_address(uint8_t out[static 20], struct bytes in)
{
	if (in.len != ABI_WORD || !all_zero(in.p, ABI_WORD - 20))
		return ERR_MALFORMED;
	memcpy(out, in.p + ABI_WORD - 20, 20);
	return ERR_OK;
}

enum err
abi_get_bytes32(uint8_t out[static 32], struct bytes in)
{
	if (in.len != ABI_WORD)
		return ERR_MALFORMED;
	memcpy(out, in.p, ABI_WORD);
	return ERR_OK;
}

enum err
abi_get_u64(uint64_t *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	uint64_t v;

	if (in.len != ABI_WORD)
		return ERR_MALFORMED;
	v = rd_word(&r);
	if (r.bad)
		return ERR_LIMIT;
	*out = v;
	return ERR_OK;
}

enum err
abi_get_dynamic(struct bytes *out, size_t n, struct bytes in)
{
	return members(out, n, in, n * ABI_WORD);
}

enum err
abi_get_bool_string(bool *flag, struct bytes *text, struct bytes in)
{
	struct bytes t;
	bool b;
	enum err e;

	if (in.len < ABI_WORD || !bool_word(&b, in.p))
		return ERR_MALFORMED;
	e = members(&t, 1, in, (size_t)2 * ABI_WORD);
	if (e != ERR_OK)
		return e;
	*flag = b;
	*text = t;
	return ERR_OK;
}

void
abi_text(char *out, size_t cap, struct bytes in)
{
	size_t n = in.len < cap - 1 ? in.len : cap - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = in.p[i] < 0x20 || in.p[i] > 0x7e ? '?' : (char)in.p[i];
	out[n] = '\0';
}

enum err
abi_put_bytes32(struct buf *out, const uint8_t v[static 32], size_t max)
{
	return buf_append(out, v, ABI_WORD, max);
}

enum err
abi_put_u64(struct buf *out, uint64_t v, size_t max)
{
	uint8_t word[ABI_WORD];
	struct wr w = { .p = word, .cap = sizeof word };

	wr_zero(&w, ABI_WORD - 8);
	wr_be64(&w, v);
	return abi_put_bytes32(out, word, max);
}

enum err
abi_put_address(struct buf *out, const uint8_t a[static 20], size_t max)
{
	uint8_t word[ABI_WORD] = { 0 };

	memcpy(word + ABI_WORD - 20, a, 20);
	return abi_put_bytes32(out, word, max);
}

size_t
abi_bytes_size(size_t len)
{
	return ABI_WORD + len + (ABI_WORD - len % ABI_WORD) % ABI_WORD;
}

enum err
abi_put_bytes(struct buf *out, const void *p, size_t len, size_t max)
{
	static const uint8_t zeros[ABI_WORD];
	enum err e = abi_put_u64(out, len, max);

	if (e == ERR_OK)
		e = buf_append(out, p, len, max);
	if (e == ERR_OK)
		e = buf_append(
		    out, zeros, (ABI_WORD - len % ABI_WORD) % ABI_WORD, max);
	return e;
}
