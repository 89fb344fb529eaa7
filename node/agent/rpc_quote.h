/* rpc_quote: GetQuote, Attest and EmitEvent: dstack-compat.md 1.3. */
#ifndef NODE_AGENT_RPC_QUOTE_H
#define NODE_AGENT_RPC_QUOTE_H

#include "node/agent/rpc.h"

enum err rpc_quote_get_quote(struct rpc_call *c);
enum err rpc_quote_attest(struct rpc_call *c);
enum err rpc_quote_emit_event(struct rpc_call *c);

/* ---- for the other services ---- */

/* rpc_quote_report_data reads the field: up to 64 bytes, zeros behind; more
 * is the refusal `too_long`. */
enum err rpc_quote_report_data(
    struct rpc_call *c, uint8_t out[static 64], const char *too_long);
/* rpc_quote_take takes a quote and sets members `quote` and `event_log`;
 * evidence_fini. */
enum err rpc_quote_take(struct rpc_call *c, struct evidence *out,
    const uint8_t report_data[static 64]);
/* rpc_quote_answer is a whole reply to GetQuote. */
enum err rpc_quote_answer(
    struct rpc_call *c, const uint8_t report_data[static 64]);

#endif
