/* mock_chain: JSON-RPC endpoints of a chain, in process, to be scripted.
 *
 * Endpoint i listens on 127.0.0.1.  All share one chain until told
 * otherwise: block k has time MOCK_TIME(k) and a hash made of its number
 * and of the seed of the fork it is on.  `i` may be MOCK_ALL. */
#ifndef TESTS_LIB_MOCK_CHAIN_H
#define TESTS_LIB_MOCK_CHAIN_H

#include "kms/gate/chainview.h"

#define MOCK_ALL 99u
#define MOCK_TIME(number) (1700000000u + 12u * (uint64_t)(number))

struct mock_chain; /* opaque */

enum mock_mode {
	MOCK_FINE,
	MOCK_GARBAGE, /* bytes that are no JSON */
	MOCK_HUGE, /* a valid answer behind 2 MiB of space */
	MOCK_HTTP_500,
	MOCK_OTHER_ID, /* answers to another request */
	MOCK_HELD, /* answers nothing until the mode changes */
};

/* Aborts if the endpoints cannot listen. */
struct mock_chain *mock_chain_new(unsigned n, uint64_t chain_id);
void mock_chain_free(struct mock_chain *m);
const char *const *mock_urls(const struct mock_chain *m);

void mock_mode(struct mock_chain *m, unsigned i, enum mock_mode mode);
/* mock_down closes the port: connections are refused. */
void mock_down(struct mock_chain *m, unsigned i);
/* mock_wait_held returns once a request is being held. */
void mock_wait_held(struct mock_chain *m, unsigned i);
/* mock_hold: eth_calls of `selector` are not answered until it is another;
 * 0: none.  mock_wait_held_call returns once one is being held. */
void mock_hold(struct mock_chain *m, unsigned i, uint32_t selector);
void mock_wait_held_call(struct mock_chain *m, unsigned i);

void mock_chain_id(struct mock_chain *m, unsigned i, uint64_t id);
void mock_head(struct mock_chain *m, unsigned i, uint64_t latest, uint64_t safe,
    uint64_t finalized);
/* Blocks from `number` on are those of fork `seed`. */
void mock_fork(struct mock_chain *m, unsigned i, uint64_t number, uint8_t seed);
/* The block that endpoint i (not MOCK_ALL) has at `number`. */
struct chain_block mock_block(
    struct mock_chain *m, unsigned i, uint64_t number);

/* What eth_call returns for calldata that begins with `selector`. */
void mock_answer(struct mock_chain *m, unsigned i, uint32_t selector,
    const void *data, size_t len);
void mock_error(struct mock_chain *m, unsigned i, uint32_t selector, int code,
    const char *message);
/* `member` is the JSON text of the answer to any request of `method`:
 * "\"result\":..." or "\"error\":{...}". */
void mock_canned(
    struct mock_chain *m, unsigned i, const char *method, const char *member);

/* The same for calls of one contract: goes before mock_answer. */
void mock_answer_at(struct mock_chain *m, unsigned i,
    const uint8_t to[static 20], uint32_t selector, const void *data,
    size_t len);
/* The k-th transaction that endpoint i was sent, decoded from hex: its length,
 * or 0 if there were fewer. */
size_t mock_sent(
    struct mock_chain *m, unsigned i, unsigned k, uint8_t *out, size_t cap);

/* How many requests of `method` (NULL: of any) endpoint i has seen. */
unsigned mock_count(struct mock_chain *m, unsigned i, const char *method);
/* How many eth_calls of `selector`, whatever the contract; and of one. */
unsigned mock_count_calls(struct mock_chain *m, unsigned i, uint32_t selector);
unsigned mock_count_calls_at(struct mock_chain *m, unsigned i,
    const uint8_t to[static 20], uint32_t selector);

#endif
