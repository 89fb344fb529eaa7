/* auditpage: the ledger's audit log, page by page, for auditors.
 *
 *   {"count", "first_kept", "head", "before", "from",
 *    "entries": [{"number", "index", "kind", "time", "command": hex}]}
 *
 * head' = SHA-256(head || index u64be || length u32be || command), from
 * `before` (that before the first entry kept) on: kms/state/ledger.h.  The
 * loop copies what is new; any thread renders, at most AUDITPAGE_ENTRIES. */
#ifndef KMS_SERVICE_AUDITPAGE_H
#define KMS_SERVICE_AUDITPAGE_H

#include "common/net/httpd.h"
#include "kms/state/ledger.h"

#define AUDITPAGE_ENTRIES 256

struct auditpage; /* opaque */

enum err auditpage_new(struct auditpage **out);
void auditpage_free(struct auditpage *p); /* NULL is fine */

/* auditpage_update takes over what the ledger has beyond it.  On the loop. */
void auditpage_update(struct auditpage *p, const struct ledger *l);
/* auditpage_render writes the entries from number `from` on (0 or less than
 * the first: from the first). */
enum err auditpage_render(struct auditpage *p, struct buf *out, uint64_t from);
/* The same as an answer; `from` is the query's, or NULL.  400: no number. */
void auditpage_reply(
    struct auditpage *p, const char *from, struct httpd_reply *rp);

#endif
