/* floors: evaluation numbers that outlive the process.
 *
 * The verifier refuses collateral that is older than what it has seen
 * (common/attest/evalfloor.h); without a memory, a restart would make it
 * believe a month-old TCB info again.  So the floors are kept in the sealed
 * store: STORE_META "eval_floors", the list of evalfloor.h.
 *
 * What this does not do: a host that restores an older disk restores older
 * floors, and a node without sealing has none.  Floors in the replicated
 * state (evalfloor_write, evalfloor_merge) close that. */
#ifndef KMS_SERVICE_FLOORS_H
#define KMS_SERVICE_FLOORS_H

#include <uv.h>

#include "common/attest/evalfloor.h"
#include "common/base/json.h"
#include "node/store/store.h"

struct floors; /* opaque */

/* floors_open raises `f` to what `store` kept, and from then on writes them
 * there within a second of each change, on the loop.  `store` may be NULL:
 * nothing is kept.  All are borrowed until floors_free.  ERR_CORRUPT: what
 * was kept is no list of floors. */
enum err floors_open(struct floors **out, uv_loop_t *loop, struct store *store,
    struct evalfloor *f);

/* floors_save writes them now if they have changed. */
enum err floors_save(struct floors *fs);

/* floors_stop writes them a last time and leaves the loop. */
void floors_stop(struct floors *fs);
/* After the loop has ended, or was never run; NULL is fine. */
void floors_free(struct floors *fs);

/* [{"tee", "document": "tcb_info" or "qe_identity", "fmspc" or null,
 * "number"}], for an operator's eyes. */
json_t *floors_json(struct evalfloor *f);

#endif
