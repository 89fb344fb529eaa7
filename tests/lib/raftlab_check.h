/* raftlab_check: what must hold of raft, after every step of a raftlab. */
#ifndef TESTS_LIB_RAFTLAB_CHECK_H
#define TESTS_LIB_RAFTLAB_CHECK_H

#include "tests/lib/raftlab.h"

void raftlab_break(struct raftlab *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Node `i` took a step. */
void raftlab_check(struct raftlab *l, unsigned i);
/* A message leaves node `i`: its votes are given now. */
void raftlab_check_sent(
    struct raftlab *l, unsigned i, const struct engine_message *m);
/* Node `i` restores a snapshot with this state. */
void raftlab_check_state(struct raftlab *l, unsigned i, struct bytes state);

#endif
