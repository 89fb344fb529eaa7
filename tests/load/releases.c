/* releases DIR APP NAME STOP: an app CVM that asks for its keys over and over,
 * on sessions that stay open, until a file named STOP is there; beside a
 * rotation (tests/e2e/rotate.sh).
 *
 * One answer that is not a good one of the epoch that the app is pinned to is
 * a failure.  A node that is gone is not: the next one is asked, as agents do;
 * if none answers for TIMEOUT_MS, that is.  Prints
 *   {"releases", "failed", "moves": to another node, "epochs": {"0": n, ...},
 *    "longest_ms", "why": of the last move} */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "node/agent/release.h"
#include "tests/lib/app_cvm.h"

#define TIMEOUT_MS 10000
#define EPOCHS 64
#define PAUSE_MS 10

struct load {
	struct app_cvm *cvm;
	struct release_terms terms;
	void *conn; /* owns, or NULL */
	unsigned url; /* of the node it leads to */
	uint64_t asked, releases, failed, moves, longest_ms;
	uint64_t by_epoch[EPOCHS];
	struct refusal why; /* of the last move, or failure */
};

static void
hang_up(struct load *l)
{
	struct kms_transport *t = &l->cvm->transport;

	if (l->conn != NULL)
		t->close(t->cookie, l->conn);
	l->conn = NULL;
}

static enum err
once(struct load *l, struct refusal *why)
{
	Devproof__Kms__V1__GetAppKeys get =
	    DEVPROOF__KMS__V1__GET_APP_KEYS__INIT;
	struct kms_transport *t = &l->cvm->transport;
	KmsRequest rq = DEVPROOF__KMS__V1__REQUEST__INIT;
	struct buf text = { 0 }, in = { 0 };
	struct app_release keys = { .epoch = 0 };
	KmsReply *reply = NULL;
	enum err e = ERR_OK;

	rq.id = ++l->asked;
	rq.body_case = DEVPROOF__KMS__V1__REQUEST__BODY_GET_APP_KEYS;
	rq.get_app_keys = &get;
	if (l->conn == NULL)
		e = t->open(t->cookie, &l->conn, l->cvm->config.kms_url[l->url],
		    TIMEOUT_MS, why);
	if (e != ERR_OK || (e = msg_request_pack(&text, &rq)) != ERR_OK ||
	    (e = t->call(t->cookie, l->conn, &in, buf_view(&text), TIMEOUT_MS,
		 why)) != ERR_OK ||
	    (e = msg_reply_parse(&reply, buf_view(&in))) != ERR_OK ||
	    (e = msg_reply_refusal(reply, why)) != ERR_OK)
		goto done;
	if (reply->body_case != DEVPROOF__KMS__V1__REPLY__BODY_APP_KEYS)
		e = refuse(why, REASON_INTERNAL, "another answer");
	else
		e = release_verify(
		    &keys, reply->app_keys, &l->terms, NULL, why);
	if (e == ERR_OK && keys.epoch < EPOCHS)
		l->by_epoch[keys.epoch]++;
done:
	release_wipe(&keys);
	msg_reply_free(reply);
	buf_wipe(&in);
	buf_fini(&text);
	return e;
}

/* A refusal is the cluster's word; silence is one node's. */
static void
one_release(struct load *l)
{
	uint64_t start = clock_mono_ms(), took;

	for (;;) {
		struct refusal why = { .code = REASON_NONE };
		enum err e = once(l, &why);

		took = clock_mono_ms() - start;
		if (e == ERR_OK) {
			l->releases++;
			break;
		}
		hang_up(l);
		l->url = (l->url + 1) % l->cvm->config.n_kms_urls;
		l->moves++;
		l->why = why;
		if (took > TIMEOUT_MS) {
			l->failed++;
			break;
		}
		(void)nanosleep(
		    &(struct timespec){ .tv_nsec = PAUSE_MS * 1000000 }, NULL);
	}
	if (took > l->longest_ms)
		l->longest_ms = took;
}

static void
tell(const struct load *l)
{
	const char *comma = "";

	(void)printf("{\"releases\":%" PRIu64 ",\"failed\":%" PRIu64
		     ",\"moves\":%" PRIu64 ",\"longest_ms\":%" PRIu64
		     ",\"epochs\":{",
	    l->releases, l->failed, l->moves, l->longest_ms);
	for (unsigned i = 0; i < EPOCHS; i++) {
		if (l->by_epoch[i] == 0)
			continue;
		(void)printf("%s\"%u\":%" PRIu64, comma, i, l->by_epoch[i]);
		comma = ",";
	}
	(void)printf("},\"why\":\"%s\",\"detail\":\"%.100s\"}\n",
	    reason_label(l->why.code), l->why.detail);
}

int
main(int argc, char *argv[])
{
	struct refusal why = { .code = REASON_NONE };
	struct load l = { .asked = 0 };
	const struct agent_config *c;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: releases DIR APP NAME STOP\n");
		return 2;
	}
	log_set_program("releases");
	log_set_level(LOG_ERROR);
	(void)signal(SIGPIPE, SIG_IGN);
	if (secret_process_init() != ERR_OK)
		return 1;
	if (app_cvm_boot(&l.cvm, argv[1], argv[2], argv[3], &why) != ERR_OK) {
		(void)fprintf(stderr, "releases: %s: %s\n",
		    reason_label(why.code), why.detail);
		return 1;
	}
	c = &l.cvm->config;
	l.terms.chain_id = c->chain_id;
	l.terms.root = c->kms_root;
	memcpy(l.terms.app_id, l.cvm->identity.app_id, 20);
	memcpy(l.terms.kms_contract, c->kms_contract, 20);
	l.terms.has_registry = c->has_registry;
	memcpy(l.terms.registry, c->kms_registry, 20);
	l.terms.n_anchor_signers = c->n_anchor_signers;
	memcpy(l.terms.anchor_signer, c->anchor_signer,
	    sizeof l.terms.anchor_signer);
	while (access(argv[4], F_OK) != 0) {
		one_release(&l);
		(void)nanosleep(
		    &(struct timespec){ .tv_nsec = PAUSE_MS * 1000000 }, NULL);
	}
	hang_up(&l);
	tell(&l);
	app_cvm_free(l.cvm);
	return l.failed == 0 ? 0 : 1;
}
