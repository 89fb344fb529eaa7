#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/wr.h"
#include "common/crypto/hash.h"
#include "common/eth/rpc.h"
#include "common/net/httpd.h"
#include "tests/lib/mock_chain.h"

#define RULES_MAX 24
#define METHODS_MAX 16
#define HUGE_LEN (2u << 20)
#define KNOWS_MAX 4096 /* blocks back from the latest */
#define SELECTORS_MAX 32
#define SENT_MAX 40

struct rule {
	char method[40]; /* or "" for an eth_call of `selector` */
	uint32_t selector;
	bool one; /* of calls of `to` alone */
	uint8_t to[20];
	char *member; /* owns: JSON text */
};

struct seen {
	char method[40];
	unsigned n;
};

struct end {
	struct mock_chain *m;
	struct httpd *httpd;
	char url[64];
	enum mock_mode mode;
	unsigned held;
	uint64_t chain_id, latest, safe, finalized;
	uint64_t fork_at;
	uint8_t fork_seed;
	struct rule rule[RULES_MAX];
	unsigned n_rules;
	struct seen seen[METHODS_MAX];
	struct called {
		uint8_t to[20];
		uint32_t selector;
		unsigned n;
	} called[SELECTORS_MAX]; /* n = 0: free */
	struct buf sent[SENT_MAX]; /* owns: transactions */
	unsigned n_sent;
	uint32_t hold; /* calls of this selector wait; 0: none do */
	unsigned held_calls;
};

struct mock_chain {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct end end[LIMIT_CHAIN_ENDPOINTS];
	const char *url[LIMIT_CHAIN_ENDPOINTS];
	unsigned n;
};

/* Every setter runs for one endpoint or for all, under the lock. */
#define EACH(m, i, e) \
	for (unsigned k_ = 0; k_ < (m)->n; k_++) \
		for (struct end *e = &(m)->end[k_]; \
		     e != NULL && ((i) == MOCK_ALL || (i) == k_); e = NULL)

static void
lock(struct mock_chain *m)
{
	assert(pthread_mutex_lock(&m->lock) == 0);
}

static void
unlock(struct mock_chain *m)
{
	assert(pthread_cond_broadcast(&m->changed) == 0);
	assert(pthread_mutex_unlock(&m->lock) == 0);
}

static struct chain_block
block_of(const struct end *e, uint64_t number)
{
	struct chain_block b = { .number = number,
		.timestamp = MOCK_TIME(number) };
	uint8_t in[9];
	struct wr w = { .p = in, .cap = sizeof in };

	wr_be64(&w, number);
	wr_u8(&w, number >= e->fork_at ? e->fork_seed : 0);
	sha256(b.hash, in, sizeof in);
	return b;
}

static void
put_block(struct buf *out, const struct end *e, uint64_t number)
{
	struct chain_block b = block_of(e, number);
	char hash[65];

	assert(
	    buf_printf(out,
		"\"result\":{\"number\":\"0x%" PRIx64
		"\",\"hash\":\"0x%s\",\"timestamp\":\"0x%" PRIx64
		"\",\"baseFeePerGas\":\"0x7\",\"transactions\":[]}",
		b.number, hex_encode(hash, b.hash, 32), b.timestamp) == ERR_OK);
}

static void
put_text(struct buf *out, const char *text)
{
	assert(buf_append(out, text, strlen(text), HUGE_LEN) == ERR_OK);
}

static void
get_block(struct buf *out, const struct end *e, const json_t *params)
{
	const json_t *which = json_array_get(params, 0);
	const char *tag = json_string_value(which);
	uint64_t n;

	assert(tag != NULL);
	if (strcmp(tag, "latest") == 0)
		n = e->latest;
	else if (strcmp(tag, "safe") == 0)
		n = e->safe;
	else if (strcmp(tag, "finalized") == 0)
		n = e->finalized;
	else
		assert(rpc_quantity(&n, which) == ERR_OK);
	if (n > e->latest)
		put_text(out, "\"result\":null");
	else
		put_block(out, e, n);
}

/* EIP-1898: the block must be on this endpoint's chain. */
static bool
knows(const struct end *e, const json_t *at)
{
	uint8_t hash[32];

	assert(json_is_true(json_object_get(at, "requireCanonical")));
	assert(rpc_fixed(hash, 32, json_object_get(at, "blockHash")) == ERR_OK);
	for (uint64_t n = e->latest + 1; n-- > 0 && e->latest - n < KNOWS_MAX;)
		if (memcmp(block_of(e, n).hash, hash, 32) == 0)
			return true;
	return false;
}

static uint32_t
selector_of(const json_t *params)
{
	const json_t *tx = json_array_get(params, 0);
	struct buf data = { 0 };
	uint32_t sel;

	assert(
	    rpc_data(&data, 1u << 20, json_object_get(tx, "data")) == ERR_OK);
	assert(data.len >= 4);
	sel = (uint32_t)data.p[0] << 24 | (uint32_t)data.p[1] << 16 |
	    (uint32_t)data.p[2] << 8 | data.p[3];
	buf_fini(&data);
	return sel;
}

static void
contract_of(uint8_t to[static 20], const json_t *params)
{
	const json_t *tx = json_array_get(params, 0);

	assert(rpc_fixed(to, 20, json_object_get(tx, "to")) == ERR_OK);
}

static void
call(struct buf *out, const struct end *e, const json_t *params)
{
	uint32_t sel = selector_of(params);
	const struct rule *found = NULL;
	uint8_t to[20];

	contract_of(to, params);

	if (!knows(e, json_array_get(params, 1))) {
		put_text(out,
		    "\"error\":{\"code\":-32000,\"message\":"
		    "\"header not found\"}");
		return;
	}
	for (unsigned i = e->n_rules; i-- > 0;) {
		const struct rule *r = &e->rule[i];

		if (r->method[0] != '\0' || r->selector != sel ||
		    (r->one && memcmp(r->to, to, sizeof to) != 0))
			continue;
		if (found == NULL || (r->one && !found->one))
			found = r;
	}
	put_text(out, found != NULL ? found->member : "\"result\":\"0x\"");
}

static void
member(struct buf *out, const struct end *e, const char *method,
    const json_t *params)
{
	for (unsigned i = e->n_rules; i-- > 0;)
		if (strcmp(e->rule[i].method, method) == 0) {
			put_text(out, e->rule[i].member);
			return;
		}
	if (strcmp(method, "eth_chainId") == 0)
		assert(buf_printf(out, "\"result\":\"0x%" PRIx64 "\"",
			   e->chain_id) == ERR_OK);
	else if (strcmp(method, "eth_getBlockByNumber") == 0)
		get_block(out, e, params);
	else if (strcmp(method, "eth_call") == 0)
		call(out, e, params);
	else
		put_text(out,
		    "\"error\":{\"code\":-32601,\"message\":"
		    "\"Method not found\"}");
}

static void
note(struct end *e, const char *method)
{
	for (unsigned i = 0; i < METHODS_MAX; i++) {
		struct seen *s = &e->seen[i];

		if (s->n == 0)
			(void)snprintf(
			    s->method, sizeof s->method, "%s", method);
		if (strcmp(s->method, method) == 0) {
			s->n++;
			return;
		}
	}
	abort();
}

static void
note_sent(struct end *e, const json_t *params)
{
	if (e->n_sent < SENT_MAX)
		assert(rpc_data(&e->sent[e->n_sent++], 1u << 18,
			   json_array_get(params, 0)) == ERR_OK);
}

static void
note_call(struct end *e, const json_t *params)
{
	uint32_t selector = selector_of(params);
	uint8_t to[20];

	contract_of(to, params);
	for (unsigned i = 0; i < SELECTORS_MAX; i++) {
		struct called *c = &e->called[i];

		if (c->n > 0 &&
		    (c->selector != selector || memcmp(c->to, to, 20) != 0))
			continue;
		memcpy(c->to, to, 20);
		c->selector = selector;
		c->n++;
		break;
	}
	while (e->hold == selector) {
		e->held_calls++;
		assert(pthread_cond_broadcast(&e->m->changed) == 0);
		assert(pthread_cond_wait(&e->m->changed, &e->m->lock) == 0);
		e->held_calls--;
	}
}

static void
answer(struct end *e, const struct httpd_request *rq, struct httpd_reply *rp)
{
	json_t *v = NULL;
	const char *method, *version;
	uint64_t id;

	assert(strcmp(rq->method, "POST") == 0);
	assert(strcmp(rq->content_type, "application/json") == 0);
	assert(json_parse(&v, rq->body.p, rq->body.len, 1u << 20, NULL, 0) ==
	    ERR_OK);
	assert(json_get_str(&version, v, "jsonrpc") == ERR_OK &&
	    strcmp(version, "2.0") == 0);
	assert(json_get_str(&method, v, "method") == ERR_OK);
	assert(json_get_u64(&id, v, "id") == ERR_OK);
	note(e, method);
	if (strcmp(method, "eth_call") == 0)
		note_call(e, json_object_get(v, "params"));
	if (strcmp(method, "eth_sendRawTransaction") == 0)
		note_sent(e, json_object_get(v, "params"));
	while (e->mode == MOCK_HELD) {
		e->held++;
		assert(pthread_cond_broadcast(&e->m->changed) == 0);
		assert(pthread_cond_wait(&e->m->changed, &e->m->lock) == 0);
		e->held--;
	}
	if (e->mode == MOCK_OTHER_ID)
		id += 1000000;
	assert(buf_printf(&rp->body, "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",",
		   id) == ERR_OK);
	member(&rp->body, e, method, json_object_get(v, "params"));
	put_text(&rp->body, "}");
	json_decref(v);
}

static void
handler(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	struct end *e = cookie;

	lock(e->m);
	answer(e, rq, rp);
	switch (e->mode) {
	case MOCK_GARBAGE:
		assert(buf_set(&rp->body, "\xff<html>", 7) == ERR_OK);
		break;
	case MOCK_HUGE:
		assert(buf_reserve(&rp->body, HUGE_LEN) == ERR_OK);
		memset(rp->body.p + rp->body.len, ' ', HUGE_LEN - rp->body.len);
		rp->body.len = HUGE_LEN;
		break;
	case MOCK_HTTP_500:
		rp->status = 500;
		break;
	case MOCK_FINE:
	case MOCK_OTHER_ID:
	case MOCK_HELD:
		break;
	}
	assert(pthread_mutex_unlock(&e->m->lock) == 0);
}

struct mock_chain *
mock_chain_new(unsigned n, uint64_t chain_id)
{
	const struct httpd_options o = { .host = "127.0.0.1",
		.max_body = 1u << 20,
		.max_connections = 64,
		.timeout_s = 30,
		.threads = 64 };
	struct mock_chain *m = calloc(1, sizeof *m);

	assert(m != NULL && n <= LIMIT_CHAIN_ENDPOINTS);
	assert(pthread_mutex_init(&m->lock, NULL) == 0);
	assert(pthread_cond_init(&m->changed, NULL) == 0);
	m->n = n;
	for (unsigned i = 0; i < n; i++) {
		struct end *e = &m->end[i];

		e->m = m;
		e->chain_id = chain_id;
		e->fork_at = UINT64_MAX;
		assert(httpd_start(&e->httpd, &o, handler, e) == ERR_OK);
		(void)snprintf(e->url, sizeof e->url, "http://127.0.0.1:%u/key",
		    httpd_port(e->httpd));
		m->url[i] = e->url;
	}
	return m;
}

void
mock_chain_free(struct mock_chain *m)
{
	if (m == NULL)
		return;
	mock_mode(m, MOCK_ALL, MOCK_FINE);
	mock_hold(m, MOCK_ALL, 0);
	for (unsigned i = 0; i < m->n; i++) {
		httpd_stop(m->end[i].httpd);
		for (unsigned k = 0; k < m->end[i].n_rules; k++)
			free(m->end[i].rule[k].member);
		for (unsigned k = 0; k < m->end[i].n_sent; k++)
			buf_fini(&m->end[i].sent[k]);
	}
	assert(pthread_cond_destroy(&m->changed) == 0);
	assert(pthread_mutex_destroy(&m->lock) == 0);
	free(m);
}

const char *const *
mock_urls(const struct mock_chain *m)
{
	return m->url;
}

void
mock_mode(struct mock_chain *m, unsigned i, enum mock_mode mode)
{
	lock(m);
	EACH(m, i, e)
	{
		e->mode = mode;
	}
	unlock(m);
}

void
mock_down(struct mock_chain *m, unsigned i)
{
	EACH(m, i, e)
	{
		httpd_stop(e->httpd);
		e->httpd = NULL;
	}
}

void
mock_wait_held(struct mock_chain *m, unsigned i)
{
	assert(i < m->n);
	lock(m);
	while (m->end[i].held == 0)
		assert(pthread_cond_wait(&m->changed, &m->lock) == 0);
	assert(pthread_mutex_unlock(&m->lock) == 0);
}

void
mock_hold(struct mock_chain *m, unsigned i, uint32_t selector)
{
	lock(m);
	EACH(m, i, e)
	{
		e->hold = selector;
	}
	unlock(m);
}

void
mock_wait_held_call(struct mock_chain *m, unsigned i)
{
	assert(i < m->n);
	lock(m);
	while (m->end[i].held_calls == 0)
		assert(pthread_cond_wait(&m->changed, &m->lock) == 0);
	assert(pthread_mutex_unlock(&m->lock) == 0);
}

void
mock_chain_id(struct mock_chain *m, unsigned i, uint64_t id)
{
	lock(m);
	EACH(m, i, e)
	{
		e->chain_id = id;
	}
	unlock(m);
}

void
mock_head(struct mock_chain *m, unsigned i, uint64_t latest, uint64_t safe,
    uint64_t finalized)
{
	lock(m);
	EACH(m, i, e)
	{
		e->latest = latest;
		e->safe = safe;
		e->finalized = finalized;
	}
	unlock(m);
}

void
mock_fork(struct mock_chain *m, unsigned i, uint64_t number, uint8_t seed)
{
	lock(m);
	EACH(m, i, e)
	{
		e->fork_at = number;
		e->fork_seed = seed;
	}
	unlock(m);
}

struct chain_block
mock_block(struct mock_chain *m, unsigned i, uint64_t number)
{
	struct chain_block b;

	assert(i < m->n);
	lock(m);
	b = block_of(&m->end[i], number);
	unlock(m);
	return b;
}

/* Later rules win; one of the same key is replaced. */
static void
add_rule(struct mock_chain *m, unsigned i, const char *method,
    const uint8_t *to, uint32_t selector, const char *text)
{
	static const uint8_t any[20];
	const uint8_t *at = to != NULL ? to : any;

	lock(m);
	EACH(m, i, e)
	{
		unsigned k = 0;

		while (k < e->n_rules &&
		    (strcmp(e->rule[k].method, method) != 0 ||
			e->rule[k].selector != selector ||
			e->rule[k].one != (to != NULL) ||
			memcmp(e->rule[k].to, at, 20) != 0))
			k++;
		assert(k < RULES_MAX);
		if (k == e->n_rules)
			e->n_rules++;
		else
			free(e->rule[k].member);
		(void)snprintf(
		    e->rule[k].method, sizeof e->rule[k].method, "%s", method);
		e->rule[k].selector = selector;
		e->rule[k].one = to != NULL;
		memcpy(e->rule[k].to, at, 20);
		assert((e->rule[k].member = strdup(text)) != NULL);
	}
	unlock(m);
}

static void
add_answer(struct mock_chain *m, unsigned i, const uint8_t *to,
    uint32_t selector, const void *data, size_t len)
{
	struct buf b = { 0 };
	char *hex = malloc(2 * len + 1);

	assert(hex != NULL);
	assert(buf_printf(&b, "\"result\":\"0x%s\"",
		   hex_encode(hex, data, len)) == ERR_OK);
	add_rule(m, i, "", to, selector, (char *)b.p);
	free(hex);
	buf_fini(&b);
}

void
mock_answer(struct mock_chain *m, unsigned i, uint32_t selector,
    const void *data, size_t len)
{
	add_answer(m, i, NULL, selector, data, len);
}

void
mock_answer_at(struct mock_chain *m, unsigned i, const uint8_t to[static 20],
    uint32_t selector, const void *data, size_t len)
{
	add_answer(m, i, to, selector, data, len);
}

void
mock_error(struct mock_chain *m, unsigned i, uint32_t selector, int code,
    const char *message)
{
	struct buf b = { 0 };

	assert(buf_printf(&b, "\"error\":{\"code\":%d,\"message\":\"%s\"}",
		   code, message) == ERR_OK);
	add_rule(m, i, "", NULL, selector, (char *)b.p);
	buf_fini(&b);
}

void
mock_canned(
    struct mock_chain *m, unsigned i, const char *method, const char *text)
{
	add_rule(m, i, method, NULL, 0, text);
}

unsigned
mock_count(struct mock_chain *m, unsigned i, const char *method)
{
	unsigned n = 0;

	assert(i < m->n);
	lock(m);
	for (unsigned k = 0; k < METHODS_MAX; k++)
		if (method == NULL ||
		    strcmp(m->end[i].seen[k].method, method) == 0)
			n += m->end[i].seen[k].n;
	unlock(m);
	return n;
}

unsigned
mock_count_calls(struct mock_chain *m, unsigned i, uint32_t selector)
{
	unsigned n = 0;

	assert(i < m->n);
	lock(m);
	for (unsigned k = 0; k < SELECTORS_MAX; k++)
		if (m->end[i].called[k].selector == selector)
			n += m->end[i].called[k].n;
	unlock(m);
	return n;
}

unsigned
mock_count_calls_at(struct mock_chain *m, unsigned i,
    const uint8_t to[static 20], uint32_t selector)
{
	unsigned n = 0;

	assert(i < m->n);
	lock(m);
	for (unsigned k = 0; k < SELECTORS_MAX; k++)
		if (m->end[i].called[k].selector == selector &&
		    memcmp(m->end[i].called[k].to, to, 20) == 0)
			n += m->end[i].called[k].n;
	unlock(m);
	return n;
}

size_t
mock_sent(
    struct mock_chain *m, unsigned i, unsigned k, uint8_t *out, size_t cap)
{
	size_t n = 0;

	assert(i < m->n);
	lock(m);
	if (k < m->end[i].n_sent) {
		n = m->end[i].sent[k].len;
		assert(n <= cap);
		memcpy(out, m->end[i].sent[k].p, n);
	}
	unlock(m);
	return n;
}
