#include <assert.h>
#include <stdlib.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "tests/lib/raftmsg.h"

#define HEAD_LEN (10 + 8 + 8 + 32 + 8) /* of an APPEND, before n */

static void
add(struct buf *out, const void *p, size_t len)
{
	if (buf_append(out, p, len, SIZE_MAX) != ERR_OK)
		abort();
}

static void
add_int(struct buf *out, uint64_t v, unsigned bytes)
{
	uint8_t b[8];

	for (unsigned i = 0; i < bytes; i++)
		b[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
	add(out, b, bytes);
}

static void
add_entries(struct buf *out, const struct raftmsg *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		add_int(out, m->entry[i].term, 8);
		add_int(out, m->entry[i].kind, 1);
		add_int(out, m->entry[i].data.len, 4);
		add(out, m->entry[i].data.p, m->entry[i].data.len);
	}
}

static void
add_body(struct buf *out, const struct raftmsg *m)
{
	switch (m->type) {
	case MSG_APPEND:
		add_int(out, m->prev, 8);
		add_int(out, m->prev_term, 8);
		add(out, m->hash, 32);
		add_int(out, m->commit, 8);
		add_int(out, m->n, 4);
		add_entries(out, m);
		break;
	case MSG_APPENDED:
		add_int(out, m->rejected, 8);
		add_int(out, m->last, 8);
		add_int(out, 1, 2);
		add_int(out, 65535, 2);
		break;
	case MSG_VOTE:
		add_int(out, m->candidate, 8);
		add_int(out, m->last, 8);
		add_int(out, m->last_term, 8);
		add_int(out, m->flags, 1);
		break;
	case MSG_VOTED:
		add_int(out, m->flags, 1);
		add_int(out, 1, 2);
		add_int(out, 65535, 2);
		break;
	case MSG_SNAPSHOT:
		add_int(out, m->last, 8);
		add_int(out, m->last_term, 8);
		add(out, m->hash, 32);
		add_int(out, m->config_index, 8);
		add_int(out, m->config.len, 4);
		add(out, m->config.p, m->config.len);
		add_int(out, m->data.len, 4);
		add(out, m->data.p, m->data.len);
		break;
	case MSG_TIMEOUT:
		add_int(out, m->last, 8);
		add_int(out, m->last_term, 8);
		break;
	default:
		break; /* a kind that is none: no body */
	}
}

void
raftmsg_write(struct buf *out, const struct raftmsg *m)
{
	bool two = m->type >= MSG_APPENDED && m->type <= MSG_VOTED;

	buf_fini(out);
	add_int(out, m->type, 1);
	add_int(out, (two ? 2u : 0u) ^ m->version_xor, 1);
	add_int(out, m->term, 8);
	add_body(out, m);
}

void
raftmsg_limit(struct buf *append, uint64_t index)
{
	struct rd r = { .p = append->p, .left = append->len };
	uint32_t n, keep;
	uint64_t prev;

	assert(append->p[0] == MSG_APPEND);
	(void)rd_bytes(&r, 10);
	prev = rd_be64(&r);
	(void)rd_bytes(&r, HEAD_LEN - 18);
	n = rd_be32(&r);
	keep = index <= prev ? 0 : (uint32_t)(index - prev);
	if (keep >= n)
		return;
	for (uint32_t i = 0; i < keep; i++) {
		(void)rd_bytes(&r, 9);
		(void)rd_bytes(&r, rd_be32(&r));
	}
	assert(!r.bad && keep < 256);
	append->len -= r.left;
	for (unsigned i = 0; i < 4; i++)
		append->p[HEAD_LEN + i] = 0;
	append->p[HEAD_LEN + 3] = (uint8_t)keep;
}
