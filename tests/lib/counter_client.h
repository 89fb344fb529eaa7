/* counter_client: one client of the counters, that notes what it was told.
 *
 * A session with one node at a time over the attested channel; an attempt
 * is one request to that node.  One thread at a time. */
#ifndef TESTS_LIB_COUNTER_CLIENT_H
#define TESTS_LIB_COUNTER_CLIENT_H

#include "tests/lib/app_cvm.h"
#include "tests/lib/history.h"

struct counter_client {
	struct app_cvm *cvm; /* borrows */
	unsigned node; /* of config.kms_url */
	unsigned timeout_ms; /* of a dial, and of an attempt */
	void *conn; /* owns, or NULL */
	uint64_t next_id;
	struct refusal why; /* of the last failure */
};

/* counter_client_dial makes sure that there is a session with c->node. */
enum err counter_client_dial(struct counter_client *c);
void counter_client_close(struct counter_client *c);
/* The next node, in a session yet to be dialled. */
void counter_client_move(struct counter_client *c, unsigned node);

/* counter_client_ask makes one attempt at `op`: kind, counter, operation and
 * expected are given, the rest is filled in.  The session must be open; it
 * is closed when no answer came.  A reason that could leave it open whether
 * something was done makes HISTORY_UNKNOWN, any other HISTORY_NO. */
void counter_client_ask(struct counter_client *c, struct history_op *op);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t counter_client_now(void);

#endif
