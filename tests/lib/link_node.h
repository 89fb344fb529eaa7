/* link_node: a node that has nothing but links, on a loop and thread of its
 * own, with real attestation of simulated platforms; and a peer by hand. */
#ifndef TESTS_LIB_LINK_NODE_H
#define TESTS_LIB_LINK_NODE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "kms/cluster/links.h"
#include "tests/lib/kms_node.h"

#define LINK_WAIT_MS 30000
#define LINK_GOT_MAX 65536

/* Messages of tests: sequence u32be, then bytes that follow from it. */
struct link_got {
	struct member from;
	size_t len;
	uint32_t seq;
	bool whole; /* the bytes are those of the sequence */
};

struct link_node {
	struct kms_caller td;
	char slot[SLOT_MAX];
	char url[64];
	uv_loop_t loop;
	uv_async_t async;
	pthread_t thread;
	struct channel_server *server;
	struct incarnation *incarnation;
	struct links *links; /* NULL: requests are refused */
	pthread_mutex_t lock; /* of the two below */
	void (*task)(struct link_node *n, void *arg);
	void *arg;
	sem_t task_done;
	/* Instead of links_request, if set; true: reply.  On the loop. */
	bool (*answer)(struct link_node *n, const struct channel_caller *who,
	    const KmsRequest *m, struct buf *reply);
	void (*on_message)(struct link_node *n, const struct member *from);
	struct link_got *got; /* written on the loop */
	atomic_uint n_got;
	atomic_uint refused; /* requests */
	_Atomic int last_refusal; /* enum reason */
};

/* A channel server without links; `port` 0 takes a free one. */
void link_node_start(struct link_node *n, struct kms_world *w, const char *slot,
    uint8_t id, unsigned port);
/* A new incarnation, with links to `n_peers` URLs. */
void link_node_join(
    struct link_node *n, const char *const *peer, unsigned n_peers);
/* Milliseconds that links_stop took. */
uint64_t link_node_stop(struct link_node *n);
/* Runs `task` on the node's loop and waits for it. */
void link_node_do(struct link_node *n,
    void (*task)(struct link_node *n, void *arg), void *arg);

/* Sends message `seq` of `len` bytes; `inc` and `slot` may be NULL. */
void link_node_send(struct link_node *n, const char *slot, const uint8_t *inc,
    uint32_t seq, size_t len);
struct links_peer link_node_peer(struct link_node *n, unsigned i);
struct links_stats link_node_stats(struct link_node *n);
void link_node_drop(struct link_node *n, const uint8_t *inc);
bool link_node_attested(
    struct link_node *n, struct attested *out, const uint8_t *inc);

/* ---- by hand ---- */

struct channel *link_dial(struct kms_caller *c, const struct link_node *n);
/* One request; REASON_NONE or why it was refused.  `reply` may be NULL, else
 * the caller owns it. */
enum reason link_ask(struct channel *ch, KmsRequest *m, KmsReply **reply);
/* A Hello as `slot`; its signature is by `i`, for `role`, over `hash`. */
struct link_hello {
	const char *slot;
	uint8_t incarnation[INCARNATION_ID_LEN];
	uint8_t signature[INCARNATION_SIG_LEN];
};
void link_hello_sign(struct link_hello *h, struct incarnation *i,
    enum channel_role role, const char *slot, const uint8_t *hash);
enum reason link_hello_send(struct channel *ch, const struct link_hello *h);
/* An honest one. */
enum reason link_hello(
    struct channel *ch, struct incarnation *i, const char *slot);
/* A batch of one item: this head, and `len` bytes of message `number`. */
enum reason link_item(struct channel *ch, uint64_t number, uint32_t part,
    uint32_t parts, size_t len);

#define LINK_UNTIL(cond) \
	do { \
		uint64_t end_ = clock_mono_ms() + LINK_WAIT_MS; \
		while (!(cond)) { \
			cr_assert(clock_mono_ms() < end_, "never: %s", #cond); \
			(void)nanosleep( \
			    &(const struct timespec){ .tv_nsec = 1000000 }, \
			    NULL); \
		} \
	} while (0)

#endif
