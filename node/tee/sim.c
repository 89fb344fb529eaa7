/* sim: a simulated TD.
 *
 * Registers 0 to 2 and MRTD are those of the image (replayed from its boot
 * log), register 3 starts at zero.  Quotes are signed by the host's quoting
 * enclave, read anew each time, for it belongs to the host. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/attest/osimage.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "common/crypto/hash.h"
#include "node/tee/platform.h"
#include "node/tee/simhost.h"
#include "node/tee/simimage.h"

#define PATH_CAP 1024

struct sim {
	pthread_mutex_t lock; /* guards td.rtmr[3] */
	struct td_report td;
	char host_dir[PATH_CAP];
	uint8_t fuse_key[32];
};

static enum err
sim_extend(void *self, const uint8_t digest[static 48])
{
	struct sim *s = self;

	(void)pthread_mutex_lock(&s->lock);
	rtmr_extend(s->td.rtmr[3], digest);
	(void)pthread_mutex_unlock(&s->lock);
	return ERR_OK;
}

static enum err
sim_rtmr3(void *self, uint8_t out[static 48])
{
	struct sim *s = self;

	(void)pthread_mutex_lock(&s->lock);
	memcpy(out, s->td.rtmr[3], 48);
	(void)pthread_mutex_unlock(&s->lock);
	return ERR_OK;
}

static enum err
sim_make_quote(void *self, struct buf *out,
    const uint8_t report_data[static 64], struct refusal *why)
{
	struct sim *s = self;
	struct sim_host host = { 0 };
	struct td_report td;
	struct buf quote = { 0 };
	enum err e;

	if (sim_host_load(&host, s->host_dir) != ERR_OK)
		return refuse(why, REASON_INTERNAL,
		    "simulated host cannot be read: %s", s->host_dir);
	(void)pthread_mutex_lock(&s->lock);
	td = s->td;
	(void)pthread_mutex_unlock(&s->lock);
	memcpy(td.report_data, report_data, 64);
	if ((e = sim_quote(&quote, &host.qe, &td)) == ERR_OK)
		e = buf_append(out, quote.p, quote.len, SIZE_MAX);
	buf_fini(&quote);
	sim_host_fini(&host);
	return e;
}

/* Bound to the machine (fuse key) and to what booted (MRTD, RTMR0-2); not
 * to RTMR3, which grows while the TD runs. */
static enum err
sim_seal_key(void *self, uint8_t out[static 32], const char *label)
{
	struct sim *s = self;
	const struct bytes info[] = {
		BYTES_OF(s->td.mrtd),
		BYTES_OF(s->td.rtmr[0]),
		BYTES_OF(s->td.rtmr[1]),
		BYTES_OF(s->td.rtmr[2]),
		BYTES_OF(s->td.td_attributes),
		{ (const uint8_t *)label, strlen(label) },
	};

	return hkdf_sha256(out, 32, BYTES_STR("devproof-kms sim seal"),
	    BYTES_OF(s->fuse_key), info, sizeof info / sizeof info[0]);
}

static void
sim_close(void *self)
{
	struct sim *s = self;

	secret_wipe(s->fuse_key, sizeof s->fuse_key);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct platform_ops ops = {
	.extend = sim_extend,
	.rtmr3 = sim_rtmr3,
	.quote = sim_make_quote,
	.seal_key = sim_seal_key,
	.close = sim_close,
};

static enum err
image_file(struct buf *out, const char *dir, const char *name, size_t max)
{
	char path[PATH_CAP];
	enum err e = file_join(path, sizeof path, dir, name);

	return e == ERR_OK ? file_read(out, path, max) : e;
}

/* The image's registers, and its files into `out`. */
static enum err
boot_image(struct platform *out, struct td_report *td, const char *dir,
    struct refusal *why)
{
	struct event_log log = { 0 };
	struct os_registers regs;
	enum err e;

	if (image_file(&out->boot_log, dir, SIM_IMAGE_BOOT_LOG,
		LIMIT_EVENT_LOG) != ERR_OK ||
	    image_file(&out->vm_config, dir, SIM_IMAGE_VM_CONFIG,
		LIMIT_VM_CONFIG) != ERR_OK)
		return refuse(why, REASON_OS_IMAGE,
		    "simulated image cannot be read: %s", dir);
	e = event_log_parse(&log, buf_view(&out->boot_log), why);
	if (e != ERR_OK)
		return e;
	e = os_image_measure(&regs, buf_view(&out->vm_config), &log, why);
	if (e == ERR_OK) {
		memcpy(td->mrtd, regs.mrtd, 48);
		for (uint32_t i = 0; i < 3; i++)
			event_log_replay(td->rtmr[i], &log, i, NULL);
	}
	event_log_fini(&log);
	return e;
}

enum err
sim_platform_boot(
    struct platform *out, const struct tee_options *o, struct refusal *why)
{
	struct sim_host host = { 0 };
	struct sim *s = NULL;
	enum err e;

	*out = (struct platform){ .ops = &ops, .fresh = true };
	if (o->sim_host == NULL || o->sim_image == NULL ||
	    strlen(o->sim_host) >= PATH_CAP)
		return ERR_CONFIG;
	if (sim_host_load(&host, o->sim_host) != ERR_OK)
		return refuse(why, REASON_INTERNAL,
		    "simulated host cannot be read: %s", o->sim_host);
	if ((s = calloc(1, sizeof *s)) == NULL) {
		e = ERR_NOMEM;
		goto done;
	}
	(void)pthread_mutex_init(&s->lock, NULL);
	memcpy(s->host_dir, o->sim_host, strlen(o->sim_host) + 1);
	memcpy(s->fuse_key, host.fuse_key, sizeof s->fuse_key);
	sim_host_td(&s->td, &host);
	if (o->sim_compose_hash != NULL) {
		s->td.mrconfigid[0] = 1;
		memcpy(s->td.mrconfigid + 1, o->sim_compose_hash, 32);
	}
	if ((e = boot_image(out, &s->td, o->sim_image, why)) != ERR_OK)
		goto done;
	out->self = s;
	s = NULL;
done:
	if (s != NULL)
		sim_close(s);
	sim_host_fini(&host);
	if (e != ERR_OK) {
		buf_fini(&out->boot_log);
		buf_fini(&out->vm_config);
	}
	return e;
}
