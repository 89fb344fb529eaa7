#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "kms/service/disk.h"
#include "kms/service/kmsd_config.h"

enum err
disk_set_aside(const char *dir)
{
	char old[KMSD_PATH_MAX + 32];
	int n = snprintf(
	    old, sizeof old, "%s.refused-%lld", dir, (long long)clock_wall_s());
	struct refusal why;

	if (n < 0 || (size_t)n >= sizeof old || rename(dir, old) != 0)
		return ERR_IO;
	(void)refuse(&why, REASON_ROLLBACK,
	    "not this node's store, or damaged: moved to %s", old);
	log_event(LOG_ERROR, "disk_refused", log_why(&why));
	return ERR_OK;
}

enum err
disk_probe(struct store *s)
{
	enum err e = store_begin(s);

	if (e == ERR_OK)
		e = store_put(s, STORE_META, BYTES_STR("probe"),
		    BYTES_STR("as much as a small log entry has"));
	if (e != ERR_OK) {
		store_abort(s);
		return e;
	}
	return store_commit(s);
}
