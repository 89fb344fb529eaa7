/* rpc_ask: one call of a method of the agent, without a socket. */
#ifndef TESTS_LIB_RPC_ASK_H
#define TESTS_LIB_RPC_ASK_H

#include "node/agent/rpc.h"

/* rpc_ask returns the status, and the parsed body in `*out`, which the caller
 * owns; it asserts that the body is ASCII JSON.  `body` may be NULL. */
unsigned rpc_ask(json_t **out, const struct agent_backend *b,
    const struct rpc_service *s, const char *method, const char *body,
    bool text);
/* Asserts status 200; the caller owns the result. */
json_t *rpc_ask_good(const struct agent_backend *b, const struct rpc_service *s,
    const char *method, const char *body);
/* Asserts `status`, and an object with the one member "error" that has these
 * words. */
void rpc_ask_bad(const struct agent_backend *b, const struct rpc_service *s,
    unsigned status, const char *method, const char *body, const char *words);
/* Asserts that the service has no such method, in dstack's words. */
void rpc_ask_none(const struct agent_backend *b, const struct rpc_service *s,
    const char *method);
/* A member that is text, asserted. */
const char *rpc_ask_str(const json_t *v, const char *key);
/* Vectors of dstack, or NULL. */
json_t *rpc_ask_vectors(void);

#endif
