#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include "node/agent/rpc_proto.h"
#include "node/agent/server.h"

/* An app and its sidecars, each call on its own connection: a thousand at
 * once, and as many that are ending. */
#define MAX_CONNECTIONS 2048
#define HANDLERS 8
/* A client that stops amid its request is gone within five seconds, one that
 * drips within fifteen. */
#define SILENCE_S 4
#define TOTAL_S 15

/* The public surface says so in every reply. */
#define APP_VERSION "X-App-Version: v" RPC_API_VERSION " (" RPC_REV ")"

/* What no service and no page is at: no JSON, by which clients of 0.6 know
 * that a version is not served. */
#define NOT_FOUND \
	"<!DOCTYPE html><html><head><title>404</title></head>" \
	"<body><h1>404: Not Found</h1></body></html>\n"

struct server {
	struct httpd *httpd;
	enum surface surface;
	struct agent_backend backend;
	server_page *page;
};

/* Whether the request is JSON: by method, query or content type. */
static bool
is_json(const struct httpd_request *rq)
{
	const char *json = httpd_query(rq, "json");

	if (strcmp(rq->method, "GET") == 0)
		return true;
	if (json != NULL &&
	    (json[0] == '\0' || strcmp(json, "true") == 0 ||
		strcmp(json, "1") == 0))
		return true;
	/* A parameter may follow: "application/json; charset=utf-8". */
	return strncasecmp(rq->content_type, "application/json", 16) == 0 &&
	    (rq->content_type[16] == '\0' || rq->content_type[16] == ';' ||
		rq->content_type[16] == ' ');
}

struct query {
	json_t *fields;
	bool bad;
};

/* A field that is there twice becomes a list. */
static void
add_query(void *cookie, const char *name, const char *value)
{
	struct query *q = cookie;
	json_t *old, *list;

	if (strcmp(name, "json") == 0)
		return;
	old = json_object_get(q->fields, name);
	if (old == NULL) {
		if (json_set_str(q->fields, name, value) != ERR_OK)
			q->bad = true;
		return;
	}
	if (json_is_array(old)) {
		if (json_array_append_new(old, json_string(value)) != 0)
			q->bad = true;
		return;
	}
	list = json_array();
	if (json_array_append(list, old) != 0 ||
	    json_array_append_new(list, json_string(value)) != 0 ||
	    json_set_new(q->fields, name, json_incref(list)) != ERR_OK)
		q->bad = true;
	json_decref(list);
}

static void
call_get(const struct agent_backend *b, struct rpc_reply *out,
    const struct rpc_service *service, const char *method,
    const struct httpd_request *rq)
{
	struct query q = { .fields = json_object() };

	if (q.fields != NULL)
		httpd_each_query(rq, add_query, &q);
	if (q.fields == NULL || q.bad)
		rpc_refuse(out, 400, "Failed to read the query");
	else
		rpc_call(b, out, service, method, q.fields, true);
	json_decref(q.fields);
}

static void
call_post(const struct agent_backend *b, struct rpc_reply *out,
    const struct rpc_service *service, const char *method,
    const struct httpd_request *rq)
{
	json_t *fields = NULL;
	char why[120] = "";

	if (rq->body.len > 0 &&
	    json_parse_nul(&fields, rq->body.p, rq->body.len, LIMIT_HTTP_BODY,
		why, sizeof why) != ERR_OK)
		rpc_refuse(out, 400, "Failed to parse request: %s", why);
	else
		rpc_call(b, out, service, method, fields, false);
	json_wipe(fields);
}

static void
call_proto(const struct agent_backend *b, struct rpc_reply *out,
    const struct rpc_service *service, const char *method,
    const struct httpd_request *rq)
{
	json_t *fields = NULL;
	enum err e = rpc_proto_read(&fields, service, method, rq->body);

	if (e == ERR_OK || (e == ERR_NOTFOUND && !rpc_has(service, method)))
		rpc_call(b, out, service, method, fields, false);
	else if (e == ERR_NOTFOUND)
		rpc_refuse(out, 400, "%s is to be had in JSON alone", method);
	else
		rpc_refuse(
		    out, 400, "Failed to decode request: %s", err_text(e));
	json_wipe(fields);
}

/* A page that its owner filled; false if there is none. */
static bool
is_page(struct httpd_reply *rp, const struct agent_backend *b,
    server_page *page, const struct httpd_request *rq)
{
	return page != NULL &&
	    (strcmp(rq->method, "GET") == 0 ||
		strcmp(rq->method, "HEAD") == 0) &&
	    page(b, rq, rp);
}

static void
not_found(struct httpd_reply *rp)
{
	rp->content_type = "text/html; charset=utf-8";
	if (buf_set(&rp->body, NOT_FOUND, sizeof NOT_FOUND - 1) != ERR_OK)
		buf_fini(&rp->body);
	rp->status = 404;
}

void
server_answer(struct httpd_reply *rp, const struct agent_backend *b,
    enum surface surface, server_page *page, const struct httpd_request *rq)
{
	struct rpc_reply out = { .write = NULL };
	const struct rpc_service *service;
	const char *method;
	bool post = strcmp(rq->method, "POST") == 0;

	if (surface_route(&service, &method, surface, rq->path) != ERR_OK) {
		if (!is_page(rp, b, page, rq))
			not_found(rp);
		return;
	}
	if (post && !is_json(rq)) {
		out.write = rpc_proto_write;
		rp->content_type = "application/octet-stream";
	}
	if (!post && strcmp(rq->method, "GET") != 0)
		rpc_refuse(&out, 405, "Method not allowed");
	else if (out.write != NULL)
		call_proto(b, &out, service, method, rq);
	else if (post)
		call_post(b, &out, service, method, rq);
	else
		call_get(b, &out, service, method, rq);
	if (out.status != 200)
		log_event(LOG_INFO, "request_refused",
		    log_str("path", rq->path), log_u64("status", out.status),
		    log_str("error", out.error));
	rp->status = out.status;
	rp->body = out.body; /* transferred */
	rp->secret = out.secret;
}

static void
handle(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	struct server *s = cookie;

	server_answer(rp, &s->backend, s->surface, s->page, rq);
}

enum err
server_start(struct server **out, const struct agent_backend *b,
    const struct server_options *so)
{
	const struct httpd_options o = {
		.unix_path = so->unix_path,
		.unix_mode = so->unix_mode,
		.host = so->host,
		.port = so->port,
		.has_fd = so->has_fd,
		.fd = so->fd,
		.header = so->surface == SURFACE_WORKER ? APP_VERSION : NULL,
		.max_body = LIMIT_HTTP_BODY,
		.max_connections = MAX_CONNECTIONS,
		.timeout_s = SILENCE_S,
		.total_s = TOTAL_S,
		.threads = HANDLERS,
	};
	struct server *s = calloc(1, sizeof *s);
	enum err e;

	if (s == NULL)
		return ERR_NOMEM;
	s->backend = *b;
	s->surface = so->surface;
	s->page = so->page;
	e = httpd_start(&s->httpd, &o, handle, s);
	if (e != ERR_OK) {
		free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

uint16_t
server_port(const struct server *s)
{
	return httpd_port(s->httpd);
}

void
server_stop(struct server *s)
{
	if (s == NULL)
		return;
	httpd_stop(s->httpd);
	free(s);
}
