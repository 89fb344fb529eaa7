/* tdx: the TDX guest device of Linux, by files: tdx-dcap.md 3.1 and 3.2.
 *
 * A quote is made in an instance folder of configfs-tsm that only this call
 * uses; the generation counter and the report data inside the quote are
 * checked all the same, since nothing but names keeps others out. */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/attest/quote.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "node/tee/platform.h"

#define PATH_CAP 1024
#define TRIES 4
#define PROVIDER "tdx_guest"
/* What we read of outblob.  New kernels give up to 16 MiB (DICE); a quote
 * that we can use is at most LIMIT_QUOTE, and one byte more shows. */
#define OUTBLOB_MAX (LIMIT_QUOTE + 1)
#define BOOT_LOG_FILE "boot_events.json"
#define VM_CONFIG_FILE "vm_config.json"

struct tdx {
	struct tdx_paths paths; /* its strings are static or the test's */
};

/* ---- files of the kernel: errno matters, so no file_read ---- */

/* Returns 0 or an errno; EFBIG when there is more than `max`. */
static int
get(struct buf *out, const char *dir, const char *name, size_t max)
{
	char path[PATH_CAP];
	uint8_t chunk[4096];
	int fd, err = 0;

	if (file_join(path, sizeof path, dir, name) != ERR_OK)
		return ENAMETOOLONG;
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return errno;
	out->len = 0;
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);

		if (n < 0)
			err = errno;
		if (n <= 0)
			break;
		if (buf_append(out, chunk, (size_t)n, max) != ERR_OK) {
			err = EFBIG;
			break;
		}
	}
	(void)close(fd);
	return err;
}

/* One write of the whole value, as the kernel wants it. */
static int
put(const char *path, const void *p, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;
	ssize_t n;

	if (fd < 0)
		return errno;
	n = write(fd, p, len);
	if (n < 0)
		err = errno;
	else if ((size_t)n != len)
		err = EIO;
	(void)close(fd);
	return err;
}

static int
get_generation(uint64_t *out, const char *dir)
{
	struct buf b = { 0 };
	char *end;
	int err = get(&b, dir, "generation", 64);

	if (err == 0) {
		errno = 0;
		*out = strtoull((const char *)b.p, &end, 10);
		if (errno != 0 || end == (char *)b.p ||
		    (*end != '\n' && *end != '\0'))
			err = EPROTO;
	}
	buf_fini(&b);
	return err;
}

/* ---- quotes ---- */

static enum err
fail(enum err e, struct refusal *why, const char *what, int err)
{
	(void)refuse(why, REASON_INTERNAL, "%s: %s", what,
	    err == 0 ? "unexpected content" : strerror(err));
	return e;
}

/* What an errno of the device means for the caller. */
static enum err
classify(int err)
{
	switch (err) {
	case EBUSY: /* the host is at the previous one */
	case EINTR:
		return ERR_AGAIN;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return ERR_UNSUPPORTED;
	case EFBIG:
		return ERR_LIMIT;
	default:
		return ERR_IO;
	}
}

static void
settle(const struct tdx *t, const char *dir, enum tdx_stage stage)
{
	if (t->paths.settle != NULL)
		t->paths.settle(t->paths.cookie, dir, stage);
}

static enum err
make_instance(char *out, size_t cap, const struct tdx *t, struct refusal *why)
{
	char name[64], hex[17];
	uint8_t r[8];

	for (unsigned i = 0; i < TRIES; i++) {
		secret_random(r, sizeof r);
		(void)snprintf(name, sizeof name, "devproof-kms-%d-%s",
		    (int)getpid(), hex_encode(hex, r, sizeof r));
		if (file_join(out, cap, t->paths.reports, name) != ERR_OK)
			return ERR_CONFIG;
		if (mkdir(out, 0700) == 0)
			return ERR_OK;
		if (errno != EEXIST)
			break;
	}
	return fail(classify(errno), why, "configfs-tsm", errno);
}

/* The report data inside must be what was asked for, and what follows the
 * quote is dropped: kernels have let hosts choose its length. */
static enum err
check_quote(struct buf *quote, const uint8_t report_data[static 64],
    struct refusal *why)
{
	struct quote q;
	enum err e = quote_parse(&q, buf_view(quote), why);

	if (e != ERR_OK)
		return e;
	if (q.tee != TEE_TDX || memcmp(q.td.report_data, report_data, 64) != 0)
		return refuse(
		    why, REASON_REPORT_DATA, "device quoted other report data");
	quote->len = q.canonical_len;
	return ERR_OK;
}

/* One attempt in the instance `dir`.  ERR_AGAIN: try again. */
static enum err
quote_in(const struct tdx *t, const char *dir, struct buf *quote,
    const uint8_t report_data[static 64], struct refusal *why)
{
	char inblob[PATH_CAP];
	struct buf provider = { 0 };
	uint64_t before, after;
	int err = get(&provider, dir, "provider", 64);
	bool ours = err == 0 && provider.len >= strlen(PROVIDER) &&
	    memcmp(provider.p, PROVIDER, strlen(PROVIDER)) == 0;

	buf_fini(&provider);
	if (!ours)
		return fail(ERR_UNSUPPORTED, why, "provider", err);
	if (file_join(inblob, sizeof inblob, dir, "inblob") != ERR_OK)
		return ERR_CONFIG;
	if ((err = get_generation(&before, dir)) != 0)
		return fail(classify(err), why, "generation", err);
	if ((err = put(inblob, report_data, 64)) != 0)
		return fail(classify(err), why, "inblob", err);
	settle(t, dir, TDX_WRITTEN);
	if ((err = get(quote, dir, "outblob", OUTBLOB_MAX)) != 0)
		return fail(classify(err), why, "outblob", err);
	if ((err = get_generation(&after, dir)) != 0)
		return fail(classify(err), why, "generation", err);
	if (after != before + 1)
		return fail(ERR_AGAIN, why, "generation", 0);
	return check_quote(quote, report_data, why);
}

static void
pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000,
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static enum err
tdx_quote(void *self, struct buf *out, const uint8_t report_data[static 64],
    struct refusal *why)
{
	const struct tdx *t = self;
	struct buf quote = { 0 };
	char dir[PATH_CAP];
	enum err e = ERR_AGAIN;

	for (unsigned i = 0; e == ERR_AGAIN && i < TRIES; i++) {
		if (i > 0)
			pause_ms(t->paths.retry_ms);
		if ((e = make_instance(dir, sizeof dir, t, why)) != ERR_OK)
			break;
		settle(t, dir, TDX_MADE);
		e = quote_in(t, dir, &quote, report_data, why);
		settle(t, dir, TDX_DONE);
		(void)rmdir(dir);
	}
	if (e == ERR_OK)
		e = buf_append(out, quote.p, quote.len, SIZE_MAX);
	buf_fini(&quote);
	return e;
}

/* ---- RTMR3 ---- */

static enum err
tdx_extend(void *self, const uint8_t digest[static 48])
{
	const struct tdx *t = self;
	int err = put(t->paths.rtmr3, digest, 48);

	return err == 0 ? ERR_OK : classify(err);
}

static enum err
tdx_rtmr3(void *self, uint8_t out[static 48])
{
	const struct tdx *t = self;
	struct buf b = { 0 };
	enum err e = file_read(&b, t->paths.rtmr3, 48);

	if (e == ERR_NOTFOUND)
		e = ERR_UNSUPPORTED;
	else if (e == ERR_OK && b.len != 48)
		e = ERR_IO;
	if (e == ERR_OK)
		memcpy(out, b.p, 48);
	buf_fini(&b);
	return e;
}

/* TDX gives a TD no key of its own: DESIGN 3. */
static enum err
tdx_seal_key(void *self, uint8_t out[static 32], const char *label)
{
	(void)self;
	(void)out;
	(void)label;
	return ERR_UNSUPPORTED;
}

static void
tdx_close(void *self)
{
	free(self);
}

static const struct platform_ops ops = {
	.extend = tdx_extend,
	.rtmr3 = tdx_rtmr3,
	.quote = tdx_quote,
	.seal_key = tdx_seal_key,
	.close = tdx_close,
};

/* A file that the guest's boot may have left for us. */
static enum err
optional(struct buf *out, const char *dir, const char *name, size_t max)
{
	char path[PATH_CAP];
	enum err e = file_join(path, sizeof path, dir, name);

	if (e == ERR_OK)
		e = file_read(out, path, max);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
tdx_platform_boot(struct platform *out, const struct tee_options *o,
    const struct tdx_paths *paths, struct refusal *why)
{
	struct tdx *t = NULL;
	enum err e;

	*out = (struct platform){ .ops = &ops };
	if (access(paths->reports, F_OK) != 0)
		return fail(ERR_UNSUPPORTED, why, "configfs-tsm", errno);
	if ((e = optional(&out->boot_log, o->run_dir, BOOT_LOG_FILE,
		 LIMIT_EVENT_LOG)) != ERR_OK ||
	    (e = optional(&out->vm_config, o->run_dir, VM_CONFIG_FILE,
		 LIMIT_VM_CONFIG)) != ERR_OK)
		goto done;
	if ((t = calloc(1, sizeof *t)) == NULL) {
		e = ERR_NOMEM;
		goto done;
	}
	t->paths = *paths;
	out->self = t;
done:
	if (e != ERR_OK) {
		buf_fini(&out->boot_log);
		buf_fini(&out->vm_config);
	}
	return e;
}
