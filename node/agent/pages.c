#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"

#include "node/agent/containers.h"
#include "node/agent/dashboard.h"
#include "node/agent/logpage.h"
#include "node/agent/pages.h"
#include "node/agent/sysinfo.h"

#define TEXT "text/plain; charset=utf-8"
#define HTML "text/html; charset=utf-8"
#define LOGS "/logs/"

/* A page that failed: JSON, as the methods' errors. */
static void
fail(struct httpd_reply *rp, unsigned status, const char *text)
{
	json_t *o = json_object();

	rp->status = status;
	rp->content_type = "application/json";
	rp->body.len = 0;
	if (json_set_str(o, "error", text) != ERR_OK ||
	    json_write_pretty(&rp->body, o) != ERR_OK)
		rp->status = 500;
	json_decref(o);
}

/* ---- / ---- */

static void
index_page(const struct agent_backend *b, struct httpd_reply *rp)
{
	struct refusal why = { .code = REASON_NONE };
	enum err e = dashboard_write(&rp->body, b, &why);

	if (e != ERR_OK) {
		log_event(LOG_WARN, "page_failed",
		    log_str("error", err_text(e)), log_why(&why));
		fail(rp, 500, "Failed to read measurements");
		return;
	}
	rp->content_type = HTML;
	rp->header_name = "Content-Security-Policy";
	rp->header_value = dashboard_policy();
}

/* ---- /metrics ---- */

static void
metrics_page(struct httpd_reply *rp)
{
	struct sysinfo_facts f;

	sysinfo_read(&f);
	if (sysinfo_metrics(&rp->body, &f) == ERR_OK)
		rp->content_type = "text/plain; version=0.0.4; charset=utf-8";
	else
		fail(rp, 500, "Failed to write metrics");
}

/* ---- /logs/<container> ---- */

static const char *
query(const struct httpd_request *rq, const char *name)
{
	const char *v = httpd_query(rq, name);

	return v != NULL ? v : "";
}

/* Absent is false, and a name without a value is true. */
static bool
read_flag(bool *out, const struct httpd_request *rq, const char *name)
{
	static const char *const yes[] = { "", "1", "true", "yes", "on" };
	static const char *const no[] = { "0", "false", "no", "off" };
	const char *v = httpd_query(rq, name);

	*out = false;
	if (v == NULL)
		return true;
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
		if (strcmp(v, yes[i]) == 0)
			return *out = true;
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		if (strcmp(v, no[i]) == 0)
			return true;
	return false;
}

/* What is wrong with the query, or NULL. */
static const char *
read_options(struct logpage_options *o, const struct httpd_request *rq)
{
	int64_t now = clock_wall_s();
	bool follow;

	if (logpage_time(&o->since, query(rq, "since"), now) != ERR_OK)
		return "Invalid since";
	if (logpage_time(&o->until, query(rq, "until"), now) != ERR_OK)
		return "Invalid until";
	if (logpage_tail(&o->tail, query(rq, "tail")) != ERR_OK)
		return "Invalid tail";
	if (!read_flag(&o->text, rq, "text") ||
	    !read_flag(&o->timestamps, rq, "timestamps") ||
	    !read_flag(&o->bare, rq, "bare") ||
	    !read_flag(&o->ansi, rq, "ansi") ||
	    !read_flag(&follow, rq, "follow"))
		return "Invalid flag: say true or false";
	/* Replies have a length. */
	return follow ? "follow is not available here: ask again with since"
		      : NULL;
}

static void
log_page(const struct agent_backend *b, const struct httpd_request *rq,
    struct httpd_reply *rp, const char *name)
{
	struct logpage_options o = { .tail = 0 };
	const char *problem = read_options(&o, rq);
	const struct container *k = NULL;
	struct container_list *all = NULL;
	FILE *log = NULL;

	if (problem != NULL) {
		fail(rp, 400, problem);
		return;
	}
	if (b->logs_dir == NULL) {
		fail(rp, 404, "app.logs_dir is not configured");
		return;
	}
	if (containers_list(&all, b->logs_dir) == ERR_OK)
		k = containers_find(all, name);
	if (k == NULL || containers_open_log(&log, b->logs_dir, k) != ERR_OK)
		fail(rp, 404, "No such container");
	else if (logpage_write(&rp->body, log, &o) == ERR_OK)
		rp->content_type = TEXT;
	else
		fail(rp, 500, "Failed to read the log");
	if (log != NULL)
		(void)fclose(log);
	containers_free(all);
}

bool
pages_worker(const struct agent_backend *b, const struct httpd_request *rq,
    struct httpd_reply *rp)
{
	const struct app_identity *id = b->identity;
	size_t logs = strlen(LOGS);

	if (strcmp(rq->path, "/") == 0) {
		index_page(b, rp);
		return true;
	}
	if (strcmp(rq->path, "/metrics") == 0 && id->public_sysinfo) {
		metrics_page(rp);
		return true;
	}
	if (strncmp(rq->path, LOGS, logs) == 0 && id->public_logs &&
	    rq->path[logs] != '\0' && strchr(rq->path + logs, '/') == NULL) {
		log_page(b, rq, rp, rq->path + logs);
		return true;
	}
	return false;
}
