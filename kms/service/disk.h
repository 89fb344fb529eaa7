/* disk: what a node finds out about its disk when it starts. */
#ifndef KMS_SERVICE_DISK_H
#define KMS_SERVICE_DISK_H

#include "node/store/store.h"

/* disk_set_aside renames a folder that is damaged, or of another node or
 * cluster, and logs that.  It is a cache, so the node begins without it; but
 * nothing is deleted.  ERR_IO. */
enum err disk_set_aside(const char *dir);

/* disk_probe writes a little: a disk that takes nothing is found out before
 * it is needed.  ERR_IO, ERR_LIMIT. */
enum err disk_probe(struct store *s);

#endif
