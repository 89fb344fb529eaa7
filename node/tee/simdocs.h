/* simdocs: what the simulator's vendor says about its platforms.
 *
 * The texts of TCB info v3 (TDX) and QE identity v2 (TD_QE), tdx-dcap.md
 * 2.3, and the platform levels that they speak of. */
#ifndef NODE_TEE_SIMDOCS_H
#define NODE_TEE_SIMDOCS_H

#include "node/tee/simcert.h"

#define SIM_TCB_EVAL_NUMBER 18
#define SIM_QE_ISVPRODID 2
#define SIM_QE_ISVSVN 6
#define SIM_ADVISORY "SIM-SA-00001"

/* The unsigned inner objects, exact bytes to be signed. */
enum err sim_tcb_info_text(struct buf *out, int64_t from, int64_t until);
enum err sim_qe_identity_text(struct buf *out, int64_t from, int64_t until);

/* sim_platform_svns sets the SVNs of a current platform (level 0) or of one
 * that the TCB info calls out of date (1). */
void sim_platform_svns(struct sim_platform *p, unsigned level);

/* MRSIGNER of the simulator's quoting enclave. */
void sim_qe_mrsigner(uint8_t out[static 32]);

/* "2026-01-02T03:04:05Z" */
enum err sim_date(char out[static 21], int64_t at);

#endif
