/* lab_probe: an app that asks one node of a simulated cluster one thing.
 *
 * An agent goes on to the next node when one refuses; here the refusal is
 * what is wanted.  The app is "witness", made when it is first needed; it
 * attests on the simulated machine app0 and has no agent. */
#ifndef KMS_CTL_LAB_PROBE_H
#define KMS_CTL_LAB_PROBE_H

#include "kms/ctl/lab.h"

#define PROBE_COUNTER "attack" /* the counter's name */

struct probe; /* opaque */

/* probe_open boots the app; the lab must be up when it is made. */
enum ctl_exit probe_open(
    struct probe **out, const struct ctl *c, struct lab *l);
void probe_close(struct probe *p); /* NULL is fine */

enum probe_what {
	PROBE_KEYS, /* the app's keys, which are wiped at once */
	PROBE_READ, /* the counter */
	PROBE_INCREMENT, /* if its value is `expected` */
};

struct probe_answer {
	/* ERR_OK: what was asked for; ERR_DENIED, ERR_AGAIN: `why`, in the
	 * node's words; ERR_IO, ERR_TIMEOUT: nobody answered. */
	enum err err;
	struct refusal why;
	uint64_t value; /* of the counter */
	bool matched; /* `expected` was its value */
	uint64_t generation, index; /* of the log, with it */
	uint64_t epoch; /* of the keys */
};

/* probe_ask asks the node that listens at `port` of this machine.  Sessions
 * are kept: to ask again is quick. */
void probe_ask(struct probe *p, struct probe_answer *out, uint16_t port,
    enum probe_what what, uint64_t expected, unsigned timeout_ms);

#endif
