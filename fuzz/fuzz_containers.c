/* fuzz_containers: what Docker's folder holds, and the pages made of it.
 *
 * Targets: containers_list, containers_find, containers_open_log,
 * logpage_write, logpage_time, logpage_tail; pages_worker, which anybody may
 * ask.  A container writes its log, an app's developer names the container.
 *
 * Input: n u16 | config.v2.json n | m u16 | its log m | an HTTP request.
 *
 * Asserted: names and images are whole text; a line of an answer is JSON with
 * what was asked for, or bare text without escapes of a terminal; the answer
 * is no longer than its bound. */
#include <sys/stat.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rd.h"
#include "common/base/secret.h"
#include "fuzz/must.h"
#include "fuzz/scratch.h"
#include "node/agent/containers.h"
#include "node/agent/logpage.h"
#include "node/agent/pages.h"

#define ID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define ANSWER_MAX (9u << 20) /* 4 MiB in base64, and JSON */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[SCRATCH_MAX], sub[160], config[200], log_file[280];

static void
clean_up(void)
{
	(void)remove(config);
	(void)remove(log_file);
	(void)remove(sub);
	(void)remove(dir);
}

static void
set_up(void)
{
	must(secret_process_init() == ERR_OK);
	log_set_level(LOG_ERROR);
	scratch_dir(dir, "docker");
	(void)snprintf(sub, sizeof sub, "%s/" ID, dir);
	must(mkdir(sub, 0700) == 0);
	must(file_join(config, sizeof config, sub, "config.v2.json") == ERR_OK);
	must(file_join(log_file, sizeof log_file, sub, ID "-json.log") ==
	    ERR_OK);
	(void)atexit(clean_up);
}

static void
write_file(const char *path, struct bytes b)
{
	FILE *f = fopen(path, "wb");

	must(f != NULL);
	must(b.len == 0 || fwrite(b.p, 1, b.len, f) == b.len);
	must(fclose(f) == 0);
}

static struct bytes
take(struct rd *in)
{
	size_t n = rd_be16(in);
	struct bytes b = { in->p, n < in->left ? n : in->left };

	b.p = rd_bytes(in, b.len);
	return b;
}

static void
check_list(const struct container_list *l)
{
	must(l->n <= 1);
	for (size_t i = 0; i < l->n; i++) {
		const struct container *k = &l->item[i];

		must(memchr(k->name, 0, sizeof k->name) != NULL);
		must(memchr(k->image, 0, sizeof k->image) != NULL);
		must(memchr(k->state, 0, sizeof k->state) != NULL);
		must(strcmp(k->id, ID) == 0);
		must(containers_find(l, ID) == k);
		must(containers_find(l, "001122334455") == k);
	}
}

static void
check_lines(const struct buf *b)
{
	size_t at = 0;

	while (at < b->len) {
		const uint8_t *end = memchr(b->p + at, '\n', b->len - at);
		const char *channel;
		json_t *v;

		must(end != NULL);
		v = json_loadb((const char *)b->p + at,
		    (size_t)(end - b->p) - at, JSON_ALLOW_NUL, NULL);
		channel = json_string_value(json_object_get(v, "channel"));
		must(channel != NULL);
		must(strcmp(channel, "stdout") == 0 ||
		    strcmp(channel, "stderr") == 0);
		must(json_is_string(json_object_get(v, "message")));
		json_decref(v);
		at = (size_t)(end - b->p) + 1;
	}
}

static void
check_log(const struct container *k, uint8_t how)
{
	const struct logpage_options o = { .tail = how % 5,
		.text = (how & 8) != 0,
		.timestamps = (how & 16) != 0,
		.bare = (how & 32) != 0,
		.ansi = (how & 64) != 0,
		.since = (how & 128) != 0 ? 1700000000 : 0 };
	struct buf b = { 0 };
	FILE *f = NULL;

	must(containers_open_log(&f, dir, k) == ERR_OK);
	must(logpage_write(&b, f, &o) == ERR_OK);
	must(b.len <= ANSWER_MAX);
	if (!o.bare)
		check_lines(&b);
	else if (o.text && !o.ansi)
		for (size_t i = 0; i < b.len; i++)
			must(
			    b.p[i] >= 0x20 || b.p[i] == '\n' || b.p[i] == '\t');
	buf_fini(&b);
	(void)fclose(f);
}

/* ---- the public pages ---- */

static void
page(struct bytes in)
{
	static struct app_identity id = {
		.name = "a", .public_logs = true, .public_sysinfo = true
	};
	struct agent_backend b = { .identity = &id, .logs_dir = dir };
	struct httpd_reply rp = { .status = 200,
		.content_type = "application/json" };
	struct httpd_request rq;
	struct http1 h;
	enum http1_step got;

	http1_init(&h, 64);
	while ((got = http1_feed(&h, &in)) == HTTP1_HEAD)
		;
	if (got == HTTP1_WHOLE && strcmp(h.path, "/") != 0) {
		httpd_request_of(&rq, &h);
		if (pages_worker(&b, &rq, &rp))
			must(rp.status == 200 || rp.status == 400 ||
			    rp.status == 404);
		else
			must(rp.body.len == 0);
		must(rp.body.len <= ANSWER_MAX);
	}
	buf_fini(&rp.body);
	http1_fini(&h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = { .p = data, .left = size };
	struct container_list *all = NULL;
	uint8_t how = size > 0 ? data[size - 1] : 0;
	struct bytes b;
	char text[24] = { 0 };
	int64_t at;
	uint64_t tail;

	if (dir[0] == '\0')
		set_up();
	b = take(&in);
	write_file(config, b);
	memcpy(text, b.p != NULL ? b.p : (const uint8_t *)"",
	    b.len < sizeof text - 1 ? b.len : sizeof text - 1);
	if (logpage_tail(&tail, text) == ERR_OK)
		must(tail <= LOGPAGE_TAIL_MAX);
	(void)logpage_time(&at, text, 1700000000);
	write_file(log_file, take(&in));
	must(containers_list(&all, dir) == ERR_OK);
	check_list(all);
	if (all->n > 0)
		check_log(&all->item[0], how);
	containers_free(all);
	if (!in.bad)
		page((struct bytes){ in.p, in.left });
	return 0;
}
