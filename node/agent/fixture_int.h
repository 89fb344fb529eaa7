/* fixture_int: what the files of fixture share. */
#ifndef NODE_AGENT_FIXTURE_INT_H
#define NODE_AGENT_FIXTURE_INT_H

#include "common/attest/quote.h"

#include "node/agent/fixture.h"

/* The operator's file is at fault: no refusal of a peer. */
#define fixture_bad(why, ...) \
	((void)refuse((why), REASON_BOOT_INFO, __VA_ARGS__), ERR_CONFIG)

/* Lives in secret_new memory. */
struct fixture {
	struct fixture_keys keys; /* owns */
	struct k256_pub root;
	struct app_identity identity; /* owns */
	struct evidence ev; /* owns: quote, log, and what attestations carry */
	struct buf vm_config; /* owns: of sys-config.json */
	struct buf app_cert; /* owns: PEM */
	struct td_report td;
	struct boot_info boot;
	uint8_t provider_spki[P256_SPKI_LEN]; /* as measured */
	uint8_t ca_spki[P256_SPKI_LEN]; /* of what signs */
	bool has_attestation; /* the newer kind of folder */
};

/* fixture_read fills a zeroed fixture but for its certificate. */
enum err fixture_read(
    struct fixture *f, const struct fixture_files *in, struct refusal *why);

#endif
