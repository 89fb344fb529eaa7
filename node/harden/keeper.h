/* keeper: a process that keeps a worker, one life after the other.
 *
 * A worker that is under a filter cannot start a program, itself included;
 * yet a node's life ends now and then, and the next one must have nothing of
 * it.  So the process that was started forks the lives and does nothing
 * else: it holds no key, reads no network, and is under a filter that lets
 * it fork, wait and signal.  Each life dies with it. */
#ifndef NODE_HARDEN_KEEPER_H
#define NODE_HARDEN_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/harden/harden.h"

/* How a worker that wants another life ends: keeper_end. */
enum keeper_end {
	KEEPER_AGAIN = 81, /* soon */
	KEEPER_DISK = 82, /* soon, and the next one is told: `note` */
	KEEPER_LATER = 83, /* after a start that failed */
};

struct keeper_life {
	bool first; /* nothing has been up before */
	bool disk_failed; /* the life before ended with KEEPER_DISK */
};

/* keeper_run returns in each worker, with what its life begins with, and
 * never in the keeper: that one forwards SIGTERM and SIGINT, and ends as the
 * last worker did (the same status, the same signal).  One thread must run.
 * ERR_IO: the filter cannot be had, or nothing can be forked. */
enum err keeper_run(struct keeper_life *out, enum harden_filter how);

/* keeper_again ends this life; what was buffered is lost. */
_Noreturn void keeper_again(enum keeper_end how);

#endif
