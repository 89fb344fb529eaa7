/* simhost: simulated machines and OS images, as folders.
 *
 *   <dir>/hosts/<name>/host.json     a platform: PPID, PCK key and chain,
 *                                    quoting enclave, fuse key, fault
 *   <dir>/images/<name>/             simimage.h
 *
 * A host's quoting enclave is read at each quote, so a change shows at once
 * in a TD that runs; its TD attributes are those at boot. */
#ifndef NODE_TEE_SIMHOST_H
#define NODE_TEE_SIMHOST_H

#include "node/tee/simpki.h"
#include "node/tee/simquote.h"

#define SIM_NAME_MAX 32

#define SIM_FAULT_LIST(X) \
	X(NONE, "none") /* undo: a current platform, certified anew */ \
	X(DEBUG, "debug") /* TDs boot with the debug attribute */ \
	X(OUT_OF_DATE, "out-of-date") /* SVNs below the current level */ \
	X(REVOKED, "revoked") /* the PCK certificate is on the CRL */ \
	X(NO_SEPT_VE, "no-sept-ve") /* TDs boot without SEPT_VE_DISABLE */

enum sim_fault {
#define X(name, text) SIM_FAULT_##name,
	SIM_FAULT_LIST(X)
#undef X
	    SIM_FAULT_COUNT
};

const char *sim_fault_text(enum sim_fault f);
enum err sim_fault_parse(enum sim_fault *out, const char *text);

/* Holds secrets: sim_host_fini. */
struct sim_host {
	enum sim_fault fault;
	struct sim_platform platform;
	struct sim_serial serial; /* of the PCK certificate */
	struct p256_secret pck_key;
	struct sim_qe qe;
	uint8_t fuse_key[32];
};

/* sim_name_ok: 1 to SIM_NAME_MAX of a-z, 0-9 and '-', not first. */
bool sim_name_ok(const char *name);

/* sim_host_create makes a current platform in <dir>/hosts/<name>.
 * ERR_EXISTS; ERR_CONFIG: bad name; ERR_NOTFOUND: no PKI in `dir`. */
enum err sim_host_create(const char *dir, const char *name, int64_t now);

/* sim_host_set sets or (NONE) removes a fault.  PPID and fuse key stay. */
enum err sim_host_set(
    const char *dir, const char *name, enum sim_fault fault, int64_t now);

/* sim_host_load reads the folder of one host. */
enum err sim_host_load(struct sim_host *out, const char *host_dir);
void sim_host_fini(struct sim_host *h); /* wipes */

/* sim_host_td sets what the platform determines in a TD's report. */
void sim_host_td(struct td_report *td, const struct sim_host *h);

#endif
