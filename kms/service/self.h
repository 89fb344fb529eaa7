/* self: this KMS node as a CVM: its evidence, and its view of others.
 *
 * Thread-safe; everything here may block and runs on workers. */
#ifndef KMS_SERVICE_SELF_H
#define KMS_SERVICE_SELF_H

#include "kms/gate/gate.h"
#include "kms/service/kmsd_config.h"
#include "node/channel/channel.h"
#include "node/tee/tee.h"

struct self; /* opaque */

/* self_open boots the platform (on the simulator it measures what this
 * KMS guest is made of, as the guest OS does on hardware).  The config is
 * borrowed for the life; `verifier` and `gate` too. */
enum err self_open(struct self **out, const struct kmsd_config *c,
    struct verifier *verifier, struct gate *gate, struct refusal *why);
void self_close(struct self *id); /* NULL is fine */

struct tee *self_tee(struct self *id);

/* self_channel fills the callbacks of a channel (prove and check). */
void self_channel(struct self *id, struct channel_context *out);

/* self_attested verifies our own evidence as a stranger would, again when
 * half its life has passed, and copies the outcome. */
enum err self_attested(
    struct self *id, struct attested *out, int64_t now, struct refusal *why);

/* self_allowed asks the contract about ourselves; ERR_DENIED with
 * REASON_SELF_DENIED, or ERR_AGAIN with a chain reason. */
enum err self_allowed(struct self *id, int64_t now, struct refusal *why);

#endif
