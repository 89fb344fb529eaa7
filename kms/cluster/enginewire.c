/* Bytes of raft's messages; those of a configuration are in engineconf.c.
 *
 *   message  type u8 | version u8 | term u64 | body
 *   1 append entries   prev index u64, prev term u64, prev hash 32,
 *                      commit u64, n u32, n * (term u64, kind u8,
 *                      length u32, payload)
 *   2 ... result       rejected u64, last u64, features u16, capacity u16
 *   3 request vote     candidate u64, last index u64, last term u64, flags u8
 *   4 ... result       flags u8, features u16, capacity u16
 *   5 install snapshot last index u64, last term u64, hash 32,
 *                      config index u64, length u32, config, length u32, data
 *   6 timeout now      last index u64, last term u64 */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/engine_int.h"

#define SNAPSHOT_MAX (48u << 20)
#define NUMBER_MAX (1ull << 62) /* terms and indexes: none wraps around */

/* ---- writing ---- */

static enum err
put(struct buf *out, const struct wr *w)
{
	return wr_ok(w) ? buf_append(out, w->p, w->len, SIZE_MAX) : ERR_LIMIT;
}

static enum err
write_append(struct buf *out, const struct raft_append_entries *a,
    const struct logcache *log)
{
	uint8_t head[96], hash[32] = { 0 };
	struct wr w = { .p = head, .cap = sizeof head };
	unsigned n = a->n_entries < ENGINE_BATCH ? a->n_entries : ENGINE_BATCH;
	enum err e;

	if (!logcache_hash(log, a->prev_log_index, hash))
		return ERR_NOTFOUND;
	wr_be64(&w, a->prev_log_index);
	wr_be64(&w, a->prev_log_term);
	wr_bytes(&w, hash, sizeof hash);
	wr_be64(&w, a->leader_commit);
	wr_be32(&w, n);
	if ((e = put(out, &w)) != ERR_OK)
		return e;
	for (unsigned i = 0; i < n; i++) {
		const struct logcache_item *it =
		    logcache_get(log, a->prev_log_index + 1 + i);

		if (it == NULL)
			return ERR_NOTFOUND;
		w = (struct wr){ .p = head, .cap = sizeof head };
		wr_be64(&w, it->term);
		wr_u8(&w, (uint8_t)it->kind);
		wr_be32(&w, (uint32_t)it->data.len);
		if ((e = put(out, &w)) != ERR_OK ||
		    (e = buf_append(out, it->data.p, it->data.len, SIZE_MAX)) !=
			ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err
write_snapshot(struct buf *out, const struct engine_snapshot *s)
{
	uint8_t head[64];
	struct wr w = { .p = head, .cap = sizeof head };
	struct buf conf = { 0 };
	enum err e;

	if (s == NULL)
		return ERR_NOTFOUND;
	if ((e = engine_config_write(&conf, &s->config)) != ERR_OK)
		goto done;
	wr_be64(&w, s->index);
	wr_be64(&w, s->term);
	wr_bytes(&w, s->hash, sizeof s->hash);
	wr_be64(&w, s->config_index);
	wr_be32(&w, (uint32_t)conf.len);
	if ((e = put(out, &w)) != ERR_OK ||
	    (e = buf_append(out, conf.p, conf.len, SIZE_MAX)) != ERR_OK)
		goto done;
	w = (struct wr){ .p = head, .cap = sizeof head };
	wr_be32(&w, (uint32_t)s->data.len);
	if ((e = put(out, &w)) == ERR_OK)
		e = buf_append(out, s->data.p, s->data.len, SIZE_MAX);
done:
	buf_fini(&conf);
	return e;
}

static uint64_t
message_head(const struct raft_message *m, uint8_t *version)
{
	switch (m->type) {
	case RAFT_APPEND_ENTRIES:
		*version = m->append_entries.version;
		return m->append_entries.term;
	case RAFT_APPEND_ENTRIES_RESULT:
		*version = m->append_entries_result.version;
		return m->append_entries_result.term;
	case RAFT_REQUEST_VOTE:
		*version = m->request_vote.version;
		return m->request_vote.term;
	case RAFT_REQUEST_VOTE_RESULT:
		*version = m->request_vote_result.version;
		return m->request_vote_result.term;
	case RAFT_INSTALL_SNAPSHOT:
		*version = m->install_snapshot.version;
		return m->install_snapshot.term;
	case RAFT_TIMEOUT_NOW:
		*version = m->timeout_now.version;
		return m->timeout_now.term;
	}
	return 0;
}

static void
write_small(struct wr *w, const struct raft_message *m)
{
	const struct raft_request_vote *rv = &m->request_vote;
	const struct raft_request_vote_result *vr = &m->request_vote_result;
	const struct raft_append_entries_result *ar = &m->append_entries_result;

	switch (m->type) {
	case RAFT_APPEND_ENTRIES_RESULT:
		wr_be64(w, ar->rejected);
		wr_be64(w, ar->last_log_index);
		wr_be16(w, ar->features);
		wr_be16(w, ar->capacity);
		return;
	case RAFT_REQUEST_VOTE:
		wr_be64(w, rv->candidate_id);
		wr_be64(w, rv->last_log_index);
		wr_be64(w, rv->last_log_term);
		wr_u8(w,
		    (uint8_t)((rv->disrupt_leader ? 1 : 0) |
			(rv->pre_vote ? 2 : 0)));
		return;
	case RAFT_REQUEST_VOTE_RESULT:
		wr_u8(w,
		    (uint8_t)((vr->vote_granted ? 1 : 0) |
			(vr->pre_vote ? 2 : 0)));
		wr_be16(w, vr->features);
		wr_be16(w, vr->capacity);
		return;
	case RAFT_TIMEOUT_NOW:
		wr_be64(w, m->timeout_now.last_log_index);
		wr_be64(w, m->timeout_now.last_log_term);
		return;
	case RAFT_APPEND_ENTRIES:
	case RAFT_INSTALL_SNAPSHOT:
		return; /* written by their own functions */
	}
}

enum err
enginewire_write(struct buf *out, const struct raft_message *m,
    const struct logcache *log, const struct engine_snapshot *snap)
{
	uint8_t small[64], version = 0;
	struct wr w = { .p = small, .cap = sizeof small };
	uint64_t term = message_head(m, &version);
	enum err e;

	wr_u8(&w, (uint8_t)m->type);
	wr_u8(&w, version);
	wr_be64(&w, term);
	write_small(&w, m);
	if ((e = put(out, &w)) != ERR_OK)
		return e;
	if (m->type == RAFT_APPEND_ENTRIES)
		e = write_append(out, &m->append_entries, log);
	else if (m->type == RAFT_INSTALL_SNAPSHOT)
		e = write_snapshot(out, snap);
	return e;
}

/* ---- reading ---- */

static bool
known_kind(uint8_t k)
{
	return k == ENTRY_COMMAND || k == ENTRY_BARRIER || k == ENTRY_CONFIG;
}

/* The index and term of an entry, or of none. */
static bool
is_place(uint64_t index, uint64_t term, uint64_t term_max)
{
	return index < NUMBER_MAX && term <= term_max &&
	    (index == 0) == (term == 0);
}

/* First pass: is it well formed, and how many bytes are there?  Terms never
 * fall along a log, nor exceed its leader's; libraft relies on it. */
static bool
measure_entries(struct rd r, const struct raft_append_entries *a, size_t *total)
{
	uint64_t least = a->prev_log_term > 0 ? a->prev_log_term : 1;

	*total = 0;
	for (uint32_t i = 0; i < a->n_entries; i++) {
		uint64_t term = rd_be64(&r);

		if (term < least || term > a->term || !known_kind(rd_u8(&r)))
			return false;
		least = term;

		uint32_t len = rd_be32(&r);

		if (len > ENGINE_ENTRY_MAX || rd_bytes(&r, len) == NULL)
			return false;
		*total += len;
	}
	return rd_done(&r);
}

static enum raft_entry_type
to_raft_type(uint8_t kind)
{
	return kind == ENTRY_COMMAND ? RAFT_COMMAND
	    : kind == ENTRY_BARRIER  ? RAFT_BARRIER
				     : RAFT_CHANGE;
}

/* libraft decodes this payload itself, and asserts nothing in Debian's
 * build: recognised in full before it gets there. */
static enum err
check_config(struct bytes in)
{
	struct engine_config c;

	return engine_config_parse(&c, in);
}

static enum err
read_entries(struct raft_append_entries *a, struct rd *r, uint32_t n)
{
	size_t total;
	uint8_t *batch;

	a->entries = NULL;
	a->n_entries = n;
	if (n > ENGINE_BATCH || !measure_entries(*r, a, &total))
		return ERR_MALFORMED;
	if (n == 0)
		return ERR_OK;
	a->entries = raft_calloc(n, sizeof *a->entries);
	batch = raft_malloc(total + 1);
	if (a->entries == NULL || batch == NULL)
		goto fail;
	a->entries[0].batch = batch;
	for (uint32_t i = 0; i < n; i++) {
		struct raft_entry *en = &a->entries[i];

		en->term = rd_be64(r);

		uint8_t kind = rd_u8(r);
		uint32_t len = rd_be32(r);
		const uint8_t *p = rd_bytes(r, len);

		if (kind == ENTRY_CONFIG &&
		    check_config((struct bytes){ p, len }) != ERR_OK) {
			raft_free(a->entries[0].batch);
			raft_free(a->entries);
			a->entries = NULL;
			return ERR_MALFORMED;
		}
		en->type = to_raft_type(kind);
		en->buf = (struct raft_buffer){ .base = batch, .len = len };
		en->batch = a->entries[0].batch;
		if (len > 0)
			memcpy(batch, p, len);
		batch += len;
	}
	return ERR_OK;
fail:
	raft_free(a->entries);
	raft_free(batch);
	a->entries = NULL;
	return ERR_NOMEM;
}

static enum err
read_snapshot(
    struct raft_install_snapshot *s, struct engine_extra *x, struct rd *r)
{
	struct engine_config c;
	const uint8_t *hash, *conf, *data;
	uint32_t conf_len, data_len;
	enum err e;

	s->last_index = rd_be64(r);
	s->last_term = rd_be64(r);
	hash = rd_bytes(r, 32);
	s->conf_index = rd_be64(r);
	conf_len = rd_be32(r);
	conf = rd_bytes(r, conf_len);
	data_len = rd_be32(r);
	data = rd_bytes(r, data_len);
	if (!rd_done(r) || hash == NULL || conf_len > ENGINE_CONFIG_MAX ||
	    data_len > SNAPSHOT_MAX || s->last_index == 0 ||
	    !is_place(s->last_index, s->last_term, s->term) ||
	    s->conf_index == 0 || s->conf_index > s->last_index ||
	    engine_config_parse(&c, (struct bytes){ conf, conf_len }) != ERR_OK)
		return ERR_MALFORMED;
	memcpy(x->hash, hash, 32);
	if ((e = enginewire_to_raft(&s->conf, &c)) != ERR_OK)
		return e;
	s->data.base = raft_malloc(data_len + 1u);
	s->data.len = data_len;
	if (s->data.base == NULL) {
		raft_configuration_close(&s->conf);
		return ERR_NOMEM;
	}
	if (data_len > 0)
		memcpy(s->data.base, data, data_len);
	return ERR_OK;
}

static enum err
read_append(struct raft_append_entries *a, struct engine_extra *x, struct rd *r)
{
	static const uint8_t zeros[32];
	const uint8_t *hash;
	uint32_t n;

	a->prev_log_index = rd_be64(r);
	a->prev_log_term = rd_be64(r);
	hash = rd_bytes(r, 32);
	a->leader_commit = rd_be64(r);
	n = rd_be32(r);
	if (r->bad || hash == NULL || a->leader_commit >= NUMBER_MAX ||
	    !is_place(a->prev_log_index, a->prev_log_term, a->term) ||
	    (a->prev_log_index == 0 && memcmp(hash, zeros, 32) != 0))
		return ERR_MALFORMED;
	memcpy(x->hash, hash, 32);
	return read_entries(a, r, n);
}

static enum err
read_result(struct raft_append_entries_result *a, struct rd *r)
{
	a->rejected = rd_be64(r);
	a->last_log_index = rd_be64(r);
	a->features = rd_be16(r);
	a->capacity = rd_be16(r);
	return rd_done(r) && a->rejected < NUMBER_MAX &&
		a->last_log_index < NUMBER_MAX &&
		(a->rejected == 0 || a->last_log_index < a->rejected)
	    ? ERR_OK
	    : ERR_MALFORMED;
}

static enum err
read_vote(struct raft_request_vote *v, struct rd *r)
{
	uint8_t flags;

	v->candidate_id = rd_be64(r);
	v->last_log_index = rd_be64(r);
	v->last_log_term = rd_be64(r);
	flags = rd_u8(r);
	v->disrupt_leader = (flags & 1) != 0;
	v->pre_vote = (flags & 2) != 0;
	return rd_done(r) && flags < 4 && v->candidate_id != 0 &&
		is_place(v->last_log_index, v->last_log_term, v->term)
	    ? ERR_OK
	    : ERR_MALFORMED;
}

static enum err
read_timeout(struct raft_timeout_now *t, struct rd *r)
{
	t->last_log_index = rd_be64(r);
	t->last_log_term = rd_be64(r);
	return rd_done(r) &&
		is_place(t->last_log_index, t->last_log_term, t->term)
	    ? ERR_OK
	    : ERR_MALFORMED;
}

static enum err
read_vote_result(struct raft_request_vote_result *v, struct rd *r)
{
	uint8_t flags = rd_u8(r);

	v->vote_granted = (flags & 1) != 0;
	v->pre_vote = (flags & 2) != 0;
	v->features = rd_be16(r);
	v->capacity = rd_be16(r);
	return rd_done(r) && flags < 4 ? ERR_OK : ERR_MALFORMED;
}

/* What libraft 0.22 writes.  It takes older ones for promises that the
 * sender did not make: a pre-vote of version 1 counts as a vote. */
static uint8_t
version_of(uint8_t type)
{
	return type == RAFT_APPEND_ENTRIES_RESULT ||
		type == RAFT_REQUEST_VOTE || type == RAFT_REQUEST_VOTE_RESULT
	    ? 2
	    : 0;
}

enum err
enginewire_read(struct raft_message *m, struct engine_extra *x, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	uint8_t type = rd_u8(&r), version = rd_u8(&r);
	uint64_t term = rd_be64(&r);

	*m = (struct raft_message){ 0 };
	*x = (struct engine_extra){ 0 };
	if (r.bad || term == 0 || term >= NUMBER_MAX ||
	    version != version_of(type))
		return ERR_MALFORMED;
	switch (type) {
	case RAFT_APPEND_ENTRIES:
		m->type = RAFT_APPEND_ENTRIES;
		m->append_entries.version = version;
		m->append_entries.term = term;
		return read_append(&m->append_entries, x, &r);
	case RAFT_APPEND_ENTRIES_RESULT:
		m->type = RAFT_APPEND_ENTRIES_RESULT;
		m->append_entries_result.version = version;
		m->append_entries_result.term = term;
		return read_result(&m->append_entries_result, &r);
	case RAFT_REQUEST_VOTE:
		m->type = RAFT_REQUEST_VOTE;
		m->request_vote.version = version;
		m->request_vote.term = term;
		return read_vote(&m->request_vote, &r);
	case RAFT_REQUEST_VOTE_RESULT:
		m->type = RAFT_REQUEST_VOTE_RESULT;
		m->request_vote_result.version = version;
		m->request_vote_result.term = term;
		return read_vote_result(&m->request_vote_result, &r);
	case RAFT_INSTALL_SNAPSHOT:
		m->type = RAFT_INSTALL_SNAPSHOT;
		m->install_snapshot.version = version;
		m->install_snapshot.term = term;
		return read_snapshot(&m->install_snapshot, x, &r);
	case RAFT_TIMEOUT_NOW:
		m->type = RAFT_TIMEOUT_NOW;
		m->timeout_now.version = version;
		m->timeout_now.term = term;
		return read_timeout(&m->timeout_now, &r);
	default:
		return ERR_MALFORMED;
	}
}

void
enginewire_free(struct raft_message *m)
{
	if (m->type == RAFT_APPEND_ENTRIES &&
	    m->append_entries.entries != NULL) {
		raft_free(m->append_entries.entries[0].batch);
		raft_free(m->append_entries.entries);
		m->append_entries.entries = NULL;
	} else if (m->type == RAFT_INSTALL_SNAPSHOT) {
		raft_configuration_close(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
	}
}
