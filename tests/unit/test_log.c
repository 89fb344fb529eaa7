/* Log lines: one each, and not too many of them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/base/buf.h"
#include "common/base/log.h"

static int file = -1, was = -1;

/* What is logged from here on is read by said(). */
static void
setup(void)
{
	char path[] = "/tmp/test_log.XXXXXX";

	file = mkstemp(path);
	cr_assert_geq(file, 0);
	(void)unlink(path);
	was = dup(STDERR_FILENO);
	(void)dup2(file, STDERR_FILENO);
}

static void
teardown(void)
{
	(void)dup2(was, STDERR_FILENO);
	(void)close(was);
	(void)close(file);
}

TestSuite(log, .init = setup, .fini = teardown, .timeout = 60);

static void
said(struct buf *out)
{
	char part[65536];
	ssize_t n;
	off_t at = 0;

	out->len = 0;
	while ((n = pread(file, part, sizeof part, at)) > 0) {
		cr_assert_eq(
		    buf_append(out, part, (size_t)n, SIZE_MAX), ERR_OK);
		at += n;
	}
}

static unsigned
count(const struct buf *b, const char *what)
{
	unsigned n = 0;

	for (const char *p = b->p != NULL ? (const char *)b->p : "";
	     (p = strstr(p, what)) != NULL; p += strlen(what))
		n++;
	return n;
}

static struct refusal
because(enum reason r)
{
	struct refusal why;

	(void)refuse(&why, r, "detail");
	return why;
}

/* A kind has its burst, and as many a second as time has brought; one more is
 * counted.  Another event, or another reason, is another kind. */
Test(log, burst_of_a_kind)
{
	struct refusal busy = because(REASON_BUSY),
		       frame = because(REASON_FRAME);
	struct timespec a, b;
	struct buf out = { 0 };
	unsigned n, more;

	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < LOG_KIND_BURST - 1; i++)
		log_event(LOG_WARN, "flood", log_why(&busy));
	cr_assert_eq(log_suppressed(), 0);
	log_event(LOG_WARN, "flood", log_why(&busy));
	cr_assert_eq(log_suppressed(), 0);
	for (unsigned i = 0; i < 1000; i++)
		log_event(LOG_WARN, "flood", log_why(&busy));
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	more = LOG_KIND_PER_S * ((unsigned)(b.tv_sec - a.tv_sec) + 1);
	said(&out);
	n = count(&out, "event=flood");
	cr_assert_geq(n, LOG_KIND_BURST);
	cr_assert_leq(n, LOG_KIND_BURST + more);
	cr_assert_eq(log_suppressed(), LOG_KIND_BURST + 1000 - n);
	log_event(LOG_WARN, "flood", log_why(&frame));
	log_event(LOG_WARN, "flood2", log_why(&busy));
	log_plain(LOG_WARN, "flood");
	said(&out);
	cr_assert_eq(count(&out, "event=flood "), n + 1);
	cr_assert_eq(count(&out, "event=flood\n"), 1);
	cr_assert_eq(count(&out, "event=flood2"), 1);
	buf_fini(&out);
}

/* All kinds together have a bound, and so has the number of kinds. */
Test(log, many_kinds)
{
	struct buf out = { 0 };
	char event[32];
	unsigned n;

	for (unsigned i = 0; i < 3 * LOG_ALL_BURST; i++) {
		(void)snprintf(event, sizeof event, "kind_%u", i);
		log_plain(LOG_INFO, event);
	}
	said(&out);
	n = count(&out, "event=kind_");
	cr_assert_geq(n, LOG_KIND_BURST);
	cr_assert_lt(n, LOG_ALL_BURST + LOG_KIND_BURST);
	cr_assert_eq(log_suppressed(), 3 * LOG_ALL_BURST - n);
	buf_fini(&out);
}

/* What is below the level is neither written nor counted. */
Test(log, below_the_level)
{
	struct buf out = { 0 };

	for (unsigned i = 0; i < 2 * LOG_KIND_BURST; i++)
		log_plain(LOG_DEBUG, "quiet");
	cr_assert_eq(log_suppressed(), 0);
	said(&out);
	cr_assert_eq(out.len, 0);
	buf_fini(&out);
}

/* The number of those that were not written is told, once for each kind. */
Test(log, number_is_told)
{
	struct refusal busy = because(REASON_BUSY);
	struct buf out = { 0 };
	char line[128];

	for (unsigned i = 0; i < LOG_KIND_BURST + 200; i++)
		log_event(LOG_WARN, "flood", log_why(&busy));
	log_tick();
	said(&out);
	cr_assert_eq(count(&out, "log_suppressed"), 0); /* not yet */
	for (unsigned i = 0; i < LOG_TOLD_MS / 1000 + 1; i++)
		(void)sleep(1);
	(void)snprintf(line, sizeof line,
	    "event=log_suppressed kind=flood reason=busy count=%llu\n",
	    (unsigned long long)log_suppressed());
	log_tick();
	log_tick();
	said(&out);
	cr_assert_eq(count(&out, line), 1);
	cr_assert_eq(count(&out, "log_suppressed"), 1);
	buf_fini(&out);
}

static void *
shout(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 1000; i++)
		log_event(LOG_WARN, "shout", log_u64("i", i));
	return NULL;
}

/* Of several threads none is lost: written or counted. */
Test(log, threads)
{
	struct buf out = { 0 };
	pthread_t t[4];

	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, shout, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(pthread_join(t[i], NULL), 0);
	said(&out);
	cr_assert_eq(count(&out, "event=shout") + log_suppressed(), 4000);
	cr_assert_eq(count(&out, "\n"), count(&out, "event="));
	buf_fini(&out);
}
