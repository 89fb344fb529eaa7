/* fuzz_lease: what attested peers say about check-ins, and what comes of it.
 *
 * Targets: lease_hear (beats and lists), and all of lease.c and lease_post.c
 * that the words of others reach.
 *
 * Input: steps {op, a, b, c}, op % 8:
 *   0 time goes on, a * 256 + b (times 100) ms; the wall clock by c more, less
 *   1 a message from peer a, b % 64 bytes as they are (they follow the step)
 *   2 a beat from peer a, its clock is off by b
 *   3 a list from peer a with our numbers b and c (as drawn), or others'
 *   4 a number is drawn                5 the batch that is due, mined if a & 1
 *   6 we look at the chain             7 a release at block a
 *
 * Asserted: no lease without a number of ours that a list on chain has, none
 * beyond its length since that number was drawn, by the boot clock or by the
 * wall clock, and no more releases than one has; so whatever others say, it
 * gives nothing.  A refused message changes nothing; a batch has at most
 * CHECKIN_BATCH_MAX numbers, all of which were drawn here or heard. */
#include <string.h>

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "fuzz/must.h"
#include "kms/cluster/lease_int.h"

#define LEASE_MS 3600000u
#define PERIOD_MS 300000u
#define RELEASES 3
#define DRAWN_MAX 128
#define MINED_MAX 128
#define STEPS 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct run {
	struct lease *l;
	struct lease_now now;
	struct {
		uint8_t nonce[32];
		struct lease_now at;
		bool seen; /* on chain, by us */
		bool mined;
	} drawn[DRAWN_MAX];
	unsigned n_drawn;
	uint8_t mined[MINED_MAX][32];
	unsigned n_mined;
	uint64_t block, taken; /* since the newest lease */
	uint64_t renewed;
} r;

/* ---- what must hold ---- */

static bool
may(void)
{
	for (unsigned i = 0; i < r.n_drawn; i++)
		if (r.drawn[i].seen &&
		    r.now.boot_ms - r.drawn[i].at.boot_ms <= LEASE_MS &&
		    r.now.wall_s - r.drawn[i].at.wall_s <= LEASE_MS / 1000)
			return true;
	return false;
}

static void
check(void)
{
	struct refusal why = { 0 };
	struct lease_status s;
	enum err e = lease_check(r.l, &r.now, &why);

	must(
	    e == ERR_OK || (e == ERR_DENIED && why.code == REASON_CHAIN_LEASE));
	must(e != ERR_OK || may());
	lease_status(r.l, &r.now, &s);
	must(s.n_peers <= LEASE_CLOCKS && s.outstanding <= LEASE_NONCES);
	must(s.releases <= RELEASES);
	must(r.l->n_heard <= LEASE_HEARD_MAX);
}

/* ---- steps ---- */

static void
from(uint8_t who, uint8_t out[static INCARNATION_ID_LEN])
{
	memset(out, 0, INCARNATION_ID_LEN);
	out[0] = who;
	out[1] = 1;
}

static void
hear(uint8_t who, struct bytes in)
{
	static struct lease before;
	uint8_t id[INCARNATION_ID_LEN];
	enum err e;

	from(who, id);
	before = *r.l;
	e = lease_hear(r.l, id, in, &r.now);
	must(e == ERR_OK || e == ERR_MALFORMED);
	must(e == ERR_OK || memcmp(&before, r.l, sizeof before) == 0);
	must(e != ERR_OK || lease_is_message(in));
	/* No message gives a lease, or takes one. */
	must(memcmp(before.held, r.l->held, sizeof before.held) == 0);
}

static void
beat(uint8_t who, uint8_t off, uint8_t nonce)
{
	uint8_t m[64];
	struct wr w = { .p = m, .cap = sizeof m };

	wr_be32(&w, 0x4b430101u);
	for (unsigned i = 0; i < 32; i++)
		wr_u8(&w, i == 0 ? nonce : who);
	wr_be64(&w, r.now.boot_ms + (uint64_t)(int64_t)(int8_t)off * 60000);
	wr_u8(&w, nonce & 1);
	hear(who, (struct bytes){ m, w.len });
}

/* The chain has the hash of these numbers, if it is mined. */
static void
mine(const struct lease_batch *b)
{
	if (r.n_mined == MINED_MAX)
		return;
	memcpy(r.mined[r.n_mined++], b->hash, 32);
	for (unsigned i = 0; i < r.n_drawn; i++)
		for (unsigned k = 0; k < b->n; k++)
			r.drawn[i].mined = r.drawn[i].mined ||
			    memcmp(b->nonce[k], r.drawn[i].nonce, 32) == 0;
}

static void
list(uint8_t who, uint8_t a, uint8_t b)
{
	struct lease_batch l = { .n = 2 };
	struct buf m = { 0 };

	memset(l.nonce, who, sizeof l.nonce);
	if (r.n_drawn > 0)
		memcpy(l.nonce[0], r.drawn[a % r.n_drawn].nonce, 32);
	if (r.n_drawn > 0 && (b & 1) != 0)
		memcpy(l.nonce[1], r.drawn[b % r.n_drawn].nonce, 32);
	checkin_batch(l.hash, r.l->o.chain_id, r.l->o.contract, l.nonce, l.n);
	if ((b & 2) != 0)
		mine(&l);
	must(lease_list_write(&m, &l) == ERR_OK);
	hear(who, buf_view(&m));
	buf_fini(&m);
}

static void
draw(void)
{
	uint8_t nonce[32] = { 0xee };

	if (r.n_drawn == DRAWN_MAX)
		return;
	nonce[1] = (uint8_t)r.n_drawn;
	memcpy(r.drawn[r.n_drawn].nonce, nonce, 32);
	r.drawn[r.n_drawn++].at = r.now;
	lease_nonce(r.l, nonce, &r.now);
}

static void
due(uint8_t how)
{
	struct lease_batch b;
	struct buf m = { 0 };

	if (lease_beat(r.l, &m, &r.now))
		must(lease_is_message(buf_view(&m)));
	buf_fini(&m);
	if (!lease_due(r.l, (how & 2) != 0, &r.now, &b))
		return;
	must(b.n >= 1 && b.n <= CHECKIN_BATCH_MAX);
	if ((how & 1) != 0)
		mine(&b);
	lease_sent(r.l, (how & 1) != 0, &r.now);
}

static void
look(void)
{
	uint8_t batch[LEASE_LOOKS][32];
	unsigned n = lease_looks(r.l, batch);
	struct lease_status s;

	must(n <= LEASE_LOOKS);
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < r.n_mined; k++) {
			const struct chain_block at = { .number = ++r.block };

			if (memcmp(batch[i], r.mined[k], 32) != 0)
				continue;
			lease_seen(r.l, batch[i], &at, 1);
			for (unsigned d = 0; d < r.n_drawn; d++)
				r.drawn[d].seen |= r.drawn[d].mined;
		}
	lease_status(r.l, &r.now, &s);
	if (s.renewed != r.renewed)
		r.taken = 0;
	r.renewed = s.renewed;
}

static void
take(uint8_t number)
{
	struct refusal why = { 0 };

	if (lease_take(r.l, &r.now, number, &why) == ERR_OK) {
		must(may());
		/* Two leases count: the newest, and the one before. */
		must(++r.taken <= 2 * RELEASES);
	} else {
		must(why.code == REASON_CHAIN_LEASE);
	}
}

static void
step(struct rd *in)
{
	uint8_t op = rd_u8(in), a = rd_u8(in), b = rd_u8(in), c = rd_u8(in);
	struct bytes raw;

	switch (op % 8) {
	case 0:
		r.now.boot_ms += (a * 256u + b) * 100u;
		r.now.wall_s += (a * 256 + b) / 10 + (int64_t)(int8_t)c * 60;
		break;
	case 1:
		raw.len = b % 64 < in->left ? b % 64 : in->left;
		raw.p = rd_bytes(in, raw.len);
		if (raw.p != NULL)
			hear(a, raw);
		break;
	case 2:
		beat(a, b, c);
		break;
	case 3:
		list(a, b, c);
		break;
	case 4:
		draw();
		break;
	case 5:
		due(a);
		break;
	case 6:
		look();
		break;
	case 7:
		take(a);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lease_options o = { .chain_id = 1,
		.contract = { 1 },
		.period_ms = PERIOD_MS,
		.lease_ms = LEASE_MS,
		.max_releases = RELEASES };
	struct rd in = { .p = data, .left = size };

	r = (struct run){ .now = { 1000000, 1700000000 } };
	must(lease_new(&r.l, &o) == ERR_OK);
	for (unsigned i = 0; i < STEPS && in.left > 0; i++) {
		step(&in);
		check();
	}
	lease_free(r.l);
	return 0;
}
