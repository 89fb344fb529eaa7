#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/net/httpd.h"
#include "node/tee/pccs_server.h"
#include "node/tee/simpki.h"

#define PATH_CAP 1024

struct pccs_server {
	struct httpd *http;
	char dir[PATH_CAP];
	int64_t (*clock)(void);
	/* Percent-encoded PEM; they never change. */
	struct buf signing_chain, pck_ca_chain;
};

enum route {
	ROUTE_TCB,
	ROUTE_QE,
	ROUTE_PCK_CRL,
	ROUTE_ROOT_CRL,
};

static const struct {
	const char *path;
	enum sim_document what;
	const char *type;
	const char *chain_header;
} routes[] = {
	[ROUTE_TCB] = { "/tdx/certification/v4/tcb", SIM_DOC_TCB_INFO,
	    "application/json", "TCB-Info-Issuer-Chain" },
	[ROUTE_QE] = { "/tdx/certification/v4/qe/identity", SIM_DOC_QE_IDENTITY,
	    "application/json", "SGX-Enclave-Identity-Issuer-Chain" },
	[ROUTE_PCK_CRL] = { "/sgx/certification/v4/pckcrl", SIM_DOC_PCK_CRL,
	    "application/pkix-crl", "SGX-PCK-CRL-Issuer-Chain" },
	[ROUTE_ROOT_CRL] = { "/sgx/certification/v4/rootcacrl",
	    SIM_DOC_ROOT_CRL, "text/plain", NULL },
};
#define N_ROUTES (sizeof routes / sizeof routes[0])

static unsigned
check_query(enum route r, const struct httpd_request *rq)
{
	const char *v;
	uint8_t fmspc[6];

	switch (r) {
	case ROUTE_TCB:
		v = httpd_query(rq, "fmspc");
		if (v == NULL || strlen(v) != 12 ||
		    hex_fixed(fmspc, sizeof fmspc, v) != ERR_OK)
			return 400;
		return memcmp(fmspc, SIM_FMSPC, 6) == 0 ? 200 : 404;
	case ROUTE_PCK_CRL:
		v = httpd_query(rq, "ca");
		if (v == NULL)
			return 400;
		if (strcmp(v, "platform") != 0)
			return strcmp(v, "processor") == 0 ? 404 : 400;
		v = httpd_query(rq, "encoding");
		return v != NULL && strcmp(v, "der") == 0 ? 200 : 400;
	case ROUTE_QE:
	case ROUTE_ROOT_CRL:
		return 200;
	}
	return 404;
}

/* Intel's service gives the root CRL as hex text. */
static enum err
to_hex(struct buf *b)
{
	struct buf text = { 0 };
	enum err e = buf_reserve(&text, 2 * b->len + 1);

	if (e != ERR_OK)
		return e;
	(void)hex_encode((char *)text.p, b->p, b->len);
	text.len = 2 * b->len;
	buf_fini(b);
	*b = text;
	return ERR_OK;
}

static void
answer(void *cookie, const struct httpd_request *rq, struct httpd_reply *rp)
{
	struct pccs_server *s = cookie;
	unsigned r;
	enum err e;

	for (r = 0; r < N_ROUTES; r++)
		if (strcmp(rq->path, routes[r].path) == 0)
			break;
	rp->content_type = "text/plain";
	rp->status = 404;
	if (r == N_ROUTES)
		return;
	if (strcmp(rq->method, "GET") != 0) {
		rp->status = 405;
		return;
	}
	if ((rp->status = check_query((enum route)r, rq)) != 200)
		return;
	e = sim_pki_refresh(s->dir, false, s->clock());
	if (e == ERR_OK)
		e = sim_pki_document(&rp->body, s->dir, routes[r].what);
	if (e == ERR_OK && r == ROUTE_ROOT_CRL)
		e = to_hex(&rp->body);
	if (e != ERR_OK) {
		buf_fini(&rp->body);
		rp->status = 500;
		return;
	}
	rp->content_type = routes[r].type;
	rp->header_name = routes[r].chain_header;
	rp->header_value =
	    (const char *)(r == ROUTE_PCK_CRL ? s->pck_ca_chain.p
					      : s->signing_chain.p);
}

static enum err
encoded_chain(struct buf *out, const char *dir, enum sim_document what)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	    "0123456789-._~";
	struct buf pem = { 0 };
	enum err e = sim_pki_document(&pem, dir, what);

	for (size_t i = 0; e == ERR_OK && i < pem.len; i++)
		e = pem.p[i] != 0 && strchr(plain, pem.p[i]) != NULL
		    ? buf_append(out, &pem.p[i], 1, SIZE_MAX)
		    : buf_printf(out, "%%%02X", pem.p[i]);
	buf_fini(&pem);
	return e;
}

enum err
pccs_server_start(struct pccs_server **out, const char *dir, const char *host,
    uint16_t port, int64_t (*clock)(void))
{
	struct httpd_options o = { .host = host,
		.port = port,
		.max_body = 1024,
		.max_connections = 64,
		.timeout_s = 10,
		.threads = 4 };
	struct pccs_server *s = calloc(1, sizeof *s);
	enum err e = ERR_LIMIT;

	if (s == NULL)
		return ERR_NOMEM;
	s->clock = clock;
	if (strlen(dir) >= sizeof s->dir)
		goto done;
	memcpy(s->dir, dir, strlen(dir) + 1);
	if ((e = sim_pki_refresh(dir, true, clock())) != ERR_OK ||
	    (e = encoded_chain(
		 &s->signing_chain, dir, SIM_DOC_SIGNING_CHAIN)) != ERR_OK ||
	    (e = encoded_chain(&s->pck_ca_chain, dir, SIM_DOC_PCK_CA_CHAIN)) !=
		ERR_OK ||
	    (e = httpd_start(&s->http, &o, answer, s)) != ERR_OK)
		goto done;
	*out = s;
	s = NULL;
done:
	pccs_server_stop(s);
	return e;
}

uint16_t
pccs_server_port(const struct pccs_server *s)
{
	return httpd_port(s->http);
}

void
pccs_server_stop(struct pccs_server *s)
{
	if (s == NULL)
		return;
	httpd_stop(s->http);
	buf_fini(&s->signing_chain);
	buf_fini(&s->pck_ca_chain);
	free(s);
}
