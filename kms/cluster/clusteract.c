/* What the core wants done, done: writes, messages, answers, the chain. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "kms/cluster/cluster_int.h"

static void do_halt(struct cluster *c, enum core_halt why);

static void
do_write(struct cluster *c, const struct core_write *w)
{
	enum err e;

	if (c->store == NULL)
		return;
	if ((e = store_begin(c->store)) == ERR_OK) {
		e = disklog_write(
		    c->store, w, core_engine(c->core), c->self.incarnation);
		if (e == ERR_OK)
			e = store_commit(c->store);
		else
			store_abort(c->store);
	}
	if (e == ERR_OK) {
		c->info.store_commits++;
		return;
	}
	/* What was not written must not be acknowledged (I2, I8): this life
	 * ends before anything leaves, and the next one waits for its disk. */
	log_event(LOG_ERROR, "store_failed", log_str("what", "log"),
	    log_str("cause", err_text(e)));
	do_halt(c, HALT_DISK);
}

void
cluster_finish(
    struct cluster *c, struct ticket *t, const struct cluster_outcome *o)
{
	struct ticket was = *t;

	*t = (struct ticket){ 0 };
	(void)c;
	if (was.done != NULL)
		was.done(was.cookie, o);
}

static void
do_done(struct cluster *c, const struct core_action *a)
{
	struct ticket *t = &c->ticket[a->done.ticket % CLUSTER_TICKETS];
	struct cluster_outcome o = { .index = a->done.index,
		.result = a->done.result };

	if (t->number != a->done.ticket)
		return;
	switch (a->done.kind) {
	case CORE_OK:
		o.err = ERR_OK;
		break;
	case CORE_NOT_NOW:
		o.err = ERR_AGAIN;
		if (cluster_serves(c, &o.why) == ERR_OK)
			(void)refuse(&o.why, REASON_NO_LEADER, "not now");
		break;
	case CORE_UNKNOWN:
		o.err = ERR_TIMEOUT;
		(void)refuse(&o.why, REASON_UNKNOWN_OUTCOME,
		    "no answer from the leader in time");
		break;
	}
	cluster_finish(c, t, &o);
}

static void
after_chain(uv_work_t *work, int status)
{
	struct chain_write *w = work->data;
	struct cluster *c = w->c;

	c->chain = NULL;
	if (status == 0 && w->err != ERR_OK)
		log_event(LOG_WARN, "anchor_write_failed",
		    log_u64("kind", (uint64_t)w->w.kind), log_why(&w->why));
	else if (status == 0)
		log_event(LOG_INFO, "anchor_written",
		    log_u64("kind", (uint64_t)w->w.kind),
		    log_u64("generation", w->w.to.generation),
		    log_u64("index", w->w.to.index));
	k256_secret_wipe(&w->key);
	free(w);
	if (!c->stopping && !c->halted)
		watch_begin(c);
	cluster_maybe_done(c);
}

static void
run_chain(uv_work_t *work)
{
	struct chain_write *w = work->data;

	w->err = anchor_send(
	    w->c->o.anchor, &w->w, &w->key, clock_wall_s(), &w->why);
}

static void
do_chain(struct cluster *c, const struct anchor_write *what)
{
	struct chain_write *w;

	/* One at a time; the core asks again if it does not show. */
	if (c->chain != NULL || (w = calloc(1, sizeof *w)) == NULL)
		return;
	w->c = c;
	w->w = *what;
	w->work.data = w;
	if (cluster_anchor_key(c, &w->key) &&
	    uv_queue_work(c->o.loop, &w->work, run_chain, after_chain) == 0) {
		c->chain = w;
		return;
	}
	k256_secret_wipe(&w->key);
	free(w);
}

static void
do_event(const struct core_action *a)
{
	log_event(a->event.warn ? LOG_WARN : LOG_INFO, a->event.name,
	    log_str("node", a->event.slot), log_str("detail", a->event.detail));
}

static void
do_applied(struct cluster *c, const struct core_action *a)
{
	c->info.effective[a->applied.command.kind]++;
	switch (a->applied.command.kind) {
	case COMMAND_EPOCH:
		rotate_applied(c, &a->applied.command);
		keystore_adopt(c);
		return;
	case COMMAND_ANCHORED:
	case COMMAND_EPOCH_STATE:
		keystore_adopt(c);
		return;
	case COMMAND_FLOOR:
	case COMMAND_TCB_FLOOR:
		floorsync_adopt(c);
		return;
	case COMMAND_MEMBER:
	case COMMAND_LEFT:
	case COMMAND_HANDOVER:
	case COMMAND_GENERATION:
	case COMMAND_INCREMENT:
	case COMMAND_HELD:
		return;
	}
}

static void
do_halt(struct cluster *c, enum core_halt why)
{
	c->halted = true;
	if (why != HALT_LEFT)
		keyring_clear(c->o.keyring);
	log_event(why == HALT_LEFT ? LOG_INFO : LOG_ERROR, "halted",
	    log_str("why", core_halt_text(why)));
	if (c->o.on_halt != NULL)
		c->o.on_halt(c->o.cookie, why);
}

void
clusteract(struct cluster *c, struct core_action *a, uint64_t *wrote)
{
	if (c->halted)
		return;
	switch (a->kind) {
	case CORE_WRITE:
		do_write(c, &a->write);
		*wrote = a->write.number;
		return;
	case CORE_SEND:
		links_send(c->links, &a->send.to, buf_view(&a->send.bytes));
		return;
	case CORE_DONE:
		do_done(c, a);
		return;
	case CORE_CHAIN:
		do_chain(c, &a->chain);
		return;
	case CORE_MAKE_ROOTS:
		rotate_make(c, a);
		return;
	case CORE_REGISTRY_WRITE:
		rotate_write(c, &a->registry);
		return;
	case CORE_APPLIED:
		do_applied(c, a);
		return;
	case CORE_HALT:
		do_halt(c, a->halt);
		return;
	case CORE_EVENT:
		do_event(a);
		return;
	}
}
