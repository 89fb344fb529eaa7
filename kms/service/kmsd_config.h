/* kmsd_config: a KMS node's YAML file, checked and decoded.
 *
 * Strict: see common/base/yaml.h.  No secrets are in it.  An example with
 * every key is deploy/kmsd.yaml. */
#ifndef KMS_SERVICE_KMSD_CONFIG_H
#define KMS_SERVICE_KMSD_CONFIG_H

#include <stdbool.h>

#include "common/attest/verdict.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/yaml.h"
#include "kms/gate/standard.h"
#include "node/channel/channel.h"
#include "node/harden/harden.h"

#define KMSD_VERSION "0.1.0" /* what --version, status and meta say */
#define KMSD_PATH_MAX 512
#define KMSD_URL_MAX 256
#define KMSD_PEERS 16
#define KMSD_RPCS 8
#define KMSD_PCCS LIMIT_PCCS
#define KMSD_SNAPSHOT_EVERY 8192
#define KMSD_STATUSES 8
#define KMSD_ADVISORIES 32
#define KMSD_RATE_MAX 100000u /* a second */
#define KMSD_SESSIONS_MAX 1024u

struct kmsd_config {
	char slot[64]; /* at most 31 characters: command.h SLOT_MAX */
	char listen[KMSD_URL_MAX]; /* tcp://address:port */
	char admin_host[64];
	uint16_t admin_port;
	/* Where anyone may ask what is public (public.h); "": nowhere. */
	char public_host[64];
	uint16_t public_port;
	char data_dir[KMSD_PATH_MAX];
	bool seal; /* keep sealed roots on disk, if the platform can */
	bool genesis; /* may make the first roots, if the contract has none */
	char peer[KMSD_PEERS][KMSD_URL_MAX];
	unsigned n_peers;
	unsigned snapshot_every; /* log entries; an eighth stays behind it */

	char rpc[KMSD_RPCS][KMSD_URL_MAX];
	unsigned n_rpcs;
	unsigned rpc_quorum;
	uint64_t chain_id;
	uint8_t kms_contract[20];
	uint8_t anchor_contract[20]; /* never zero */
	bool has_registry; /* of roots; without, there is epoch 0 alone */
	uint8_t registry_contract[20]; /* never zero, if there is one */
	unsigned fence_s; /* older than this, a view of the anchor is none */
	bool chain_proof; /* mode proof: contracts are executed here */
	struct standard_code code[STANDARD_CODES_MAX];
	unsigned n_codes; /* 0: the KMS contract's code is not pinned */
	char block_tag[32];
	unsigned max_age_s;
	unsigned max_ahead_s; /* over 60 in simulators alone */
	unsigned poll_ms;
	unsigned rpc_timeout_ms;

	bool has_checkin; /* keys leave only under a lease */
	uint8_t checkin_contract[20]; /* never zero, if so, as what follows */
	unsigned checkin_period_s, checkin_lease_s;
	uint64_t checkin_max_releases;

	bool simulated;
	char sim_host[KMSD_PATH_MAX];
	char sim_image[KMSD_PATH_MAX];
	char app_compose[KMSD_PATH_MAX]; /* what this KMS guest was made of */

	char pccs_url[KMSD_PCCS][KMSD_URL_MAX]; /* asked in this order */
	unsigned n_pccs;
	bool pccs_insecure_tls;
	char simulated_root[KMSD_PATH_MAX]; /* "" = the vendor's only */
	struct attest_policy policy;
	unsigned evidence_life_s;

	struct harden_config process;

	struct channel_limits limits;

	enum log_level log_level;
};

/* kmsd_config_parse reads one YAML document.  ERR_CONFIG: `why` says what is
 * wrong and where; `*out` is untouched. */
enum err kmsd_config_parse(
    struct kmsd_config *out, struct bytes yaml, char why[static YAML_WHY_MAX]);
/* kmsd_config_load reads the file at `path`. */
enum err kmsd_config_load(
    struct kmsd_config *out, const char *path, char why[static YAML_WHY_MAX]);
/* kmsd_config_print appends the effective values, one `key: value` a line. */
enum err kmsd_config_print(struct buf *out, const struct kmsd_config *c);

#endif
