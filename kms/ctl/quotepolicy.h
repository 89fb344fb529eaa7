/* quotepolicy: what `kmsctl verify quote` is asked to accept.
 *
 *   default   a KMS's: UpToDate, no advisory, production attributes
 *   any       only what is never negotiable: every status but Revoked and
 *             every advisory, but still no debug and no unknown attribute
 *   FILE      YAML; what it does not name stays as in `default`:
 *
 *     allow_status: [UpToDate, SWHardeningNeeded]
 *     allow_advisory: [INTEL-SA-00615]
 *     allow_any_advisory: false
 *     grace_days: 0               OutOfDate, this long after its level's date
 *     min_tcb_evaluation_number: 18
 *     min_qe_evaluation_number: 18
 *     allow_ppid: [00112233445566778899aabbccddeeff]
 *     allow_debug: false          of any kind of TEE
 *     allow_service_td: false
 *     allow_no_sept_ve: false
 *     snp_products: [Genoa, Turin]
 *     snp_vmpl: [0]
 *     snp_min_tcb: { bootloader: 3, tee: 0, snp: 8, microcode: 115 }
 *     snp_allow_vlek: false
 *     snp_allow_masked_chip: false
 *     snp_allow_migration: false
 *     snp_allow_no_alias_check: false
 *     snp_allow_no_crl: false
 *
 * To say yes here releases no key: kmsd has a policy of its own, which takes
 * TDX only unless told otherwise.
 */
#ifndef KMS_CTL_QUOTEPOLICY_H
#define KMS_CTL_QUOTEPOLICY_H

#include "common/attest/verdict.h"
#include "common/base/json.h"
#include "common/base/yaml.h"

/* quotepolicy_load: `word` is one of the names above, a file, or NULL for
 * the default.  ERR_CONFIG: `why`. */
enum err quotepolicy_load(
    struct attest_policy *out, const char *word, char why[static YAML_WHY_MAX]);
enum err quotepolicy_parse(struct attest_policy *out, struct bytes yaml,
    char why[static YAML_WHY_MAX]);

/* quotepolicy_json says what concerns this kind of TEE, for the report. */
json_t *quotepolicy_json(const struct attest_policy *p, enum tee_kind tee);

#endif
