/* The lease, carried out: numbers are drawn, told to the others and brought
 * onto the chain, and looked for with every look at it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"

static struct lease_now
now_is(void)
{
	return (struct lease_now){ .boot_ms = clock_boot_ms(),
		.wall_s = clock_wall_s() };
}

enum err
leaserun_new(struct cluster *c)
{
	const struct kmsd_config *cfg = c->o.cfg;
	const char *urls[KMSD_RPCS];
	struct checkin_options co = { .view = c->o.view,
		.chain_id = cfg->chain_id,
		.urls = urls,
		.n_urls = cfg->n_rpcs,
		.timeout_ms = cfg->rpc_timeout_ms };
	struct lease_options o = { .chain_id = cfg->chain_id,
		.period_ms = 1000ull * cfg->checkin_period_s,
		.lease_ms = 1000ull * cfg->checkin_lease_s,
		.max_releases = cfg->checkin_max_releases };
	enum err e;

	if (!cfg->has_checkin)
		return ERR_OK;
	for (unsigned i = 0; i < cfg->n_rpcs; i++)
		urls[i] = cfg->rpc[i];
	memcpy(co.contract, cfg->checkin_contract, sizeof co.contract);
	memcpy(o.contract, cfg->checkin_contract, sizeof o.contract);
	if ((e = checkin_new(&c->checkin, &co)) != ERR_OK)
		return e;
	return lease_new(&c->lease, &o);
}

void
leaserun_free(struct cluster *c)
{
	lease_free(c->lease);
	checkin_free(c->checkin);
}

/* ---- the others ---- */

static void
tell_all(struct cluster *c, struct buf *m)
{
	static const struct member everybody;

	links_send(c->links, &everybody, buf_view(m));
	buf_fini(m);
}

bool
leaserun_message(
    struct cluster *c, const struct member *from, struct bytes bytes)
{
	struct lease_now now = now_is();

	if (!lease_is_message(bytes))
		return false;
	/* What is not understood is of another version: no harm in it. */
	if (c->lease != NULL)
		(void)!lease_hear(c->lease, from->incarnation, bytes, &now);
	return true;
}

/* ---- onto the chain ---- */

static void
after_post(uv_work_t *work, int status)
{
	struct checkin_post *p = work->data;
	struct cluster *c = p->c;
	struct lease_now now = now_is();

	c->posting = NULL;
	lease_sent(c->lease, status == 0 && p->err == ERR_OK, &now);
	if (status == 0 && p->err != ERR_OK) {
		log_event(LOG_WARN, "checkin_failed",
		    log_hex("batch", p->batch.hash, 32), log_why(&p->why));
		c->lease_error = p->why.code;
	} else if (status == 0) {
		log_event(LOG_INFO, "checkin_sent",
		    log_hex("batch", p->batch.hash, 32),
		    log_u64("nodes", p->batch.n));
		c->lease_error = REASON_NONE;
	}
	k256_secret_wipe(&p->key);
	free(p);
	cluster_maybe_done(c);
}

static void
run_post(uv_work_t *work)
{
	struct checkin_post *p = work->data;

	p->err = checkin_send(p->c->checkin, p->batch.hash, &p->key, &p->why);
}

static bool
leads(const struct cluster *c)
{
	return engine_state(core_engine(c->core)) == ENGINE_LEADER;
}

/* Who can write for the cluster does, if it is time. */
static void
post(struct cluster *c, const struct lease_now *now)
{
	struct checkin_post *p;
	struct buf list = { 0 };

	if (c->posting != NULL || cluster_phase(c) != PHASE_READY ||
	    (p = calloc(1, sizeof *p)) == NULL)
		return;
	p->c = c;
	p->work.data = p;
	if (cluster_anchor_key(c, &p->key) &&
	    lease_due(c->lease, leads(c), now, &p->batch)) {
		if (lease_list_write(&list, &p->batch) == ERR_OK)
			tell_all(c, &list);
		if (uv_queue_work(c->o.loop, &p->work, run_post, after_post) ==
		    0) {
			c->posting = p;
			return;
		}
	}
	k256_secret_wipe(&p->key);
	free(p);
}

/* An operator reads in the log when keys ceased to leave, and since when. */
static void
tell(struct cluster *c, const struct lease_now *now)
{
	struct refusal why = { .code = REASON_NONE };
	struct lease_status s;

	(void)!lease_check(c->lease, now, &why);
	if (why.code == c->lease_told)
		return;
	lease_status(c->lease, now, &s);
	if (why.code != REASON_NONE)
		log_event(LOG_ERROR, "lease_over", log_why(&why));
	else
		log_event(LOG_INFO, "lease", log_u64("block", s.block_number),
		    log_u64("left_s", (uint64_t)s.left_ms / 1000));
	c->lease_told = why.code;
}

void
leaserun_tick(struct cluster *c)
{
	struct lease_now now = now_is();
	uint8_t nonce[CHECKIN_NONCE_LEN];
	struct buf beat = { 0 }, list = { 0 };
	struct lease_batch again;

	if (c->lease == NULL || c->stopping || c->halted)
		return;
	if (lease_wants_nonce(c->lease, &now)) {
		/* After the clock was read: it was drawn no earlier. */
		secret_random(nonce, sizeof nonce);
		lease_nonce(c->lease, nonce, &now);
	}
	if (lease_beat(c->lease, &beat, &now))
		tell_all(c, &beat);
	if (lease_retell(c->lease, &now, &again) &&
	    lease_list_write(&list, &again) == ERR_OK)
		tell_all(c, &list);
	post(c, &now);
	if (cluster_phase(c) == PHASE_READY)
		tell(c, &now);
}

/* ---- what the chain says ---- */

void
leaserun_list(struct cluster *c, struct watch *w)
{
	w->looked_at = c->lease_looked;
	if (c->lease != NULL)
		w->n_batches = lease_looks(c->lease, w->batch);
}

/* What is brought now is not in a block that is final already: so once a
 * block is enough. */
void
leaserun_look(struct watch *w, int64_t now)
{
	const uint8_t(*batch)[32] = (const uint8_t(*)[32])w->batch;

	if (w->n_batches > 0 && w->anchor.block.number != w->looked_at)
		w->has_checkin =
		    checkin_find(w->c->checkin, now, batch, w->n_batches,
			&w->checkin, &w->checkin_why) == ERR_OK;
}

void
leaserun_seen(struct cluster *c, const struct watch *w)
{
	struct lease_now now = now_is();

	if (w->checkin_why.code != REASON_NONE)
		c->lease_error = w->checkin_why.code;
	if (c->lease == NULL || !w->has_checkin)
		return;
	c->lease_looked = w->checkin.block.number;
	c->lease_error = REASON_NONE;
	if (!w->checkin.found)
		return;
	lease_seen(c->lease, w->batch[w->checkin.which], &w->checkin.block,
	    w->checkin.time);
	tell(c, &now);
}

/* ---- the question ---- */

enum err
cluster_may_release(struct cluster *c, uint64_t number, struct refusal *why)
{
	struct lease_now now = now_is();

	return c->lease == NULL ? ERR_OK
				: lease_take(c->lease, &now, number, why);
}

bool
cluster_lease(const struct cluster *c, struct cluster_lease *out)
{
	struct cluster_lease l = { .error = c->lease_error };
	struct lease_now now = now_is();

	if (c->lease == NULL)
		return false;
	lease_status(c->lease, &now, &l.s);
	(void)!lease_check(c->lease, &now, &l.why);
	memcpy(l.contract, c->o.cfg->checkin_contract, sizeof l.contract);
	*out = l;
	return true;
}
