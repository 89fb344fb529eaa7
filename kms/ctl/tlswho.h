/* tlswho: is the CVM that the evidence shows the one that the certificate and
 * the caller speak of?  Only of a verified quote. */
#ifndef KMS_CTL_TLSWHO_H
#define KMS_CTL_TLSWHO_H

#include "kms/ctl/contract.h"
#include "kms/ctl/quotejob.h"
#include "kms/ctl/tlscert.h"

/* What the caller expects; members that are NULL are not compared. */
struct tlswho {
	const uint8_t *app_id; /* 20 */
	const uint8_t *compose_hash; /* 32 */
	const uint8_t *os_image_hash; /* 32 */
	const struct tlscert_pins *pins; /* root CAs of the KMS */
	const struct contract *chain; /* whose contracts are asked, or NULL */
};

/* tlswho_check adds rows (steps 14 and 16) to the job's report and keeps the
 * first refusal; j->genuine. */
void tlswho_check(
    struct quotejob *j, const struct tlscert_facts *f, const struct tlswho *w);

#endif
