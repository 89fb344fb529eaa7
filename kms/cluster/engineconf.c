/* Configurations: their bytes, which one is in force, and what may follow.
 *
 *   version u8 = 1, n u64le, n * (id u64le, address, NUL, role u8), zeros up
 *   to a multiple of 8: libraft's own encoding, read strictly */
#include <stdlib.h>
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/cluster/engine_int.h"

/* libraft refuses more than its header says: an address twice, too. */
static bool
is_new(const struct engine_config *c, const struct engine_member *m)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->member[i].id == m->id ||
		    strcmp(c->member[i].address, m->address) == 0)
			return false;
	return true;
}

enum err
engine_config_write(struct buf *out, const struct engine_config *c)
{
	struct engine_config seen = { 0 };
	uint8_t b[ENGINE_CONFIG_MAX];
	struct wr w = { .p = b, .cap = sizeof b };

	if (c->n == 0 || c->n > ENGINE_MEMBERS_MAX)
		return ERR_MALFORMED;
	wr_u8(&w, 1);
	wr_le64(&w, c->n);
	for (unsigned i = 0; i < c->n; i++) {
		size_t len = strnlen(c->member[i].address, ENGINE_ADDRESS_MAX);

		if (len == 0 || len == ENGINE_ADDRESS_MAX ||
		    c->member[i].id == 0 || c->member[i].role > ENGINE_SPARE ||
		    !is_new(&seen, &c->member[i]))
			return ERR_MALFORMED;
		seen.member[seen.n++] = c->member[i];
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
	for (c.n = 0; c.n < n; c.n++)
		if (!read_member(&r, &c.member[c.n]) ||
		    !is_new(&c, &c.member[c.n]))
			return ERR_MALFORMED;
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

/* ---- in force ---- */

/* The configuration in force is the last one in the log, committed or not
 * (raft dissertation, 4.1). */
void
engine_find_config(struct engine *e)
{
	for (uint64_t i = logcache_last(&e->log); i > e->log.base_index; i--) {
		const struct logcache_item *it = logcache_get(&e->log, i);

		if (it->kind != ENTRY_CONFIG)
			continue;
		if (engine_config_parse(&e->config, buf_view(&it->data)) !=
		    ERR_OK)
			abort(); /* every one was parsed before */
		e->config_index = i;
		return;
	}
	e->config =
	    e->has_snapshot ? e->snapshot.config : (struct engine_config){ 0 };
	e->config_index = e->has_snapshot ? e->snapshot.config_index : 0;
}

enum err
engine_settle(struct engine *e, uint64_t now_ms, uint64_t index)
{
	const struct logcache_item *it = logcache_get(&e->log, index);
	struct raft_event ev = { .time = now_ms, .type = RAFT_CONFIGURATION };
	struct engine_config c;
	enum err r;

	assert(it != NULL && it->kind == ENTRY_CONFIG);
	ev.configuration.index = index;
	if ((r = engine_config_parse(&c, buf_view(&it->data))) != ERR_OK ||
	    (r = enginewire_to_raft(&ev.configuration.conf, &c)) != ERR_OK)
		return r;
	return engine_run(e, &ev, NULL); /* takes conf */
}

static unsigned
voters(const struct engine_config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		n += c->member[i].role == ENGINE_VOTER;
	return n;
}

bool
engine_only_voter(const struct engine *e)
{
	const struct engine_config *c = &e->config;

	for (unsigned i = 0; i < c->n; i++)
		if (c->member[i].id == e->o.id)
			return c->member[i].role == ENGINE_VOTER &&
			    voters(c) == 1;
	return false;
}

static bool
same_member(const struct engine_member *a, const struct engine_member *b)
{
	return a->id == b->id && strcmp(a->address, b->address) == 0;
}

bool
engine_one_change(const struct engine_config *a, const struct engine_config *b)
{
	unsigned changes = 0, i = 0, j = 0;

	if (voters(b) == 0)
		return false;
	while (i < a->n || j < b->n) {
		if (i < a->n && j < b->n &&
		    same_member(&a->member[i], &b->member[j])) {
			changes += a->member[i++].role != b->member[j++].role;
			continue;
		}
		/* Removed anywhere, or added at the end. */
		if (i < a->n)
			i++;
		else
			j++;
		changes++;
	}
	return changes == 1;
}
