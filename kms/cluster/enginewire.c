/* Bytes of raft's messages, and of a configuration.
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
 *   6 timeout now      last index u64, last term u64
 *   config             version u8 = 1, n u64le, n * (id u64le, address, NUL,
 *                      role u8), zeros up to a multiple of 8 */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/engine_int.h"

#define SNAPSHOT_MAX (48u << 20)
#define CONFIG_MAX (16 + ENGINE_MEMBERS_MAX * (9 + ENGINE_ADDRESS_MAX))

/* ---- configurations: libraft's own encoding, read strictly ---- */

enum err
engine_config_write(struct buf *out, const struct engine_config *c)
{
	uint8_t b[CONFIG_MAX];
	struct wr w = { .p = b, .cap = sizeof b };

	if (c->n == 0 || c->n > ENGINE_MEMBERS_MAX)
		return ERR_MALFORMED;
	wr_u8(&w, 1);
	wr_le64(&w, c->n);
	for (unsigned i = 0; i < c->n; i++) {
		size_t len = strnlen(c->member[i].address, ENGINE_ADDRESS_MAX);

		if (len == 0 || len == ENGINE_ADDRESS_MAX)
			return ERR_MALFORMED;
		wr_le64(&w, c->member[i].id);
		wr_bytes(&w, c->member[i].address, len + 1);
		wr_u8(&w, (uint8_t)c->member[i].role);
	}
	wr_zero(&w, (8 - w.len % 8) % 8);
	if (!wr_ok(&w))
		return ERR_LIMIT;
	return buf_append(out, b, w.len, SIZE_MAX);
}

static bool
read_member(struct rd *r, struct engine_member *m)
{
	uint64_t id = rd_le64(r);
	const uint8_t *nul =
	    r->bad || r->left == 0 ? NULL : memchr(r->p, 0, r->left);
	size_t len = nul == NULL ? 0 : (size_t)(nul - r->p);
	const uint8_t *p = rd_bytes(r, len + 1);
	uint8_t role = rd_u8(r);

	if (r->bad || nul == NULL || id == 0 || role > ENGINE_SPARE ||
	    len == 0 || len >= ENGINE_ADDRESS_MAX)
		return false;
	*m = (struct engine_member){ .id = id, .role = role };
	memcpy(m->address, p, len + 1);
	return true;
}

enum err
engine_config_parse(struct engine_config *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct engine_config c = { 0 };
	uint8_t version = rd_u8(&r);
	uint64_t n = rd_le64(&r);

	if (version != 1 || n == 0 || n > ENGINE_MEMBERS_MAX)
		return ERR_MALFORMED;
	for (c.n = 0; c.n < n; c.n++) {
		if (!read_member(&r, &c.member[c.n]))
			return ERR_MALFORMED;
		for (unsigned j = 0; j < c.n; j++)
			if (c.member[j].id == c.member[c.n].id)
				return ERR_MALFORMED;
	}
	if (in.len % 8 != 0 || r.left >= 8)
		return ERR_MALFORMED;
	while (r.left > 0)
		if (rd_u8(&r) != 0)
			return ERR_MALFORMED;
	*out = c;
	return ERR_OK;
}

static int
to_raft_role(enum engine_role r)
{
	switch (r) {
	case ENGINE_STANDBY:
		return RAFT_STANDBY;
	case ENGINE_VOTER:
		return RAFT_VOTER;
	case ENGINE_SPARE:
		return RAFT_SPARE;
	}
	return RAFT_SPARE;
}

enum err
enginewire_to_raft(
    struct raft_configuration *out, const struct engine_config *c)
{
	raft_configuration_init(out);
	for (unsigned i = 0; i < c->n; i++)
		if (raft_configuration_add(out, c->member[i].id,
			c->member[i].address,
			to_raft_role(c->member[i].role)) != 0) {
			raft_configuration_close(out);
			return ERR_NOMEM;
		}
	return ERR_OK;
}

enum err
enginewire_from_raft(
    struct engine_config *out, const struct raft_configuration *c)
{
	struct engine_config o = { .n = c->n };

	if (c->n > ENGINE_MEMBERS_MAX)
		return ERR_LIMIT;
	for (unsigned i = 0; i < c->n; i++) {
		size_t len = strlen(c->servers[i].address);

		if (len >= ENGINE_ADDRESS_MAX)
			return ERR_LIMIT;
		o.member[i].id = c->servers[i].id;
		memcpy(o.member[i].address, c->servers[i].address, len + 1);
		o.member[i].role = c->servers[i].role == RAFT_VOTER
		    ? ENGINE_VOTER
		    : c->servers[i].role == RAFT_STANDBY ? ENGINE_STANDBY
							 : ENGINE_SPARE;
	}
	*out = o;
	return ERR_OK;
}

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

/* First pass: is it well formed, and how many bytes are there? */
static bool
measure_entries(struct rd r, uint32_t n, size_t *total)
{
	*total = 0;
	for (uint32_t i = 0; i < n; i++) {
		(void)rd_be64(&r);
		if (!known_kind(rd_u8(&r)))
			return false;

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
	if (n > ENGINE_BATCH || !measure_entries(*r, n, &total))
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
	if (!rd_done(r) || hash == NULL || conf_len > CONFIG_MAX ||
	    data_len > SNAPSHOT_MAX || s->last_index == 0 ||
	    s->conf_index > s->last_index ||
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
	const uint8_t *hash;
	uint32_t n;

	a->prev_log_index = rd_be64(r);
	a->prev_log_term = rd_be64(r);
	hash = rd_bytes(r, 32);
	a->leader_commit = rd_be64(r);
	n = rd_be32(r);
	if (r->bad || hash == NULL ||
	    (a->prev_log_index == 0) != (a->prev_log_term == 0))
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
	return rd_done(r) ? ERR_OK : ERR_MALFORMED;
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
	return rd_done(r) && flags < 4 ? ERR_OK : ERR_MALFORMED;
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

enum err
enginewire_read(struct raft_message *m, struct engine_extra *x, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	uint8_t type = rd_u8(&r), version = rd_u8(&r);
	uint64_t term = rd_be64(&r);

	*m = (struct raft_message){ 0 };
	*x = (struct engine_extra){ 0 };
	if (r.bad || term == 0)
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
		m->timeout_now.last_log_index = rd_be64(&r);
		m->timeout_now.last_log_term = rd_be64(&r);
		return rd_done(&r) ? ERR_OK : ERR_MALFORMED;
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
