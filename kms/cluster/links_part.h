/* links_part: a message of any size as parts that fit into batches.
 *
 *   item    number u64be | part u32be | parts u32be | bytes
 *
 * Numbers count the messages of a session from 0, parts those of a message
 * from 0.  Every part but the last has LIMIT_LINK_PART bytes, and the last
 * has 1 to as many: a message has one form.  Anything but the next part of
 * the next message is refused, so nothing is lost, doubled or swapped
 * within a session. */
#ifndef KMS_CLUSTER_LINKS_PART_H
#define KMS_CLUSTER_LINKS_PART_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/wr.h"

#define LINKS_PART_HEAD 16u
#define LINKS_PARTS_MAX (LIMIT_LINK_MESSAGE / LIMIT_LINK_PART)

/* How many parts a message of `len` bytes has. */
uint32_t links_part_count(size_t len);

/* links_part_write writes the item of part `part`. */
void links_part_write(
    struct wr *w, uint64_t number, uint32_t part, struct bytes message);

/* The receiving end of one session; zeroed: at its start. */
struct links_parts {
	uint64_t number; /* of the message that is next, or under way */
	uint32_t part; /* that is next */
	uint32_t parts; /* of the one under way */
	struct buf b; /* owns: what has arrived of it */
};

/* links_part_take takes the next item.  ERR_OK: `message` has the whole
 * message, or NULL if more parts are to come; it borrows from `item` or from
 * `*whole`, which the caller owns.  ERR_MALFORMED, ERR_NOMEM: the session is
 * of no more use. */
enum err links_part_take(struct links_parts *p, struct bytes *message,
    struct buf *whole, struct bytes item);
void links_parts_fini(struct links_parts *p);

#endif
