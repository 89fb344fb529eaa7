/* lab_app: the app CVMs of a simulated cluster.
 *
 * An app is a contract and one CVM or more, its replicas: each on a simulated
 * machine, with a seed, a run folder and a socket of its own.  The first one
 * has the app's name. */
#ifndef KMS_CTL_LAB_APP_H
#define KMS_CTL_LAB_APP_H

#include "kms/ctl/lab.h"

struct lab_app_wishes {
	const char *name;
	const char *host; /* a simulated machine */
	const char *image;
	const char *compose; /* a file to copy, or NULL for a small default */
	bool any_device;
	/* Borrows: the machines whose devices the contract lists, made if they
	 * are not there; none: `host`. */
	const char *const *device;
	unsigned n_devices;
	bool registered; /* false: no contract; the app id is its hash's */
	unsigned boot_deadline_s; /* the agent gives up then */
};

/* lab_app_make makes the folder, deploys and registers the app contract,
 * waits until that is final, and adds the app to `l` and to sim.json. */
enum ctl_exit lab_app_make(struct lab_app **out, const struct ctl *c,
    struct lab *l, const struct lab_app_wishes *w);

/* lab_app_replica adds one more CVM of the app `of` (the first CVM's name),
 * on `host`, which is made if it is not there; its name is the first free of
 * NAME-2, NAME-3, ...  The contract is not touched. */
enum ctl_exit lab_app_replica(struct lab_app **out, const struct ctl *c,
    struct lab *l, const char *of, const char *host, unsigned boot_deadline_s);

/* lab_app_next_name: what lab_app_replica would call it. */
enum err lab_app_next_name(
    char out[static LAB_NAME_MAX], struct lab *l, const char *of);

/* lab_app_device is a machine's device id; ERR_NOTFOUND. */
enum err lab_app_device(
    uint8_t out[static 32], const struct lab *l, const char *host);

/* lab_app_allow has the app's contract list a machine's device, and waits
 * until that is final. */
enum ctl_exit lab_app_allow(const struct ctl *c, const struct lab *l,
    const struct lab_app *a, const char *host);

/* lab_app_remove forgets a CVM that does not run, and its folder; with the
 * first one all of its replicas.  The contract stays: registration is for
 * ever. */
enum ctl_exit lab_app_remove(
    const struct ctl *c, struct lab *l, const char *name);

#endif
