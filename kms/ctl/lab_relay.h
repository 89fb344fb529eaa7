/* lab_relay: the line to the chain, to be cut.
 *
 * `sim relay DIR PORT` forwards connections from a port of this machine to
 * the chain's.  Stopped by SIGSTOP it is a line that has gone silent: what
 * is sent there gets no answer and no error. */
#ifndef KMS_CTL_LAB_RELAY_H
#define KMS_CTL_LAB_RELAY_H

#include "kms/ctl/lab.h"

#define LAB_RELAY "relay" /* the name of its process */

/* lab_start_relay returns once it listens at `port`. */
enum ctl_exit lab_start_relay(
    const struct ctl *c, const struct lab *l, uint16_t port);
/* lab_relay serves in the foreground until SIGTERM.  ERR_IO: cannot listen. */
enum err lab_relay(uint16_t from, uint16_t to);

#endif
