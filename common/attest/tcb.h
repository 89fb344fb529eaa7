/* tcb: how old is the platform, its TDX module and its QE?
 *
 * Pure functions over parsed documents: tdx-dcap.md 2.6 (levels), 2.7
 * (module identity) and 2.8 (merging, relaunch). */
#ifndef COMMON_ATTEST_TCB_H
#define COMMON_ATTEST_TCB_H

#include "common/attest/pckext.h"
#include "common/attest/tcbinfo.h"

/* tcb_level_match returns the first level, newest first, that the platform
 * reaches, or NULL.  `tee_tcb_svn` (16 bytes) is of the TD; NULL for SGX. */
const struct tcb_level *tcb_level_match(const struct tcb_info *t,
    const struct pckext *pck, const uint8_t *tee_tcb_svn);

/* svn_level_match returns the first level with isvsvn <= `svn`, or NULL. */
const struct svn_level *svn_level_match(
    const struct svn_level *level, size_t n, uint16_t svn);

/* tcb_module_check compares the TD's module with its signed identity.
 * `*out` is the module's level, or NULL for a module of version 0, which has
 * none.  ERR_DENIED with REASON_TDX_MODULE or REASON_TCB_UNKNOWN. */
enum err tcb_module_check(const struct svn_level **out,
    const struct tcb_info *t, const struct td_report *td, struct refusal *why);

/* tcb_merge is the table of 2.8; `other` is UpToDate, OutOfDate or Revoked. */
enum tcb_status tcb_merge(enum tcb_status platform, enum tcb_status other);

/* tcb_relaunch: would the TD, started again on the module that runs now, be
 * up to date?  Returns `merged` if not, else one of the two RELAUNCH
 * statuses.  `merged` is platform and module; TD 1.5 reports only. */
enum tcb_status tcb_relaunch(enum tcb_status merged, enum tcb_status module,
    enum tcb_status qe, const struct tcb_info *t, const struct pckext *pck,
    const struct td_report *td);

/* tcb_judge runs all of it and fills the verdict's statuses, advisories and
 * dates.  `td` is NULL for SGX, which has no module.  ERR_DENIED for an unknown level or module, or TCB_REVOKED. */
enum err tcb_judge(struct verdict *out, const struct tcb_info *t,
    const struct pckext *pck, const struct td_report *td,
    const struct svn_level *qe, struct refusal *why);

#endif
