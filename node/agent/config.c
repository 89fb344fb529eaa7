/* yaml.h fills `struct file` as its schema says; `decode` turns text into
 * values and applies defaults. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/yaml.h"

#include "node/agent/config.h"

static_assert(CONFIG_WHY_MAX == YAML_WHY_MAX, "one buffer for both");

/* A pin that is moved on chain is followed by then. */
#define REFRESH_S 10
#define REFRESH_MAX_S 86400
#define HEX_TEXT_MAX 80 /* "0x" and 33 bytes, and some */

struct file_tee {
	enum yaml_bool simulated;
	char sim_host[CONFIG_PATH_MAX];
	char sim_image[CONFIG_PATH_MAX];
	char run_dir[CONFIG_PATH_MAX];
};

struct file_app {
	char compose_file[CONFIG_PATH_MAX];
	char state_dir[CONFIG_PATH_MAX];
	char logs_dir[CONFIG_PATH_MAX];
	char id[HEX_TEXT_MAX];
	char encrypted_env_file[CONFIG_PATH_MAX];
	char env_dir[CONFIG_PATH_MAX];
};

struct file_kms {
	char urls[CONFIG_KMS_URLS][CONFIG_URL_MAX];
	unsigned urls_count;
	uint64_t chain_id;
	char contract[HEX_TEXT_MAX];
	char root[HEX_TEXT_MAX];
	char registry[HEX_TEXT_MAX];
	char anchor_signer[CONFIG_SIGNERS][HEX_TEXT_MAX];
	unsigned anchor_signer_count;
	char mr_aggregated[CONFIG_MR_PINS][HEX_TEXT_MAX];
	unsigned mr_aggregated_count;
	uint16_t attempt_timeout_s;
	uint32_t boot_deadline_s;
	uint16_t call_deadline_s;
	uint32_t *refresh_s; /* 0 is not the default */
};

struct file_attestation {
	char pccs_url[CONFIG_URL_MAX];
	enum yaml_bool pccs_insecure_tls;
	char insecure_simulated_root[CONFIG_PATH_MAX];
};

struct file_listen {
	char socket[CONFIG_PATH_MAX];
	char mode[8];
	char tappd_socket[CONFIG_PATH_MAX];
	char external[CONFIG_HOST_MAX + 16];
};

struct file {
	struct file_tee tee;
	struct file_app app;
	struct file_kms kms;
	struct file_attestation attestation;
	struct file_listen listen;
	struct harden_file process;
	char log_level[8];
};

#define OPT CYAML_FLAG_OPTIONAL
#define REQ CYAML_FLAG_DEFAULT

static const cyaml_schema_field_t tee_fields[] = {
	CYAML_FIELD_ENUM("simulated", OPT | CYAML_FLAG_STRICT, struct file_tee,
	    simulated, yaml_bools, 2),
	CYAML_FIELD_STRING("sim_host", OPT, struct file_tee, sim_host, 1),
	CYAML_FIELD_STRING("sim_image", OPT, struct file_tee, sim_image, 1),
	CYAML_FIELD_STRING("run_dir", OPT, struct file_tee, run_dir, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t app_fields[] = {
	CYAML_FIELD_STRING(
	    "compose_file", REQ, struct file_app, compose_file, 1),
	CYAML_FIELD_STRING("state_dir", OPT, struct file_app, state_dir, 1),
	CYAML_FIELD_STRING("logs_dir", OPT, struct file_app, logs_dir, 1),
	CYAML_FIELD_STRING("id", OPT, struct file_app, id, 1),
	CYAML_FIELD_STRING(
	    "encrypted_env_file", OPT, struct file_app, encrypted_env_file, 1),
	CYAML_FIELD_STRING("env_dir", OPT, struct file_app, env_dir, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t url_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, CONFIG_URL_MAX - 1),
};
static const cyaml_schema_value_t hex_entry = {
	CYAML_VALUE_STRING(REQ, char, 1, HEX_TEXT_MAX - 1),
};

static const cyaml_schema_field_t kms_fields[] = {
	CYAML_FIELD_SEQUENCE(
	    "urls", REQ, struct file_kms, urls, &url_entry, 1, CONFIG_KMS_URLS),
	CYAML_FIELD_UINT("chain_id", REQ, struct file_kms, chain_id),
	CYAML_FIELD_STRING("contract", REQ, struct file_kms, contract, 1),
	CYAML_FIELD_STRING("root", OPT, struct file_kms, root, 1),
	CYAML_FIELD_STRING("registry", OPT, struct file_kms, registry, 1),
	CYAML_FIELD_SEQUENCE("anchor_signer", OPT, struct file_kms,
	    anchor_signer, &hex_entry, 1, CONFIG_SIGNERS),
	CYAML_FIELD_SEQUENCE("mr_aggregated", OPT, struct file_kms,
	    mr_aggregated, &hex_entry, 1, CONFIG_MR_PINS),
	CYAML_FIELD_UINT(
	    "attempt_timeout_s", OPT, struct file_kms, attempt_timeout_s),
	CYAML_FIELD_UINT(
	    "boot_deadline_s", OPT, struct file_kms, boot_deadline_s),
	CYAML_FIELD_UINT(
	    "call_deadline_s", OPT, struct file_kms, call_deadline_s),
	CYAML_FIELD_UINT_PTR(
	    "refresh_s", OPT | CYAML_FLAG_POINTER, struct file_kms, refresh_s),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t attestation_fields[] = {
	CYAML_FIELD_STRING(
	    "pccs_url", OPT, struct file_attestation, pccs_url, 1),
	CYAML_FIELD_ENUM("pccs_insecure_tls", OPT | CYAML_FLAG_STRICT,
	    struct file_attestation, pccs_insecure_tls, yaml_bools, 2),
	CYAML_FIELD_STRING("insecure_simulated_root", OPT,
	    struct file_attestation, insecure_simulated_root, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t listen_fields[] = {
	CYAML_FIELD_STRING("socket", OPT, struct file_listen, socket, 1),
	CYAML_FIELD_STRING("mode", OPT, struct file_listen, mode, 3),
	CYAML_FIELD_STRING(
	    "tappd_socket", OPT, struct file_listen, tappd_socket, 1),
	CYAML_FIELD_STRING("external", OPT, struct file_listen, external, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t file_fields[] = {
	CYAML_FIELD_MAPPING("tee", OPT, struct file, tee, tee_fields),
	CYAML_FIELD_MAPPING("app", REQ, struct file, app, app_fields),
	CYAML_FIELD_MAPPING("kms", REQ, struct file, kms, kms_fields),
	CYAML_FIELD_MAPPING(
	    "attestation", OPT, struct file, attestation, attestation_fields),
	CYAML_FIELD_MAPPING("listen", OPT, struct file, listen, listen_fields),
	CYAML_FIELD_MAPPING(
	    "process", OPT, struct file, process, harden_fields),
	CYAML_FIELD_STRING("log_level", OPT, struct file, log_level, 1),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t file_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct file, file_fields),
};

/* What one value may be; the first that is not one ends the decoding. */
struct decoder {
	char *why;
	bool bad;
};

static void
refuse_key(struct decoder *d, const char *key, const char *must)
{
	if (!d->bad)
		(void)snprintf(d->why, CONFIG_WHY_MAX, "%s: %s", key, must);
	d->bad = true;
}

static void
decode_hex(struct decoder *d, uint8_t *out, size_t len, const char *text,
    const char *key)
{
	char must[48];

	(void)snprintf(must, sizeof must, "must be %zu bytes in hex", len);
	if (hex_fixed(out, len, text) != ERR_OK)
		refuse_key(d, key, must);
}

static void
decode_root(struct decoder *d, struct root_pin *out, const char *text)
{
	if (text[0] == '\0')
		out->kind = ROOT_PIN_NONE;
	else if (hex_fixed(out->b, 33, text) == ERR_OK)
		out->kind = ROOT_PIN_PUB;
	else if (hex_fixed(out->b, 20, text) == ERR_OK)
		out->kind = ROOT_PIN_ADDRESS;
	else
		refuse_key(d, "kms.root",
		    "must be a compressed secp256k1 "
		    "key (33 bytes) or an address (20 bytes) in hex");
}

/* Permission bits, always octal, whatever YAML makes of a leading zero. */
static mode_t
decode_mode(struct decoder *d, const char *text)
{
	size_t n = strlen(text);

	if (n == 0)
		return 0660;
	if (n > 4 || strspn(text, "01234567") != n ||
	    (n == 4 && text[0] != '0')) {
		refuse_key(d, "listen.mode", "must be octal, like 0660");
		return 0;
	}
	return (mode_t)strtoul(text, NULL, 8);
}

static enum log_level
decode_level(struct decoder *d, const char *text)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };

	if (text[0] == '\0')
		return LOG_INFO;
	for (unsigned i = 0; i < 4; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum log_level)i;
	refuse_key(d, "log_level", "must be debug, info, warn or error");
	return LOG_INFO;
}

#define SET(to, text, otherwise) \
	(void)snprintf( \
	    (to), sizeof(to), "%s", (text)[0] != '\0' ? (text) : (otherwise))

static void
decode_kms(struct decoder *d, struct agent_config *c, const struct file_kms *f)
{
	for (unsigned i = 0; i < f->urls_count; i++) {
		if (strncmp(f->urls[i], "tcp://", 6) != 0)
			refuse_key(d, "kms.urls", "must be tcp://host:port");
		SET(c->kms_url[i], f->urls[i], "");
	}
	c->n_kms_urls = f->urls_count;
	/* strtoull, and so libcyaml, takes "-1" for the largest number. */
	if (f->chain_id == 0 || f->chain_id > INT64_MAX)
		refuse_key(d, "kms.chain_id", "must be 1 to 2^63-1");
	c->chain_id = f->chain_id;
	decode_hex(d, c->kms_contract, 20, f->contract, "kms.contract");
	decode_root(d, &c->kms_root, f->root);
	c->has_registry = f->registry[0] != '\0';
	if (c->has_registry)
		decode_hex(d, c->kms_registry, 20, f->registry, "kms.registry");
	for (unsigned i = 0; i < f->anchor_signer_count; i++)
		decode_hex(d, c->anchor_signer[i], 20, f->anchor_signer[i],
		    "kms.anchor_signer");
	c->n_anchor_signers = f->anchor_signer_count;
	for (unsigned i = 0; i < f->mr_aggregated_count; i++)
		decode_hex(d, c->kms_mr[i], 32, f->mr_aggregated[i],
		    "kms.mr_aggregated");
	c->n_kms_mrs = f->mr_aggregated_count;
	c->attempt_timeout_s =
	    f->attempt_timeout_s != 0 ? f->attempt_timeout_s : 30;
	c->boot_deadline_s = f->boot_deadline_s;
	c->call_deadline_s = f->call_deadline_s != 0 ? f->call_deadline_s : 60;
	c->refresh_s = f->refresh_s != NULL ? *f->refresh_s : REFRESH_S;
	if (c->refresh_s > REFRESH_MAX_S)
		refuse_key(d, "kms.refresh_s", "must be at most 86400");
}

/* "0.0.0.0:8090", "[::]:8090" */
static void
decode_external(struct decoder *d, struct agent_config *c, const char *text)
{
	const char *colon = strrchr(text, ':'), *port;
	unsigned char any[sizeof(struct in6_addr)];
	size_t len;
	bool v6;

	if (text[0] == '\0')
		return;
	if (colon == NULL)
		goto bad;
	port = colon + 1;
	v6 = text[0] == '[' && colon[-1] == ']';
	len = (size_t)(colon - text) - (v6 ? 2 : 0);
	if (len >= CONFIG_HOST_MAX || strlen(port) > 5 || port[0] == '\0' ||
	    port[strspn(port, "0123456789")] != '\0' ||
	    strtoul(port, NULL, 10) > UINT16_MAX)
		goto bad;
	memcpy(c->external_host, text + v6, len);
	c->external_host[len] = '\0';
	c->external_port = (uint16_t)strtoul(port, NULL, 10);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, c->external_host, any) == 1)
		return;
bad:
	refuse_key(d, "listen.external",
	    "must be an address and a port, like 0.0.0.0:8090");
}

static void
decode_listen(
    struct decoder *d, struct agent_config *c, const struct file_listen *f)
{
	SET(c->socket, f->socket, "/var/run/dstack.sock");
	c->socket_mode = decode_mode(d, f->mode);
	SET(c->tappd_socket, f->tappd_socket, "");
	decode_external(d, c, f->external);
	if (strcmp(c->socket, c->tappd_socket) == 0)
		refuse_key(d, "listen.tappd_socket", "must be another path");
}

static enum err
decode(struct agent_config *c, const struct file *f, char *why)
{
	struct decoder d = { .why = why };

	c->simulated = f->tee.simulated == YAML_TRUE;
	SET(c->sim_host, f->tee.sim_host, "");
	SET(c->sim_image, f->tee.sim_image, "");
	SET(c->run_dir, f->tee.run_dir, "/run/cvm-agent");
	if (c->simulated && (c->sim_host[0] == '\0' || c->sim_image[0] == '\0'))
		refuse_key(&d, "tee", "simulated needs sim_host and sim_image");
	if (!c->simulated &&
	    (c->sim_host[0] != '\0' || c->sim_image[0] != '\0'))
		refuse_key(&d, "tee", "sim_host and sim_image need simulated");

	SET(c->compose_file, f->app.compose_file, "");
	SET(c->state_dir, f->app.state_dir, "/var/lib/cvm-agent");
	SET(c->logs_dir, f->app.logs_dir, "");
	SET(c->encrypted_env, f->app.encrypted_env_file, "");
	SET(c->env_dir, f->app.env_dir, c->run_dir);
	c->has_app_id = f->app.id[0] != '\0';
	if (c->has_app_id)
		decode_hex(&d, c->app_id, 20, f->app.id, "app.id");

	decode_kms(&d, c, &f->kms);

	SET(c->pccs_url, f->attestation.pccs_url, "https://pccs.phala.network");
	c->pccs_insecure_tls = f->attestation.pccs_insecure_tls == YAML_TRUE;
	SET(c->simulated_root, f->attestation.insecure_simulated_root, "");

	decode_listen(&d, c, &f->listen);
	c->log_level = decode_level(&d, f->log_level);
	if (!d.bad)
		d.bad = harden_decode(&c->process, &f->process, why) != ERR_OK;
	return d.bad ? ERR_CONFIG : ERR_OK;
}

enum err
config_parse(struct agent_config *out, struct bytes yaml,
    char why[static CONFIG_WHY_MAX])
{
	struct agent_config *c = calloc(1, sizeof *c);
	void *file = NULL;
	enum err e = ERR_NOMEM;

	if (c == NULL)
		goto done;
	if ((e = yaml_parse(&file, yaml, &file_schema, why)) != ERR_OK)
		goto done;
	if ((e = decode(c, file, why)) == ERR_OK)
		*out = *c;
done:
	yaml_release(file, &file_schema);
	free(c);
	return e;
}

enum err
config_load(
    struct agent_config *out, const char *path, char why[static CONFIG_WHY_MAX])
{
	struct buf text = { 0 };
	enum err e = file_read(&text, path, LIMIT_CONFIG_FILE);

	if (e != ERR_OK)
		(void)snprintf(
		    why, CONFIG_WHY_MAX, "%s: %s", path, err_text(e));
	else
		e = config_parse(out, buf_view(&text), why);
	buf_fini(&text);
	return e;
}

/* A YAML single-quoted scalar: only the quote itself is special. */
static enum err
put_text(struct buf *b, const char *key, const char *v)
{
	enum err e;

	if (v[0] == '\0')
		return ERR_OK;
	if ((e = buf_printf(b, "%s'", key)) != ERR_OK)
		return e;
	for (; *v != '\0'; v++)
		if ((e = buf_printf(b, *v == '\'' ? "''" : "%c", *v)) != ERR_OK)
			return e;
	return buf_printf(b, "'\n");
}

static enum err
put_hex(struct buf *b, const char *key, const uint8_t *p, size_t len)
{
	char text[HEX_TEXT_MAX] = "0x";

	hex_encode(text + 2, p, len);
	return put_text(b, key, text);
}

static enum err
print_kms(struct buf *b, const struct agent_config *c)
{
	enum err e;

	if ((e = buf_printf(b, "kms:\n  urls:\n")) != ERR_OK)
		return e;
	for (unsigned i = 0; i < c->n_kms_urls; i++)
		if ((e = put_text(b, "    - ", c->kms_url[i])) != ERR_OK)
			return e;
	e = buf_printf(
	    b, "  chain_id: %llu\n", (unsigned long long)c->chain_id);
	if (e == ERR_OK)
		e = put_hex(b, "  contract: ", c->kms_contract, 20);
	if (e == ERR_OK && c->kms_root.kind != ROOT_PIN_NONE)
		e = put_hex(b, "  root: ", c->kms_root.b,
		    c->kms_root.kind == ROOT_PIN_PUB ? 33 : 20);
	if (e == ERR_OK && c->has_registry)
		e = put_hex(b, "  registry: ", c->kms_registry, 20);
	if (e == ERR_OK && c->n_anchor_signers > 0)
		e = buf_printf(b, "  anchor_signer:\n");
	for (unsigned i = 0; e == ERR_OK && i < c->n_anchor_signers; i++)
		e = put_hex(b, "    - ", c->anchor_signer[i], 20);
	if (e == ERR_OK && c->n_kms_mrs > 0)
		e = buf_printf(b, "  mr_aggregated:\n");
	for (unsigned i = 0; e == ERR_OK && i < c->n_kms_mrs; i++)
		e = put_hex(b, "    - ", c->kms_mr[i], 32);
	if (e != ERR_OK)
		return e;
	return buf_printf(b,
	    "  attempt_timeout_s: %u\n  boot_deadline_s: %u\n"
	    "  call_deadline_s: %u\n  refresh_s: %u\n",
	    c->attempt_timeout_s, c->boot_deadline_s, c->call_deadline_s,
	    c->refresh_s);
}

static enum err
print_listen(struct buf *b, const struct agent_config *c)
{
	bool v6 = strchr(c->external_host, ':') != NULL;
	enum err e = put_text(b, "listen:\n  socket: ", c->socket);

	if (e == ERR_OK)
		e = buf_printf(
		    b, "  mode: '0%03o'\n", (unsigned)c->socket_mode);
	if (e == ERR_OK)
		e = put_text(b, "  tappd_socket: ", c->tappd_socket);
	if (e == ERR_OK && c->external_host[0] != '\0')
		e = buf_printf(b, "  external: '%s%s%s:%u'\n", v6 ? "[" : "",
		    c->external_host, v6 ? "]" : "", c->external_port);
	return e;
}

enum err
config_print(struct buf *b, const struct agent_config *c)
{
	static const char *const levels[] = { "debug", "info", "warn",
		"error" };
	enum err e;

	e = buf_printf(
	    b, "tee:\n  simulated: %s\n", c->simulated ? "true" : "false");
	if (e == ERR_OK)
		e = put_text(b, "  sim_host: ", c->sim_host);
	if (e == ERR_OK)
		e = put_text(b, "  sim_image: ", c->sim_image);
	if (e == ERR_OK)
		e = put_text(b, "  run_dir: ", c->run_dir);
	if (e == ERR_OK)
		e = put_text(b, "app:\n  compose_file: ", c->compose_file);
	if (e == ERR_OK)
		e = put_text(b, "  state_dir: ", c->state_dir);
	if (e == ERR_OK && c->logs_dir[0] != '\0')
		e = put_text(b, "  logs_dir: ", c->logs_dir);
	if (e == ERR_OK)
		e = put_text(b, "  encrypted_env_file: ", c->encrypted_env);
	if (e == ERR_OK)
		e = put_text(b, "  env_dir: ", c->env_dir);
	if (e == ERR_OK && c->has_app_id)
		e = put_hex(b, "  id: ", c->app_id, 20);
	if (e == ERR_OK)
		e = print_kms(b, c);
	if (e == ERR_OK)
		e = put_text(b, "attestation:\n  pccs_url: ", c->pccs_url);
	if (e == ERR_OK)
		e = buf_printf(b, "  pccs_insecure_tls: %s\n",
		    c->pccs_insecure_tls ? "true" : "false");
	if (e == ERR_OK)
		e = put_text(
		    b, "  insecure_simulated_root: ", c->simulated_root);
	if (e == ERR_OK)
		e = print_listen(b, c);
	if (e == ERR_OK)
		e = buf_printf(b, "process:\n  seccomp: %s\n",
		    harden_filter_text(c->process.filter));
	if (e == ERR_OK)
		e = put_text(b, "  user: ", c->process.user);
	if (e == ERR_OK)
		e = put_text(b, "  group: ", c->process.group);
	if (e != ERR_OK)
		return e;
	return buf_printf(b, "log_level: %s\n", levels[c->log_level]);
}

bool
config_kms_pinned(
    const struct agent_config *c, const uint8_t mr_aggregated[static 32])
{
	for (unsigned i = 0; i < c->n_kms_mrs; i++)
		if (memcmp(c->kms_mr[i], mr_aggregated, 32) == 0)
			return true;
	return c->n_kms_mrs == 0;
}
