/* What an engine refuses, and that it does not change by it. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <raft.h>

#include "tests/lib/raftlab.h"
#include "tests/lib/raftmsg.h"

#define TERM 5

static struct raftlab *l;
static struct engine *e; /* node 2, id 3: a follower of id 2, in term 5 */
static struct buf conf, msg;
static uint8_t zeros[32];

/* Log: 1^1 configuration of three, 2^5 and 3^5 commands; 2 is committed. */
static void
setup(void)
{
	struct engine_config c;
	struct raftmsg_entry en[2] = { { TERM, ENTRY_COMMAND, BYTES_STR("a") },
		{ TERM, ENTRY_COMMAND, BYTES_STR("b") } };
	struct raftmsg m = { .type = MSG_APPEND,
		.term = TERM,
		.prev = 1,
		.prev_term = 1,
		.commit = 2,
		.entry = en,
		.n = 2 };

	l = malloc(sizeof *l);
	cr_assert_not_null(l);
	raftlab_init(l, 3, 3, 1);
	e = l->node[2].e;
	raftlab_config(&c, 3);
	cr_assert_eq(engine_config_write(&conf, &c), ERR_OK);
	cr_assert(engine_hash(e, 1, m.hash));
	raftmsg_write(&msg, &m);
	cr_assert_eq(engine_receive(e, l->now, 2, buf_view(&msg)), ERR_OK);
	raftlab_flush(l, 2);
	cr_assert_eq(engine_last(e), 3);
	cr_assert_eq(engine_commit(e), 2);
	while (l->n_queue > 0)
		raftlab_drop(l, 0);
}

static void
teardown(void)
{
	cr_expect_str_empty(l->broken);
	raftlab_fini(l);
	free(l);
	buf_fini(&conf);
	buf_fini(&msg);
}

TestSuite(engine, .init = setup, .fini = teardown);

struct view {
	uint64_t term, vote, last, first, commit, durable, leader, config;
	enum engine_state state;
	uint8_t head[32];
};

static struct view
look(void)
{
	struct view v;

	memset(&v, 0, sizeof v);
	v.term = engine_term(e);
	v.vote = engine_vote(e);
	v.last = engine_last(e);
	v.first = engine_first(e);
	v.commit = engine_commit(e);
	v.durable = engine_durable(e);
	v.leader = engine_leader(e);
	v.config = engine_config_index(e);
	v.state = engine_state(e);
	(void)engine_hash(e, v.last, v.head);
	return v;
}

/* The bytes from id 2 are refused, and nothing changes or is to be done. */
static void
refused_from(uint64_t from, struct bytes in, enum err want, const char *what)
{
	struct view before = look(), after;
	struct engine_effects x;
	enum err got = engine_receive(e, l->now, from, in);

	after = look();
	engine_take(e, &x);
	cr_expect_eq(got, want, "%s: %s", what, err_text(got));
	cr_expect_arr_eq((uint8_t *)&before, (uint8_t *)&after, sizeof before,
	    "%s changed it", what);
	cr_expect(!x.meta && x.first == 0 && x.truncate == 0 && !x.snapshot &&
		x.n_messages == 0,
	    "%s has effects", what);
	engine_effects_fini(&x);
}

static void
refused(const struct raftmsg *m, enum err want, const char *what)
{
	raftmsg_write(&msg, m);
	refused_from(2, buf_view(&msg), want, what);
}

/* One of each kind, that would be taken. */
static void
sample(struct raftmsg *m, unsigned k)
{
	static struct raftmsg_entry en[3];

	en[0] = (struct raftmsg_entry){ TERM, ENTRY_COMMAND, BYTES_STR("c") };
	en[1] = (struct raftmsg_entry){ TERM, ENTRY_BARRIER, { NULL, 0 } };
	en[2] = (struct raftmsg_entry){ TERM, ENTRY_COMMAND, BYTES_STR("d") };
	*m = (struct raftmsg){ .type = (uint8_t)k,
		.term = TERM,
		.prev = 3,
		.prev_term = TERM,
		.entry = en,
		.n = 3,
		.last = k == MSG_APPENDED ? 1 : 9,
		.last_term = TERM,
		.rejected = 3,
		.candidate = 2,
		.config_index = 1,
		.config = buf_view(&conf),
		.data = BYTES_STR("state") };
	cr_assert(engine_hash(e, 3, m->hash));
}

/* Cut anywhere, or with a byte more: none of the six kinds is taken. */
Test(engine, every_length_counts)
{
	struct raftmsg m;
	struct buf whole = { 0 };

	for (unsigned k = MSG_APPEND; k <= MSG_TIMEOUT; k++) {
		sample(&m, k);
		raftmsg_write(&whole, &m);
		for (size_t n = 0; n < whole.len; n++)
			refused_from(2, (struct bytes){ whole.p, n },
			    ERR_MALFORMED, "cut");
		cr_assert_eq(buf_append(&whole, "", 1, SIZE_MAX), ERR_OK);
		refused_from(2, buf_view(&whole), ERR_MALFORMED, "longer");
	}
	buf_fini(&whole);
}

/* Kinds that are none, versions that libraft reads leniently, terms of no
 * leader and beyond reason. */
Test(engine, heads)
{
	struct raftmsg m;

	for (unsigned k = 0; k < 256; k++) {
		sample(&m, k);
		if (k < MSG_APPEND || k > MSG_TIMEOUT)
			refused(&m, ERR_MALFORMED, "kind");
	}
	for (unsigned k = MSG_APPEND; k <= MSG_TIMEOUT; k++) {
		for (unsigned v = 1; v < 8; v++) {
			sample(&m, k);
			m.version_xor = (uint8_t)v;
			refused(&m, ERR_MALFORMED, "version");
		}
		sample(&m, k);
		m.term = 0;
		refused(&m, ERR_MALFORMED, "term 0");
		m.term = 1ull << 62;
		refused(&m, ERR_MALFORMED, "high term");
	}
}

/* Who sends is known from the channel; nobody speaks for another. */
Test(engine, senders)
{
	struct raftmsg m;

	for (unsigned k = MSG_APPEND; k <= MSG_TIMEOUT; k++) {
		sample(&m, k);
		raftmsg_write(&msg, &m);
		refused_from(3, buf_view(&msg), ERR_AUTH, "ourselves");
		refused_from(0, buf_view(&msg), ERR_AUTH, "nobody");
	}
	sample(&m, MSG_VOTE);
	m.candidate = 1;
	refused(&m, ERR_AUTH, "a vote for another");
	m.candidate = 0;
	refused(&m, ERR_MALFORMED, "a vote for nobody");
}

#define REFUSE(k, change, want) \
	do { \
		sample(&m, k); \
		change; \
		refused(&m, want, #change); \
	} while (0)

Test(engine, fields)
{
	struct raftmsg m;
	uint64_t high = 1ull << 62;

	REFUSE(MSG_APPEND, m.prev = 0, ERR_MALFORMED);
	REFUSE(MSG_APPEND, m.prev_term = 0, ERR_MALFORMED);
	REFUSE(MSG_APPEND, m.prev = m.prev_term = 0, ERR_MALFORMED); /* hash */
	REFUSE(MSG_APPEND, m.prev = high, ERR_MALFORMED);
	REFUSE(MSG_APPEND, m.prev_term = TERM + 1, ERR_MALFORMED);
	REFUSE(MSG_APPEND, m.commit = high, ERR_MALFORMED);
	REFUSE(MSG_APPENDED, m.rejected = m.last, ERR_MALFORMED);
	REFUSE(MSG_APPENDED, m.rejected = high, ERR_MALFORMED);
	REFUSE(MSG_APPENDED, (m.rejected = 0, m.last = high), ERR_MALFORMED);
	REFUSE(MSG_VOTE, m.flags = 4, ERR_MALFORMED);
	REFUSE(MSG_VOTE, m.last = 0, ERR_MALFORMED);
	REFUSE(MSG_VOTE, m.last_term = 0, ERR_MALFORMED);
	REFUSE(MSG_VOTE, m.last_term = TERM + 1, ERR_MALFORMED);
	REFUSE(MSG_VOTE, m.last = high, ERR_MALFORMED);
	REFUSE(MSG_VOTED, m.flags = 4, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.last = m.last_term = 0, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.last_term = 0, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.last_term = TERM + 1, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.last = high, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.config_index = 0, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.config_index = 10, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.config.len -= 8, ERR_MALFORMED);
	REFUSE(MSG_SNAPSHOT, m.config.len = 0, ERR_MALFORMED);
	REFUSE(MSG_TIMEOUT, m.last_term = 0, ERR_MALFORMED);
	REFUSE(MSG_TIMEOUT, m.last_term = TERM + 1, ERR_MALFORMED);
}

static void
refuse_entry(uint64_t term, uint8_t kind, struct bytes data, const char *what)
{
	/* The first and the last are good. */
	struct raftmsg_entry en[3] = { { TERM, ENTRY_COMMAND, BYTES_STR("x") },
		{ term, kind, data }, { TERM, ENTRY_COMMAND, BYTES_STR("y") } };
	struct raftmsg m;

	sample(&m, MSG_APPEND);
	m.entry = en;
	refused(&m, ERR_MALFORMED, what);
}

Test(engine, entries)
{
	static struct raftmsg_entry many[ENGINE_BATCH + 1];
	static uint8_t big[ENGINE_ENTRY_MAX + 1];
	struct raftmsg m;

	refuse_entry(0, ENTRY_COMMAND, BYTES_STR("z"), "of no term");
	refuse_entry(TERM - 1, ENTRY_COMMAND, BYTES_STR("z"), "falling term");
	refuse_entry(TERM + 1, ENTRY_COMMAND, BYTES_STR("z"), "later term");
	refuse_entry(TERM, 0, BYTES_STR("z"), "kind 0");
	refuse_entry(TERM, 4, BYTES_STR("z"), "kind 4");
	refuse_entry(TERM, ENTRY_COMMAND, BYTES_OF(big), "too long");
	for (unsigned i = 0; i <= ENGINE_BATCH; i++)
		many[i] =
		    (struct raftmsg_entry){ TERM, ENTRY_BARRIER, { NULL, 0 } };
	sample(&m, MSG_APPEND);
	m.entry = many;
	m.n = ENGINE_BATCH + 1;
	refused(&m, ERR_MALFORMED, "too many");
	/* More or fewer than it says. */
	sample(&m, MSG_APPEND);
	raftmsg_write(&msg, &m);
	msg.p[69]++;
	refused_from(2, buf_view(&msg), ERR_MALFORMED, "one more");
	msg.p[69] -= 2;
	refused_from(2, buf_view(&msg), ERR_MALFORMED, "one fewer");
	msg.p[66] = 0xff;
	refused_from(2, buf_view(&msg), ERR_MALFORMED, "4 billion");
}

static void
bad_config(const void *p, size_t len, const char *what)
{
	struct engine_config c = { .n = 77 };
	struct bytes in = { p, len };

	cr_expect_eq(engine_config_parse(&c, in), ERR_MALFORMED, "%s", what);
	cr_expect_eq(c.n, 77, "%s", what);
	refuse_entry(TERM, ENTRY_CONFIG, in, what);
}

/* libraft decodes a configuration with asserts only: each of these would
 * have been read beyond its end, or stop a node for good. */
Test(engine, config_payloads)
{
	uint8_t b[512];
	size_t len = conf.len;

	for (size_t n = 0; n < len; n++)
		bad_config(conf.p, n, "cut");
#define CHANGED(at, to) \
	do { \
		memcpy(b, conf.p, len); \
		b[at] = (to); \
		bad_config(b, len, #at " becomes " #to); \
	} while (0)
	CHANGED(0, 0);
	CHANGED(0, 2);
	CHANGED(1, 0); /* no members */
	CHANGED(1, 2); /* bytes left over */
	CHANGED(1, 4); /* the fourth is padding */
	CHANGED(1, 17);
	CHANGED(8, 1); /* 2^56 members */
	CHANGED(9, 0); /* id 0 */
	CHANGED(9, 2); /* an id twice */
	CHANGED(17, 0); /* no address */
	CHANGED(26, 3); /* a role that is none */
	CHANGED(len - 1, 1); /* padding */
	memcpy(b, conf.p, len);
	memset(b + len, 0, 8);
	bad_config(b, len + 8, "longer");
	memcpy(b, conf.p, len);
	memcpy(b + 35, b + 17, 9);
	bad_config(b, len, "an address twice");
	memset(b + 17, 'a', sizeof b - 17);
	bad_config(b, sizeof b, "address without end");
}

/* I9: equal index and term with another past, or another content, is a fork:
 * stop, and change nothing. */
Test(engine, forks)
{
	struct raftmsg_entry en[2] = { { TERM, ENTRY_COMMAND, BYTES_STR("a") },
		{ TERM, ENTRY_COMMAND, BYTES_STR("B") } };
	struct raftmsg m;

	REFUSE(MSG_APPEND, m.hash[31] ^= 1, ERR_CORRUPT);
	REFUSE(MSG_APPEND, (m.n = 0, m.hash[0] ^= 1), ERR_CORRUPT);
	REFUSE(MSG_APPEND, (m.term++, m.hash[0] ^= 1), ERR_CORRUPT);
	sample(&m, MSG_APPEND);
	m.prev = m.prev_term = 1;
	m.entry = en;
	m.n = 2;
	cr_assert(engine_hash(e, 1, m.hash));
	refused(&m, ERR_CORRUPT, "another content");
	en[1] = (struct raftmsg_entry){ TERM, ENTRY_BARRIER, BYTES_STR("b") };
	refused(&m, ERR_CORRUPT, "another kind");
	REFUSE(MSG_SNAPSHOT, (m.last = 3, m.hash[5] ^= 1), ERR_CORRUPT);
	/* Committed here under another term. */
	REFUSE(MSG_SNAPSHOT, (m.last = 2, m.last_term = 4), ERR_CORRUPT);
}

/* What only a leader may, a follower does not. */
Test(engine, follower_takes_nothing)
{
	struct view before = look(), after;
	struct engine_config c = *engine_config(e);
	struct bytes d = BYTES_STR("x");
	uint64_t index = 77;

	c.member[0].role = ENGINE_STANDBY;
	cr_assert_eq(
	    engine_submit(e, l->now, ENTRY_COMMAND, &d, 1, &index), ERR_AGAIN);
	cr_assert_eq(engine_reconfigure(e, l->now, &c, &index), ERR_AGAIN);
	cr_assert_eq(engine_transfer(e, l->now, 1), ERR_AGAIN);
	cr_assert_eq(index, 77);
	after = look();
	cr_assert_arr_eq((uint8_t *)&before, (uint8_t *)&after, sizeof before);
}

static void
lead(void)
{
	l->now += 1000;
	cr_assert(raftlab_elect(l, 2));
	raftlab_run(l, 200);
	cr_assert_eq(engine_commit(e), engine_last(e));
}

Test(engine, leader_refuses)
{
	static uint8_t big[ENGINE_ENTRY_MAX + 1];
	struct bytes d[2] = { BYTES_STR("x"), BYTES_OF(big) };
	struct raftmsg m;
	uint64_t index = 77;

	lead();
	cr_assert_eq(
	    engine_submit(e, l->now, ENTRY_COMMAND, d, 2, &index), ERR_LIMIT);
	cr_assert_eq(engine_submit(e, l->now, ENTRY_CONFIG, d, 1, &index),
	    ERR_MALFORMED);
	cr_assert_eq(engine_transfer(e, l->now, 3), ERR_AGAIN); /* itself */
	cr_assert_eq(engine_transfer(e, l->now, 9), ERR_AGAIN);
	cr_assert_eq(index, 77);
	/* Another leader in its own term. */
	REFUSE(MSG_APPEND, m.term = engine_term(e), ERR_CORRUPT);
	REFUSE(MSG_SNAPSHOT, m.term = engine_term(e), ERR_CORRUPT);
	/* While it hands over, nothing is taken, nor leaks. */
	raftlab_isolate(l, 0, true);
	cr_assert_eq(raftlab_submit(l, 2, "y"), ERR_OK);
	cr_assert_eq(engine_transfer(e, l->now, 1), ERR_OK);
	cr_assert_eq(
	    engine_submit(e, l->now, ENTRY_COMMAND, d, 1, &index), ERR_AGAIN);
	cr_assert_eq(index, 77);
}

static void
no_change(const struct engine_config *c, const char *what)
{
	struct view before = look(), after;
	uint64_t index = 77;
	enum err r = engine_reconfigure(e, l->now, c, &index);

	after = look();
	cr_expect_eq(r, ERR_MALFORMED, "%s: %s", what, err_text(r));
	cr_expect_eq(index, 77);
	cr_expect_arr_eq(
	    (uint8_t *)&before, (uint8_t *)&after, sizeof before, "%s", what);
}

/* libraft keeps what it knows of members by their place: an equal number of
 * others would inherit it.  One change, in order, or none. */
Test(engine, changes)
{
	struct engine_config c, all;

	lead();
	raftlab_config(&all, 5);
#define NO(change) \
	do { \
		c = *engine_config(e); \
		change; \
		no_change(&c, #change); \
	} while (0)
	NO((void)0);
	NO(c.n = 0);
	NO(c.n = 1); /* two less */
	NO(c.n = ENGINE_MEMBERS_MAX + 1);
	NO(c = all); /* two more */
	NO(c.member[1] = all.member[3]); /* replaced */
	NO(c.member[1].id = 9);
	NO((void)strcpy(c.member[1].address, "elsewhere"));
	NO((c.member[0] = all.member[1], c.member[1] = all.member[0]));
	NO((c.n = 4, memcpy(c.member + 1, all.member, 3 * sizeof c.member[0]),
	    c.member[0] = all.member[3])); /* added at the front */
	NO((c.member[0].role = ENGINE_SPARE,
	    c.member[1].role = ENGINE_STANDBY)); /* two roles */
	NO((c.n = 2, c.member[0].role = ENGINE_STANDBY));
	NO((c.n = 4, c.member[3] = all.member[3],
	    c.member[1].role = ENGINE_STANDBY));
	NO((c.n = 4, c.member[3] = all.member[3], c.member[3].id = 1));
	NO((c.n = 4, c.member[3] = all.member[3],
	    (void)strcpy(c.member[3].address, "slot-0/1")));
	NO((c.n = 4, c.member[3] = all.member[3], c.member[3].id = 0));
	NO((c.n = 4, c.member[3] = all.member[3],
	    c.member[3].address[0] = '\0'));
	NO((c.n = 4, c.member[3] = all.member[3],
	    c.member[3].role = (enum engine_role)3));
	/* These are: added, another role, removed from the middle. */
	c = *engine_config(e);
	c.member[c.n] = all.member[3];
	c.member[c.n++].role = ENGINE_SPARE;
	cr_assert_eq(raftlab_change(l, 2, &c), ERR_OK);
	raftlab_run(l, 300);
	c.member[0].role = ENGINE_STANDBY;
	cr_assert_eq(raftlab_change(l, 2, &c), ERR_OK);
	raftlab_run(l, 300);
	c.member[1] = c.member[2];
	c.member[2] = c.member[3];
	c.n--;
	cr_assert_eq(raftlab_change(l, 2, &c), ERR_OK);
	raftlab_run(l, 300);
	/* The last voter stays one. */
	no_change(&(struct engine_config){ .n = 1, .member = { c.member[0] } },
	    "no voter");
	cr_assert_eq(engine_config(e)->n, 3);
}

/* Our bytes of a configuration are libraft's, and read back as they were. */
Test(engine, config_bytes)
{
	struct raft_configuration rc;
	struct raft_buffer rb;
	struct engine_config c, back;
	struct buf b = { 0 };

	for (unsigned n = 1; n <= ENGINE_MEMBERS_MAX; n++) {
		c = (struct engine_config){ .n = n };
		raft_configuration_init(&rc);
		for (unsigned i = 0; i < n; i++) {
			c.member[i].id = 1ull << (4 * i % 61) | (i + 1);
			c.member[i].role = (enum engine_role)(i % 3);
			memset(c.member[i].address, 'a' + (int)i,
			    i == 15 ? ENGINE_ADDRESS_MAX - 1 : 5 + i);
			cr_assert_eq(
			    raft_configuration_add(&rc, c.member[i].id,
				c.member[i].address, (int)c.member[i].role),
			    0);
		}
		cr_assert_eq(raft_configuration_encode(&rc, &rb), 0);
		buf_fini(&b);
		cr_assert_eq(engine_config_write(&b, &c), ERR_OK);
		cr_assert_eq(b.len, rb.len);
		cr_assert_arr_eq(b.p, rb.base, b.len);
		cr_assert_eq(engine_config_parse(&back, buf_view(&b)), ERR_OK);
		cr_assert_eq(memcmp(&back, &c, sizeof c), 0);
		raft_free(rb.base);
		raft_configuration_close(&rc);
	}
	buf_fini(&b);
}

static enum err
boot(struct engine_boot b)
{
	struct engine_options o = { .id = 3,
		.address = "slot-2/3",
		.election_ms = 300,
		.heartbeat_ms = 60 };
	struct engine *n;
	enum err r;

	cr_assert_eq(engine_new(&n, &o), ERR_OK);
	cr_assert_eq(engine_state(n), ENGINE_OFF);
	cr_assert_eq(engine_receive(n, 1, 2, BYTES_OF(zeros)), ERR_PHASE);
	cr_assert_eq(engine_deadline(n), UINT64_MAX);
	r = engine_start(n, 1, &b);
	engine_free(n);
	return r;
}

/* A log that no engine wrote does not become one. */
Test(engine, boots)
{
	struct engine_entry en[2] = { { .index = 1,
					  .term = 2,
					  .kind = ENTRY_CONFIG,
					  .data = buf_view(&conf) },
		{ .index = 2, .term = 2, .kind = ENTRY_COMMAND } };
	struct engine_snapshot s = { .index = 9, .term = 2, .config_index = 1 };
	struct engine_boot b = { .term = 2, .entry = en, .n_entries = 2 };

	raftlab_config(&s.config, 3);
	cr_assert_eq(boot(b), ERR_OK);
	en[1].term = 3;
	cr_assert_eq(boot(b), ERR_CORRUPT); /* a term to come */
	en[1].term = 1;
	cr_assert_eq(boot(b), ERR_CORRUPT); /* falls */
	en[1].term = 2;
	en[0].kind = ENTRY_COMMAND;
	cr_assert_eq(boot(b), ERR_CORRUPT); /* begins with a command */
	en[0].kind = ENTRY_CONFIG;
	en[0].data.len -= 8;
	cr_assert_eq(boot(b), ERR_CORRUPT);
	b = (struct engine_boot){ .term = 2, .snapshot = &s };
	cr_assert_eq(boot(b), ERR_OK);
	s.term = 3;
	cr_assert_eq(boot(b), ERR_CORRUPT);
	s.term = 2;
	b.open = s.config;
	cr_assert_eq(boot(b), ERR_MALFORMED); /* others vote, too */
	b.open.n = 1;
	cr_assert_eq(boot(b), ERR_MALFORMED); /* another one */
	b.open.member[0] = s.config.member[2];
	cr_assert_eq(boot(b), ERR_OK);
}
