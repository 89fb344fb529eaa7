#include <string.h>

#include <criterion/criterion.h>
#include <sodium.h>

#include "kms/state/command.h"

#define N_KINDS COMMAND_LAST
#define UNUSED 10 /* kind */
#define HEAD 12 /* magic, version, kind, time */

static struct command all[N_KINDS + 1]; /* [kind] */

static void
setup(void)
{
	struct k256_secret k = { .b = { [31] = 7 } };
	struct p256_secret p = { .b = { [31] = 7 } };
	struct command *c;

	cr_assert(sodium_init() >= 0);
	memset(all, 0, sizeof all);
	for (int i = 1; i <= N_KINDS; i++) {
		all[i].kind = (enum command_kind)i;
		all[i].time = 1700000000;
	}
	c = &all[COMMAND_EPOCH];
	c->u.epoch.pub.number = 1;
	cr_assert_eq(k256_pubkey(&c->u.epoch.pub.k256, &k), ERR_OK);
	cr_assert_eq(p256_pubkey(&c->u.epoch.pub.ca, &p), ERR_OK);
	c->u.epoch.has_certificate = true;
	memset(c->u.epoch.certificate.b, 5, 65);
	memset(c->u.epoch.wrapped, 6, WRAPPED_ROOTS_LEN);
	c->u.epoch.origin = (struct epoch_origin){ 2, 3, 4 };
	c->u.epoch.mode = 1;
	all[COMMAND_HELD].u.held.number = 1;
	all[COMMAND_HELD].u.held.k256 = c->u.epoch.pub.k256;
	strcpy(all[COMMAND_HELD].u.held.slot, "kms-1");
	all[COMMAND_HELD].u.held.incarnation[31] = 9;
	all[COMMAND_EPOCH_STATE].u.epoch_state.k256 = c->u.epoch.pub.k256;
	all[COMMAND_EPOCH_STATE].u.epoch_state.state = LEDGER_EPOCH_TAINTED;
	all[COMMAND_EPOCH_STATE].u.epoch_state.block_number = 5;
	c = &all[COMMAND_MEMBER];
	c->u.member = (struct member){ "kms-1", { 1 }, { 2 }, { 3 } };
	all[COMMAND_HANDOVER].u.handover.to = c->u.member;
	all[COMMAND_HANDOVER].u.handover.block_number = 9;
	c = &all[COMMAND_LEFT];
	strcpy(c->u.left.slot, "kms-1");
	c->u.left.why = LEFT_STOPPED;
	c = &all[COMMAND_GENERATION];
	strcpy(c->u.generation.slot, "kms-1");
	c->u.generation.generation = 1;
	c->u.generation.lossy = true;
	all[COMMAND_ANCHORED].u.anchored.index = 77;
	all[COMMAND_FLOOR].u.floor.number = 78;
	c = &all[COMMAND_TCB_FLOOR];
	strcpy(c->u.tcb_floor.name, "tdx-eval:50806f000000");
	c->u.tcb_floor.number = 17;
	c = &all[COMMAND_INCREMENT];
	strcpy(c->u.increment.name, "nonce");
	c->u.increment.expected = 3;
}

TestSuite(command, .init = setup);

static struct buf
bytes_of(const struct command *c)
{
	struct buf b = { 0 };

	cr_assert_eq(command_write(&b, c), ERR_OK);
	return b;
}

/* The bytes with one of them replaced are no command. */
static void
refused_with(const struct command *c, size_t at, uint8_t v)
{
	struct buf b = bytes_of(c);
	struct command got;

	cr_assert_lt(at, b.len);
	cr_assert_neq(b.p[at], v);
	b.p[at] = v;
	cr_assert_eq(command_parse(&got, buf_view(&b)), ERR_MALFORMED,
	    "kind %d, byte %zu = %02x", (int)c->kind, at, v);
	buf_fini(&b);
}

/* A command that must not be written, and leaves the buffer alone. */
static void
not_written(const struct command *c)
{
	struct buf b = { 0 };

	cr_assert_eq(command_write(&b, c), ERR_MALFORMED);
	cr_assert_eq(b.len, 0);
	buf_fini(&b);
}

/* Every shorter or longer input is no command, and leaves the output. */
Test(command, every_length_counts)
{
	for (int i = 1; i <= N_KINDS; i += i == UNUSED - 1 ? 2 : 1) {
		struct buf b = bytes_of(&all[i]);
		struct command got = { .time = 42 };

		for (size_t n = 0; n <= b.len + 1; n++)
			if (n != b.len)
				cr_assert_eq(command_parse(&got,
						 (struct bytes){ b.p, n }),
				    ERR_MALFORMED, "kind %d length %zu", i, n);
		cr_assert_eq(got.time, 42);
		buf_fini(&b);
	}
}

/* Another magic, version or kind is no command. */
Test(command, head_is_checked)
{
	for (int i = 1; i <= N_KINDS; i += i == UNUSED - 1 ? 2 : 1) {
		refused_with(&all[i], 0, 'k');
		refused_with(&all[i], 1, 'R');
		refused_with(&all[i], 2, 0);
		refused_with(&all[i], 2, 2);
		refused_with(&all[i], 3, 0);
		refused_with(&all[i], 3, UNUSED);
		refused_with(&all[i], 3, N_KINDS + 1);
		refused_with(&all[i], 3, 0xff);
	}
}

/* More than COMMAND_MAX is not looked at. */
Test(command, size_is_bounded)
{
	static uint8_t big[COMMAND_MAX + 1];
	struct command got;

	cr_assert_eq(command_parse(&got, BYTES_OF(big)), ERR_MALFORMED);
	cr_assert_eq(
	    command_parse(&got, (struct bytes){ NULL, 0 }), ERR_MALFORMED);
}

/* Each kind with a name refuses a bad character, an empty name, a NUL
 * inside, and a name that is one too long. */
Test(command, names_in_bodies)
{
	static const struct {
		enum command_kind kind;
		size_t at; /* of the length byte */
	} t[] = { { COMMAND_MEMBER, HEAD }, { COMMAND_LEFT, HEAD },
		{ COMMAND_HANDOVER, HEAD + 8 },
		{ COMMAND_GENERATION, HEAD + 40 }, { COMMAND_TCB_FLOOR, HEAD },
		{ COMMAND_INCREMENT, HEAD + 20 }, { COMMAND_HELD, HEAD + 41 } };

	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		static const char bad[] = { '\0', ' ', '/', '#', 0x7f };

		for (size_t k = 0; k < sizeof bad; k++)
			refused_with(
			    &all[t[i].kind], t[i].at + 2, (uint8_t)bad[k]);
		refused_with(&all[t[i].kind], t[i].at, 0);
		refused_with(&all[t[i].kind], t[i].at, 0xff);
	}
}

/* A slot of 31 characters is read back, one of 32 is not a slot. */
Test(command, longest_name)
{
	struct command *c = &all[COMMAND_MEMBER], got;
	uint8_t raw[HEAD + 1 + SLOT_MAX + 96];
	struct buf b;

	memset(c->u.member.slot, 'x', SLOT_MAX - 1);
	b = bytes_of(c);
	cr_assert_eq(command_parse(&got, buf_view(&b)), ERR_OK);
	cr_assert_str_eq(got.u.member.slot, c->u.member.slot);
	memcpy(raw, b.p, HEAD);
	raw[HEAD] = SLOT_MAX;
	memset(raw + HEAD + 1, 'x', SLOT_MAX);
	memset(raw + HEAD + 1 + SLOT_MAX, 1, 96);
	cr_assert_eq(command_parse(&got, BYTES_OF(raw)), ERR_MALFORMED);
	buf_fini(&b);
}

/* Keys that are no points are refused, read or written. */
Test(command, epoch_points)
{
	struct command c = all[COMMAND_EPOCH];

	refused_with(&c, HEAD + 8, 4);
	refused_with(
	    &c, HEAD + 8 + 33 + 5, (uint8_t)(c.u.epoch.pub.ca.xy[5] ^ 1));
	c.u.epoch.pub.ca.xy[63] ^= 1;
	not_written(&c);
	c = all[COMMAND_EPOCH];
	memset(c.u.epoch.pub.k256.b + 1, 0xff, 32);
	not_written(&c);
}

/* Epoch 0 has no certificate, and every other has one of 65 bytes. */
Test(command, epoch_certificate)
{
	struct command c = all[COMMAND_EPOCH];

	refused_with(&c, HEAD + 8 + 33 + 64 + 104, 64);
	refused_with(&c, HEAD + 8 + 33 + 64 + 104, 0);
	refused_with(&c, HEAD + 7, 0); /* number 0 */
	c.u.epoch.has_certificate = false;
	not_written(&c);
	c.u.epoch.pub.number = 0;
	c.u.epoch.origin = (struct epoch_origin){ 0 };
	c.u.epoch.mode = 0;
	memset(c.u.epoch.certificate.b, 0, 65);
	refused_with(&c, HEAD + 7, 1);
	c.u.epoch.has_certificate = true;
	not_written(&c);
}

/* An epoch but the first names the order that it was made for, from 1, and
 * one of two modes; epoch 0 has none of it, as before there were orders. */
Test(command, epoch_origin)
{
	struct command c = all[COMMAND_EPOCH], got;
	size_t at = HEAD + 8 + 33 + 64 + 104 + 66;
	struct buf b;

	refused_with(&c, at + 7, 0);
	refused_with(&c, at + 24, 2);
	refused_with(&c, at + 24, 0xff);
	c.u.epoch.origin.order = 0;
	not_written(&c);
	c = all[COMMAND_EPOCH];
	c.u.epoch.mode = 2;
	not_written(&c);
	c.u.epoch.pub.number = 0;
	c.u.epoch.has_certificate = false;
	b = bytes_of(&c);
	cr_assert_eq(b.len, HEAD + 8 + 33 + 64 + 104 + 1);
	cr_assert_eq(command_parse(&got, buf_view(&b)), ERR_OK);
	cr_assert_eq(got.u.epoch.mode, 0);
	cr_assert_eq(got.u.epoch.origin.order, 0);
	buf_fini(&b);
}

/* Who holds an epoch says which: a number above 0 and a key.  An epoch's
 * state is one that the registry has said. */
Test(command, epochs_that_live)
{
	struct command c = all[COMMAND_HELD];

	refused_with(&c, HEAD + 7, 0);
	refused_with(&c, HEAD + 8, 4);
	c.u.held.number = 0;
	not_written(&c);
	c = all[COMMAND_EPOCH_STATE];
	refused_with(&c, HEAD + 8, 4);
	refused_with(&c, HEAD + 41, 0);
	refused_with(&c, HEAD + 41, LEDGER_EPOCH_PREPARED);
	refused_with(&c, HEAD + 41, LEDGER_EPOCH_DESTROYED + 1);
	c.u.epoch_state.state = LEDGER_EPOCH_PREPARED;
	not_written(&c);
	c.u.epoch_state.state =
	    (enum ledger_epoch_state)(256 + LEDGER_EPOCH_ACTIVE);
	not_written(&c);
}

/* Booleans are 0 or 1 and reasons are known ones: one encoding each. */
Test(command, values_are_known)
{
	struct buf b = bytes_of(&all[COMMAND_GENERATION]);
	size_t last = b.len - 1;

	buf_fini(&b);
	refused_with(&all[COMMAND_GENERATION], last, 2);
	refused_with(&all[COMMAND_GENERATION], last, 0xff);
	b = bytes_of(&all[COMMAND_LEFT]);
	last = b.len - 1;
	buf_fini(&b);
	refused_with(&all[COMMAND_LEFT], last, 0);
	refused_with(&all[COMMAND_LEFT], last, LEFT_REMOVED + 1);
}

/* What the reader would refuse is not written. */
Test(command, writer_refuses)
{
	struct command c = all[COMMAND_LEFT];

	c.u.left.why = (enum left_why)0;
	not_written(&c);
	c.u.left.why = (enum left_why)5;
	not_written(&c);
	c.u.left.why = (enum left_why)(256 + LEFT_STOPPED);
	not_written(&c);
	c = all[COMMAND_HELD];
	c.u.held.slot[0] = '\0';
	not_written(&c);
	strcpy(c.u.held.slot, "a/b");
	not_written(&c);
	memset(c.u.held.slot, 'x', SLOT_MAX); /* no NUL */
	not_written(&c);
	c = all[COMMAND_INCREMENT];
	memset(c.u.increment.name, 'x', COUNTER_NAME_MAX);
	not_written(&c);
	c.kind = (enum command_kind)0;
	not_written(&c);
	c.kind = (enum command_kind)UNUSED;
	not_written(&c);
	c.kind = (enum command_kind)(N_KINDS + 1);
	not_written(&c);
}

/* Every kind is read back as it was, and written to the same bytes. */
Test(command, round_trip)
{
	for (int i = 1; i <= N_KINDS; i += i == UNUSED - 1 ? 2 : 1) {
		struct buf b = bytes_of(&all[i]), again = { 0 };
		struct command got;

		cr_assert_leq(b.len, COMMAND_MAX);
		cr_assert_eq(command_parse(&got, buf_view(&b)), ERR_OK);
		cr_assert_eq(got.kind, all[i].kind);
		cr_assert_eq(got.time, all[i].time);
		cr_assert_eq(
		    memcmp(&got.u, &all[i].u, sizeof got.u), 0, "kind %d", i);
		again = bytes_of(&got);
		cr_assert_eq(again.len, b.len);
		cr_assert_arr_eq(again.p, b.p, b.len);
		buf_fini(&again);
		buf_fini(&b);
	}
}

/* The bytes of the header's table, once in full. */
Test(command, bytes_on_the_wire)
{
	static const uint8_t want[] = { 'K', 'C', 1, 8, 0, 0, 0, 0, 0x65, 0x53,
		0xf1, 0, 3, 'e', 'v', 'l', 0, 0, 0, 0, 0, 0, 0, 17 };
	struct command c = all[COMMAND_TCB_FLOOR];
	struct buf b;

	strcpy(c.u.tcb_floor.name, "evl");
	b = bytes_of(&c);
	cr_assert_eq(b.len, sizeof want);
	cr_assert_arr_eq(b.p, want, sizeof want);
	buf_fini(&b);
}

/* Roots are critical, and each kind has its own name. */
Test(command, kinds)
{
	for (int i = 1; i <= N_KINDS; i++) {
		enum command_kind k = (enum command_kind)i;

		cr_assert_eq(command_is_critical(k), k == COMMAND_EPOCH);
		for (int j = 1; j < i; j++)
			cr_assert_str_neq(command_kind_text(k),
			    command_kind_text((enum command_kind)j));
	}
	cr_assert_str_eq(command_kind_text((enum command_kind)0), "unknown");
}
