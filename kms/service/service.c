#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/base/secret.h"
#include "kms/service/job.h"
#include "kms/service/recheck.h"

/* Requests under way on workers; more are answered BUSY. */
#define MAX_BUSY 256

struct service {
	struct service_options o;
	struct channel_server *server; /* borrows */
	struct recheck *recheck; /* owns; until stop */
	unsigned busy;
	bool stopping;
	void (*done)(void *cookie);
	void *done_cookie;
};

#define ROLE(r) (1u << CHANNEL_##r)
#define APP ROLE(APP)
#define PEER ROLE(KMS_PEER)

/* The table.  `work` runs on a worker, `finish` on the loop. */
static const struct rule {
	enum request_kind kind;
	unsigned roles;
	bool needs_ready;
	job_fn *work; /* NULL: nothing slow */
	job_fn *finish; /* NULL: `work` made the reply */
	bool fresh; /* leaves only while a quorum stands behind this node */
	bool leased; /* and under a lease: these are keys, or as good */
} rules[] = {
	[DEVPROOF__KMS__V1__REQUEST__BODY_GET_META] = { .kind = RQ_GET_META,
	    .roles = APP | PEER,
	    .finish = job_meta },
	[DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS] = { .kind =
								RQ_GET_APP_KEYS,
	    .roles = APP,
	    .needs_ready = true,
	    .fresh = true,
	    .leased = true,
	    .work = job_app_keys },
	[DEVPROOF__KMS__V1__REQUEST__BODY_SIGN_CERT] = { .kind = RQ_SIGN_CERT,
	    .roles = APP,
	    .needs_ready = true,
	    .fresh = true,
	    .leased = true,
	    .work = job_sign_cert },
	[DEVPROOF__KMS__V1__REQUEST__BODY_JOIN] = { .kind = RQ_JOIN,
	    .roles = PEER,
	    .needs_ready = true,
	    .leased = true,
	    .work = job_join,
	    .finish = job_join_finish },
	[DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_GET] = { .kind =
							       RQ_COUNTER_GET,
	    .roles = APP,
	    .needs_ready = true,
	    .work = job_app_allowed,
	    .finish = job_counter_get },
	[DEVPROOF__KMS__V1__REQUEST__BODY_COUNTER_INCREMENT] = { .kind =
								     RQ_COUNTER_INCREMENT,
	    .roles = APP,
	    .needs_ready = true,
	    .work = job_app_allowed,
	    .finish = job_counter_increment },
	[DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_ENV_PUB_KEY] = { .kind =
								       RQ_GET_ENV_PUB,
	    .roles = APP | PEER,
	    .needs_ready = true,
	    .fresh = true,
	    .work = job_env_pub },
	/* Peers talk before anyone is ready: that is how they become it.
	 * What the contract says is asked once, at the Hello; the batches of
	 * a link come many times a second and are never jobs. */
	[DEVPROOF__KMS__V1__REQUEST__BODY_PEER_HELLO] = { .kind = RQ_PEER_HELLO,
	    .roles = PEER,
	    .work = job_peer_allowed,
	    .finish = job_peer_hello },
	[DEVPROOF__KMS__V1__REQUEST__BODY_PEER_BATCH] = { .kind = RQ_PEER_BATCH,
	    .roles = PEER },
};

static const struct rule *
find_rule(unsigned body_case)
{
	if (body_case == 0 || body_case >= sizeof rules / sizeof rules[0])
		return NULL;
	return rules[body_case].roles != 0 ? &rules[body_case] : NULL;
}

/* Nothing becomes a job that has no rule. */
static const struct rule *
rule_of(const struct job *j)
{
	const struct rule *r = find_rule(j->request->body_case);

	assert(r != NULL);
	return r;
}

static bool
for_links(const struct rule *r)
{
	return r->kind == RQ_PEER_HELLO || r->kind == RQ_PEER_BATCH;
}

enum err
service_new(struct service **out, const struct service_options *o)
{
	struct service *s = calloc(1, sizeof *s);

	if (s == NULL)
		return ERR_NOMEM;
	s->o = *o;
	*out = s;
	return ERR_OK;
}

enum err
service_set_server(struct service *s, struct channel_server *server)
{
	s->server = server;
	return recheck_start(&s->recheck, s->o.loop, s->o.gate, s->o.cluster,
	    server, s->o.metrics);
}

static void
maybe_done(struct service *s)
{
	void (*done)(void *) = s->done;

	if (!s->stopping || s->busy > 0 || s->recheck != NULL || done == NULL)
		return;
	s->done = NULL;
	done(s->done_cookie);
}

static void
recheck_stopped(void *cookie)
{
	struct service *s = cookie;

	s->recheck = NULL;
	maybe_done(s);
}

void
service_stop(struct service *s, void (*done)(void *), void *cookie)
{
	s->stopping = true;
	s->done = done;
	s->done_cookie = cookie;
	if (s->recheck != NULL)
		recheck_stop(s->recheck, recheck_stopped, s);
	maybe_done(s);
}

void
service_free(struct service *s)
{
	free(s);
}

static void
job_free(struct job *j)
{
	msg_request_free(j->request);
	buf_wipe(&j->reply);
	free(j->epochs);
	free(j);
}

static void
log_job(const struct job *j, const struct rule *r, uint64_t us)
{
	const char *name = request_kind_text(r->kind);

	/* The link has said more about it. */
	if (j->err == ERR_OK && r->kind == RQ_PEER_HELLO)
		return;
	if (j->err == ERR_OK)
		log_event(LOG_INFO, name,
		    log_hex("app", j->caller.boot.app_id, 20),
		    log_hex("device", j->caller.boot.device_id, 32),
		    log_hex("compose", j->caller.boot.compose_hash, 32),
		    log_u64("epoch", j->epoch),
		    log_u64("block", j->decision.block.number),
		    log_u64("us", us));
	else
		log_event(LOG_WARN, "refused", log_str("request", name),
		    log_hex("app", j->caller.boot.app_id, 20),
		    log_hex("device", j->caller.boot.device_id, 32),
		    log_hex("compose", j->caller.boot.compose_hash, 32),
		    log_why(&j->why));
}

/* The detail stays here, but for a contract's own words, and for what the
 * registry says of epochs, which its app's owner has to know. */
static const char *
told(const struct refusal *why)
{
	return why->code == REASON_CONTRACT_OTHER ||
		why->code == REASON_EPOCH_UNKNOWN ||
		why->code == REASON_EPOCH_CLOSED
	    ? why->detail
	    : NULL;
}

/* For old data alone: whoever still needs it shall be seen. */
static void
note_tainted(const struct job *j, const struct rule *r)
{
	atomic_fetch_add(&j->o->metrics->tainted, 1);
	log_event(LOG_WARN, "tainted_epoch",
	    log_str("request", request_kind_text(r->kind)),
	    log_hex("app", j->caller.boot.app_id, 20),
	    log_u64("epoch", j->epoch), log_u64("pinned", j->pinned),
	    log_u64("block", j->decision.block.number));
}

/* Sends the reply, or the refusal, and forgets the job. */
static void
conclude(struct job *j)
{
	struct service *s = j->service;
	const struct rule *r = rule_of(j);
	uint64_t us = uv_hrtime() / 1000 - j->started_us;

	/* The last thing that is asked: a node that may have been shown an old
	 * chain gives nothing away. */
	if (j->err == ERR_OK && r->leased)
		j->err = cluster_may_release(
		    s->o.cluster, j->decision.block.number, &j->why);
	if (j->err == ERR_OK) {
		atomic_fetch_add(&s->o.metrics->answered[r->kind], 1);
		if (r->kind == RQ_GET_APP_KEYS)
			metrics_latency(s->o.metrics, us);
		if (j->tainted)
			note_tainted(j, r);
	} else {
		if (j->why.code == REASON_NONE)
			(void)refuse(
			    &j->why, REASON_INTERNAL, "%s", err_text(j->err));
		atomic_fetch_add(&s->o.metrics->refusals[j->why.code], 1);
		buf_wipe(&j->reply);
		if (msg_error_pack(&j->reply, j->request->id, j->why.code,
			told(&j->why)) != ERR_OK)
			/* Nobody may wait for an answer that does not come. */
			channel_server_drop(s->server, j->conn, j->why.code);
	}
	log_job(j, r, us);
	if (j->reply.len > 0 &&
	    channel_server_reply(s->server, j->conn, buf_view(&j->reply)) !=
		ERR_OK &&
	    for_links(r))
		/* It closed while the chain was asked. */
		service_on_close(s, j->conn);
	job_free(j);
}

static void
on_fresh(void *cookie, const struct cluster_outcome *o)
{
	struct job *j = cookie;

	j->err = o->err == ERR_OK ? cluster_serves(j->o->cluster, &j->why)
				  : ERR_DENIED;
	if (o->err != ERR_OK)
		j->why = o->why;
	job_resume(j);
}

/* What rests on this node's state leaves only if a quorum has confirmed it a
 * moment ago; else it waits for one (DESIGN 6, "Leases and frozen VMs"). */
static void
answer_fresh(struct job *j)
{
	struct refusal why = { 0 };

	if (j->err != ERR_OK || !rule_of(j)->fresh ||
	    cluster_serves(j->o->cluster, &why) == ERR_OK) {
		conclude(j);
		return;
	}
	j->waiting = true;
	j->service->busy++;
	cluster_read(j->o->cluster, on_fresh, j);
}

static void
answer(struct job *j)
{
	const struct rule *r = rule_of(j);

	if (j->err == ERR_OK && r->finish != NULL) {
		j->service->busy++;
		j->err = r->finish(j);
		if (j->waiting)
			return;
		j->service->busy--;
	}
	answer_fresh(j);
}

void
job_resume(struct job *j)
{
	struct service *s = j->service;

	s->busy--;
	conclude(j);
	maybe_done(s);
}

static void
run_job(uv_work_t *w)
{
	struct job *j = w->data;

	j->err = rule_of(j)->work(j);
}

static void
after_job(uv_work_t *w, int status)
{
	struct job *j = w->data;

	struct service *s = j->service;

	s->busy--;
	if (status != 0)
		j->err = ERR_AGAIN;
	answer(j);
	maybe_done(s);
}

/* A request that never becomes a job. */
static void
refuse_now(struct service *s, const struct channel_caller *who, uint64_t id,
    const struct refusal *why)
{
	struct buf b = { 0 };

	log_event(LOG_WARN, "refused",
	    log_hex("app", who->peer->boot.app_id, 20), log_why(why));
	atomic_fetch_add(&s->o.metrics->refusals[why->code], 1);
	if (msg_error_pack(&b, id, why->code, NULL) == ERR_OK)
		(void)!channel_server_reply(s->server, who->conn, buf_view(&b));
	else /* nobody may wait for an answer that does not come */
		channel_server_drop(s->server, who->conn, why->code);
	buf_fini(&b);
}

static void
turn_away(struct service *s, const struct channel_caller *who, uint64_t id,
    enum reason code)
{
	struct refusal why;

	(void)refuse(&why, code, "role %d, phase %s", (int)who->role,
	    cluster_phase_text(cluster_phase(s->o.cluster)));
	refuse_now(s, who, id, &why);
}

/* A batch of a peer's messages: no worker, no chain. */
static void
answer_batch(
    struct service *s, const struct channel_caller *who, const KmsRequest *m)
{
	struct buf reply = { 0 };
	struct refusal why = { 0 };
	enum err e =
	    links_request(cluster_links(s->o.cluster), who, m, &reply, &why);

	if (e == ERR_OK) {
		atomic_fetch_add(&s->o.metrics->answered[RQ_PEER_BATCH], 1);
		/* NOTFOUND: the link was dropped for what it said. */
		(void)!channel_server_reply(
		    s->server, who->conn, buf_view(&reply));
	} else {
		if (why.code == REASON_NONE)
			(void)refuse(&why, REASON_INTERNAL, "%s", err_text(e));
		refuse_now(s, who, m->id, &why);
	}
	buf_fini(&reply);
}

void
service_on_close(void *cookie, uint64_t conn)
{
	struct service *s = cookie;

	links_closed(cluster_links(s->o.cluster), conn);
}

void
service_on_request(
    void *cookie, const struct channel_caller *who, struct bytes request)
{
	struct service *s = cookie;
	const struct rule *r;
	KmsRequest *m = NULL;
	struct job *j;
	enum err e;

	if ((e = msg_request_parse(&m, request)) != ERR_OK) {
		channel_server_drop(s->server, who->conn,
		    e == ERR_NOMEM ? REASON_BUSY : REASON_REQUEST);
		return;
	}
	r = find_rule(m->body_case);
	if (r == NULL || ((r->roles & 1u << who->role) == 0 && !PLANTED(11))) {
		turn_away(s, who, m->id, REASON_WRONG_ROLE);
		goto done;
	}
	atomic_fetch_add(&s->o.metrics->requests[r->kind], 1);
	if (who->over_rate) {
		turn_away(s, who, m->id, REASON_RATE);
		goto done;
	}
	if (s->stopping ||
	    (r->needs_ready && cluster_phase(s->o.cluster) != PHASE_READY)) {
		turn_away(s, who, m->id, REASON_NOT_READY);
		goto done;
	}
	if (r->kind == RQ_PEER_BATCH) {
		answer_batch(s, who, m);
		goto done;
	}
	if (s->busy >= MAX_BUSY || (j = calloc(1, sizeof *j)) == NULL) {
		turn_away(s, who, m->id, REASON_BUSY);
		goto done;
	}
	j->service = s;
	j->o = &s->o;
	j->conn = who->conn;
	j->caller = *who->peer;
	memcpy(j->handshake_hash, who->handshake_hash, 32);
	j->request = m;
	m = NULL; /* transferred */
	j->started_us = uv_hrtime() / 1000;
	j->now = clock_wall_s();
	j->epochs = cluster_copy_epochs(s->o.cluster, &j->n_epochs);
	if (j->epochs == NULL)
		j->err = ERR_NOMEM;
	j->work.data = j;
	if (j->err != ERR_OK || r->work == NULL) {
		answer(j);
	} else if (uv_queue_work(s->o.loop, &j->work, run_job, after_job) ==
	    0) {
		s->busy++;
	} else {
		j->err = ERR_AGAIN;
		answer(j);
	}
done:
	msg_request_free(m);
}
