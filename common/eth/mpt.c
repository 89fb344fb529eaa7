#include <string.h>

#include "common/crypto/keccak.h"
#include "common/eth/mpt.h"
#include "common/eth/rlprd.h"

#define KEY_NIBBLES 64u
#define HASH_LEN 32u
#define BRANCHES 16u

const uint8_t mpt_empty_root[32] = { 0x56, 0xe8, 0x1f, 0x17, 0x1b, 0xcc, 0x55,
	0xa6, 0xff, 0x83, 0x45, 0xe6, 0x92, 0xc0, 0xf8, 0x6e, 0x5b, 0x48, 0xe0,
	0x1b, 0x99, 0x6c, 0xad, 0xc0, 0x01, 0x62, 0x2f, 0xb5, 0xe3, 0x63, 0xb4,
	0x21 };

enum kind {
	NODE_BRANCH,
	NODE_EXTENSION,
	NODE_LEAF,
};

/* One node, taken apart.  A reference is nothing (len 0), a hash of 32 bytes,
 * or a whole node of fewer. */
struct node {
	enum kind kind;
	struct bytes child[BRANCHES]; /* branch; extension: [0] */
	struct bytes path; /* extension, leaf: hex-prefix encoded */
	struct bytes value; /* leaf */
};

struct walk {
	const uint8_t *key;
	size_t at; /* nibbles of the key behind us */
	const struct bytes *node; /* of the proof, that are not used yet */
	size_t left;
};

static unsigned
nibble(const uint8_t *p, size_t i)
{
	return i % 2 == 0 ? p[i / 2] >> 4 : p[i / 2] & 0x0f;
}

/* Hex-prefix encoding (appendix C): a flag nibble, one of padding if the path
 * is even, then the path. */
static size_t
path_first(struct bytes path)
{
	return (path.p[0] & 0x10) != 0 ? 1 : 2;
}

static size_t
path_len(struct bytes path)
{
	return 2 * path.len - path_first(path);
}

static bool
path_good(struct bytes path)
{
	return path.len > 0 && path.len <= 1 + KEY_NIBBLES / 2 &&
	    path.p[0] < 0x40 &&
	    ((path.p[0] & 0x10) != 0 || (path.p[0] & 0x0f) == 0);
}

/* What a node says of a child. */
static bool
read_child(struct bytes *out, const struct rlprd_item *it)
{
	if (it->is_list)
		*out = it->whole;
	else
		*out = it->body;
	if (it->is_list)
		return it->whole.len < HASH_LEN;
	return it->body.len == 0 || it->body.len == HASH_LEN;
}

static bool
read_branch(struct node *out, const struct rlprd_item *it)
{
	unsigned used = 0;

	out->kind = NODE_BRANCH;
	for (unsigned i = 0; i < BRANCHES; i++) {
		if (!read_child(&out->child[i], &it[i]))
			return false;
		used += out->child[i].len > 0;
	}
	/* With one child it would be no branch; a value would be that of a
	 * key that ends here, and none does. */
	return used >= 2 && !it[BRANCHES].is_list && it[BRANCHES].body.len == 0;
}

static bool
read_short(struct node *out, const struct rlprd_item *it)
{
	if (it[0].is_list || !path_good(it[0].body))
		return false;
	out->path = it[0].body;
	if ((out->path.p[0] & 0x20) != 0) {
		out->kind = NODE_LEAF;
		out->value = it[1].body;
		return !it[1].is_list && it[1].body.len > 0;
	}
	out->kind = NODE_EXTENSION;
	return path_len(out->path) > 0 && read_child(&out->child[0], &it[1]) &&
	    out->child[0].len > 0;
}

static enum err
read_node(struct node *out, struct bytes in)
{
	struct rlprd_item it[BRANCHES + 1];
	struct rd r = { .p = in.p, .left = in.len };
	struct rd members = rlprd_list(&r);
	size_t n = 0;
	bool good;

	if (!rd_done(&r))
		return ERR_MALFORMED;
	while (members.left > 0 && n <= BRANCHES && !members.bad)
		it[n++] = rlprd_item(&members);
	if (!rd_done(&members))
		return ERR_MALFORMED;
	good = n == BRANCHES + 1 ? read_branch(out, it)
				 : n == 2 && read_short(out, it);
	return good ? ERR_OK : ERR_MALFORMED;
}

/* follow: the node that `ref` names.  A small one that is not the root would
 * have been embedded. */
static enum err
follow(struct bytes *out, struct walk *w, struct bytes ref, bool is_root)
{
	uint8_t hash[32];

	if (ref.len < HASH_LEN) {
		*out = ref;
		return ERR_OK;
	}
	if (w->left == 0)
		return ERR_AUTH;
	*out = *w->node++;
	w->left--;
	keccak256(hash, out->p, out->len);
	if (memcmp(hash, ref.p, sizeof hash) != 0)
		return ERR_AUTH;
	return is_root || out->len >= HASH_LEN ? ERR_OK : ERR_MALFORMED;
}

/* True if the rest of the key begins with the path; it is behind us then. */
static bool
pass(struct walk *w, struct bytes path)
{
	size_t first = path_first(path), n = path_len(path);

	for (size_t i = 0; i < n; i++)
		if (nibble(path.p, first + i) != nibble(w->key, w->at + i))
			return false;
	w->at += n;
	return true;
}

/* step decides what `node` says of the key: ERR_AGAIN if its child `*ref` is
 * to be asked. */
static enum err
step(struct bytes *value, struct bytes *ref, struct walk *w,
    const struct node *node)
{
	size_t left = KEY_NIBBLES - w->at;

	switch (node->kind) {
	case NODE_BRANCH:
		if (left == 0)
			return ERR_MALFORMED;
		*ref = node->child[nibble(w->key, w->at++)];
		return ref->len == 0 ? ERR_NOTFOUND : ERR_AGAIN;
	case NODE_EXTENSION:
		/* Below it is a branch, which needs a nibble more. */
		if (path_len(node->path) >= left)
			return ERR_MALFORMED;
		*ref = node->child[0];
		return pass(w, node->path) ? ERR_AGAIN : ERR_NOTFOUND;
	case NODE_LEAF:
		if (path_len(node->path) != left)
			return ERR_MALFORMED;
		if (!pass(w, node->path))
			return ERR_NOTFOUND;
		*value = node->value;
		return ERR_OK;
	}
	return ERR_MALFORMED;
}

static bool
is_empty_proof(
    const uint8_t root[static 32], const struct bytes *node, size_t n)
{
	if (memcmp(root, mpt_empty_root, HASH_LEN) != 0)
		return false;
	/* Some clients send the empty string that the root is the hash of. */
	return n == 0 || (n == 1 && node[0].len == 1 && node[0].p[0] == 0x80);
}

enum err
mpt_get(struct bytes *value, const uint8_t root[static 32],
    const uint8_t key[static 32], const struct bytes *node, size_t n)
{
	struct walk w = { .key = key, .node = node, .left = n };
	struct bytes ref = { root, HASH_LEN }, v = { NULL, 0 }, raw;
	bool is_root = true, want_branch = false;
	enum err e;

	if (is_empty_proof(root, node, n))
		return ERR_NOTFOUND;
	if (n > MPT_DEPTH_MAX)
		return ERR_AUTH;
	do {
		struct node here = { .kind = NODE_BRANCH };

		if ((e = follow(&raw, &w, ref, is_root)) != ERR_OK ||
		    (e = read_node(&here, raw)) != ERR_OK)
			return e;
		/* Two extensions in a row would be one. */
		if (want_branch && here.kind != NODE_BRANCH)
			return ERR_MALFORMED;
		e = step(&v, &ref, &w, &here);
		is_root = false;
		want_branch = here.kind == NODE_EXTENSION;
	} while (e == ERR_AGAIN);
	if (w.left > 0)
		return ERR_AUTH;
	if (e == ERR_OK)
		*value = v;
	return e;
}
