/* rpc: dstack's guest methods, independent of how a request arrives.
 *
 * dstack-compat.md 1.2 and 1.3.  A method reads JSON fields and gives one
 * JSON reply; a refusal is HTTP 400 (or what the method set) with a pretty
 * {"error": text}.
 * Beside dstack's fields, GetKey and Info tell the key epoch; the counters
 * (rpc_counter.h) and a replica's own keys (rpc_replica.h) are ours. */
#ifndef NODE_AGENT_RPC_H
#define NODE_AGENT_RPC_H

#include "common/base/json.h"

#include "node/agent/backend.h"

/* The level of dstack's guest API that is spoken here; SDKs ask for it. */
#define RPC_API_VERSION "0.5.11"
#define RPC_REV "devproof-kms"
#define RPC_REV_SIMULATED "devproof-kms (simulated)"
#define RPC_ERROR_MAX 400

struct rpc_service;

/* rpc_writer appends a reply in another form than JSON.  `method` is NULL
 * for a refusal, which is an object with "error". */
typedef enum err rpc_writer(struct buf *out, const struct rpc_service *service,
    const char *method, const json_t *reply);

struct rpc_reply {
	rpc_writer *write; /* the caller's wish; NULL: JSON */
	unsigned status;
	struct buf body; /* owns; buf_wipe if secret */
	bool secret;
	char error[RPC_ERROR_MAX]; /* what the body says; "" on success */
};

struct rpc_call;

struct rpc_method {
	const char *name;
	enum err (*run)(struct rpc_call *c);
	bool secret; /* the reply carries a key */
};

/* The methods that share a name space; surface.h has the paths to them. */
struct rpc_service {
	const char *name; /* "DstackGuest" */
	const struct rpc_method *methods;
	size_t n_methods;
};

extern const struct rpc_service rpc_guest; /* DstackGuest as of 0.5 */
extern const struct rpc_service rpc_guest_v1; /* 0.6, /v1 */
extern const struct rpc_service rpc_tappd; /* before 0.5 */
extern const struct rpc_service rpc_worker; /* public, port 8090 */
extern const struct rpc_service rpc_worker_v1;

/* rpc_call runs one method ("GetKey") and fills `*out`.  `fields` is a JSON
 * value, or NULL for none; `text` says that it came from a query string. */
void rpc_call(const struct agent_backend *b, struct rpc_reply *out,
    const struct rpc_service *service, const char *method, json_t *fields,
    bool text);

/* rpc_has: whether there is such a method. */
bool rpc_has(const struct rpc_service *service, const char *method);

/* rpc_version answers Version, which every service has. */
enum err rpc_version(struct rpc_call *c);

/* rpc_refuse fills `*out` with an error reply. */
void rpc_refuse(struct rpc_reply *out, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- for the methods: rpc_*.c ---- */

/* One call in progress. */
struct rpc_call {
	const struct agent_backend *backend;
	struct params *in;
	json_t *out; /* owns: the reply, an object until replaced */
	json_t *beside_error; /* owns: members of a refusal's object, too */
	bool put_failed; /* a member could not be set */
	bool public; /* a stranger asks: no details of what went wrong */
	unsigned status; /* of a refusal; 0: 400 */
	char error[RPC_ERROR_MAX];
};

/* rpc_fail notes the error for the caller and returns ERR_DENIED. */
enum err rpc_fail(struct rpc_call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* rpc_fail_why is "what: the refusal's sentence", with its detail for the app;
 * a stranger's is in the log. */
enum err rpc_fail_why(struct rpc_call *c, const char *what, enum err e,
    const struct refusal *why);

/* Set a member of the reply; failures are found once, at the end. */
void rpc_put_hex(
    struct rpc_call *c, const char *key, const void *p, size_t len);
void rpc_put_str(struct rpc_call *c, const char *key, const char *text);
void rpc_put_u64(struct rpc_call *c, const char *key, uint64_t v);
/* A buffer as a string; one that was never written has no memory. */
static inline const char *
rpc_text(const struct buf *b)
{
	return b->p != NULL ? (const char *)b->p : "";
}
/* Takes `v`, which may be NULL (then it has failed). */
void rpc_put_new(struct rpc_call *c, const char *key, json_t *v);

#endif
