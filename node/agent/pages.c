#include "node/agent/pages.h"

/* There is none yet. */
bool
pages_worker(const struct agent_backend *b, const struct httpd_request *rq,
    struct httpd_reply *rp)
{
	(void)b;
	(void)rq;
	(void)rp;
	return false;
}
