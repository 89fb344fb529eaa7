#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/limits.h"
#include "common/base/secret.h"
#include "kms/ctl/lab.h"

/* What is appended to the folder's path: "/apps/<name>/app-compose.json". */
#define INSIDE_MAX 96
/* Below what Linux hands to clients (32768 and up), above the well-known. */
#define PORT_FIRST 20000u
#define PORT_COUNT 12000u

/* ---- paths ---- */

void
lab_path(
    char out[static LAB_PATH_MAX], const struct lab *l, const char *fmt, ...)
{
	size_t n = strlen(l->dir);
	va_list ap;
	int k;

	memcpy(out, l->dir, n);
	out[n++] = '/';
	va_start(ap, fmt);
	k = vsnprintf(out + n, LAB_PATH_MAX - n, fmt, ap);
	va_end(ap);
	assert(k >= 0 && (size_t)k < LAB_PATH_MAX - n);
}

void
lab_pid_path(
    char out[static LAB_PATH_MAX], const struct lab *l, const char *name)
{
	lab_path(out, l, "run/%s.pid", name);
}

void
lab_log_path(
    char out[static LAB_PATH_MAX], const struct lab *l, const char *name)
{
	lab_path(out, l, "log/%s.log", name);
}

static void
local_url(char out[static CONTRACT_URL_MAX], uint16_t port)
{
	(void)snprintf(out, CONTRACT_URL_MAX, "http://127.0.0.1:%u", port);
}

void
lab_rpc_url(char out[static CONTRACT_URL_MAX], const struct lab *l)
{
	local_url(out, l->rpc_port);
}

void
lab_pccs_url(char out[static CONTRACT_URL_MAX], const struct lab *l)
{
	local_url(out, l->pccs_port);
}

void
lab_admin_url(char out[static CONTRACT_URL_MAX], const struct lab_node *n)
{
	local_url(out, n->admin_port);
}

void
lab_public_url(char out[static CONTRACT_URL_MAX], const struct lab_node *n)
{
	out[0] = '\0';
	if (n->public_port != 0)
		local_url(out, n->public_port);
}

void
lab_pages_url(char out[static CONTRACT_URL_MAX], const struct lab_app *a)
{
	out[0] = '\0';
	if (a->public_port != 0)
		local_url(out, a->public_port);
}

void
lab_contract(struct contract *out, const struct lab *l)
{
	*out = (struct contract){
		.chain_id = l->chain_id, .has_kms = true, .has_anchor = true
	};
	lab_rpc_url(out->rpc, l);
	lab_path(out->key_file, l, "operator.key");
	memcpy(out->kms, l->kms, sizeof out->kms);
	memcpy(out->anchor, l->anchor, sizeof out->anchor);
	memcpy(out->sim, l->dir, sizeof out->sim);
	out->has_registry = l->n_members > 0;
	memcpy(out->registry, l->registry, sizeof out->registry);
}

struct lab_node *
lab_find_node(struct lab *l, const char *name)
{
	for (unsigned i = 0; i < l->n_nodes; i++)
		if (strcmp(l->node[i].name, name) == 0)
			return &l->node[i];
	return NULL;
}

struct lab_app *
lab_find_app(struct lab *l, const char *name)
{
	for (unsigned i = 0; i < l->n_apps; i++)
		if (strcmp(l->app[i].name, name) == 0)
			return &l->app[i];
	return NULL;
}

/* ---- sim.json ---- */

enum err
lab_new(struct lab **out, const char *dir, char why[LAB_WHY_MAX])
{
	struct lab *l = calloc(1, sizeof *l);
	char *real = NULL;
	enum err e = ERR_NOMEM;

	if (l == NULL)
		goto done;
	l->lock_fd = -1;
	if ((e = file_mkdirs(dir)) != ERR_OK ||
	    (real = realpath(dir, NULL)) == NULL) {
		(void)snprintf(
		    why, LAB_WHY_MAX, "%.200s: %s", dir, strerror(errno));
		e = ERR_IO;
		goto done;
	}
	/* The path goes into YAML between single quotes. */
	if (strlen(real) >= LAB_PATH_MAX - INSIDE_MAX) {
		(void)snprintf(why, LAB_WHY_MAX, "%.200s: path too long", real);
		e = ERR_LIMIT;
		goto done;
	}
	for (const char *p = real; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == '\'') {
			(void)snprintf(why, LAB_WHY_MAX,
			    "%.200s: quotes or control characters", real);
			e = ERR_CONFIG;
			goto done;
		}
	memcpy(l->dir, real, strlen(real) + 1);
	*out = l;
	l = NULL; /* transferred */
	e = ERR_OK;
done:
	free(real);
	free(l);
	return e;
}

void
lab_free(struct lab *l)
{
	if (l == NULL)
		return;
	if (l->lock_fd >= 0)
		(void)close(l->lock_fd);
	free(l);
}

enum err
lab_lock(struct lab *l)
{
	int fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return ERR_IO;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		(void)close(fd);
		return errno == EWOULDBLOCK ? ERR_AGAIN : ERR_IO;
	}
	l->lock_fd = fd;
	return ERR_OK;
}

static enum err
get_name(char out[static LAB_NAME_MAX], const json_t *v, const char *key)
{
	const char *s;
	enum err e = json_get_str(&s, v, key);

	if (e != ERR_OK)
		return e;
	if (s[0] == '\0' || strlen(s) >= LAB_NAME_MAX ||
	    strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(s))
		return ERR_MALFORMED;
	memcpy(out, s, strlen(s) + 1);
	return ERR_OK;
}

static enum err
get_port(uint16_t *out, const json_t *v, const char *key)
{
	uint64_t n;
	enum err e = json_get_u64(&n, v, key);

	if (e != ERR_OK)
		return e;
	if (n == 0 || n > UINT16_MAX)
		return ERR_MALFORMED;
	*out = (uint16_t)n;
	return ERR_OK;
}

static enum err
read_node(struct lab_node *n, const json_t *v)
{
	enum err e;

	if ((e = get_name(n->name, v, "name")) != ERR_OK ||
	    (e = get_name(n->host, v, "host")) != ERR_OK ||
	    (e = get_name(n->image, v, "image")) != ERR_OK ||
	    (e = get_port(&n->listen_port, v, "listen_port")) != ERR_OK ||
	    (e = get_port(&n->admin_port, v, "admin_port")) != ERR_OK)
		return e;
	/* Folders of before have none. */
	e = get_port(&n->public_port, v, "public_port");
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	return json_get_bool(&n->listed, v, "listed");
}

static enum err
read_app(struct lab_app *a, const json_t *v)
{
	enum err e;

	if ((e = get_name(a->name, v, "name")) != ERR_OK ||
	    (e = get_name(a->host, v, "host")) != ERR_OK ||
	    (e = get_name(a->image, v, "image")) != ERR_OK ||
	    (json_object_get(v, "replica_of") != NULL &&
		(e = get_name(a->of, v, "replica_of")) != ERR_OK) ||
	    (e = json_get_hex(a->app_id, 20, v, "app_id")) != ERR_OK ||
	    (e = json_get_hex(a->compose_hash, 32, v, "compose_hash")) !=
		ERR_OK)
		return e;
	/* Folders of before have none. */
	e = get_port(&a->public_port, v, "public_port");
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	return json_get_bool(&a->registered, v, "registered");
}

/* Absent: the cluster has none. */
static enum err
read_council(struct lab *l, const json_t *v)
{
	uint64_t n, k;
	enum err e;

	if (v == NULL)
		return ERR_OK;
	if ((e = json_get_u64(&n, v, "members")) != ERR_OK ||
	    (e = json_get_u64(&k, v, "votes")) != ERR_OK ||
	    (e = json_get_hex(l->council, 20, v, "contract")) != ERR_OK ||
	    (e = json_get_hex(l->registry, 20, v, "registry_contract")) !=
		ERR_OK)
		return e;
	if (n == 0 || n > LAB_MEMBERS_MAX || k == 0 || k > n)
		return ERR_LIMIT;
	l->n_members = (unsigned)n;
	l->k_members = (unsigned)k;
	return ERR_OK;
}

/* Absent: quorum, as it was before there was a choice. */
static enum err
read_mode(struct lab *l, const json_t *v)
{
	const char *mode = "quorum";
	enum err e = json_get_str(&mode, v, "chain_mode");

	l->proof = strcmp(mode, "proof") == 0;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
read_lab(struct lab *l, const json_t *v)
{
	const json_t *nodes = json_object_get(v, "nodes");
	const json_t *apps = json_object_get(v, "apps");
	enum err e;

	if ((e = json_get_u64(&l->chain_id, v, "chain_id")) != ERR_OK ||
	    (e = get_port(&l->rpc_port, v, "rpc_port")) != ERR_OK ||
	    (e = get_port(&l->pccs_port, v, "pccs_port")) != ERR_OK ||
	    (e = json_get_hex(l->operator_address, 20, v, "operator")) !=
		ERR_OK ||
	    (e = json_get_hex(l->kms, 20, v, "kms_contract")) != ERR_OK ||
	    (e = json_get_hex(l->anchor, 20, v, "anchor_contract")) != ERR_OK ||
	    (e = read_mode(l, v)) != ERR_OK ||
	    (e = read_council(l, json_object_get(v, "council"))) != ERR_OK)
		return e;
	l->has_checkin = json_object_get(v, "checkin_contract") != NULL;
	if (l->has_checkin &&
	    (e = json_get_hex(l->checkin, 20, v, "checkin_contract")) != ERR_OK)
		return e;
	if (json_array_size(nodes) > LAB_NODES_MAX ||
	    json_array_size(apps) > LAB_APPS_MAX)
		return ERR_LIMIT;
	for (; l->n_nodes < json_array_size(nodes); l->n_nodes++)
		if ((e = read_node(&l->node[l->n_nodes],
			 json_array_get(nodes, l->n_nodes))) != ERR_OK)
			return e;
	for (; l->n_apps < json_array_size(apps); l->n_apps++)
		if ((e = read_app(&l->app[l->n_apps],
			 json_array_get(apps, l->n_apps))) != ERR_OK)
			return e;
	return ERR_OK;
}

enum err
lab_load(struct lab **out, const char *dir, char why[LAB_WHY_MAX])
{
	char path[LAB_PATH_MAX], detail[120];
	struct buf text = { 0 };
	struct lab *l = NULL;
	json_t *v = NULL;
	enum err e;

	if (file_join(path, sizeof path, dir, "sim.json") != ERR_OK ||
	    access(path, F_OK) != 0) {
		(void)snprintf(why, LAB_WHY_MAX,
		    "%.200s: no simulated cluster there; make one with "
		    "`kmsctl sim init %.200s`",
		    dir, dir);
		return ERR_NOTFOUND;
	}
	if ((e = lab_new(&l, dir, why)) != ERR_OK)
		return e;
	(void)snprintf(detail, sizeof detail, "a member is missing or bad");
	e = file_read(&text, path, LIMIT_CONFIG_FILE);
	if (e == ERR_OK)
		e = json_parse(&v, text.p, text.len, LIMIT_CONFIG_FILE, detail,
		    sizeof detail);
	if (e == ERR_OK)
		e = read_lab(l, v);
	if (e != ERR_OK) {
		(void)snprintf(why, LAB_WHY_MAX, "%.300s: %s", path, detail);
		lab_free(l);
	} else {
		*out = l;
	}
	json_decref(v);
	buf_fini(&text);
	return e;
}

/* 0x and hex, as everywhere in Ethereum. */
static json_t *
hex_text(const uint8_t *p, size_t len)
{
	char text[2 + 2 * 32 + 1] = "0x";

	hex_encode(text + 2, p, len);
	return json_string(text);
}

enum err
lab_save(const struct lab *l)
{
	json_t *v, *nodes = json_array(), *apps = json_array();
	char path[LAB_PATH_MAX];
	struct buf text = { 0 };
	enum err e = ERR_NOMEM;

	for (unsigned i = 0; i < l->n_nodes; i++) {
		const struct lab_node *n = &l->node[i];

		json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:i, s:b}", "name",
		    n->name, "host", n->host, "image", n->image, "listen_port",
		    (int)n->listen_port, "admin_port", (int)n->admin_port,
		    "listed", (int)n->listed);

		if (n->public_port != 0)
			(void)json_set_u64(o, "public_port", n->public_port);
		(void)json_array_append_new(nodes, o);
	}
	for (unsigned i = 0; i < l->n_apps; i++) {
		const struct lab_app *a = &l->app[i];
		json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:o, s:b}",
		    "name", a->name, "host", a->host, "image", a->image,
		    "app_id", hex_text(a->app_id, 20), "compose_hash",
		    hex_text(a->compose_hash, 32), "registered",
		    (int)a->registered);

		if (a->public_port != 0)
			(void)json_set_u64(row, "public_port", a->public_port);
		if (a->of[0] != '\0' &&
		    json_object_set_new(
			row, "replica_of", json_string(a->of)) != 0) {
			json_decref(row);
			row = NULL;
		}
		(void)json_array_append_new(apps, row);
	}
	v = json_pack("{s:I, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o}",
	    "chain_id", (json_int_t)l->chain_id, "chain_mode",
	    l->proof ? "proof" : "quorum", "rpc_port", (int)l->rpc_port,
	    "pccs_port", (int)l->pccs_port, "operator",
	    hex_text(l->operator_address, 20), "kms_contract",
	    hex_text(l->kms, 20), "anchor_contract", hex_text(l->anchor, 20),
	    "nodes", nodes, "apps", apps);
	if (l->has_checkin)
		(void)json_object_set_new(
		    v, "checkin_contract", hex_text(l->checkin, 20));
	if (l->n_members > 0)
		(void)json_object_set_new(v, "council",
		    json_pack("{s:i, s:i, s:o, s:o}", "members",
			(int)l->n_members, "votes", (int)l->k_members,
			"contract", hex_text(l->council, 20),
			"registry_contract", hex_text(l->registry, 20)));
	lab_path(path, l, "sim.json");
	if (v != NULL && json_array_size(nodes) == l->n_nodes &&
	    json_array_size(apps) == l->n_apps)
		e = json_write_pretty(&text, v);
	if (e == ERR_OK)
		e = file_write(path, text.p, text.len, 0600);
	json_decref(v);
	buf_fini(&text);
	return e;
}

/* ---- ports and programs ---- */

static bool
port_is_free(uint16_t port)
{
	const struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	if (fd < 0)
		return false;
	ok = bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;
	(void)close(fd);
	return ok;
}

enum err
lab_free_ports(uint16_t *port, unsigned n)
{
	uint32_t at;

	/* From a random place on, so that two clusters made at the same
	 * time hardly ever meet. */
	secret_random(&at, sizeof at);
	for (unsigned k = 0, tried = 0; k < n; at++) {
		uint16_t p = (uint16_t)(PORT_FIRST + at % PORT_COUNT);

		if (tried++ == PORT_COUNT)
			return ERR_NOTFOUND;
		if (port_is_free(p))
			port[k++] = p;
	}
	return ERR_OK;
}

static enum err
own_folder(char out[static LAB_PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, LAB_PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return ERR_IO;
	out[n] = '\0';
	if ((slash = strrchr(out, '/')) == NULL)
		return ERR_IO;
	*slash = '\0';
	return ERR_OK;
}

enum err
lab_program(char out[static LAB_PATH_MAX], const char *name)
{
	char dir[LAB_PATH_MAX];
	enum err e = own_folder(dir);

	if (e == ERR_OK)
		e = file_join(out, LAB_PATH_MAX, dir, name);
	if (e == ERR_OK && access(out, X_OK) != 0)
		e = ERR_NOTFOUND;
	return e;
}

enum err
lab_contract_tool(char out[static LAB_PATH_MAX], const char *name)
{
	char dir[LAB_PATH_MAX];
	const char *root = getenv("KMSCTL_CONTRACTS");
	enum err e;
	int n;

	if (root != NULL) {
		n = snprintf(out, LAB_PATH_MAX, "%s/tools/%s", root, name);
		return n > 0 && n < LAB_PATH_MAX && access(out, X_OK) == 0
		    ? ERR_OK
		    : ERR_NOTFOUND;
	}
	/* In the tree: build/gcc/kmsctl, so some folders up. */
	if ((e = own_folder(dir)) != ERR_OK)
		return e;
	while (dir[0] != '\0') {
		n = snprintf(
		    out, LAB_PATH_MAX, "%s/contracts/tools/%s", dir, name);
		if (n > 0 && n < LAB_PATH_MAX && access(out, X_OK) == 0)
			return ERR_OK;
		*strrchr(dir, '/') = '\0';
	}
	return ERR_NOTFOUND;
}
