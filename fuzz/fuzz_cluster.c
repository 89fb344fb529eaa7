/* fuzz_cluster: whole nodes, and a peer that is attested but malicious.
 *
 * Targets: core_step with every message: JOIN and certificates, rounds, reads,
 * forwarded commands, evictions, and raft's own (votes, entries, snapshots)
 * behind engine_receive; the ledger that the entries change.  The others are
 * honest nodes, their disks, links, chain and clock those of tests/cluster.
 *
 * Input: mode u8 (1: five seats), then steps, op u8 % 8:
 *   0 time goes on         n u8 * 4 ms
 *   1 a message as it is   who u8 | n u16 | n bytes
 *   2 one with a good head who u8 | type u8 | generation u8 | n u8 | n bytes
 *   3 a true one, nearly   who u8 | type u8 | 4 u8 (off by how much): raft's
 *                          (0 to 5), READ_AT, ROUND_OK, FORWARD
 *   4 an old one, altered  who u8 | which u8 | where u16 | by u8
 *   5 a node is killed     which u8 (it comes again)
 *   6 an increment         of u8
 *   7 the links            1: one honest node and the liar alone; 0: all
 * `who` % 8 is the liar's face: a member (0 to 3), whom the log knows; a
 * stranger without a seat; one who claims another's seat on his own machine.
 *
 * Asserted at every step, of each honest life: what is committed stays; a term
 * has one vote; terms and the commit index go up.  A message from a stranger
 * changes nothing of raft, and he is never in a configuration.  A node that
 * hears the liar alone is not elected by him, commits nothing and, unless he
 * leads, soon serves nobody, whatever he says and how often.  Where only strangers lied, all that
 * tests/cluster checks (I1 to I15) holds. */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/secret.h"
#include "common/base/wr.h"
#include "fuzz/must.h"
#include "kms/cluster/core_int.h"
#include "tests/cluster/world.h"

#define STEPS 48
#define KNOWN 512
#define LIFE_MS 6000 /* of the world, for one input */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world w;
static uint64_t genesis_ms;
static bool member_lied;

/* What was seen of each life. */
static struct seen {
	uint64_t uid, commit, term, vote, generation;
	bool known[KNOWN];
	uint8_t hash[KNOWN][32];
} seen[LIVES_MAX];

/* Whoever hears the liar alone: since when, and what it was then. */
static struct {
	uint64_t uid, ms, last, term;
	bool led;
} alone;

/* The liar's seat is the last one. */
static unsigned
liar(void)
{
	return w.o.slots - 1;
}

static bool
honest(const struct life *l)
{
	return l->used && l->slot != liar();
}

/* ---- faces ---- */

static const struct member *
face(uint8_t who)
{
	static struct member stranger = {
		.slot = "s9", .incarnation = { 9, 9 }, .device_id = { 99 }
	};
	static struct member thief = {
		.slot = "s1", .incarnation = { 8, 8 }, .device_id = { 98 }
	};
	const struct life *l = world_at(&w, liar());

	if (who % 8 < 4)
		return l != NULL ? &l->self : NULL;
	return who % 8 < 6 ? &stranger : &thief;
}

/* ---- what must hold ---- */

static void
check_config(const struct core *c)
{
	const struct engine_config *conf = engine_config(core_engine(c));

	for (unsigned i = 0; i < conf->n; i++)
		for (uint8_t who = 4; who < 8; who++)
			must(member_lied ||
			    conf->member[i].id !=
				core_raft_id(face(who)->incarnation));
}

static void
check_log(struct seen *s, const struct engine *e)
{
	uint64_t commit = engine_commit(e);
	uint8_t h[32];

	must(commit >= s->commit);
	for (uint64_t i = engine_first(e); i <= commit && i < KNOWN; i++) {
		must(engine_hash(e, i, h));
		must(!s->known[i] || memcmp(h, s->hash[i], 32) == 0);
		s->known[i] = true;
		memcpy(s->hash[i], h, 32);
	}
	s->commit = commit;
}

static void
check_life(unsigned i)
{
	const struct life *l = &w.life[i];
	const struct engine *e = core_engine(l->core);
	struct seen *s = &seen[i];

	if (s->uid != l->uid || s->generation != core_generation(l->core))
		*s = (struct seen){ .uid = l->uid,
			.generation = core_generation(l->core) };
	if (e == NULL || core_phase(l->core) == CORE_HALTED)
		return;
	check_log(s, e);
	check_config(l->core);
	must(engine_term(e) >= s->term);
	if (engine_term(e) == s->term && s->vote != 0)
		must(engine_vote(e) == s->vote);
	s->term = engine_term(e);
	s->vote = engine_vote(e);
}

/* Then he is believed that a majority is with him. */
static bool
liar_leads(const struct engine *e)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (w.life[i].slot == liar() &&
		    engine_leader(e) ==
			core_raft_id(w.life[i].self.incarnation))
			return true;
	return false;
}

/* One node and one liar are no majority. */
static void
check_alone(void)
{
	const struct life *l = world_life(&w, alone.uid);
	const struct engine *e;

	if (l == NULL || w.o.slots < 5 || (e = core_engine(l->core)) == NULL)
		return;
	must(!alone.led || engine_commit(e) <= alone.last);
	must(engine_state(e) != ENGINE_LEADER ||
	    (alone.led && engine_term(e) == alone.term));
	if (liar_leads(e))
		alone.ms = w.now;
	if (w.now - alone.ms > w.timing.fresh_ms)
		must(core_serves(l->core, life_now(&w, l), NULL) != ERR_OK);
}

static void
check(void)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (honest(&w.life[i]))
			check_life(i);
	check_alone();
	must(member_lied || !w.failed);
}

/* ---- what the liar says ---- */

struct mark {
	uint64_t term, vote, last, commit;
	enum engine_state state;
	uint8_t hash[32];
};

static struct mark
mark(const struct life *l)
{
	const struct engine *e = core_engine(l->core);
	struct mark m;

	memset(&m, 0, sizeof m);
	if (e == NULL)
		return m;
	m.term = engine_term(e);
	m.vote = engine_vote(e);
	m.last = engine_last(e);
	m.commit = engine_commit(e);
	m.state = engine_state(e);
	must(engine_hash(e, m.last, m.hash));
	return m;
}

static struct life *
target(uint8_t who)
{
	return world_at(&w, (who >> 4) % (w.o.slots - 1));
}

static void
say(uint8_t who, struct bytes what)
{
	struct life *l = target(who);
	const struct member *from = face(who);
	struct core_event e = { .kind = CORE_MESSAGE },
			  tick = { .kind = CORE_TICK };
	struct mark before, after;
	uint64_t uid;

	if (l == NULL || l->frozen || from == NULL || w.failed)
		return;
	/* What it would do anyhow, it does now. */
	uid = l->uid;
	world_give(&w, l, &tick);
	if ((l = world_life(&w, uid)) == NULL || w.failed)
		return;
	e.message.from = from;
	e.message.bytes = what;
	member_lied = member_lied || who % 8 < 4;
	before = mark(l);
	world_give(&w, l, &e);
	if (who % 8 < 4 || w.failed)
		return;
	must((l = world_life(&w, uid)) != NULL);
	after = mark(l);
	must(memcmp(&before, &after, sizeof before) == 0);
}

static struct bytes
take(struct rd *in, size_t n)
{
	struct bytes b = { in->p, n < in->left ? n : in->left };

	b.p = rd_bytes(in, b.len);
	return b;
}

static void
send(uint8_t who, struct corewire *m)
{
	const struct life *l = target(who);
	struct buf b = { 0 };

	if (l == NULL)
		return;
	m->cluster = 7;
	m->generation += core_generation(l->core);
	m->to = core_raft_id(l->self.incarnation);
	must(corewire_write(&b, m) == ERR_OK);
	say(who, buf_view(&b));
	buf_fini(&b);
}

/* Its head is good, its body is the fuzzer's. */
static void
headed(uint8_t who, struct rd *in)
{
	uint8_t type = rd_u8(in);
	struct corewire m = { .type = WIRE_RAFT,
		.generation = (uint64_t)(int64_t)(int8_t)rd_u8(in) };
	struct buf b = { 0 };
	const struct life *l = target(who);

	m.body = take(in, rd_u8(in));
	if (l == NULL || m.body.p == NULL)
		return;
	m.cluster = 7;
	m.generation += core_generation(l->core);
	m.to = (type & 0x80) != 0 ? 0 : core_raft_id(l->self.incarnation);
	must(corewire_write(&b, &m) == ERR_OK);
	b.p[3] = type & 0x7f;
	say(who, buf_view(&b));
	buf_fini(&b);
}

static uint64_t
near(uint64_t v, uint8_t by)
{
	return v + by % 8 - 3;
}

static void
append(struct wr *b, const struct engine *e, const uint8_t *v)
{
	uint64_t prev = near(engine_last(e), v[1]), term = 0;
	uint8_t hash[32] = { 0 };

	(void)engine_hash(e, prev, hash);
	(void)engine_term_at(e, prev, &term);
	wr_be64(b, prev);
	wr_be64(b, term);
	hash[0] ^= v[1] >> 7;
	wr_bytes(b, hash, sizeof hash);
	wr_be64(b, near(engine_commit(e), v[2]));
	wr_be32(b, v[3] % 4);
	for (unsigned i = 0; i < v[3] % 4; i++) {
		wr_be64(b, near(engine_term(e), v[0]));
		wr_u8(b, 1 + (v[3] >> 4) % 3);
		wr_be32(b, 1);
		wr_u8(b, v[3]);
	}
}

static void
snapshot(struct wr *b, const struct life *l, const uint8_t *v)
{
	const struct engine *e = core_engine(l->core);
	uint64_t index = near(engine_last(e), v[1]), term = engine_term(e);
	struct buf conf = { 0 }, state = { 0 };
	uint8_t hash[32] = { v[2] };

	(void)engine_hash(e, index, hash);
	(void)engine_term_at(e, index, &term);
	must(engine_config_write(&conf, engine_config(e)) == ERR_OK);
	must(ledger_snapshot(core_ledger(l->core), &state) == ERR_OK);
	if (v[3] != 0)
		state.p[v[3] % state.len] ^= v[2];
	wr_be64(b, index);
	wr_be64(b, term);
	wr_bytes(b, hash, sizeof hash);
	wr_be64(b, engine_config_index(e));
	wr_be32(b, (uint32_t)conf.len);
	wr_bytes(b, conf.p, conf.len);
	wr_be32(b, (uint32_t)state.len);
	wr_bytes(b, state.p, state.len);
	buf_fini(&conf);
	buf_fini(&state);
}

/* Answers to what was asked, and commands for the leader. */
static void
core_message(uint8_t who, uint8_t type, const uint8_t *v)
{
	const struct life *l = target(who);
	struct command cmd = { .kind = (v[3] & 1) != 0 ? COMMAND_FLOOR
						       : COMMAND_INCREMENT,
		.u.increment = { .name = "x", .expected = v[1] } };
	struct corewire m = { .ok = (v[3] & 1) != 0 };
	struct buf b = { 0 };

	if (l == NULL || core_engine(l->core) == NULL)
		return;
	m.ticket = near(l->core->forwarded, v[0]);
	m.number = near(l->core->round, v[0]);
	m.term = near(engine_term(core_engine(l->core)), v[1]);
	m.index = near(engine_commit(core_engine(l->core)), v[2]);
	if (cmd.kind == COMMAND_FLOOR)
		cmd.u.floor.number = 1ull << v[1] % 64;
	must(command_write(&b, &cmd) == ERR_OK);
	m.type = type == 6 ? WIRE_READ_AT
	    : type == 7    ? WIRE_ROUND_OK
			   : WIRE_FORWARD;
	if (m.type == WIRE_FORWARD)
		m.body = buf_view(&b);
	send(who, &m);
	buf_fini(&b);
}

/* enginewire.c has the table. */
static void
raft(uint8_t who, uint8_t type, const uint8_t *v)
{
	static uint8_t bytes[1 << 16];
	struct wr b = { .p = bytes, .cap = sizeof bytes };
	const struct life *l = target(who);
	const struct engine *e = l != NULL ? core_engine(l->core) : NULL;
	struct corewire m = { .type = WIRE_RAFT };

	if (e == NULL || face(who) == NULL)
		return;
	type++;
	wr_u8(&b, type);
	wr_u8(&b, type == 4 || type == 2 ? 2 : 1);
	wr_be64(&b, near(engine_term(e), v[0]));
	switch (type) {
	case 1:
		append(&b, e, v);
		break;
	case 2:
		wr_be64(&b, near(0, v[1] | 3));
		wr_be64(&b, near(engine_last(e), v[2]));
		wr_be32(&b, 0);
		break;
	case 3:
		wr_be64(&b, core_raft_id(face(v[3])->incarnation));
		wr_be64(&b, near(engine_last(e), v[1]));
		wr_be64(&b, near(engine_term(e), v[2]));
		wr_u8(&b, v[3] % 4);
		break;
	case 4:
		wr_u8(&b, v[1] % 4);
		wr_be32(&b, 0);
		break;
	case 5:
		snapshot(&b, l, v);
		break;
	case 6:
		wr_be64(&b, near(engine_last(e), v[1]));
		wr_be64(&b, near(engine_term(e), v[2]));
		break;
	}
	if (!wr_ok(&b))
		return;
	m.body = (struct bytes){ bytes, b.len };
	send(who, &m);
}

/* What somebody has said before, with one byte of another value. */
static void
altered(uint8_t who, uint8_t which, uint16_t where, uint8_t by)
{
	struct buf b = { 0 };
	const struct message *m;

	if (w.n_tape == 0)
		return;
	m = &w.tape[which % w.n_tape];
	must(buf_set(&b, m->bytes.p, m->bytes.len) == ERR_OK);
	if (b.len > 28 && target(who) != NULL) {
		struct wr to = { .p = b.p + 20, .cap = 8 };

		wr_be64(&to, core_raft_id(target(who)->self.incarnation));
		b.p[where % b.len] ^= by;
	}
	say(who, buf_view(&b));
	buf_fini(&b);
}

/* ---- the rest of the world ---- */

static void
links(uint8_t to)
{
	struct life *l = world_at(&w, (to >> 4) % (w.o.slots - 1)), *other;

	memset(w.cut, 0, sizeof w.cut);
	memset(&alone, 0, sizeof alone);
	if ((to & 1) == 0 || l == NULL)
		return;
	for (unsigned i = 0; i < liar(); i++)
		if (i != l->slot)
			w.cut[i][l->slot] = w.cut[l->slot][i] =
			    w.cut[i][liar()] = w.cut[liar()][i] = true;
	/* What is on its way arrives. */
	world_run(&w, w.now + 2 * w.delay_max);
	if ((other = world_at(&w, l->slot)) != l ||
	    core_engine(l->core) == NULL)
		return;
	alone.uid = l->uid;
	alone.ms = w.now;
	alone.last = engine_last(core_engine(l->core));
	alone.led = engine_state(core_engine(l->core)) == ENGINE_LEADER;
	alone.term = engine_term(core_engine(l->core));
}

static void
increment(uint8_t of)
{
	struct life *l = world_at(&w, (of >> 4) % (w.o.slots - 1));

	if (l != NULL && !l->frozen && !w.failed)
		(void)clients_ask(&w, l, OP_INCREMENT, of % COUNTERS,
		    w.known[of % COUNTERS], ++w.next_op);
}

static void
die(uint8_t which)
{
	struct life *l = world_at(&w, (which >> 4) % (w.o.slots - 1));

	if (l != NULL && !w.failed)
		world_kill(&w, l, (which & 1) != 0);
}

static void
step(struct rd *in)
{
	uint8_t op = rd_u8(in) % 8, a = rd_u8(in), v[6];
	struct bytes raw;

	switch (op) {
	case 0:
		world_run(&w, w.now + a * 4u);
		break;
	case 1:
		raw = take(in, rd_be16(in));
		if (raw.p != NULL)
			say(a, raw);
		break;
	case 2:
		headed(a, in);
		break;
	case 3:
		for (unsigned i = 0; i < 5; i++)
			v[i] = rd_u8(in);
		if (v[0] % 9 < 6)
			raft(a, v[0] % 9, v + 1);
		else
			core_message(a, v[0] % 9, v + 1);
		break;
	case 4:
		for (unsigned i = 0; i < 4; i++)
			v[i] = rd_u8(in);
		altered(a, v[0], (uint16_t)(v[1] << 8 | v[2]), v[3]);
		break;
	case 5:
		die(a);
		break;
	case 6:
		increment(a);
		break;
	case 7:
		links(a);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct rd in = { .p = data, .left = size };
	struct world_options o = { .slots = (rd_u8(&in) & 1) != 0 ? 5 : 3,
		.seed = 1 };

	if (!ready)
		must(secret_process_init() == ERR_OK);
	ready = true;
	world_init(&w, &o);
	memset(seen, 0, sizeof seen);
	memset(&alone, 0, sizeof alone);
	member_lied = false;
	must(world_genesis(&w));
	w.restarts = true;
	genesis_ms = w.now;
	check();
	for (unsigned i = 0; i < STEPS && in.left > 0 && !w.failed; i++) {
		step(&in);
		check();
		if (w.now - genesis_ms > LIFE_MS)
			break;
	}
	world_fini(&w);
	return 0;
}
