#include <string.h>

#include <sodium.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/diskform.h"

#define VERSION 1
/* Far above any log, and no sum of two wraps. */
#define INDEX_MAX (UINT64_MAX / 4)

void
diskform_hash(uint8_t out[static 32], struct bytes in)
{
	(void)crypto_generichash(out, 32, in.p, in.len, NULL, 0);
}

bool
diskform_is_zero(const uint8_t hash[static 32])
{
	return sodium_is_zero(hash, 32) == 1;
}

static void
read_into(struct rd *r, uint8_t out[static 32])
{
	const uint8_t *p = rd_bytes(r, 32);

	if (p != NULL)
		memcpy(out, p, 32);
}

void
diskform_meta_write(struct wr *w, const struct diskform_meta *m)
{
	wr_u8(w, VERSION);
	wr_be64(w, m->generation);
	wr_be64(w, m->term);
	wr_be64(w, m->vote);
	wr_be64(w, m->first);
	wr_be64(w, m->last);
	wr_bytes(w, m->before, 32);
	wr_bytes(w, m->head, 32);
	wr_be64(w, m->snapshot);
	wr_bytes(w, m->snapshot_hash, 32);
	wr_bytes(w, m->incarnation, 32);
}

enum err
diskform_meta_read(struct diskform_meta *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct diskform_meta m = { 0 };
	uint8_t version = rd_u8(&r);
	bool is_empty;

	m.generation = rd_be64(&r);
	m.term = rd_be64(&r);
	m.vote = rd_be64(&r);
	m.first = rd_be64(&r);
	m.last = rd_be64(&r);
	read_into(&r, m.before);
	read_into(&r, m.head);
	m.snapshot = rd_be64(&r);
	read_into(&r, m.snapshot_hash);
	read_into(&r, m.incarnation);
	if (!rd_done(&r) || version != VERSION)
		return ERR_MALFORMED;
	if (m.generation == 0 || m.generation > UINT32_MAX ||
	    m.term >> 32 > m.generation)
		return ERR_MALFORMED;
	if (m.first == 0 || m.last > INDEX_MAX || m.last < m.first - 1)
		return ERR_MALFORMED;
	is_empty = m.last == m.first - 1;
	if (is_empty != (memcmp(m.before, m.head, 32) == 0))
		return ERR_MALFORMED;
	if ((m.snapshot == 0) != diskform_is_zero(m.snapshot_hash))
		return ERR_MALFORMED;
	/* The log begins at 1, or a snapshot covers what is missing, and is
	 * not ahead of the log. */
	if ((m.first == 1) != diskform_is_zero(m.before) ||
	    m.first - 1 > m.snapshot || m.snapshot > m.last)
		return ERR_MALFORMED;
	*out = m;
	return ERR_OK;
}

void
diskform_entry_write(struct wr *clear, struct wr *value,
    const struct engine_entry *e, const uint8_t incarnation[static 32])
{
	wr_be64(clear, e->term);
	wr_bytes(clear, incarnation, 32);
	wr_u8(value, (uint8_t)e->kind);
	wr_bytes(value, e->hash, 32);
	wr_bytes(value, e->data.p, e->data.len);
}

enum err
diskform_entry_read(struct engine_entry *out, uint64_t index,
    struct bytes clear, struct bytes value)
{
	struct rd c = { .p = clear.p, .left = clear.len };
	struct rd r = { .p = value.p, .left = value.len };
	struct engine_entry e = { .index = index };
	struct engine_config config;
	uint8_t kind;

	e.term = rd_be64(&c);
	(void)rd_bytes(&c, 32);
	kind = rd_u8(&r);
	read_into(&r, e.hash);
	if (!rd_done(&c) || r.bad || r.left > ENGINE_ENTRY_MAX ||
	    kind < ENTRY_COMMAND || kind > ENTRY_CONFIG)
		return ERR_MALFORMED;
	e.kind = (enum entry_kind)kind;
	e.data = (struct bytes){ r.p, r.left };
	if (e.kind == ENTRY_CONFIG &&
	    engine_config_parse(&config, e.data) != ERR_OK)
		return ERR_MALFORMED;
	*out = e;
	return ERR_OK;
}

enum err
diskform_head_write(struct buf *out, const struct engine_snapshot *s)
{
	uint8_t b[8 + 8 + 32 + 8 + 4 + 32], digest[32];
	struct wr w = { .p = b, .cap = sizeof b };
	enum err e;

	if (s->data.len > DISKFORM_SNAPSHOT_MAX)
		return ERR_LIMIT;
	diskform_hash(digest, s->data);
	wr_be64(&w, s->index);
	wr_be64(&w, s->term);
	wr_bytes(&w, s->hash, 32);
	wr_be64(&w, s->config_index);
	wr_be32(&w, (uint32_t)s->data.len);
	wr_bytes(&w, digest, 32);
	if ((e = buf_append(out, b, w.len, SIZE_MAX)) != ERR_OK)
		return e;
	return engine_config_write(out, &s->config);
}

enum err
diskform_head_read(struct diskform_head *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct diskform_head h = { 0 };

	h.snapshot.index = rd_be64(&r);
	h.snapshot.term = rd_be64(&r);
	read_into(&r, h.snapshot.hash);
	h.snapshot.config_index = rd_be64(&r);
	h.len = rd_be32(&r);
	read_into(&r, h.digest);
	if (r.bad || h.snapshot.index == 0 || h.len > DISKFORM_SNAPSHOT_MAX ||
	    h.snapshot.config_index > h.snapshot.index)
		return ERR_MALFORMED;
	if (engine_config_parse(
		&h.snapshot.config, (struct bytes){ r.p, r.left }) != ERR_OK)
		return ERR_MALFORMED;
	*out = h;
	return ERR_OK;
}

void
diskform_clear_write(struct wr *clear, const struct engine_snapshot *s,
    const uint8_t incarnation[static 32])
{
	wr_be64(clear, s->index);
	wr_be64(clear, s->term);
	wr_bytes(clear, incarnation, 32);
}

enum err
diskform_clear_read(const struct engine_snapshot *s, struct bytes clear)
{
	struct rd r = { .p = clear.p, .left = clear.len };
	uint64_t index = rd_be64(&r), term = rd_be64(&r);

	(void)rd_bytes(&r, 32);
	return rd_done(&r) && index == s->index && term == s->term
	    ? ERR_OK
	    : ERR_MALFORMED;
}
