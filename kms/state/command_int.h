/* command_int: pieces of a command's body that a snapshot uses too.
 *
 * Readers are sticky (rd.h): false, or a bad cursor, means malformed. */
#ifndef KMS_STATE_COMMAND_INT_H
#define KMS_STATE_COMMAND_INT_H

#include "common/base/rd.h"
#include "common/base/wr.h"
#include "kms/state/command.h"

/* A name is `n u8 | name n`; `max` is the size of its array. */
bool command_read_name(struct rd *r, char *out, size_t max);
void command_write_name(struct wr *w, const char *name, size_t max);

void command_read_array(struct rd *r, void *out, size_t len);
bool command_read_bool(struct rd *r, bool *out);

/* The bodies of EPOCH (into and from u.epoch) and MEMBER. */
bool command_read_epoch(struct rd *r, struct command *c);
void command_write_epoch(struct wr *w, const struct command *c);
bool command_read_member(struct rd *r, struct member *m);
void command_write_member(struct wr *w, const struct member *m);

#endif
