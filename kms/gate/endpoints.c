#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "kms/gate/endpoints.h"

/* How long a silent endpoint is left out.  Long against a timeout, short
 * against an operator who has just repaired it. */
#define REST_MS 30000u
/* How often one endpoint's oddities are told, whatever their number. */
#define TELL_MS 60000u

struct endpoint {
	char *url; /* owns */
	char label[ENDPOINT_LABEL_MAX];
	_Atomic uint64_t rest_until_ms; /* 0: answered when last asked */
	_Atomic uint64_t odd[ENDPOINT_ODD_KINDS];
	_Atomic uint64_t told_ms[ENDPOINT_ODD_KINDS]; /* 0: never */
};

struct endpoints {
	struct endpoint e[LIMIT_CHAIN_ENDPOINTS];
	unsigned n;
	unsigned timeout_ms;
	uint64_t (*mono_ms)(void);
};

/* The authority of the URL without user and password. */
static bool
set_label(struct endpoint *e, const char *url)
{
	const char *p, *at;
	size_t n;

	if (strncmp(url, "http://", 7) == 0)
		p = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		p = url + 8;
	else
		return false;
	n = strcspn(p, "/?#");
	while ((at = memchr(p, '@', n)) != NULL) {
		n -= (size_t)(at + 1 - p);
		p = at + 1;
	}
	(void)snprintf(e->label, sizeof e->label, "%.*s", (int)n, p);
	return n > 0;
}

static enum err
add(struct endpoints *es, const char *url)
{
	struct endpoint *e = &es->e[es->n];

	/* The same endpoint twice would be two votes of one voice. */
	for (unsigned i = 0; i < es->n; i++)
		if (strcmp(es->e[i].url, url) == 0)
			return ERR_CONFIG;
	if (!set_label(e, url))
		return ERR_CONFIG;
	if ((e->url = strdup(url)) == NULL)
		return ERR_NOMEM;
	es->n++;
	return ERR_OK;
}

enum err
endpoints_new(struct endpoints **out, const char *const *url, unsigned n,
    unsigned timeout_ms, uint64_t (*mono_ms)(void))
{
	struct endpoints *es;
	enum err e = ERR_OK;

	if (n == 0 || n > LIMIT_CHAIN_ENDPOINTS || timeout_ms == 0)
		return ERR_CONFIG;
	if ((es = calloc(1, sizeof *es)) == NULL)
		return ERR_NOMEM;
	es->timeout_ms = timeout_ms;
	es->mono_ms = mono_ms;
	for (unsigned i = 0; e == ERR_OK && i < n; i++)
		e = add(es, url[i]);
	if (e != ERR_OK) {
		endpoints_free(es);
		return e;
	}
	*out = es;
	return ERR_OK;
}

void
endpoints_free(struct endpoints *es)
{
	if (es == NULL)
		return;
	for (unsigned i = 0; i < es->n; i++)
		free(es->e[i].url);
	free(es);
}

unsigned
endpoints_count(const struct endpoints *es)
{
	return es->n;
}

endpoint_set
endpoints_all(const struct endpoints *es)
{
	return (endpoint_set)((1u << es->n) - 1);
}

endpoint_set
endpoints_lively(struct endpoints *es, unsigned least)
{
	uint64_t t = es->mono_ms();
	endpoint_set set = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < es->n; i++)
		if (atomic_load(&es->e[i].rest_until_ms) <= t) {
			set |= 1u << i;
			count++;
		}
	return count >= least ? set : endpoints_all(es);
}

void
endpoints_ask(struct endpoints *es, struct rpc_reply *reply,
    const struct endpoint_ask *ask, size_t n)
{
	struct rpc_request rq[LIMIT_RPC_PARALLEL];
	uint64_t t;

	if (n == 0)
		return;
	assert(n <= LIMIT_RPC_PARALLEL);
	for (size_t i = 0; i < n; i++)
		rq[i] = (struct rpc_request){
			.url = es->e[ask[i].endpoint].url,
			.method = ask[i].method,
			.params = ask[i].params,
			.timeout_ms = es->timeout_ms,
			.max_reply = ask[i].max_reply,
		};
	rpc_all(reply, rq, n);
	t = es->mono_ms();
	for (size_t i = 0; i < n; i++) {
		bool silent =
		    reply[i].err == ERR_TIMEOUT || reply[i].err == ERR_IO;

		atomic_store(&es->e[ask[i].endpoint].rest_until_ms,
		    silent ? t + REST_MS : 0);
	}
}

void
endpoints_note(struct endpoint_notes *notes, const struct endpoints *es,
    unsigned i, const char *word)
{
	size_t left = sizeof notes->text - notes->len;
	int n = snprintf(notes->text + notes->len, left, "%s%s: %s",
	    notes->len == 0 ? "" : ", ", es->e[i].label, word);

	if (n > 0)
		notes->len += (size_t)n < left ? (size_t)n : left - 1;
}

/* ---- what cannot be so ---- */

const char *
endpoint_odd_label(enum endpoint_odd kind)
{
	static const char *const label[] = {
#define X(name, text) [ENDPOINT_ODD_##name] = (text),
		ENDPOINT_ODD_LIST(X)
#undef X
	};

	return label[kind];
}

void
endpoints_odd(
    struct endpoints *es, unsigned i, enum endpoint_odd kind, const char *word)
{
	struct endpoint *e = &es->e[i];
	uint64_t now = es->mono_ms(), told = atomic_load(&e->told_ms[kind]);

	atomic_fetch_add(&e->odd[kind], 1);
	if (told != 0 && now - told < TELL_MS)
		return;
	/* Of several threads one tells it. */
	if (atomic_compare_exchange_strong(
		&e->told_ms[kind], &told, now != 0 ? now : 1))
		log_event(LOG_WARN, "endpoint_odd",
		    log_str("endpoint", e->label),
		    log_str("what", endpoint_odd_label(kind)),
		    log_str("detail", word));
}

unsigned
endpoints_counts(struct endpoint_count out[LIMIT_CHAIN_ENDPOINTS],
    const struct endpoints *es)
{
	for (unsigned i = 0; i < es->n; i++) {
		memcpy(out[i].label, es->e[i].label, sizeof out[i].label);
		for (unsigned k = 0; k < ENDPOINT_ODD_KINDS; k++)
			out[i].odd[k] = atomic_load(&es->e[i].odd[k]);
	}
	return es->n;
}
