/* config: the agent's YAML file, checked and decoded.
 *
 * Strict: a key that the schema does not know, a value that does not decode
 * or a missing required key is an error that names the line or the key.
 * The file holds no secrets; README.md beside this file shows one. */
#ifndef NODE_AGENT_CONFIG_H
#define NODE_AGENT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/log.h"
#include "node/harden/harden.h"

#define CONFIG_PATH_MAX 512
#define CONFIG_URL_MAX 256
#define CONFIG_HOST_MAX 48
#define CONFIG_KMS_URLS 16
#define CONFIG_MR_PINS 16
#define CONFIG_SIGNERS 4
#define CONFIG_WHY_MAX 256

enum root_pin_kind { ROOT_PIN_NONE, ROOT_PIN_PUB, ROOT_PIN_ADDRESS };

/* The root key of epoch 0, that releases must follow from, if the operator
 * knows it. */
struct root_pin {
	enum root_pin_kind kind;
	uint8_t b[33]; /* PUB: compressed key; ADDRESS: 20 bytes */
};

struct agent_config {
	/* tee */
	bool simulated;
	char sim_host[CONFIG_PATH_MAX];
	char sim_image[CONFIG_PATH_MAX];
	char run_dir[CONFIG_PATH_MAX];
	/* app */
	char compose_file[CONFIG_PATH_MAX];
	char state_dir[CONFIG_PATH_MAX];
	char logs_dir[CONFIG_PATH_MAX]; /* containers.h; "" = none */
	bool has_app_id;
	uint8_t app_id[20];
	char encrypted_env[CONFIG_PATH_MAX]; /* "": beside compose_file */
	char env_dir[CONFIG_PATH_MAX];
	/* kms */
	char kms_url[CONFIG_KMS_URLS][CONFIG_URL_MAX];
	unsigned n_kms_urls;
	uint64_t chain_id;
	uint8_t kms_contract[20];
	struct root_pin kms_root;
	bool has_registry;
	uint8_t kms_registry[20]; /* of roots, that releases must name */
	/* Of the anchor, now and before: who certifies after emergencies. */
	uint8_t anchor_signer[CONFIG_SIGNERS][20];
	unsigned n_anchor_signers;
	uint8_t kms_mr[CONFIG_MR_PINS][32];
	unsigned n_kms_mrs;
	unsigned attempt_timeout_s; /* for one node */
	unsigned boot_deadline_s; /* for all tries at start; 0: for ever */
	unsigned call_deadline_s; /* for a call that an app waits for */
	unsigned refresh_s; /* how old keys may be; 0: fetched at every call */
	/* attestation */
	char pccs_url[CONFIG_URL_MAX];
	bool pccs_insecure_tls;
	char simulated_root[CONFIG_PATH_MAX]; /* "" = the vendor's only */
	/* listen */
	char socket[CONFIG_PATH_MAX];
	mode_t socket_mode; /* of both sockets */
	char tappd_socket[CONFIG_PATH_MAX]; /* "": off */
	char external_host[CONFIG_HOST_MAX]; /* "": off; a numeric address */
	uint16_t external_port; /* 0: a free one */
	struct harden_config process;
	enum log_level log_level;
};

/* config_parse reads one YAML document.  ERR_CONFIG: `why` says what is
 * wrong and where; `*out` is untouched. */
enum err config_parse(struct agent_config *out, struct bytes yaml,
    char why[static CONFIG_WHY_MAX]);

/* config_load reads the file at `path`. */
enum err config_load(struct agent_config *out, const char *path,
    char why[static CONFIG_WHY_MAX]);

/* config_print appends the effective configuration, as YAML that
 * config_parse reads back to the same. */
enum err config_print(struct buf *out, const struct agent_config *c);

/* config_kms_pinned: whether this mr_aggregated is among the configured
 * ones; true if none is configured. */
bool config_kms_pinned(
    const struct agent_config *c, const uint8_t mr_aggregated[static 32]);

#endif
