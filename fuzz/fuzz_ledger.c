/* fuzz_ledger: ledger_apply, ledger_snapshot, ledger_restore.
 *
 * The first byte says what follows.  0: a snapshot, which is refused and
 * changes nothing, or is restored and written to the same bytes.  Else: steps
 * of four bytes {what, a, b, c}, applied to two ledgers, one of which is
 * restored now and then.  They stay equal; a refusal changes nothing but the
 * index; what goes up never goes down. */
#include <string.h>

#include "common/crypto/hash.h"
#include "fuzz/must.h"
#include "kms/state/ledger.h"

#define N_KEYS 3
#define N_KINDS COMMAND_LAST
#define MAX_STEPS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct epoch_public keys[N_KEYS];

static void
init(void)
{
	for (uint8_t i = 0; i < N_KEYS; i++) {
		struct k256_secret k = { .b = { [31] = (uint8_t)(i + 1) } };
		struct p256_secret p = { .b = { [31] = (uint8_t)(i + 1) } };

		must(k256_pubkey(&keys[i].k256, &k) == ERR_OK);
		must(p256_pubkey(&keys[i].ca, &p) == ERR_OK);
	}
}

/* The digest of all but the index of the last entry. */
static void
digest(const struct ledger *l, uint8_t out[static 32])
{
	struct buf b = { 0 };

	must(ledger_snapshot(l, &b) == ERR_OK);
	must(b.len > 11 && b.len <= LEDGER_SNAPSHOT_MAX);
	memset(b.p + 3, 0, 8);
	sha256(out, b.p, b.len);
	buf_fini(&b);
}

static void
must_equal(const struct ledger *a, const struct ledger *b)
{
	uint8_t d[2][32];

	must(ledger_digest(a, d[0]) == ERR_OK);
	must(ledger_digest(b, d[1]) == ERR_OK);
	must(memcmp(d[0], d[1], 32) == 0);
}

/* Refused and unchanged, or restored and canonical. */
static void
check_restore(struct ledger *l, struct bytes in)
{
	uint8_t before[32], after[32];
	struct buf b = { 0 };

	must(ledger_digest(l, before) == ERR_OK);
	if (ledger_restore(l, in) == ERR_OK) {
		must(ledger_snapshot(l, &b) == ERR_OK);
		must(b.len == in.len && memcmp(b.p, in.p, in.len) == 0);
		buf_fini(&b);
		return;
	}
	must(ledger_digest(l, after) == ERR_OK);
	must(memcmp(before, after, 32) == 0);
}

static void
set_name(char *out, uint8_t v)
{
	out[0] = (char)('a' + v % 4);
	out[1] = v & 4 ? 'x' : '\0';
}

static void
fill_epoch(struct command *c, const struct ledger *l, const uint8_t *s)
{
	c->u.epoch.pub = keys[s[2] % N_KEYS];
	c->u.epoch.pub.number = ledger_n_epochs(l) - s[1] % 3;
	c->u.epoch.has_certificate = c->u.epoch.pub.number != 0;
	c->u.epoch.wrapped[0] = s[3] & 1;
	if (!c->u.epoch.has_certificate)
		return;
	c->u.epoch.origin = (struct epoch_origin){ 1 + (s[3] >> 1) % 2,
		(s[3] >> 2) % 2, (s[3] >> 3) % 4 };
	c->u.epoch.mode = s[3] >> 7;
}

/* One command out of a step; numbers stay near those that matter. */
static struct command
command_of(const struct ledger *l, const uint8_t *s)
{
	struct command c = { .kind = (enum command_kind)(1 + s[0] % N_KINDS) };

	if (strcmp(command_kind_text(c.kind), "unknown") == 0)
		c.kind = COMMAND_ANCHORED; /* no kind has that number */

	switch (c.kind) {
	case COMMAND_EPOCH:
		fill_epoch(&c, l, s);
		break;
	case COMMAND_MEMBER:
		set_name(c.u.member.slot, s[1]);
		c.u.member.incarnation[0] = s[2];
		c.u.member.mr_aggregated[0] = s[3] & 1;
		break;
	case COMMAND_LEFT:
		set_name(c.u.left.slot, s[1]);
		c.u.left.incarnation[0] = s[2];
		c.u.left.why = (enum left_why)(1 + s[3] % 4);
		break;
	case COMMAND_HANDOVER:
		set_name(c.u.handover.to.slot, s[1]);
		c.u.handover.to.incarnation[0] = s[2];
		c.u.handover.epoch = s[3];
		break;
	case COMMAND_GENERATION:
		set_name(c.u.generation.slot, s[1]);
		c.u.generation.generation = ledger_generation(l) + s[2] % 3;
		c.u.generation.lossy = s[3] & 1;
		break;
	case COMMAND_ANCHORED:
		c.u.anchored.generation = ledger_generation(l) - s[1] % 3;
		c.u.anchored.index = ledger_index(l) + 1 - s[2];
		c.u.anchored.hash[0] = s[3];
		break;
	case COMMAND_FLOOR:
		c.u.floor.number = s[1];
		c.u.floor.hash[0] = s[2];
		break;
	case COMMAND_TCB_FLOOR:
		set_name(c.u.tcb_floor.name, s[1]);
		c.u.tcb_floor.number = s[2];
		break;
	case COMMAND_INCREMENT:
		c.u.increment.app_id[19] = s[1] & 8;
		set_name(c.u.increment.name, s[1]);
		c.u.increment.operation[0] = s[2];
		c.u.increment.expected = (uint64_t)s[3] - 1;
		break;
	case COMMAND_HELD:
		set_name(c.u.held.slot, s[1]);
		c.u.held.incarnation[0] = s[2];
		c.u.held.number = ledger_n_epochs(l) - 1 + s[3] % 2;
		c.u.held.number += c.u.held.number == 0;
		c.u.held.k256 = keys[(s[3] >> 2) % N_KEYS].k256;
		break;
	case COMMAND_EPOCH_STATE:
		c.u.epoch_state.number = ledger_n_epochs(l) - 1 - s[1] % 3;
		c.u.epoch_state.k256 = keys[s[2] % N_KEYS].k256;
		c.u.epoch_state.state =
		    (enum ledger_epoch_state)(LEDGER_EPOCH_ACTIVE + s[3] % 3);
		break;
	}
	return c;
}

struct marks {
	uint64_t critical, generation, anchor_generation, floor, audit;
};

static struct marks
marks_of(const struct ledger *l)
{
	uint8_t hash[32];

	return (struct marks){ .critical = ledger_critical_index(l),
		.generation = ledger_generation(l),
		.anchor_generation = ledger_anchor(l)->generation,
		.floor = ledger_floor(l, hash),
		.audit = ledger_audit_count(l) };
}

static void
check_marks(const struct marks *old, const struct ledger *l)
{
	struct marks now = marks_of(l);

	must(now.critical >= old->critical && now.critical <= ledger_index(l));
	must(now.generation >= old->generation);
	must(now.anchor_generation >= old->anchor_generation);
	must(now.floor >= old->floor);
	must(now.audit >= old->audit && now.audit <= old->audit + 1);
}

/* A retried increment is the one success that changes nothing. */
static void
check_counter(const struct command *c, const struct ledger *l, uint64_t before,
    const struct ledger_outcome *o)
{
	uint64_t now =
	    ledger_counter_get(l, c->u.increment.app_id, c->u.increment.name);

	must(o->value == now);
	if (o->err == ERR_OK)
		must(now == c->u.increment.expected + 1 && now != 0 &&
		    (now == before || now == before + 1));
	else
		must(now == before && before != c->u.increment.expected);
}

/* Of all epochs the one that is named has moved on, and to what was said. */
static void
check_epochs(const struct command *c, const struct ledger *l,
    const enum ledger_epoch_state *before)
{
	uint64_t named = c->u.epoch_state.number;

	must(ledger_epoch(l, named) != NULL);
	for (size_t i = 0; i < ledger_n_epochs(l); i++)
		must(ledger_epoch(l, i)->state ==
		    (i == named ? c->u.epoch_state.state : before[i]));
}

static void
apply(struct ledger *l, struct ledger *twin, const struct command *c)
{
	struct ledger_outcome o[2];
	struct buf b = { 0 };
	uint8_t before[32], after[32];
	uint64_t index = ledger_index(l) + 1, value;
	struct marks m = marks_of(l);
	enum ledger_epoch_state states[LEDGER_MAX_EPOCHS];

	for (size_t i = 0; i < ledger_n_epochs(l); i++)
		states[i] = ledger_epoch(l, i)->state;
	value = c->kind == COMMAND_INCREMENT
	    ? ledger_counter_get(l, c->u.increment.app_id, c->u.increment.name)
	    : 0;
	must(command_write(&b, c) == ERR_OK);
	digest(l, before);
	must(ledger_apply(l, &o[0], index, buf_view(&b)) == ERR_OK);
	must(ledger_apply(twin, &o[1], index, buf_view(&b)) == ERR_OK);
	must(ledger_index(l) == index);
	must(o[0].err == o[1].err && o[0].reason == o[1].reason &&
	    o[0].value == o[1].value);
	must((o[0].err == ERR_DENIED) == (o[0].reason != REASON_NONE));
	if (o[0].err != ERR_OK) {
		digest(l, after);
		must(memcmp(before, after, 32) == 0);
	}
	check_marks(&m, l);
	if (c->kind == COMMAND_INCREMENT)
		check_counter(c, l, value, &o[0]);
	if (c->kind == COMMAND_EPOCH_STATE && o[0].err == ERR_OK)
		check_epochs(c, l, states);
	buf_fini(&b);
}

static void
step(struct ledger *l, struct ledger *twin, struct ledger *other,
    const uint8_t *s)
{
	struct buf b = { 0 };
	struct command c;

	switch (s[0] >> 4) {
	case 13: /* both pass over some entries */
		ledger_skip(l, ledger_index(l) + 1 + s[1]);
		ledger_skip(twin, ledger_index(twin) + 1 + s[1]);
		return;
	case 14: /* the twin is written and read back */
		must(ledger_snapshot(l, &b) == ERR_OK);
		must(ledger_restore(twin, buf_view(&b)) == ERR_OK);
		must_equal(l, twin);
		break;
	case 15: /* a snapshot with another byte */
		must(ledger_snapshot(l, &b) == ERR_OK);
		b.p[((size_t)s[1] << 8 | s[2]) % b.len] ^= s[3];
		check_restore(other, buf_view(&b));
		break;
	default:
		c = command_of(l, s);
		apply(l, twin, &c);
		break;
	}
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct ledger *l[3];

	if (!ready)
		init();
	ready = true;
	if (size == 0)
		return 0;
	for (int i = 0; i < 3; i++)
		must(ledger_new(&l[i]) == ERR_OK);
	if (data[0] == 0)
		check_restore(l[0], (struct bytes){ data + 1, size - 1 });
	else
		for (size_t i = 0; i < MAX_STEPS && size - 1 >= 4 * (i + 1);
		     i++)
			step(l[0], l[1], l[2], data + 1 + 4 * i);
	must_equal(l[0], data[0] == 0 ? l[0] : l[1]);
	for (int i = 0; i < 3; i++)
		ledger_free(l[i]);
	return 0;
}
