/* recheck: sessions whose owner the contracts do not allow any more are ended.
 *
 * Every request is judged at the block of its moment, so a removal takes
 * effect without this.  But a session is more than its requests: it holds a
 * place, and a peer's link carries the cluster's messages.  So at each new
 * final block everyone who has a session is asked for once more: one question
 * for each distinct BootInfo, on a worker; whoever is denied is told the
 * reason and dropped.
 *
 * A session that was not there at the look before is left for another one, a
 * second later: its first request may be on its way, and its refusal says more.
 * Where one owner cannot be asked for (its contract gives no common answer), all
 * others are judged, and there is another look, too. */
#ifndef KMS_SERVICE_RECHECK_H
#define KMS_SERVICE_RECHECK_H

#include "kms/service/metrics.h"
#include "kms/service/service.h"

struct recheck; /* opaque; all on the loop */

/* All are borrowed until `done`.  ERR_NOMEM, ERR_IO. */
enum err recheck_start(struct recheck **out, uv_loop_t *loop, struct gate *gate,
    struct cluster *cluster, struct channel_server *server,
    struct metrics *metrics);
/* recheck_stop: `done` runs on the loop when nothing is under way; then it is
 * freed. */
void recheck_stop(struct recheck *r, void (*done)(void *), void *cookie);

#endif
