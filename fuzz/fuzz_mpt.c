/* fuzz_mpt: proofs that an endpoint may send.
 *
 * Targets: mpt_get, stateproof_account, stateproof_slot.
 *
 * The input is the key (32 bytes), a byte that chooses what to alter, and the
 * nodes, each behind two bytes of length.  A run of 32 'H' in a node stands for
 * the hash of the next one, so that a chain can be found without breaking
 * Keccak; the root is the hash of the first.
 *
 * Asserted: a proof that holds does not once a bit is flipped, a node is
 * missing or one is added; what it says of another key is another value. */
#include <assert.h>
#include <string.h>

#include "common/crypto/keccak.h"
#include "common/eth/stateproof.h"

#define NODES 70u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct proof {
	uint8_t bytes[1u << 14];
	struct bytes node[NODES + 1];
	size_t n;
	uint8_t root[32];
};

static void
link_nodes(struct proof *p, uint8_t *const *at)
{
	static const uint8_t mark[] = "HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH";
	uint8_t next[32] = { 0 };

	for (size_t i = p->n; i-- > 0;) {
		uint8_t *m = memmem(at[i], p->node[i].len, mark, 32);

		if (m != NULL)
			memcpy(m, next, 32);
		keccak256(next, at[i], p->node[i].len);
	}
	memcpy(p->root, next, 32);
}

static void
read_nodes(struct proof *p, const uint8_t *data, size_t size)
{
	uint8_t *at[NODES], *to = p->bytes;

	p->n = 0;
	while (p->n < NODES && size >= 2) {
		size_t len = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		memcpy(to, data, len);
		at[p->n] = to;
		p->node[p->n++] = (struct bytes){ to, len };
		to += len;
		data += len;
		size -= len;
	}
	link_nodes(p, at);
}

static enum err
get(struct bytes *v, const struct proof *p, const uint8_t *key, size_t n)
{
	return mpt_get(v, p->root, key, p->node, n);
}

static void
alter(struct proof *p, const uint8_t *key, unsigned how, struct bytes value)
{
	uint8_t other[32];
	struct bytes v = { NULL, 0 };
	size_t at = 0, len = 0;

	for (size_t i = 0; i < p->n; i++)
		len += p->node[i].len;
	if (len > 0) {
		at = how * 131u % (8 * len);
		p->bytes[at / 8] ^= (uint8_t)(1u << at % 8);
		assert(get(&v, p, key, p->n) == ERR_AUTH);
		p->bytes[at / 8] ^= (uint8_t)(1u << at % 8);
		assert(get(&v, p, key, p->n - 1) == ERR_AUTH);
		p->node[p->n] = p->node[how % p->n];
		assert(get(&v, p, key, p->n + 1) == ERR_AUTH);
	}
	memcpy(other, key, 32);
	other[how / 8 % 32] ^= (uint8_t)(1u << how % 8);
	if (get(&v, p, other, p->n) == ERR_OK)
		assert(v.p != value.p);
}

static void
as_state(const struct proof *p, const uint8_t *key)
{
	struct stateproof_account a = { .nonce = 77 };
	uint8_t word[32];

	/* The hash of what is asked is never the key: no more than a crash
	 * can be found here, but for tries of one leaf. */
	if (stateproof_account(&a, p->root, key, p->node, p->n) == ERR_OK)
		assert(a.exists || a.nonce == 0);
	(void)!stateproof_slot(word, p->root, key, p->node, p->n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct proof p;
	struct bytes v = { NULL, 0 };
	enum err e;

	if (size < 33 || size > sizeof p.bytes)
		return 0;
	read_nodes(&p, data + 33, size - 33);
	e = get(&v, &p, data, p.n);
	assert(e == ERR_OK || e == ERR_NOTFOUND || e == ERR_AUTH ||
	    e == ERR_MALFORMED);
	assert((e == ERR_OK) == (v.p != NULL));
	if (e == ERR_OK) {
		assert(v.len > 0 && v.p > p.bytes &&
		    v.p + v.len <= p.bytes + sizeof p.bytes);
		alter(&p, data, data[32], v);
	}
	as_state(&p, data);
	return 0;
}
