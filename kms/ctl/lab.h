/* lab: a simulated cluster: a folder with all that it consists of.
 *
 *   sim.json             what this file keeps
 *   operator.key         the account that owns the contracts (0600)
 *   council/N.key        those who decide about roots, if asked for (0600)
 *   sim-root.der         the simulator's root certificate
 *   pki/ hosts/ images/  node/tee/simpki.h, simhost.h, simimage.h
 *   chain/               the chain's state, deployment.json
 *   kms/NAME/            kmsd.yaml, data/
 *   apps/NAME/           app-compose.json, agent.yaml, dstack.sock, ...: one
 *                        folder a CVM, so one for each replica of an app
 *   run/NAME.pid         what runs (proc.h), log/NAME.log: what it said
 *
 * Several live side by side; each has ports of its own. */
#ifndef KMS_CTL_LAB_H
#define KMS_CTL_LAB_H

#include "common/base/json.h"
#include "kms/ctl/contract.h"

#define LAB_WHY_MAX 512
#define LAB_PATH_MAX CONTRACT_PATH_MAX
#define LAB_NAME_MAX 33
#define LAB_NODES_MAX 9
#define LAB_APPS_MAX 32
#define LAB_CHAIN_ID 31337
#define LAB_MEMBERS_MAX 32

struct lab_node {
	char name[LAB_NAME_MAX];
	char host[LAB_NAME_MAX];
	char image[LAB_NAME_MAX];
	uint16_t listen_port;
	uint16_t admin_port;
	uint16_t public_port; /* 0: none */
	bool listed; /* `sim up` has it allowed by the contract */
};

/* A CVM of an app.  Replicas of one app differ in all but app id, image and
 * compose hash. */
struct lab_app {
	char name[LAB_NAME_MAX];
	char of[LAB_NAME_MAX]; /* the app's first CVM; "": it is that */
	char host[LAB_NAME_MAX];
	char image[LAB_NAME_MAX];
	uint8_t app_id[20];
	uint8_t compose_hash[32];
	uint16_t public_port; /* of its pages; 0: none */
	bool registered;
};

struct lab {
	char dir[LAB_PATH_MAX]; /* absolute */
	uint64_t chain_id;
	uint16_t rpc_port;
	uint16_t pccs_port;
	uint8_t operator_address[20];
	uint8_t kms[20]; /* the contracts: known before they are there */
	uint8_t anchor[20];
	bool has_checkin; /* folders of an earlier version have none */
	uint8_t checkin[20];
	/* Of n_members, k decide; 0: neither council nor registry. */
	unsigned n_members, k_members;
	uint8_t council[20], registry[20];
	bool proof; /* nodes execute contracts over proven state */
	struct lab_node node[LAB_NODES_MAX];
	unsigned n_nodes;
	struct lab_app app[LAB_APPS_MAX];
	unsigned n_apps;
	int lock_fd; /* of sim.json's folder, -1 unless lab_lock */
};

/* lab_new makes an empty one for a folder, which is created. */
enum err lab_new(struct lab **out, const char *dir, char why[LAB_WHY_MAX]);
/* lab_load reads sim.json.  ERR_NOTFOUND, ERR_MALFORMED, ...: `why`. */
enum err lab_load(struct lab **out, const char *dir, char why[LAB_WHY_MAX]);
enum err lab_save(const struct lab *l);
void lab_free(struct lab *l); /* NULL is fine */

/* lab_lock makes this command the only one that changes the folder;
 * ERR_AGAIN if another one does. */
enum err lab_lock(struct lab *l);

/* lab_path writes "dir/<formatted>"; aborts on one that does not fit, which
 * lab_new has excluded. */
void lab_path(char out[static LAB_PATH_MAX], const struct lab *l,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void lab_pid_path(
    char out[static LAB_PATH_MAX], const struct lab *l, const char *name);
void lab_log_path(
    char out[static LAB_PATH_MAX], const struct lab *l, const char *name);

void lab_rpc_url(char out[static CONTRACT_URL_MAX], const struct lab *l);
void lab_pccs_url(char out[static CONTRACT_URL_MAX], const struct lab *l);
void lab_admin_url(char out[static CONTRACT_URL_MAX], const struct lab_node *n);
/* What anyone may ask a node (kms/service/public.h); "" if it has none. */
void lab_public_url(
    char out[static CONTRACT_URL_MAX], const struct lab_node *n);

/* Where the pages and the public API of an app's CVM are; "" if it has none. */
void lab_pages_url(char out[static CONTRACT_URL_MAX], const struct lab_app *a);

/* lab_contract says how to reach its contracts, with its operator. */
void lab_contract(struct contract *out, const struct lab *l);

/* lab_await_block waits until every listed node that answers has seen block
 * `number`.  ERR_TIMEOUT. */
enum err lab_await_block(
    const struct ctl *c, const char *dir, uint64_t number, uint64_t limit_ms);

struct lab_node *lab_find_node(struct lab *l, const char *name);
struct lab_app *lab_find_app(struct lab *l, const char *name);

/* lab_free_ports finds `n` ports that nobody listens on and that the kernel
 * does not hand to clients. */
enum err lab_free_ports(uint16_t *port, unsigned n);

/* lab_tool finds a program beside this one, or one of contracts/tools:
 * ERR_NOTFOUND. */
enum err lab_program(char out[static LAB_PATH_MAX], const char *name);
enum err lab_contract_tool(char out[static LAB_PATH_MAX], const char *name);

#endif
