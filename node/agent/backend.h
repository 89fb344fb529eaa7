/* backend: what the methods of the socket need from the CVM around them.
 *
 * The daemon gives the real thing (agent.h), a test gives a fake.  All
 * functions may block and are called from several threads. */
#ifndef NODE_AGENT_BACKEND_H
#define NODE_AGENT_BACKEND_H

#include "common/attest/evidence.h"

#include "node/agent/heldkeys.h"
#include "node/agent/identity.h"
#include "node/agent/kms_client.h"

/* The registers and the log as they are now; no quote is taken. */
struct agent_measured {
	uint8_t mrtd[48];
	uint8_t rtmr[4][48];
	uint8_t mr_aggregated[32];
	struct buf event_log; /* owns: JSON array */
	struct buf vm_config; /* owns */
};

struct agent_backend {
	void *cookie;
	/* Nothing here is attested: Info, Version and the pages say so. */
	bool simulated;
	bool quote_attestation; /* GetQuote tells the attestation, too */
	bool no_events; /* EmitEvent is refused */
	const struct app_identity *identity;
	const char *logs_dir; /* of containers.h; or NULL.  Borrowed. */
	uint64_t chain_id;
	uint8_t kms_contract[20];
	/* What the first keys of this boot came with, and was measured. */
	uint8_t boot_ca_spki[P256_SPKI_LEN];
	uint8_t os_image_hash[32];
	/* Keys of the epoch that the app is pinned to, or of `*epoch`.
	 * release_wipe. */
	enum err (*keys)(void *cookie, struct app_release *out,
	    const uint64_t *epoch, struct refusal *why);
	/* What the app is pinned to: looked up anew if it is time, and as seen
	 * last if that fails. */
	void (*pin)(void *cookie, struct heldkeys_pin *out);
	/* The caller buf_fini()s both members, on success. */
	enum err (*measured)(
	    void *cookie, struct agent_measured *out, struct refusal *why);
	enum err (*quote)(void *cookie, struct evidence *out,
	    const uint8_t report_data[static 64], struct refusal *why);
	/* Appends a VersionedAttestation; `stripped` is the short form that
	 * certificates carry. */
	enum err (*attest)(void *cookie, struct buf *out,
	    const uint8_t report_data[static 64], bool stripped,
	    struct refusal *why);
	/* Appends version 1 of it, MessagePack; NULL: there is none. */
	enum err (*attest_v1)(void *cookie, struct buf *out,
	    const uint8_t report_data[static 64], struct refusal *why);
	/* Appends the PEM chain of a certificate that shows this app, if there
	 * is one by now; NULL: there never is. */
	void (*app_cert)(void *cookie, struct buf *out);
	enum err (*emit)(void *cookie, const char *name, struct bytes payload);
	/* [leaf, ..., root], DER; the last may stay empty. */
	enum err (*sign_cert)(void *cookie, struct buf chain[static 3],
	    const struct kms_cert_request *rq, struct refusal *why);
	/* kms_client.h */
	enum err (*counter_get)(void *cookie, struct kms_counter *out,
	    const char *name, struct refusal *why);
	enum err (*counter_increment)(void *cookie, struct kms_counter *out,
	    const char *name, uint64_t expected,
	    const uint8_t operation[static KMS_OPERATION_LEN],
	    struct refusal *why);
};

#endif
