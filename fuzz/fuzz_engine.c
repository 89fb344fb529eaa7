/* fuzz_engine: engine_receive, and enginewire_read behind it.
 *
 * Input: role u8 (odd: the engine leads), then steps of
 *   op u8 | length u16be | bytes
 *   op & 3   who sends: ids 1, 2, 4, 9 (the engine is 3 of 3 and 4 learns)
 *   op & 4   an append's hash of its previous entry is put right first
 *   op & 8   time goes on by `length` ms, there are no bytes
 *   op & 16  the bytes are submitted as a command
 *
 * What is refused changes nothing; term and commit never fall, what is
 * committed stays; what is to be written adds up. */
#include <string.h>

#include "common/base/rd.h"
#include "fuzz/must.h"
#include "kms/cluster/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMITS 256
#define STEPS 64

struct run {
	struct engine *e;
	uint64_t now, term, commit;
	bool known[COMMITS];
	uint8_t hash[COMMITS][32]; /* of what is committed */
};

static void
check(struct run *r)
{
	uint64_t commit = engine_commit(r->e);
	uint8_t h[32];

	must(engine_term(r->e) >= r->term);
	must(commit >= r->commit);
	must(engine_durable(r->e) <= engine_last(r->e));
	r->term = engine_term(r->e);
	for (uint64_t i = 1; i <= commit && i < COMMITS; i++) {
		if (!engine_hash(r->e, i, h))
			continue; /* in a snapshot */
		must(!r->known[i] || memcmp(h, r->hash[i], 32) == 0);
		r->known[i] = true;
		memcpy(r->hash[i], h, 32);
	}
	r->commit = commit;
}

/* Writes everything at once. */
static enum err
flush(struct run *r)
{
	struct engine_effects x;
	enum err e = ERR_OK;
	bool more = true;

	while (more && e == ERR_OK) {
		engine_take(r->e, &x);
		must(x.first == 0 ||
		    (x.first <= x.last && x.last == engine_last(r->e)));
		must(x.truncate == 0 || x.first == 0 || x.first <= x.truncate);
		if (x.install)
			e = engine_snapshot_installed(r->e, r->now);
		if (e == ERR_OK && x.first != 0)
			e = engine_persisted(r->e, r->now, x.last);
		more = x.install || x.first != 0;
		engine_effects_fini(&x);
	}
	check(r);
	return e;
}

static void
voted(uint8_t out[static 15], uint64_t term, bool pre)
{
	memset(out, 0, 15);
	out[0] = 4;
	out[1] = 2;
	for (unsigned i = 0; i < 8; i++)
		out[2 + i] = (uint8_t)(term >> 8 * (7 - i));
	out[10] = pre ? 3 : 1;
}

/* Id 3 of three voters and a learner, with a few entries; as the leader if
 * asked to. */
static void
begin(struct run *r, bool leads)
{
	struct engine_options o = {
		.id = 3, .address = "c", .election_ms = 300, .heartbeat_ms = 60
	};
	struct engine_config c = { .n = 4,
		.member = { { 1, "a", ENGINE_VOTER }, { 2, "b", ENGINE_VOTER },
		    { 3, "c", ENGINE_VOTER }, { 4, "d", ENGINE_STANDBY } } };
	struct engine_entry en[6];
	struct engine_boot b = { .term = 3, .entry = en, .n_entries = 6 };
	struct buf conf = { 0 };
	uint8_t vote[15];

	must(engine_config_write(&conf, &c) == ERR_OK);
	for (unsigned i = 0; i < 6; i++)
		en[i] = (struct engine_entry){ .index = i + 1,
			.term = 1 + i / 2,
			.kind = i == 0 ? ENTRY_CONFIG : ENTRY_COMMAND,
			.data = i == 0 ? buf_view(&conf) : BYTES_STR("x") };
	must(engine_new(&r->e, &o) == ERR_OK);
	must(engine_start(r->e, r->now, &b) == ERR_OK);
	buf_fini(&conf);
	must(flush(r) == ERR_OK);
	if (!leads)
		return;
	r->now = engine_deadline(r->e);
	must(engine_tick(r->e, r->now) == ERR_OK);
	for (unsigned i = 0; i < 2; i++) {
		voted(vote, 4, i == 0);
		must(engine_receive(r->e, r->now, 1, BYTES_OF(vote)) == ERR_OK);
		must(flush(r) == ERR_OK);
	}
	must(engine_state(r->e) == ENGINE_LEADER);
}

static void
put_hash(const struct run *r, uint8_t *p, size_t len)
{
	struct rd rd = { .p = p, .left = len };
	uint8_t h[32];

	if (rd_u8(&rd) != 1 || len < 58)
		return;
	(void)rd_bytes(&rd, 9);
	if (engine_hash(r->e, rd_be64(&rd), h))
		memcpy(p + 26, h, 32);
}

static enum err
receive(struct run *r, uint8_t op, struct bytes in)
{
	static const uint64_t from[4] = { 1, 2, 4, 9 };
	struct buf copy = { 0 };
	uint64_t term = engine_term(r->e), vote = engine_vote(r->e),
		 last = engine_last(r->e);
	uint8_t before[32], after[32];
	enum err e;

	must(engine_hash(r->e, last, before));
	must(buf_set(&copy, in.p, in.len) == ERR_OK);
	if ((op & 4) != 0)
		put_hash(r, copy.p, copy.len);
	e = engine_receive(r->e, r->now, from[op & 3], buf_view(&copy));
	buf_fini(&copy);
	if (e == ERR_MALFORMED || e == ERR_AUTH) {
		must(engine_hash(r->e, last, after));
		must(term == engine_term(r->e) && vote == engine_vote(r->e) &&
		    last == engine_last(r->e) &&
		    memcmp(before, after, 32) == 0);
		return ERR_OK;
	}
	return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd rd = { .p = data, .left = size };
	static struct run r;
	enum err e = ERR_OK;
	uint64_t index;

	r = (struct run){ .now = 1000 };
	begin(&r, (rd_u8(&rd) & 1) != 0);
	for (unsigned i = 0; i < STEPS && e == ERR_OK && rd.left > 0; i++) {
		uint8_t op = rd_u8(&rd);
		uint16_t len = rd_be16(&rd);
		struct bytes in = { rd.p, 0 };

		if ((op & 8) == 0) {
			in.len = len < rd.left ? len : rd.left;
			in.p = rd_bytes(&rd, in.len);
		} else {
			r.now += len;
		}
		if ((op & 8) != 0)
			e = engine_tick(r.e, r.now);
		else if ((op & 16) == 0)
			e = receive(&r, op, in);
		else if (engine_submit(r.e, r.now, ENTRY_COMMAND, &in, 1,
			     &index) == ERR_OK)
			must(index == engine_last(r.e));
		if (e == ERR_OK)
			e = flush(&r);
	}
	must(e == ERR_OK || e == ERR_CORRUPT);
	engine_free(r.e);
	return 0;
}
