#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/keccak.h"
#include "common/eth/rlp.h"
#include "kms/ctl/lab_make.h"
#include "kms/state/command.h"
#include "node/tee/simhost.h"
#include "node/tee/simimage.h"
#include "node/tee/simpki.h"

/* tools/deploy makes the app's implementation, the KMS's and its proxy, the
 * anchor, where nodes check in, and, if asked to, a council and a registry. */
#define PROXY_NONCE 2
#define ANCHOR_NONCE 3
#define CHECKIN_NONCE 4
#define COUNCIL_NONCE 5
#define REGISTRY_NONCE 6
/* `sim time` moves the chain's clock, but not the machine's. */
#define AHEAD_S (3u * 365 * 86400)

/* What a KMS guest is made of.  Without an instance id all nodes measure
 * the same. */
static const char kms_compose[] =
    "{\n"
    "  \"manifest_version\": 2,\n"
    "  \"name\": \"kms\",\n"
    "  \"runner\": \"docker-compose\",\n"
    "  \"docker_compose_file\": \"services:\\n  kmsd:\\n    image: kmsd\\n\",\n"
    "  \"key_provider\": \"none\",\n"
    "  \"no_instance_id\": true,\n"
    "  \"public_logs\": true,\n"
    "  \"public_sysinfo\": true\n"
    "}\n";

static const char *const images[] = { "kms", "app", "other" };

static enum err
fail(char *why, const char *what, enum err e)
{
	(void)snprintf(why, LAB_WHY_MAX, "%.400s: %s", what, err_text(e));
	return e;
}

/* The address that an account's `nonce`-th transaction gives a contract:
 * Yellow Paper, section 7. */
static enum err
created_address(
    uint8_t out[static 20], const uint8_t from[static 20], uint64_t nonce)
{
	struct rlp inner = { .max = 64 }, outer = { .max = 64 };
	uint8_t hash[32];
	enum err e;

	rlp_str(&inner, from, 20);
	rlp_u64(&inner, nonce);
	rlp_list(&outer, &inner);
	if ((e = outer.err) == ERR_OK) {
		keccak256(hash, outer.out.p, outer.out.len);
		memcpy(out, hash + 12, 20);
	}
	rlp_fini(&inner);
	rlp_fini(&outer);
	return e;
}

/* An account in a file of its own. */
static enum err
make_key(uint8_t address[static 20], const char *path)
{
	struct k256_secret key;
	struct k256_pub pub;
	char hex[65];
	enum err e;

	k256_generate(&key);
	hex_encode(hex, key.b, sizeof key.b);
	hex[64] = '\n';
	e = file_write(path, hex, sizeof hex, 0600);
	if (e == ERR_OK)
		e = k256_pubkey(&pub, &key);
	if (e == ERR_OK)
		e = k256_address(address, &pub);
	k256_secret_wipe(&key);
	secret_wipe(hex, sizeof hex);
	return e;
}

static enum err
make_operator(struct lab *l)
{
	char path[LAB_PATH_MAX];
	enum err e;

	lab_path(path, l, "operator.key");
	e = make_key(l->operator_address, path);
	if (e == ERR_OK)
		e = created_address(l->kms, l->operator_address, PROXY_NONCE);
	if (e == ERR_OK)
		e = created_address(
		    l->anchor, l->operator_address, ANCHOR_NONCE);
	if (e == ERR_OK)
		e = created_address(
		    l->checkin, l->operator_address, CHECKIN_NONCE);
	l->has_checkin = e == ERR_OK;
	return e;
}

static enum err
make_council(struct lab *l)
{
	char path[LAB_PATH_MAX];
	uint8_t member[20];
	enum err e = ERR_OK;

	if (l->n_members == 0)
		return ERR_OK;
	lab_path(path, l, "council");
	e = file_mkdirs(path);
	for (unsigned i = 0; e == ERR_OK && i < l->n_members; i++) {
		lab_path(path, l, "council/%u.key", i);
		e = make_key(member, path);
	}
	if (e == ERR_OK)
		e = created_address(
		    l->council, l->operator_address, COUNCIL_NONCE);
	if (e == ERR_OK)
		e = created_address(
		    l->registry, l->operator_address, REGISTRY_NONCE);
	return e;
}

static enum err
make_host(const struct lab *l, const char *name)
{
	return sim_host_create(l->dir, name, clock_wall_s());
}

/* kms0.., app0.., and the names that the user asked for. */
static enum err
make_hosts(const struct lab *l, unsigned n_nodes, const char *more)
{
	char name[LAB_NAME_MAX];
	enum err e = ERR_OK;

	for (unsigned i = 0; e == ERR_OK && i < n_nodes; i++) {
		(void)snprintf(name, sizeof name, "kms%u", i);
		e = make_host(l, name);
	}
	for (unsigned i = 0; e == ERR_OK && i < LAB_APP_HOSTS; i++) {
		(void)snprintf(name, sizeof name, "app%u", i);
		e = make_host(l, name);
	}
	while (e == ERR_OK && more != NULL && *more != '\0') {
		size_t n = strcspn(more, ",");

		if (n == 0 || n >= sizeof name)
			return ERR_CONFIG;
		memcpy(name, more, n);
		name[n] = '\0';
		e = make_host(l, name);
		more += n + (more[n] == ',');
	}
	return e;
}

static enum err
make_images(const struct lab *l)
{
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < sizeof images / sizeof *images;
	     i++)
		e = sim_image_create(l->dir, images[i], images[i]);
	return e;
}

static enum err
make_pki(const struct lab *l)
{
	char path[LAB_PATH_MAX];
	struct buf root = { 0 };
	enum err e = sim_pki_init(l->dir, 0, clock_wall_s());

	if (e == ERR_OK)
		e = sim_pki_document(&root, l->dir, SIM_DOC_ROOT);
	lab_path(path, l, "sim-root.der");
	if (e == ERR_OK)
		e = file_write(path, root.p, root.len, 0600);
	buf_fini(&root);
	return e;
}

static enum err
write_peers(struct buf *y, const struct lab *l, const struct lab_node *n,
    const struct lab_node_wishes *w)
{
	enum err e = ERR_OK;
	unsigned told = 0;

	for (unsigned i = 0; e == ERR_OK && !w->strangers && i < l->n_nodes;
	     i++) {
		if (strcmp(l->node[i].name, n->name) == 0 ||
		    strcmp(l->node[i].name, w->slot) == 0)
			continue;
		e = buf_printf(y, "%s  - 'tcp://127.0.0.1:%u'\n",
		    told++ == 0 ? "peers:\n" : "", l->node[i].listen_port);
	}
	for (unsigned i = 0; e == ERR_OK && i < w->n_peers; i++) {
		if (w->peer[i].listen_port == n->listen_port)
			continue;
		e = buf_printf(y, "%s  - 'tcp://127.0.0.1:%u'\n",
		    told++ == 0 ? "peers:\n" : "", w->peer[i].listen_port);
	}
	return e;
}

enum err
lab_write_node(const struct lab *l, const struct lab_node *n,
    const struct lab_node_wishes *w)
{
	char dir[LAB_PATH_MAX], path[LAB_PATH_MAX], pccs[CONTRACT_URL_MAX],
	    rpc[CONTRACT_URL_MAX], kms[41], anchor[41], registry[160] = "";
	struct buf y = { 0 };
	enum err e;

	lab_path(dir, l, "kms/%s/data", n->name);
	if ((e = file_mkdirs(dir)) != ERR_OK)
		return e;
	lab_pccs_url(pccs, l);
	lab_rpc_url(rpc, l);
	if (w->rpc_port != 0)
		(void)snprintf(
		    rpc, sizeof rpc, "http://127.0.0.1:%u", w->rpc_port);
	hex_encode(kms, l->kms, 20);
	hex_encode(anchor, l->anchor, 20);
	if (l->n_members > 0) {
		char hex[41];

		(void)snprintf(registry, sizeof registry,
		    "  registry_contract: '0x%s'\n  max_ahead_s: %u\n",
		    hex_encode(hex, l->registry, 20), AHEAD_S);
	}
	e = buf_printf(&y,
	    "slot: '%s'\n"
	    "listen: 'tcp://127.0.0.1:%u'\n"
	    "admin: '127.0.0.1:%u'\n"
	    "data_dir: '%s'\n"
	    "seal: true\n"
	    "genesis: %s\n"
	    "chain:\n"
	    "  rpc: ['%s']\n"
	    "  chain_id: %" PRIu64 "\n"
	    "  kms_contract: '0x%s'\n"
	    "  anchor_contract: '0x%s'\n"
	    "%s"
	    "  mode: %s\n"
	    "  block_tag: finalized\n"
	    "  max_age_s: 60\n"
	    "  fence_s: 9\n"
	    "  poll_ms: 500\n"
	    "tee:\n"
	    "  simulated: true\n"
	    "  sim_host: '%s/hosts/%s'\n"
	    "  sim_image: '%s/images/%s'\n"
	    "  app_compose: '%s/kms/app-compose.json'\n"
	    "attestation:\n"
	    "  pccs_url: '%s'\n"
	    "  insecure_simulated_root: '%s/sim-root.der'\n",
	    w->slot, n->listen_port, n->admin_port, dir,
	    w->genesis ? "true" : "false", rpc, l->chain_id, kms, anchor,
	    registry, l->proof ? "proof" : "quorum", l->dir, n->host, l->dir,
	    n->image, l->dir, pccs, l->dir);
	if (e == ERR_OK && n->public_port != 0)
		e = buf_printf(
		    &y, "public:\n  listen: '127.0.0.1:%u'\n", n->public_port);
	if (e == ERR_OK && l->has_checkin)
		e = buf_printf(&y,
		    "checkin:\n"
		    "  contract: '0x%s'\n"
		    "  period_s: 60\n"
		    "  lease_s: 900\n",
		    hex_encode(kms, l->checkin, 20));
	if (e == ERR_OK && w->snapshot_every != 0)
		e = buf_printf(&y, "snapshot_every: %u\n", w->snapshot_every);
	if (e == ERR_OK)
		e = write_peers(&y, l, n, w);
	lab_path(path, l, "kms/%s/kmsd.yaml", n->name);
	if (e == ERR_OK)
		e = file_write(path, y.p, y.len, 0600);
	buf_fini(&y);
	return e;
}

enum err
lab_write_listed(const struct lab *l, const struct lab_node *n)
{
	const struct lab_node_wishes w = { .slot = n->name,
		.genesis = n == &l->node[0] };

	return lab_write_node(l, n, &w);
}

static enum err
make_nodes(struct lab *l, unsigned n_nodes)
{
	char path[LAB_PATH_MAX];
	uint16_t port[2 + 3 * LAB_NODES_MAX];
	enum err e = lab_free_ports(port, 2 + 3 * n_nodes);

	if (e != ERR_OK)
		return e;
	l->rpc_port = port[0];
	l->pccs_port = port[1];
	for (unsigned i = 0; i < n_nodes; i++) {
		struct lab_node *n = &l->node[i];

		(void)snprintf(n->name, sizeof n->name, "kms%u", i);
		(void)snprintf(n->host, sizeof n->host, "kms%u", i);
		(void)snprintf(n->image, sizeof n->image, "kms");
		n->listen_port = port[2 + 3 * i];
		n->admin_port = port[3 + 3 * i];
		n->public_port = port[4 + 3 * i];
		n->listed = true;
	}
	l->n_nodes = n_nodes;
	lab_path(path, l, "kms");
	if ((e = file_mkdirs(path)) != ERR_OK)
		return e;
	lab_path(path, l, "kms/app-compose.json");
	e = file_write(path, kms_compose, sizeof kms_compose - 1, 0600);
	for (unsigned i = 0; e == ERR_OK && i < n_nodes; i++)
		e = lab_write_listed(l, &l->node[i]);
	return e;
}

enum err
lab_make(struct lab *l, unsigned n_nodes, const char *more_hosts,
    char why[LAB_WHY_MAX])
{
	static const char *const folders[] = { "run", "log", "chain", "apps" };
	char path[LAB_PATH_MAX];
	enum err e;

	if (n_nodes == 0 || n_nodes > LAB_NODES_MAX)
		return fail(why, "nodes", ERR_LIMIT);
	l->chain_id = LAB_CHAIN_ID;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		lab_path(path, l, "%s", folders[i]);
		if ((e = file_mkdirs(path)) != ERR_OK)
			return fail(why, path, e);
	}
	if ((e = make_operator(l)) != ERR_OK)
		return fail(why, "operator's key", e);
	if ((e = make_council(l)) != ERR_OK)
		return fail(why, "the council's keys", e);
	if ((e = make_pki(l)) != ERR_OK)
		return fail(why, "simulated PKI", e);
	if ((e = make_hosts(l, n_nodes, more_hosts)) != ERR_OK)
		return fail(why, "simulated hosts", e);
	if ((e = make_images(l)) != ERR_OK)
		return fail(why, "simulated images", e);
	if ((e = make_nodes(l, n_nodes)) != ERR_OK)
		return fail(why, "nodes", e);
	/* Last: a folder without it is not a cluster yet. */
	if ((e = lab_save(l)) != ERR_OK)
		return fail(why, "sim.json", e);
	return ERR_OK;
}

static bool
exists(const struct lab *l, const char *kind, const char *name)
{
	char path[LAB_PATH_MAX];

	if (!sim_name_ok(name))
		return false;
	lab_path(path, l, "%s/%s", kind, name);
	return access(path, F_OK) == 0;
}

enum err
lab_add_node(struct lab *l, const char *name, const char *host,
    const char *image, bool listed)
{
	struct lab_node *n = &l->node[l->n_nodes];
	uint16_t port[3];
	enum err e;

	if (l->n_nodes == LAB_NODES_MAX)
		return ERR_LIMIT;
	/* It is the name of its seat, too. */
	if (!sim_name_ok(name) || strlen(name) >= SLOT_MAX)
		return ERR_CONFIG;
	if (lab_find_node(l, name) != NULL || lab_find_app(l, name) != NULL)
		return ERR_EXISTS;
	if (!exists(l, "hosts", host) || !exists(l, "images", image))
		return ERR_NOTFOUND;
	if ((e = lab_free_ports(port, 3)) != ERR_OK)
		return e;
	(void)snprintf(n->name, sizeof n->name, "%s", name);
	(void)snprintf(n->host, sizeof n->host, "%s", host);
	(void)snprintf(n->image, sizeof n->image, "%s", image);
	n->listen_port = port[0];
	n->admin_port = port[1];
	n->public_port = port[2];
	n->listed = listed;
	if ((e = lab_write_listed(l, n)) != ERR_OK)
		return e;
	l->n_nodes++;
	return lab_save(l);
}

enum err
lab_write_agent(const struct lab *l, const struct lab_app *a,
    const struct k256_pub *root, const uint8_t anchor_signer[static 20],
    unsigned boot_deadline_s)
{
	char dir[LAB_PATH_MAX], path[LAB_PATH_MAX], pccs[CONTRACT_URL_MAX],
	    id[41], kms[41], root_hex[67], registry[160] = "";
	struct buf y = { 0 };
	enum err e = ERR_OK;

	if (!exists(l, "hosts", a->host) || !exists(l, "images", a->image))
		return ERR_NOTFOUND;
	lab_path(dir, l, "apps/%s", a->name);
	lab_pccs_url(pccs, l);
	hex_encode(id, a->app_id, 20);
	hex_encode(kms, l->kms, 20);
	hex_encode(root_hex, root->b, sizeof root->b);
	if (l->n_members > 0) {
		char at[41], signer[41];

		(void)snprintf(registry, sizeof registry,
		    "  registry: '0x%s'\n  anchor_signer: ['0x%s']\n",
		    hex_encode(at, l->registry, 20),
		    hex_encode(signer, anchor_signer, 20));
	}
	e = buf_printf(&y,
	    "tee:\n"
	    "  simulated: true\n"
	    "  sim_host: '%s/hosts/%s'\n"
	    "  sim_image: '%s/images/%s'\n"
	    "  run_dir: '%s/run'\n"
	    "app:\n"
	    "  compose_file: '%s/app-compose.json'\n"
	    "  state_dir: '%s/state'\n"
	    "  id: '0x%s'\n"
	    "kms:\n"
	    "  chain_id: %" PRIu64 "\n"
	    "  contract: '0x%s'\n"
	    "  root: '%s'\n"
	    "%s"
	    "  attempt_timeout_s: 10\n"
	    "  boot_deadline_s: %u\n"
	    "  urls:\n",
	    l->dir, a->host, l->dir, a->image, dir, dir, dir, id, l->chain_id,
	    kms, root_hex, registry, boot_deadline_s);
	for (unsigned i = 0; e == ERR_OK && i < l->n_nodes; i++)
		if (l->node[i].listed)
			e = buf_printf(&y, "    - 'tcp://127.0.0.1:%u'\n",
			    l->node[i].listen_port);
	if (e == ERR_OK)
		e = buf_printf(&y,
		    "attestation:\n"
		    "  pccs_url: '%s'\n"
		    "  insecure_simulated_root: '%s/sim-root.der'\n"
		    "listen:\n"
		    "  socket: '%s/dstack.sock'\n"
		    "  tappd_socket: '%s/tappd.sock'\n"
		    "  mode: '0600'\n",
		    pccs, l->dir, dir, dir);
	if (e == ERR_OK && a->public_port != 0)
		e = buf_printf(
		    &y, "  external: '127.0.0.1:%u'\n", a->public_port);
	lab_path(path, l, "apps/%s/agent.yaml", a->name);
	if (e == ERR_OK)
		e = file_write(path, y.p, y.len, 0600);
	buf_fini(&y);
	return e;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

enum err
lab_remove_folder(const char *path)
{
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0
	    ? ERR_OK
	    : ERR_IO;
}

enum err
lab_remove(const struct lab *l)
{
	return lab_remove_folder(l->dir);
}
