/* command: reader and writer of the bytes in command.h, side by side.
 *
 * There is one encoding of each value, and the writer refuses what the
 * reader would: it reads back what it wrote before anyone sees it. */
#include <assert.h>
#include <string.h>

#include "common/base/name.h"
#include "kms/state/command.h"
#include "kms/state/command_int.h"

#define VERSION 1
#define CERTIFICATE_LEN sizeof(struct k256_sig65)

static_assert(CERTIFICATE_LEN == 65, "command.h: EPOCH");

const char *
command_kind_text(enum command_kind k)
{
	switch (k) {
	case COMMAND_EPOCH:
		return "epoch";
	case COMMAND_MEMBER:
		return "member";
	case COMMAND_LEFT:
		return "left";
	case COMMAND_HANDOVER:
		return "handover";
	case COMMAND_GENERATION:
		return "generation";
	case COMMAND_ANCHORED:
		return "anchored";
	case COMMAND_FLOOR:
		return "floor";
	case COMMAND_TCB_FLOOR:
		return "tcb_floor";
	case COMMAND_INCREMENT:
		return "increment";
	case COMMAND_HELD:
		return "held";
	case COMMAND_EPOCH_STATE:
		return "epoch_state";
	}
	return "unknown";
}

bool
command_is_critical(enum command_kind k)
{
	return k == COMMAND_EPOCH;
}

void
command_read_array(struct rd *r, void *out, size_t len)
{
	const uint8_t *p = rd_bytes(r, len);

	if (p != NULL)
		memcpy(out, p, len);
}

bool
command_read_bool(struct rd *r, bool *out)
{
	uint8_t v = rd_u8(r);

	*out = v == 1;
	return v <= 1;
}

bool
command_read_name(struct rd *r, char *out, size_t max)
{
	uint8_t n = rd_u8(r);
	const uint8_t *p = rd_bytes(r, n);

	if (p == NULL || n >= max)
		return false;
	memcpy(out, p, n);
	out[n] = '\0';
	/* A NUL inside would be a second way to write a shorter name. */
	return name_ok(out, max) && strlen(out) == n;
}

void
command_write_name(struct wr *w, const char *name, size_t max)
{
	size_t n = strnlen(name, max);

	wr_u8(w, (uint8_t)n);
	wr_bytes(w, name, n);
}

static bool
read_origin(struct rd *r, struct command *c)
{
	struct epoch_origin *o = &c->u.epoch.origin;

	o->order = rd_be64(r);
	o->vetoes = rd_be64(r);
	o->attempt = rd_be64(r);
	c->u.epoch.mode = rd_u8(r);
	return o->order != 0 && c->u.epoch.mode <= 1;
}

bool
command_read_epoch(struct rd *r, struct command *c)
{
	struct epoch_public *pub = &c->u.epoch.pub;
	struct k256_pub point;
	uint8_t n;

	pub->number = rd_be64(r);
	command_read_array(r, pub->k256.b, sizeof pub->k256.b);
	command_read_array(r, pub->ca.xy, sizeof pub->ca.xy);
	command_read_array(r, c->u.epoch.wrapped, sizeof c->u.epoch.wrapped);
	n = rd_u8(r);
	if (n != 0 && n != CERTIFICATE_LEN)
		return false;
	c->u.epoch.has_certificate = n != 0;
	command_read_array(r, c->u.epoch.certificate.b, n);
	if (pub->number != 0 && !read_origin(r, c))
		return false;
	/* Every epoch but the first is certified by its predecessor. */
	return !r->bad && c->u.epoch.has_certificate == (pub->number != 0) &&
	    k256_pub_parse(&point, pub->k256.b, sizeof pub->k256.b) == ERR_OK &&
	    p256_pub_check(&pub->ca) == ERR_OK;
}

void
command_write_epoch(struct wr *w, const struct command *c)
{
	const struct epoch_public *pub = &c->u.epoch.pub;
	uint8_t n = c->u.epoch.has_certificate ? CERTIFICATE_LEN : 0;

	wr_be64(w, pub->number);
	wr_bytes(w, pub->k256.b, sizeof pub->k256.b);
	wr_bytes(w, pub->ca.xy, sizeof pub->ca.xy);
	wr_bytes(w, c->u.epoch.wrapped, sizeof c->u.epoch.wrapped);
	wr_u8(w, n);
	wr_bytes(w, c->u.epoch.certificate.b, n);
	if (pub->number == 0)
		return;
	wr_be64(w, c->u.epoch.origin.order);
	wr_be64(w, c->u.epoch.origin.vetoes);
	wr_be64(w, c->u.epoch.origin.attempt);
	wr_u8(w, c->u.epoch.mode);
}

bool
command_read_member(struct rd *r, struct member *m)
{
	bool ok = command_read_name(r, m->slot, sizeof m->slot);

	command_read_array(r, m->incarnation, sizeof m->incarnation);
	command_read_array(r, m->device_id, sizeof m->device_id);
	command_read_array(r, m->mr_aggregated, sizeof m->mr_aggregated);
	return ok;
}

void
command_write_member(struct wr *w, const struct member *m)
{
	command_write_name(w, m->slot, sizeof m->slot);
	wr_bytes(w, m->incarnation, sizeof m->incarnation);
	wr_bytes(w, m->device_id, sizeof m->device_id);
	wr_bytes(w, m->mr_aggregated, sizeof m->mr_aggregated);
}

static bool
read_left(struct rd *r, struct command *c)
{
	bool ok = command_read_name(r, c->u.left.slot, SLOT_MAX);
	uint8_t why;

	command_read_array(r, c->u.left.incarnation, INCARNATION_ID_LEN);
	why = rd_u8(r);
	if (why < LEFT_REPLACED || why > LEFT_REMOVED)
		return false;
	c->u.left.why = (enum left_why)why;
	return ok;
}

static void
write_left(struct wr *w, const struct command *c)
{
	command_write_name(w, c->u.left.slot, SLOT_MAX);
	wr_bytes(w, c->u.left.incarnation, INCARNATION_ID_LEN);
	/* One that does not fit a byte becomes 0, which no reader takes. */
	wr_u8(w, c->u.left.why <= LEFT_REMOVED ? (uint8_t)c->u.left.why : 0);
}

static bool
read_handover(struct rd *r, struct command *c)
{
	bool ok;

	c->u.handover.epoch = rd_be64(r);
	ok = command_read_member(r, &c->u.handover.to);
	c->u.handover.block_number = rd_be64(r);
	command_read_array(r, c->u.handover.block_hash, 32);
	return ok;
}

static void
write_handover(struct wr *w, const struct command *c)
{
	wr_be64(w, c->u.handover.epoch);
	command_write_member(w, &c->u.handover.to);
	wr_be64(w, c->u.handover.block_number);
	wr_bytes(w, c->u.handover.block_hash, 32);
}

static bool
read_generation(struct rd *r, struct command *c)
{
	bool ok;

	c->u.generation.generation = rd_be64(r);
	command_read_array(r, c->u.generation.incarnation, INCARNATION_ID_LEN);
	ok = command_read_name(r, c->u.generation.slot, SLOT_MAX);
	return command_read_bool(r, &c->u.generation.lossy) && ok;
}

static void
write_generation(struct wr *w, const struct command *c)
{
	wr_be64(w, c->u.generation.generation);
	wr_bytes(w, c->u.generation.incarnation, INCARNATION_ID_LEN);
	command_write_name(w, c->u.generation.slot, SLOT_MAX);
	wr_u8(w, c->u.generation.lossy ? 1 : 0);
}

static bool
read_increment(struct rd *r, struct command *c)
{
	bool ok;

	command_read_array(r, c->u.increment.app_id, 20);
	ok = command_read_name(r, c->u.increment.name, COUNTER_NAME_MAX);
	c->u.increment.expected = rd_be64(r);
	command_read_array(r, c->u.increment.operation, 16);
	return ok;
}

static void
write_increment(struct wr *w, const struct command *c)
{
	wr_bytes(w, c->u.increment.app_id, 20);
	command_write_name(w, c->u.increment.name, COUNTER_NAME_MAX);
	wr_be64(w, c->u.increment.expected);
	wr_bytes(w, c->u.increment.operation, 16);
}

static bool
read_key(struct rd *r, struct k256_pub *k)
{
	struct k256_pub point;

	command_read_array(r, k->b, sizeof k->b);
	return !r->bad && k256_pub_parse(&point, k->b, sizeof k->b) == ERR_OK;
}

static bool
read_held(struct rd *r, struct command *c)
{
	bool ok;

	c->u.held.number = rd_be64(r);
	ok = read_key(r, &c->u.held.k256);
	ok = ok && command_read_name(r, c->u.held.slot, SLOT_MAX);
	command_read_array(r, c->u.held.incarnation, INCARNATION_ID_LEN);
	/* Those of epoch 0 are not counted. */
	return ok && c->u.held.number != 0;
}

static void
write_held(struct wr *w, const struct command *c)
{
	wr_be64(w, c->u.held.number);
	wr_bytes(w, c->u.held.k256.b, sizeof c->u.held.k256.b);
	command_write_name(w, c->u.held.slot, SLOT_MAX);
	wr_bytes(w, c->u.held.incarnation, INCARNATION_ID_LEN);
}

static bool
read_epoch_state(struct rd *r, struct command *c)
{
	bool ok;
	uint8_t state;

	c->u.epoch_state.number = rd_be64(r);
	ok = read_key(r, &c->u.epoch_state.k256);
	state = rd_u8(r);
	c->u.epoch_state.block_number = rd_be64(r);
	command_read_array(r, c->u.epoch_state.block_hash, 32);
	if (state < LEDGER_EPOCH_ACTIVE || state > LEDGER_EPOCH_DESTROYED)
		return false;
	c->u.epoch_state.state = (enum ledger_epoch_state)state;
	return ok;
}

static void
write_epoch_state(struct wr *w, const struct command *c)
{
	enum ledger_epoch_state s = c->u.epoch_state.state;

	wr_be64(w, c->u.epoch_state.number);
	wr_bytes(w, c->u.epoch_state.k256.b, sizeof c->u.epoch_state.k256.b);
	wr_u8(w,
	    s <= LEDGER_EPOCH_DESTROYED ? (uint8_t)s : 0); /* 0: no reader's */
	wr_be64(w, c->u.epoch_state.block_number);
	wr_bytes(w, c->u.epoch_state.block_hash, 32);
}

static bool
read_body(struct rd *r, struct command *c, uint8_t kind)
{
	bool ok;

	switch (kind) {
	case COMMAND_EPOCH:
		return command_read_epoch(r, c);
	case COMMAND_MEMBER:
		return command_read_member(r, &c->u.member);
	case COMMAND_LEFT:
		return read_left(r, c);
	case COMMAND_HANDOVER:
		return read_handover(r, c);
	case COMMAND_GENERATION:
		return read_generation(r, c);
	case COMMAND_ANCHORED:
		c->u.anchored.generation = rd_be64(r);
		c->u.anchored.index = rd_be64(r);
		command_read_array(r, c->u.anchored.hash, 32);
		return true;
	case COMMAND_FLOOR:
		c->u.floor.number = rd_be64(r);
		command_read_array(r, c->u.floor.hash, 32);
		return true;
	case COMMAND_TCB_FLOOR:
		ok = command_read_name(r, c->u.tcb_floor.name, TCB_NAME_MAX);
		c->u.tcb_floor.number = rd_be64(r);
		return ok;
	case COMMAND_INCREMENT:
		return read_increment(r, c);
	case COMMAND_HELD:
		return read_held(r, c);
	case COMMAND_EPOCH_STATE:
		return read_epoch_state(r, c);
	default:
		return false;
	}
}

static void
write_body(struct wr *w, const struct command *c)
{
	switch (c->kind) {
	case COMMAND_EPOCH:
		command_write_epoch(w, c);
		break;
	case COMMAND_MEMBER:
		command_write_member(w, &c->u.member);
		break;
	case COMMAND_LEFT:
		write_left(w, c);
		break;
	case COMMAND_HANDOVER:
		write_handover(w, c);
		break;
	case COMMAND_GENERATION:
		write_generation(w, c);
		break;
	case COMMAND_ANCHORED:
		wr_be64(w, c->u.anchored.generation);
		wr_be64(w, c->u.anchored.index);
		wr_bytes(w, c->u.anchored.hash, 32);
		break;
	case COMMAND_FLOOR:
		wr_be64(w, c->u.floor.number);
		wr_bytes(w, c->u.floor.hash, 32);
		break;
	case COMMAND_TCB_FLOOR:
		command_write_name(w, c->u.tcb_floor.name, TCB_NAME_MAX);
		wr_be64(w, c->u.tcb_floor.number);
		break;
	case COMMAND_INCREMENT:
		write_increment(w, c);
		break;
	case COMMAND_HELD:
		write_held(w, c);
		break;
	case COMMAND_EPOCH_STATE:
		write_epoch_state(w, c);
		break;
	}
}

enum err
command_parse(struct command *out, struct bytes in)
{
	struct rd r = { .p = in.p, .left = in.len };
	struct command c = { 0 };
	const uint8_t *magic;
	uint8_t kind;

	if (in.len > COMMAND_MAX)
		return ERR_MALFORMED;
	magic = rd_bytes(&r, 2);
	if (magic == NULL || magic[0] != 'K' || magic[1] != 'C' ||
	    rd_u8(&r) != VERSION)
		return ERR_MALFORMED;
	kind = rd_u8(&r);
	c.time = rd_be64(&r);
	if (!read_body(&r, &c, kind) || !rd_done(&r))
		return ERR_MALFORMED;
	c.kind = (enum command_kind)kind;
	*out = c;
	return ERR_OK;
}

enum err
command_write(struct buf *out, const struct command *c)
{
	uint8_t bytes[COMMAND_MAX];
	struct wr w = { .p = bytes, .cap = sizeof bytes };
	struct command back;

	if (c->kind < COMMAND_EPOCH || c->kind > COMMAND_LAST)
		return ERR_MALFORMED;
	wr_str(&w, "KC");
	wr_u8(&w, VERSION);
	wr_u8(&w, (uint8_t)c->kind);
	wr_be64(&w, c->time);
	write_body(&w, c);
	if (!wr_ok(&w) ||
	    command_parse(&back, (struct bytes){ bytes, w.len }) != ERR_OK)
		return ERR_MALFORMED;
	return buf_append(out, bytes, w.len, SIZE_MAX);
}

bool
command_may_repeat(struct bytes in)
{
	struct command c;

	return command_parse(&c, in) == ERR_OK && c.kind == COMMAND_INCREMENT;
}
