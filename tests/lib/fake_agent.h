/* fake_agent: a backend for the agent's methods, without TEE and KMS.
 *
 * Its keys are those of dstack's published simulator 0.5.3, so that results
 * can be compared with the vectors; its CA key is the one given there. */
#ifndef TESTS_LIB_FAKE_AGENT_H
#define TESTS_LIB_FAKE_AGENT_H

#include "node/agent/backend.h"

struct fake_agent {
	struct app_identity identity; /* owns */
	struct app_release release;
	struct p256_secret ca;
	uint64_t epoch; /* the only one there is */
	bool has_registry; /* 20 times 0x77 */
	enum err fail; /* what every call answers, if not ERR_OK */
	unsigned n_events; /* emitted so far */
	char last_event[128];
	size_t last_payload_len;
	uint8_t last_report_data[64];
	bool last_stripped;
	const char *app_cert; /* NULL: none yet */
	struct kms_cert_request last_cert; /* its pointers are stale */
	bool proof_ok;
	struct kms_counter counter; /* there is one, of any name */
	uint8_t last_operation[KMS_OPERATION_LEN];
};

void fake_agent_init(struct fake_agent *f, struct agent_backend *out);
void fake_agent_fini(struct fake_agent *f);

#endif
