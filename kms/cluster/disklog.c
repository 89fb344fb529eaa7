#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/diskform.h"
#include "kms/cluster/disklog.h"

static_assert(DISKFORM_CLEAR_LEN <= STORE_CLEAR_MAX);
static_assert(DISKFORM_PIECE <= STORE_VALUE_MAX);

#define META_NAME BYTES_STR("raft")
#define ALL ((struct bytes){ 0 })

/* The name of an entry or a piece. */
struct name {
	uint8_t b[8];
};

static struct name
name_of(uint64_t number)
{
	struct name n = { 0 };
	struct wr w = { .p = n.b, .cap = sizeof n.b };

	wr_be64(&w, number);
	return n;
}

/* ---- reading ---- */

struct loading {
	struct disklog_boot *b;
	struct refusal *why;
	struct diskform_meta meta;
	/* Of the log: what must come next, and what came before. */
	uint64_t index, term;
	uint8_t hash[32];
	size_t cap;
	/* Of the snapshot: pieces read, the head included. */
	struct diskform_head head;
	uint64_t pieces;
};

static enum err
corrupt(struct loading *l, const char *what, uint64_t index)
{
	(void)!refuse(l->why, REASON_INTERNAL, "disk: %s (%llu)", what,
	    (unsigned long long)index);
	return ERR_CORRUPT;
}

static enum err
read_number(const struct store_record *r, uint64_t *out)
{
	struct rd k = { .p = r->key.p, .left = r->key.len };

	*out = rd_be64(&k);
	return rd_done(&k) ? ERR_OK : ERR_MALFORMED;
}

static enum err
make_room(struct loading *l)
{
	size_t n = l->b->log.n_entries, cap = l->cap == 0 ? 256 : l->cap * 2;
	struct engine_entry *entry;
	struct buf *payload;

	if (n < l->cap)
		return ERR_OK;
	if ((entry = realloc(l->b->entry, cap * sizeof *entry)) == NULL)
		return ERR_NOMEM;
	l->b->entry = entry;
	if ((payload = realloc(l->b->payload, cap * sizeof *payload)) == NULL)
		return ERR_NOMEM;
	l->b->payload = payload;
	l->cap = cap;
	return ERR_OK;
}

static enum err
keep_entry(struct loading *l, const struct engine_entry *en)
{
	size_t n = l->b->log.n_entries;
	struct buf copy = { 0 };
	enum err e;

	if ((e = make_room(l)) != ERR_OK ||
	    (e = buf_set(&copy, en->data.p, en->data.len)) != ERR_OK)
		return e;
	l->b->payload[n] = copy;
	l->b->entry[n] = *en;
	l->b->entry[n].data = buf_view(&copy);
	l->b->log.n_entries = n + 1;
	return ERR_OK;
}

static enum err
load_entry(void *cookie, const struct store_record *r)
{
	struct loading *l = cookie;
	const struct engine_snapshot *snap = &l->b->snapshot;
	struct engine_entry en;
	uint8_t hash[32];
	uint64_t index;

	if (read_number(r, &index) != ERR_OK)
		return corrupt(l, "a name in the log", 0);
	if (index != l->index || index > l->meta.last)
		return corrupt(l, "a gap in the log", index);
	if (diskform_entry_read(&en, index, r->clear, r->value) != ERR_OK)
		return corrupt(l, "an entry does not parse", index);
	if (en.term < l->term || en.term >> 32 > l->meta.generation)
		return corrupt(l, "an entry's term", index);
	engine_entry_hash(hash, l->hash, index, en.term, en.kind, en.data);
	if (memcmp(hash, en.hash, sizeof hash) != 0)
		return corrupt(l, "the chain is broken", index);
	if (index == snap->index &&
	    (en.term != snap->term || memcmp(hash, snap->hash, 32) != 0))
		return corrupt(l, "entry and snapshot differ", index);
	l->index = index + 1;
	l->term = en.term;
	memcpy(l->hash, hash, sizeof l->hash);
	return keep_entry(l, &en);
}

static enum err
load_head(struct loading *l, const struct store_record *r)
{
	struct engine_snapshot *s = &l->head.snapshot;
	uint8_t hash[32];

	diskform_hash(hash, r->value);
	if (memcmp(hash, l->meta.snapshot_hash, sizeof hash) != 0)
		return corrupt(l, "another snapshot", l->meta.snapshot);
	if (diskform_head_read(&l->head, r->value) != ERR_OK ||
	    diskform_clear_read(s, r->clear) != ERR_OK ||
	    s->index != l->meta.snapshot || s->term >> 32 > l->meta.generation)
		return corrupt(l, "the snapshot's head", l->meta.snapshot);
	return buf_reserve(&l->b->snapshot_data, l->head.len);
}

static enum err
load_piece(void *cookie, const struct store_record *r)
{
	struct loading *l = cookie;
	struct buf *data = &l->b->snapshot_data;
	size_t left = l->head.len - data->len;
	uint64_t number;

	if (read_number(r, &number) != ERR_OK || number != l->pieces ||
	    l->meta.snapshot == 0)
		return corrupt(l, "a snapshot's piece too many", l->pieces);
	l->pieces++;
	if (number == 0)
		return load_head(l, r);
	if (diskform_clear_read(&l->head.snapshot, r->clear) != ERR_OK ||
	    r->value.len == 0 ||
	    r->value.len != (left < DISKFORM_PIECE ? left : DISKFORM_PIECE))
		return corrupt(l, "a snapshot's piece", number);
	return buf_append(data, r->value.p, r->value.len, l->head.len);
}

static enum err
load_snapshot(struct loading *l, struct store *s)
{
	struct disklog_boot *b = l->b;
	uint8_t digest[32];
	enum err e = store_range(s, STORE_SNAPSHOT, ALL, ALL, load_piece, l);

	if (e != ERR_OK || l->meta.snapshot == 0)
		return e;
	if (l->pieces == 0 || b->snapshot_data.len != l->head.len)
		return corrupt(l, "the snapshot is not whole", l->pieces);
	diskform_hash(digest, buf_view(&b->snapshot_data));
	if (memcmp(digest, l->head.digest, sizeof digest) != 0)
		return corrupt(l, "the snapshot is mixed", l->meta.snapshot);
	b->snapshot = l->head.snapshot;
	b->snapshot.data = buf_view(&b->snapshot_data);
	b->log.snapshot = &b->snapshot;
	return ERR_OK;
}

static enum err
load_log(struct loading *l, struct store *s)
{
	const struct engine_snapshot *snap = &l->b->snapshot;
	enum err e;

	l->index = l->meta.first;
	memcpy(l->hash, l->meta.before, sizeof l->hash);
	if (snap->index != 0 && snap->index == l->meta.first - 1) {
		l->term = snap->term;
		if (memcmp(snap->hash, l->hash, sizeof l->hash) != 0)
			return corrupt(l, "log and snapshot differ", l->index);
	}
	if ((e = store_range(s, STORE_LOG, ALL, ALL, load_entry, l)) != ERR_OK)
		return e;
	if (l->index != l->meta.last + 1)
		return corrupt(l, "the log ends too early", l->index);
	if (memcmp(l->hash, l->meta.head, sizeof l->hash) != 0)
		return corrupt(l, "another head", l->meta.last);
	return ERR_OK;
}

static enum err
load_meta(struct store *s, struct diskform_meta *out)
{
	struct buf b = { 0 };
	enum err e = store_get(s, &b, STORE_META, META_NAME);

	if (e == ERR_OK && diskform_meta_read(out, buf_view(&b)) != ERR_OK)
		e = ERR_CORRUPT;
	buf_wipe(&b);
	return e;
}

static enum err
load_nothing(void *cookie, const struct store_record *r)
{
	(void)r;
	return corrupt(cookie, "records without their meta", 0);
}

enum err
disklog_load(struct store *s, struct disklog_boot *out, struct refusal *why)
{
	struct loading l = { .b = out, .why = why };
	enum err e;

	*out = (struct disklog_boot){ 0 };
	if (why != NULL)
		*why = (struct refusal){ 0 };
	e = load_meta(s, &l.meta);
	if (e == ERR_NOTFOUND) {
		e = store_range(s, STORE_LOG, ALL, ALL, load_nothing, &l);
		if (e == ERR_OK)
			e = store_range(
			    s, STORE_SNAPSHOT, ALL, ALL, load_nothing, &l);
		goto done;
	}
	if (e != ERR_OK || (e = load_snapshot(&l, s)) != ERR_OK ||
	    (e = load_log(&l, s)) != ERR_OK)
		goto done;
	out->found = true;
	out->generation = l.meta.generation;
	out->log.term = l.meta.term;
	out->log.vote = l.meta.vote;
	out->log.entry = out->entry;
done:
	if (e == ERR_CORRUPT && why != NULL && why->code == REASON_NONE)
		(void)corrupt(&l, "a record does not open", l.index);
	if (e != ERR_OK)
		disklog_boot_fini(out);
	return e;
}

void
disklog_boot_fini(struct disklog_boot *b)
{
	for (size_t i = 0; i < b->log.n_entries; i++)
		buf_wipe(&b->payload[i]);
	free(b->payload);
	free(b->entry);
	buf_wipe(&b->snapshot_data);
	*b = (struct disklog_boot){ 0 };
}

/* ---- writing ---- */

struct writing {
	struct store *s;
	const struct engine *e;
	const uint8_t *incarnation;
	struct diskform_meta meta; /* as it will be */
};

static void
meta_empty(struct diskform_meta *m)
{
	*m = (struct diskform_meta){ .first = 1 };
}

/* The hash of an index, as the disk has it: ERR_PHASE if it has not. */
static enum err
hash_at(struct writing *x, uint64_t index, uint8_t out[static 32])
{
	const struct diskform_meta *m = &x->meta;
	struct name n = name_of(index);
	struct buf b = { 0 };
	struct rd r;
	const uint8_t *hash;
	enum err e;

	if (index < m->first - 1 || index > m->last)
		return ERR_PHASE;
	if (index == m->last || index == m->first - 1) {
		memcpy(out, index == m->last ? m->head : m->before, 32);
		return ERR_OK;
	}
	e = store_get(x->s, &b, STORE_LOG, BYTES_OF(n.b));
	if (e == ERR_OK) {
		r = (struct rd){ .p = b.p, .left = b.len };
		(void)rd_u8(&r);
		if ((hash = rd_bytes(&r, 32)) != NULL)
			memcpy(out, hash, 32);
		else
			e = ERR_CORRUPT;
	}
	buf_wipe(&b);
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

static enum err
del_entries(struct writing *x, uint64_t from, uint64_t to)
{
	struct name a = name_of(from), b = name_of(to);

	return store_del_range(x->s, STORE_LOG, BYTES_OF(a.b), BYTES_OF(b.b));
}

/* Cuts the log before `index`. */
static enum err
truncate_from(struct writing *x, uint64_t index)
{
	struct diskform_meta *m = &x->meta;
	uint8_t head[32];
	enum err e;

	if (index > m->last)
		return ERR_OK;
	if (index < m->first || index <= m->snapshot)
		return ERR_PHASE;
	if ((e = hash_at(x, index - 1, head)) != ERR_OK ||
	    (e = del_entries(x, index, m->last)) != ERR_OK)
		return e;
	m->last = index - 1;
	memcpy(m->head, head, sizeof head);
	return ERR_OK;
}

static enum err
put_entry(struct writing *x, const struct engine_entry *en)
{
	uint8_t clear[DISKFORM_CLEAR_LEN], value[DISKFORM_ENTRY_MAX];
	struct wr c = { .p = clear, .cap = sizeof clear };
	struct wr v = { .p = value, .cap = sizeof value };
	struct name n = name_of(en->index);

	if (en->data.len > ENGINE_ENTRY_MAX)
		return ERR_LIMIT;
	if (en->term >> 32 > x->meta.generation)
		return ERR_PHASE;
	diskform_entry_write(&c, &v, en, x->incarnation);
	return store_put_clear(x->s, STORE_LOG, BYTES_OF(n.b),
	    (struct bytes){ clear, c.len }, (struct bytes){ value, v.len });
}

static enum err
append(struct writing *x, uint64_t first, uint64_t last)
{
	struct diskform_meta *m = &x->meta;
	struct engine_entry en;
	uint8_t before[32];
	enum err e;

	if (first != m->last + 1 || last < first)
		return ERR_PHASE;
	/* What is in memory continues what is on disk, or one is wrong. */
	if (!engine_hash(x->e, first - 1, before))
		return ERR_PHASE;
	if (memcmp(before, m->head, sizeof before) != 0)
		return ERR_CORRUPT;
	for (uint64_t i = first; i <= last; i++) {
		if (engine_entry(x->e, i, &en) != ERR_OK)
			return ERR_PHASE;
		if ((e = put_entry(x, &en)) != ERR_OK)
			return e;
	}
	m->last = last;
	memcpy(m->head, en.hash, sizeof m->head);
	return ERR_OK;
}

static enum err
put_pieces(struct writing *x, const struct engine_snapshot *s)
{
	uint8_t clear[DISKFORM_CLEAR_LEN];
	struct wr c = { .p = clear, .cap = sizeof clear };
	struct buf head = { 0 };
	struct bytes piece;
	size_t at = 0;
	enum err e;

	if ((e = store_del_range(x->s, STORE_SNAPSHOT, ALL, ALL)) != ERR_OK ||
	    (e = diskform_head_write(&head, s)) != ERR_OK)
		goto done;
	diskform_clear_write(&c, s, x->incarnation);
	diskform_hash(x->meta.snapshot_hash, buf_view(&head));
	x->meta.snapshot = s->index;
	piece = buf_view(&head);
	for (uint64_t i = 0; e == ERR_OK; i++) {
		struct name n = name_of(i);

		e = store_put_clear(x->s, STORE_SNAPSHOT, BYTES_OF(n.b),
		    (struct bytes){ clear, c.len }, piece);
		if (at == s->data.len)
			break;
		piece = (struct bytes){ s->data.p + at, s->data.len - at };
		if (piece.len > DISKFORM_PIECE)
			piece.len = DISKFORM_PIECE;
		at += piece.len;
	}
done:
	buf_fini(&head);
	return e;
}

/* The snapshot instead of a log that does not reach it. */
static enum err
replace_log(struct writing *x, const struct engine_snapshot *s)
{
	struct diskform_meta *m = &x->meta;
	enum err e = store_del_range(x->s, STORE_LOG, ALL, ALL);

	if (e != ERR_OK)
		return e;
	m->first = s->index + 1;
	m->last = s->index;
	memcpy(m->before, s->hash, sizeof m->before);
	memcpy(m->head, s->hash, sizeof m->head);
	return put_pieces(x, s);
}

/* The snapshot beside the log, of which the entries from `keep_from` on
 * stay. */
static enum err
compact(struct writing *x, const struct engine_snapshot *s, uint64_t keep_from)
{
	struct diskform_meta *m = &x->meta;
	uint8_t hash[32];
	enum err e;

	if (keep_from > s->index + 1)
		return ERR_PHASE;
	if ((e = hash_at(x, s->index, hash)) != ERR_OK)
		return e;
	if (memcmp(hash, s->hash, sizeof hash) != 0)
		return ERR_CORRUPT;
	if (keep_from > m->first) {
		if ((e = hash_at(x, keep_from - 1, hash)) != ERR_OK ||
		    (e = del_entries(x, m->first, keep_from - 1)) != ERR_OK)
			return e;
		m->first = keep_from;
		memcpy(m->before, hash, sizeof hash);
	}
	return put_pieces(x, s);
}

enum err
disklog_wipe(struct store *s)
{
	enum err e = store_del_range(s, STORE_LOG, ALL, ALL);

	if (e == ERR_OK)
		e = store_del_range(s, STORE_SNAPSHOT, ALL, ALL);
	if (e == ERR_OK)
		e = store_del(s, STORE_META, META_NAME);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
write_parts(struct writing *x, const struct core_write *w)
{
	const struct engine_snapshot *s = engine_last_snapshot(x->e);
	bool replaced = false;
	enum err e = ERR_OK;

	if (w->snapshot && s == NULL)
		return ERR_PHASE;
	if (w->truncate != 0)
		e = truncate_from(x, w->truncate);
	if (e == ERR_OK && w->snapshot && s->index > x->meta.last &&
	    (w->first == 0 || w->first == s->index + 1)) {
		e = replace_log(x, s);
		replaced = true;
	}
	if (e == ERR_OK && w->first != 0)
		e = append(x, w->first, w->last);
	if (e == ERR_OK && w->snapshot && !replaced)
		e = compact(x, s, w->keep_from);
	return e;
}

enum err
disklog_write(struct store *s, const struct core_write *w,
    const struct engine *e, const uint8_t incarnation[static 32])
{
	struct writing x = { .s = s, .e = e, .incarnation = incarnation };
	uint8_t value[DISKFORM_META_LEN];
	struct wr v = { .p = value, .cap = sizeof value };
	struct diskform_meta check;
	enum err r = w->wipe ? disklog_wipe(s) : load_meta(s, &x.meta);

	if (r == ERR_NOTFOUND || (r == ERR_OK && w->wipe)) {
		meta_empty(&x.meta);
		r = ERR_OK;
	}
	if (r != ERR_OK)
		return r;
	if (w->generation < x.meta.generation)
		return ERR_PHASE;
	x.meta.generation = w->generation;
	x.meta.term = w->term;
	x.meta.vote = w->vote;
	memcpy(x.meta.incarnation, incarnation, sizeof x.meta.incarnation);
	if ((r = write_parts(&x, w)) != ERR_OK)
		return r;
	diskform_meta_write(&v, &x.meta);
	/* What could not be read back is not written. */
	if (diskform_meta_read(&check, (struct bytes){ value, v.len }) !=
	    ERR_OK)
		return ERR_PHASE;
	return store_put(
	    s, STORE_META, META_NAME, (struct bytes){ value, v.len });
}
