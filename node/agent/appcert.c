#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include "node/agent/appcert.h"
#include "node/agent/rpc.h"

/* After a failure the KMS is left alone for so long. */
#define RETRY_MS 60000

struct appcert {
	struct agent_backend backend;
	pthread_mutex_t lock; /* guards all below */
	pthread_t thread;
	bool started; /* the thread is to be joined */
	bool busy;
	uint64_t tried_ms;
	struct buf pem; /* owns */
};

/* The chain of a reply to GetTlsKey. */
static enum err
read_chain(struct buf *out, const struct buf *body)
{
	json_t *v = NULL, *cert;
	size_t i;
	enum err e =
	    json_parse(&v, body->p, body->len, 4 * LIMIT_MESSAGE, NULL, 0);

	json_array_foreach(json_object_get(v, "certificate_chain"), i, cert)
	{
		if (e == ERR_OK)
			e = buf_append(out, json_string_value(cert),
			    json_string_length(cert), LIMIT_MESSAGE);
	}
	json_wipe(v);
	return e;
}

static void *
make(void *cookie)
{
	struct appcert *a = cookie;
	json_t *wish = json_pack("{s:s,s:b,s:b}", "subject", "demo-cert",
	    "usage_client_auth", 1, "usage_ra_tls", 1);
	struct rpc_reply rp = { .status = 0 };
	struct buf pem = { 0 };

	rpc_call(&a->backend, &rp, &rpc_guest, "GetTlsKey", wish, false);
	if (rp.status != 200)
		log_event(LOG_INFO, "no_app_cert", log_str("error", rp.error));
	(void)pthread_mutex_lock(&a->lock);
	if (rp.status == 200 && read_chain(&pem, &rp.body) == ERR_OK) {
		buf_fini(&a->pem);
		a->pem = pem; /* transferred */
		pem = (struct buf){ 0 };
	}
	a->tried_ms = clock_mono_ms();
	a->busy = false;
	(void)pthread_mutex_unlock(&a->lock);
	buf_fini(&pem);
	buf_wipe(&rp.body);
	json_decref(wish);
	return NULL;
}

enum err
appcert_new(struct appcert **out, const struct agent_backend *b)
{
	struct appcert *a = calloc(1, sizeof *a);

	if (a == NULL)
		return ERR_NOMEM;
	if (pthread_mutex_init(&a->lock, NULL) != 0) {
		free(a);
		return ERR_NOMEM;
	}
	a->backend = *b;
	*out = a;
	return ERR_OK;
}

void
appcert_free(struct appcert *a)
{
	if (a == NULL)
		return;
	if (a->started)
		(void)pthread_join(a->thread, NULL);
	(void)pthread_mutex_destroy(&a->lock);
	buf_fini(&a->pem);
	free(a);
}

/* Under the lock, where nothing runs: what ran before has ended. */
static void
start(struct appcert *a)
{
	if (a->started) {
		(void)pthread_join(a->thread, NULL);
		a->started = false;
	}
	if (pthread_create(&a->thread, NULL, make, a) == 0)
		a->started = a->busy = true;
}

void
appcert_get(struct appcert *a, struct buf *out)
{
	(void)pthread_mutex_lock(&a->lock);
	if (a->pem.len > 0)
		(void)!buf_append(out, a->pem.p, a->pem.len, SIZE_MAX);
	else if (!a->busy &&
	    (a->tried_ms == 0 || clock_mono_ms() - a->tried_ms > RETRY_MS))
		start(a);
	(void)pthread_mutex_unlock(&a->lock);
}
