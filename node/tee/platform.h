/* platform: what the two kinds of TEE do for tee.c; internal to node/tee. */
#ifndef NODE_TEE_PLATFORM_H
#define NODE_TEE_PLATFORM_H

#include <jansson.h>

#include "node/tee/tee.h"

/* Each call may come from any thread; `extend` only from one at a time. */
struct platform_ops {
	/* RTMR3 := SHA-384(RTMR3 || digest). */
	enum err (*extend)(void *self, const uint8_t digest[static 48]);
	/* ERR_UNSUPPORTED if the register cannot be read. */
	enum err (*rtmr3)(void *self, uint8_t out[static 48]);
	enum err (*quote)(void *self, struct buf *out,
	    const uint8_t report_data[static 64], struct refusal *why);
	enum err (*seal_key)(
	    void *self, uint8_t out[static 32], const char *label);
	void (*close)(void *self);
};

/* What a platform gives tee_boot. */
struct platform {
	const struct platform_ops *ops;
	void *self; /* owned by the tee once booted */
	struct buf boot_log; /* JSON array: what was measured before us */
	struct buf vm_config;
	bool fresh; /* RTMR3 is zero: an older runtime log means nothing */
};

enum err sim_platform_boot(
    struct platform *out, const struct tee_options *o, struct refusal *why);

/* Where the kernel's interfaces are; the tests have folders of their own
 * and play the kernel in `settle`. */
enum tdx_stage { TDX_MADE, TDX_WRITTEN, TDX_DONE };
struct tdx_paths {
	const char *reports; /* /sys/kernel/config/tsm/report */
	const char *rtmr3; /* 48 raw bytes; a write extends */
	void (*settle)(void *cookie, const char *instance,
	    enum tdx_stage stage); /* NULL on a real kernel */
	void *cookie;
	unsigned retry_ms; /* pause after EBUSY */
};

enum err tdx_platform_boot(struct platform *out, const struct tee_options *o,
    const struct tdx_paths *paths, struct refusal *why);

/* tee_start makes a tee of a booted platform, which it takes. */
enum err tee_start(struct tee **out, struct platform *p,
    const struct tee_options *o, struct refusal *why);

#endif
