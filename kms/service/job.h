/* job: one request under way, and what the rows of the table do. */
#ifndef KMS_SERVICE_JOB_H
#define KMS_SERVICE_JOB_H

#include "kms/service/service.h"

struct job {
	uv_work_t work;
	struct service *service; /* borrows, as `o` */
	const struct service_options *o;
	uint64_t conn;
	struct attested caller;
	uint8_t handshake_hash[32];
	KmsRequest *request; /* owns */
	uint64_t started_us;
	int64_t now; /* unix seconds at arrival */
	struct ledger_epoch *epochs; /* owns: a copy */
	size_t n_epochs;
	/* Outcome. */
	enum err err;
	struct refusal why;
	struct buf reply; /* owns; may hold keys */
	uint64_t epoch; /* whose keys it is about */
	uint64_t pinned; /* of the app */
	bool tainted; /* that epoch is */
	struct gate_decision decision;
	bool waiting; /* `finish` has asked the cluster: job_resume comes */
};

/* ERR_OK: j->reply is packed (or `finish` packs it); else j->why.  A `finish`
 * that asks the cluster sets j->waiting, and calls job_resume when j->err is
 * known. */
typedef enum err job_fn(struct job *j);

/* On a worker. */
job_fn job_app_keys, job_sign_cert, job_join, job_peer_allowed, job_app_allowed,
    job_env_pub;
/* On the loop. */
job_fn job_meta, job_join_finish, job_peer_hello, job_counter_get,
    job_counter_increment;

/* On the loop. */
void job_resume(struct job *j);

#endif
