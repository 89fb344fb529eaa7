#include <stdlib.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "kms/service/job.h"

/* The peer was allowed when its session began; it must be so still. */
enum err
job_peer_allowed(struct job *j)
{
	enum err e = self_allowed(j->o->self, j->now, &j->why);

	if (e != ERR_OK)
		return e;
	return gate_ask(j->o->gate, GATE_KMS, &j->caller.boot, j->now,
	    &j->decision, &j->why);
}

/* The hand-over of the wrapping keys: to a KMS node whose evidence was
 * verified on this very connection, that the contract allows now, and that
 * shows itself to be an incarnation (the log's word on it comes next). */
enum err
job_join(struct job *j)
{
	const Devproof__Kms__V1__Join *q = j->request->join;
	enum err e = job_peer_allowed(j);

	if (e == ERR_OK &&
	    incarnation_verify(q->signature.data, q->incarnation.data,
		CHANNEL_KMS_PEER, q->slot, j->handshake_hash) != ERR_OK)
		e = refuse(&j->why, REASON_HANDSHAKE,
		    "the incarnation did not sign this session");
	return e;
}

/* Packs the keys of all epochs that are held here. */
static enum err
pack_keys(struct job *j)
{
	Devproof__Kms__V1__EpochKey item[LEDGER_MAX_EPOCHS + 1],
	    *list[LEDGER_MAX_EPOCHS + 1];
	Devproof__Kms__V1__Joined joined = DEVPROOF__KMS__V1__JOINED__INIT;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;
	struct wrap_key *key = secret_new(sizeof *key * (j->n_epochs + 1));
	struct k256_secret anchor;
	enum err e;

	if (key == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < j->n_epochs; i++) {
		if (!cluster_wrap_key(j->o->cluster, i, &key[i]))
			continue; /* destroyed, or not here yet */
		devproof__kms__v1__epoch_key__init(&item[i]);
		item[i].number = i;
		item[i].wrap_key = msg_bytes(key[i].b, sizeof key[i].b);
		list[joined.n_keys++] = &item[i];
	}
	/* It follows from the root of epoch 0, while there is one. */
	if (j->n_epochs > 0 && (joined.n_keys == 0 || list[0]->number != 0) &&
	    cluster_anchor_key(j->o->cluster, &anchor)) {
		memcpy(key[j->n_epochs].b, anchor.b, sizeof anchor.b);
		k256_secret_wipe(&anchor);
		devproof__kms__v1__epoch_key__init(&item[j->n_epochs]);
		item[j->n_epochs].number = UINT64_MAX;
		item[j->n_epochs].wrap_key =
		    msg_bytes(key[j->n_epochs].b, sizeof key->b);
		list[joined.n_keys++] = &item[j->n_epochs];
	}
	joined.keys = list;
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_JOINED;
	m.joined = &joined;
	e = joined.n_keys > 0
	    ? msg_reply_pack(&j->reply, &m)
	    : refuse(&j->why, REASON_NOT_READY, "no keys here");
	secret_free(key);
	return e;
}

static enum err
from_outcome(struct job *j, const struct cluster_outcome *o)
{
	if (o->err != ERR_OK) {
		j->why = o->why;
		return ERR_DENIED;
	}
	if (o->result.err != ERR_OK)
		return refuse(&j->why,
		    o->result.reason != REASON_NONE ? o->result.reason
						    : REASON_REQUEST,
		    "%s", err_text(o->result.err));
	return ERR_OK;
}

static void
join_recorded(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;

	j->err = from_outcome(j, o);
	if (j->err == ERR_OK)
		j->err = cluster_serves(j->o->cluster, &j->why);
	if (j->err == ERR_OK)
		j->err = pack_keys(j);
	job_resume(j);
}

/* Who lacks a key that nobody has asks again and again: that is no hand-over,
 * and nothing to record. */
static bool
has_wanted(const struct cluster *c, const Devproof__Kms__V1__Join *q)
{
	struct k256_secret anchor;
	struct wrap_key key;
	bool has = q->n_want == 0;

	for (size_t i = 0; i < q->n_want && !has; i++)
		has = q->want[i] == UINT64_MAX
		    ? cluster_anchor_key(c, &anchor)
		    : cluster_wrap_key(c, q->want[i], &key);
	wrap_key_wipe(&key);
	k256_secret_wipe(&anchor);
	return has;
}

/* No hand-over without its record, and none to who is not a member. */
enum err
job_join_finish(struct job *j)
{
	const Devproof__Kms__V1__Join *q = j->request->join;
	const struct ledger *l = core_ledger(cluster_core(j->o->cluster));
	const struct ledger_member *m = ledger_slot(l, q->slot);
	struct command cmd = { .kind = COMMAND_HANDOVER };
	enum err e;

	if (m == NULL || !m->present ||
	    memcmp(m->who.incarnation, q->incarnation.data,
		INCARNATION_ID_LEN) != 0 ||
	    memcmp(m->who.device_id, j->caller.boot.device_id, 32) != 0)
		return refuse(&j->why, REASON_NOT_MEMBER,
		    "the log has not admitted this incarnation");
	if (!has_wanted(j->o->cluster, q))
		return refuse(&j->why, REASON_NOT_READY,
		    "none of the keys that it lacks is here");
	/* Before it is in the log as done; and once more when they leave. */
	if ((e = cluster_may_release(
		 j->o->cluster, j->decision.block.number, &j->why)) != ERR_OK)
		return e;
	j->epoch = j->n_epochs > 0 ? j->n_epochs - 1 : 0;
	cmd.u.handover.epoch = j->epoch;
	cmd.u.handover.to = m->who;
	cmd.u.handover.block_number = j->decision.block.number;
	memcpy(cmd.u.handover.block_hash, j->decision.block.hash, 32);
	j->waiting = true;
	cluster_submit(j->o->cluster, &cmd, join_recorded, j);
	return ERR_OK;
}

/* ---- counters ---- */

static enum err
pack_counter(struct job *j, const char *name, uint64_t value, bool matched,
    uint64_t index)
{
	Devproof__Kms__V1__Counter c;
	KmsReply m = DEVPROOF__KMS__V1__REPLY__INIT;

	devproof__kms__v1__counter__init(&c);
	c.name = (char *)(uintptr_t)name;
	c.value = value;
	c.matched = matched;
	c.index = index;
	c.generation = core_generation(cluster_core(j->o->cluster));
	m.id = j->request->id;
	m.body_case = DEVPROOF__KMS__V1__REPLY__BODY_COUNTER;
	m.counter = &c;
	return msg_reply_pack(&j->reply, &m);
}

static void
counter_read(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;
	const struct ledger *l = core_ledger(cluster_core(j->o->cluster));
	const char *name = j->request->counter_get->name;

	j->err = from_outcome(j, o);
	if (j->err == ERR_OK)
		j->err = cluster_serves(j->o->cluster, &j->why);
	if (j->err == ERR_OK) {
		/* At the place where the ledger is by now, which may be
		 * beyond the one that was asked for: it orders answers. */
		j->err = pack_counter(j, name,
		    ledger_counter_get(l, j->caller.boot.app_id, name), false,
		    ledger_index(l));
	}
	job_resume(j);
}

enum err
job_counter_get(struct job *j)
{
	j->waiting = true;
	cluster_read(j->o->cluster, counter_read, j);
	return ERR_OK;
}

static void
counter_written(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;
	struct refusal late = { 0 };
	bool mismatch = o->err == ERR_OK && o->result.err == ERR_DENIED &&
	    o->result.reason == REASON_COUNTER_MISMATCH;

	j->err = mismatch ? ERR_OK : from_outcome(j, o);
	if (o->err == ERR_OK && o->result.err == ERR_LIMIT)
		(void)refuse(&j->why, REASON_COUNTER_LIMIT, "%s",
		    j->request->counter_increment->name);
	/* A generation that has ended may not be told as if it went on.  It is
	 * done here all the same: the reason may not say that it is not. */
	if (j->err == ERR_OK && cluster_serves(j->o->cluster, &late) != ERR_OK)
		j->err = refuse(&j->why, REASON_UNKNOWN_OUTCOME, "%s: %s",
		    reason_label(late.code), late.detail);
	if (j->err == ERR_OK)
		j->err = pack_counter(j, j->request->counter_increment->name,
		    o->result.value, !mismatch, o->index);
	job_resume(j);
}

enum err
job_counter_increment(struct job *j)
{
	const Devproof__Kms__V1__CounterIncrement *q =
	    j->request->counter_increment;
	struct command cmd = { .kind = COMMAND_INCREMENT };

	memcpy(cmd.u.increment.app_id, j->caller.boot.app_id, 20);
	memcpy(cmd.u.increment.name, q->name, strlen(q->name) + 1);
	cmd.u.increment.expected = q->expected;
	memcpy(cmd.u.increment.operation, q->operation.data, 16);
	j->waiting = true;
	cluster_submit(j->o->cluster, &cmd, counter_written, j);
	return ERR_OK;
}

enum err
job_peer_hello(struct job *j)
{
	const struct channel_caller who = { .conn = j->conn,
		.role = CHANNEL_KMS_PEER, /* the table's only one for it */
		.peer = &j->caller,
		.handshake_hash = j->handshake_hash };

	return links_request(
	    cluster_links(j->o->cluster), &who, j->request, &j->reply, &j->why);
}
