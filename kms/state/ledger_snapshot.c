/* ledger_snapshot: a whole state as bytes, and back.
 *
 *   snapshot  'K' 'L' version u8 = 2 | index u64 | generation u64 |
 *             anchor (generation u64 | index u64 | hash 32) |
 *             effective u64 | floor u64 | floor's block hash 32 |
 *             handovers u64 |
 *             n_epochs u16 | epoch ... | n_members u8 | member ... |
 *             n_floors u16 | floor ... | n_counters u32 | counter ... |
 *             audit count u64 | head before 32 | entry ... | head 32
 *   epoch     body of an EPOCH command | state u8 | index u64
 *   member    body of a MEMBER command | present u8 | held u8 | since u64 |
 *             lives u64
 *   floor     n u8 | name n | number u64
 *   counter   app 20 | n u8 | name n | value u64 | operation 16
 *   entry     index u64 | length u16 | command
 *
 * Integers are big-endian.  Epochs go up from 0; members, floors and
 * counters are sorted; entries are the last min(count, LEDGER_AUDIT_MAX).
 * What follows from the rest (the critical index) is not written.
 *
 * A snapshot comes from a peer or a disk, so the reader believes nothing:
 * what no sequence of commands could have made is malformed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto/hash.h"
#include "kms/state/command_int.h"
#include "kms/state/ledger_int.h"

#define VERSION 2
#define EPOCH_LEN (8 + 33 + 64 + WRAPPED_ROOTS_LEN + 66 + 25 + 1 + 8)
#define MEMBER_LEN (SLOT_MAX + 3 * 32 + 2 + 2 * 8)
#define FLOOR_LEN (TCB_NAME_MAX + 8)
#define COUNTER_LEN (20 + COUNTER_NAME_MAX + 8 + 16)
#define ENTRY_LEN (8 + 2 + AUDIT_COMMAND_MAX)
#define FIXED_LEN (3 + 8 + 8 + 48 + 8 + 40 + 8 + 2 + 1 + 2 + 4 + 8 + 64)

static_assert(FIXED_LEN + LEDGER_MAX_EPOCHS * EPOCH_LEN +
	    LEDGER_MAX_MEMBERS * MEMBER_LEN +
	    LEDGER_MAX_TCB_FLOORS * FLOOR_LEN +
	    LEDGER_MAX_COUNTERS * COUNTER_LEN + LEDGER_AUDIT_MAX * ENTRY_LEN <=
	LEDGER_SNAPSHOT_MAX,
    "the largest state fits");
static_assert(LEDGER_MAX_MEMBERS <= UINT8_MAX, "n_members u8");

static void
write_head(struct wr *w, const struct ledger *l)
{
	wr_str(w, "KL");
	wr_u8(w, VERSION);
	wr_be64(w, l->index);
	wr_be64(w, l->generation);
	wr_be64(w, l->anchor.generation);
	wr_be64(w, l->anchor.index);
	wr_bytes(w, l->anchor.hash, sizeof l->anchor.hash);
	wr_be64(w, l->effective);
	wr_be64(w, l->floor);
	wr_bytes(w, l->floor_hash, sizeof l->floor_hash);
	wr_be64(w, l->n_handovers);
}

static bool
read_head(struct rd *r, struct ledger *l)
{
	static const uint8_t zero[32];
	const uint8_t *magic = rd_bytes(r, 2);
	const struct ledger_anchor *a = &l->anchor;

	if (magic == NULL || magic[0] != 'K' || magic[1] != 'L' ||
	    rd_u8(r) != VERSION)
		return false;
	l->index = rd_be64(r);
	l->generation = rd_be64(r);
	l->anchor.generation = rd_be64(r);
	l->anchor.index = rd_be64(r);
	command_read_array(r, l->anchor.hash, sizeof l->anchor.hash);
	l->effective = rd_be64(r);
	l->floor = rd_be64(r);
	command_read_array(r, l->floor_hash, sizeof l->floor_hash);
	l->n_handovers = rd_be64(r);
	if (l->generation > l->index || a->generation > l->generation ||
	    (l->floor == 0 && memcmp(l->floor_hash, zero, 32) != 0))
		return false;
	if (a->generation == 0)
		return a->index == 0 && memcmp(a->hash, zero, 32) == 0 &&
		    l->effective == 0;
	/* The entry that told of an anchor is behind it, and only a later
	 * generation's anchor can be below the highest. */
	return l->effective < l->index &&
	    (l->effective == a->index ||
		(l->effective > a->index && a->generation > 1));
}

static void
write_epochs(struct wr *w, const struct ledger *l)
{
	wr_be16(w, (uint16_t)l->n_epochs);
	for (size_t i = 0; i < l->n_epochs; i++) {
		const struct ledger_epoch *e = &l->epoch[i];
		struct command c = { .kind = COMMAND_EPOCH,
			.u.epoch = { .pub = e->pub,
			    .has_certificate = e->has_certificate,
			    .certificate = e->certificate,
			    .origin = e->origin,
			    .mode = e->mode } };

		memcpy(c.u.epoch.wrapped, e->wrapped, sizeof e->wrapped);
		command_write_epoch(w, &c);
		wr_u8(w, (uint8_t)e->state);
		wr_be64(w, e->index);
	}
}

/* Does the last epoch fit behind those before it? */
static bool
epoch_fits(const struct ledger *l, const struct ledger_epoch *e)
{
	static const uint8_t zero[WRAPPED_ROOTS_LEN];
	bool first = e->pub.number == 0, anchored = e->index <= l->effective;

	if (e->pub.number != l->n_epochs || e->index > l->index ||
	    e->index <= (first ? 0 : e[-1].index))
		return false;
	/* One that is not in use has no successor. */
	if (!first && e[-1].state == LEDGER_EPOCH_PREPARED)
		return false;
	switch (e->state) {
	case LEDGER_EPOCH_PREPARED:
		return !first || !anchored;
	case LEDGER_EPOCH_ACTIVE:
	case LEDGER_EPOCH_TAINTED:
		return anchored;
	case LEDGER_EPOCH_DESTROYED:
		return anchored && memcmp(e->wrapped, zero, sizeof zero) == 0;
	}
	return false;
}

static bool
read_epochs(struct rd *r, struct ledger *l)
{
	size_t n = rd_be16(r);

	if (n > LEDGER_MAX_EPOCHS)
		return false;
	for (l->n_epochs = 0; l->n_epochs < n; l->n_epochs++) {
		struct ledger_epoch *e = &l->epoch[l->n_epochs];
		struct command c = { 0 };

		if (!command_read_epoch(r, &c))
			return false;
		*e = (struct ledger_epoch){ .pub = c.u.epoch.pub,
			.has_certificate = c.u.epoch.has_certificate,
			.certificate = c.u.epoch.certificate,
			.origin = c.u.epoch.origin,
			.mode = c.u.epoch.mode,
			.state = (enum ledger_epoch_state)rd_u8(r) };
		memcpy(e->wrapped, c.u.epoch.wrapped, sizeof e->wrapped);
		e->index = rd_be64(r);
		if (r->bad || !epoch_fits(l, e))
			return false;
	}
	return true;
}

static void
write_members(struct wr *w, const struct ledger *l)
{
	wr_u8(w, (uint8_t)l->n_members);
	for (size_t i = 0; i < l->n_members; i++) {
		const struct ledger_member *m = &l->member[i];

		command_write_member(w, &m->who);
		wr_u8(w, m->present ? 1 : 0);
		wr_u8(w, (uint8_t)m->held);
		wr_be64(w, m->since);
		wr_be64(w, m->lives);
	}
}

/* Does the last member fit behind those before it? */
static bool
member_fits(const struct ledger *l, const struct ledger_member *m)
{
	const struct ledger_member *before = &l->member[0];

	/* Each life but the first took two entries, a LEFT and a MEMBER. */
	if (m->lives == 0 || m->since == 0 || m->since > l->index ||
	    m->lives - 1 > (m->since - 1) / 2)
		return false;
	/* Nobody says that he holds epoch 0. */
	if (m->held > (m->present ? LEDGER_HELD : LEDGER_HELD_BEFORE) ||
	    (m->held != LEDGER_HELD_NOT && l->n_epochs < 2))
		return false;
	for (; before < m; before++)
		if (strcmp(before->who.slot, m->who.slot) >= 0 ||
		    before->since == m->since ||
		    (m->present && before->present &&
			memcmp(before->who.incarnation, m->who.incarnation,
			    INCARNATION_ID_LEN) == 0))
			return false;
	return true;
}

static bool
read_members(struct rd *r, struct ledger *l)
{
	size_t n = rd_u8(r);

	if (n > LEDGER_MAX_MEMBERS)
		return false;
	for (l->n_members = 0; l->n_members < n; l->n_members++) {
		struct ledger_member *m = &l->member[l->n_members];

		if (!command_read_member(r, &m->who) ||
		    !command_read_bool(r, &m->present))
			return false;
		m->held = (enum ledger_held)rd_u8(r);
		m->since = rd_be64(r);
		m->lives = rd_be64(r);
		if (r->bad || !member_fits(l, m))
			return false;
	}
	return true;
}

static void
write_floors(struct wr *w, const struct ledger *l)
{
	wr_be16(w, (uint16_t)l->n_tcb);
	for (size_t i = 0; i < l->n_tcb; i++) {
		command_write_name(w, l->tcb[i].name, TCB_NAME_MAX);
		wr_be64(w, l->tcb[i].number);
	}
}

static bool
read_floors(struct rd *r, struct ledger *l)
{
	size_t n = rd_be16(r);

	if (n > LEDGER_MAX_TCB_FLOORS)
		return false;
	for (l->n_tcb = 0; l->n_tcb < n; l->n_tcb++) {
		struct tcb_floor *f = &l->tcb[l->n_tcb];

		if (!command_read_name(r, f->name, sizeof f->name))
			return false;
		f->number = rd_be64(r);
		if (r->bad || f->number == 0 ||
		    (l->n_tcb > 0 && strcmp(f[-1].name, f->name) >= 0))
			return false;
	}
	return true;
}

static void
write_counters(struct wr *w, const struct ledger *l)
{
	wr_be32(w, (uint32_t)l->counters.n);
	for (size_t i = 0; i < l->counters.n; i++) {
		const struct ledger_counter *c =
		    ledger_counter_at(&l->counters, i);

		wr_bytes(w, c->app_id, sizeof c->app_id);
		command_write_name(w, c->name, sizeof c->name);
		wr_be64(w, c->value);
		wr_bytes(w, c->operation, sizeof c->operation);
	}
}

static enum err
read_counters(struct rd *r, struct ledger *l)
{
	uint32_t n = rd_be32(r);

	if (n > LEDGER_MAX_COUNTERS)
		return ERR_MALFORMED;
	for (uint32_t i = 0; i < n; i++) {
		struct ledger_counter c = { 0 };
		enum err e;

		command_read_array(r, c.app_id, sizeof c.app_id);
		if (!command_read_name(r, c.name, sizeof c.name))
			return ERR_MALFORMED;
		c.value = rd_be64(r);
		command_read_array(r, c.operation, sizeof c.operation);
		if (r->bad || c.value == 0)
			return ERR_MALFORMED;
		if ((e = ledger_counter_add(&l->counters, &c)) != ERR_OK)
			return e == ERR_NOMEM ? e : ERR_MALFORMED;
	}
	return ERR_OK;
}

static void
write_audit(struct wr *w, const struct ledger *l)
{
	struct ledger_audit a;

	wr_be64(w, l->audit.count);
	wr_bytes(w, l->audit.before, sizeof l->audit.before);
	for (uint64_t n = ledger_audit_first(l); ledger_audit_get(l, n, &a);
	     n++) {
		wr_be64(w, a.index);
		wr_be16(w, (uint16_t)a.command.len);
		wr_bytes(w, a.command.p, a.command.len);
	}
	wr_bytes(w, l->audit.head, sizeof l->audit.head);
}

/* At least as many entries as the state shows causes for. */
static bool
audit_covers(const struct ledger *l)
{
	uint64_t left = l->audit.count;
	uint64_t epochs = l->n_epochs;

	/* An EPOCH each, and what all but the first needed to come into use. */
	for (size_t i = 1; i < l->n_epochs; i++)
		epochs += l->epoch[i].state != LEDGER_EPOCH_PREPARED;
	if (left > l->index || left < epochs)
		return false;
	left -= epochs;
	if (left < l->n_handovers)
		return false;
	left -= l->n_handovers;
	if (left < l->generation)
		return false;
	left -= l->generation;
	for (size_t i = 0; i < l->n_members; i++) {
		const struct ledger_member *m = &l->member[i];

		/* Every life but a present one has left. */
		if (left < m->lives)
			return false;
		left -= m->lives;
		if (left < m->lives - (m->present ? 1 : 0))
			return false;
		left -= m->lives - (m->present ? 1 : 0);
	}
	return left >= (l->anchor.generation != 0 ? 1 : 0);
}

static bool
read_audit_entry(struct rd *r, struct ledger *l, uint64_t *last)
{
	uint64_t index = rd_be64(r);
	size_t len = rd_be16(r);
	const uint8_t *p = rd_bytes(r, len);
	struct command c;

	if (p == NULL || index <= *last || index > l->index ||
	    command_parse(&c, (struct bytes){ p, len }) != ERR_OK ||
	    !ledger_audit_is(c.kind))
		return false;
	ledger_audit_put(&l->audit, index, (struct bytes){ p, len });
	*last = index;
	return true;
}

/* The kept entries are appended to the head before them, which must lead to
 * the head that the snapshot ends with. */
static bool
read_audit(struct rd *r, struct ledger *l)
{
	static const uint8_t zero[32];
	struct audit *a = &l->audit;
	uint64_t count = rd_be64(r), last;
	uint8_t head[32] = { 0 };
	uint64_t kept = count < LEDGER_AUDIT_MAX ? count : LEDGER_AUDIT_MAX;

	command_read_array(r, a->before, sizeof a->before);
	memcpy(a->head, a->before, sizeof a->head);
	if (r->bad || (count == kept && memcmp(a->before, zero, 32) != 0))
		return false;
	/* Those that are gone had an index each. */
	last = count - kept;
	a->count = last;
	for (uint64_t i = 0; i < kept; i++)
		if (!read_audit_entry(r, l, &last))
			return false;
	command_read_array(r, head, sizeof head);
	return memcmp(head, a->head, sizeof head) == 0 && audit_covers(l);
}

static enum err
read_all(struct rd *r, struct ledger *l)
{
	enum err e;

	if (!read_head(r, l) || !read_epochs(r, l) || !read_members(r, l) ||
	    !read_floors(r, l))
		return ERR_MALFORMED;
	if ((e = read_counters(r, l)) != ERR_OK)
		return e;
	if (!read_audit(r, l) || !rd_done(r))
		return ERR_MALFORMED;
	return ERR_OK;
}

enum err
ledger_snapshot(const struct ledger *l, struct buf *out)
{
	size_t room = FIXED_LEN + l->n_epochs * EPOCH_LEN +
	    l->n_members * MEMBER_LEN + l->n_tcb * FLOOR_LEN +
	    l->counters.n * COUNTER_LEN +
	    ledger_audit_kept(&l->audit) * ENTRY_LEN;
	enum err e = buf_reserve(out, out->len + room);
	struct wr w = { 0 };

	if (e != ERR_OK)
		return e;
	w.p = out->p + out->len;
	w.cap = room;
	write_head(&w, l);
	write_epochs(&w, l);
	write_members(&w, l);
	write_floors(&w, l);
	write_counters(&w, l);
	write_audit(&w, l);
	if (!wr_ok(&w))
		return ERR_LIMIT;
	out->len += w.len;
	out->p[out->len] = 0;
	return ERR_OK;
}

enum err
ledger_restore(struct ledger *l, struct bytes snapshot)
{
	struct rd r = { .p = snapshot.p, .left = snapshot.len };
	struct ledger *fresh = NULL;
	enum err e;

	if (snapshot.len > LEDGER_SNAPSHOT_MAX)
		return ERR_MALFORMED;
	if ((e = ledger_new(&fresh)) != ERR_OK)
		return e;
	if ((e = read_all(&r, fresh)) != ERR_OK) {
		ledger_free(fresh);
		return e;
	}
	ledger_counter_fini(&l->counters);
	free(l->audit.ring);
	*l = *fresh; /* transferred */
	free(fresh);
	return ERR_OK;
}

enum err
ledger_digest(const struct ledger *l, uint8_t out[static 32])
{
	struct buf b = { 0 };
	enum err e = ledger_snapshot(l, &b);

	if (e == ERR_OK)
		sha256(out, b.p, b.len);
	buf_fini(&b);
	return e;
}
