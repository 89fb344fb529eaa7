#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/secret.h"
#include "kms/ctl/lab_app.h"
#include "kms/ctl/lab_make.h"
#include "kms/service/kmsd_config.h"
#include "node/agent/config.h"
#include "tests/lib/tmpdir.h"

static struct lab *
make(const char *dir, unsigned nodes)
{
	char why[LAB_WHY_MAX] = "";
	struct lab *l = NULL;

	cr_assert_eq(secret_process_init(), ERR_OK);
	cr_assert_eq(lab_new(&l, dir, why), ERR_OK, "%s", why);
	cr_assert_eq(lab_make(l, nodes, "spare", why), ERR_OK, "%s", why);
	return l;
}

/* What is written is read back the same. */
Test(ctl_lab, round_trip, .timeout = 60)
{
	char *dir = tmpdir_new(), why[LAB_WHY_MAX];
	struct lab *l = make(dir, 2), *again = NULL;
	struct lab_app *a = &l->app[l->n_apps++];

	strcpy(a->name, "web");
	strcpy(a->host, "app0");
	strcpy(a->image, "app");
	memset(a->app_id, 7, sizeof a->app_id);
	a->registered = true;
	a->public_port = 20001;
	a = &l->app[l->n_apps++];
	*a = l->app[0];
	a->public_port = 0; /* as before there were such */
	strcpy(a->name, "web-2");
	strcpy(a->of, "web");
	cr_assert_eq(lab_add_node(l, "more", "spare", "other", false), ERR_OK);
	cr_assert_eq(lab_load(&again, dir, why), ERR_OK, "%s", why);
	cr_assert_eq(memcmp(l, again, sizeof *l), 0);
	cr_assert_not_null(lab_find_app(again, "web"));
	cr_assert_str_eq(lab_find_app(again, "web-2")->of, "web");
	cr_assert_not_null(lab_find_node(again, "more"));
	cr_assert_null(lab_find_node(again, "web"));
	lab_free(l);
	lab_free(again);
	tmpdir_remove(dir);
}

/* Its configurations are what the programs read; the key is its owner's
 * alone; nodes name each other, never themselves. */
Test(ctl_lab, configurations, .timeout = 60)
{
	char *dir = tmpdir_new(), path[LAB_PATH_MAX], why[512];
	struct lab *l = make(dir, 3);
	struct lab_app app = { .name = "web", .host = "app0", .image = "app" };
	struct kmsd_config *k = malloc(sizeof *k);
	struct agent_config *c = malloc(sizeof *c);
	struct k256_pub root = { .b = { 2, 1 } };
	struct account operator;
	struct stat st;

	for (unsigned i = 0; i < 3; i++) {
		lab_path(path, l, "kms/kms%u/kmsd.yaml", i);
		cr_assert_eq(kmsd_config_load(k, path, why), ERR_OK, "%s", why);
		cr_assert_eq(k->n_peers, 2);
		for (unsigned p = 0; p < 2; p++)
			cr_assert_str_neq(k->peer[p], k->listen);
		cr_assert_eq(k->genesis, i == 0);
		cr_assert(k->simulated);
		cr_assert_eq(memcmp(k->kms_contract, l->kms, 20), 0);
		cr_assert_eq(memcmp(k->anchor_contract, l->anchor, 20), 0);
	}
	lab_path(path, l, "apps/web");
	cr_assert_eq(file_mkdirs(path), ERR_OK);
	cr_assert_eq(
	    lab_write_agent(l, &app, &root, (uint8_t[20]){ 7 }, 9), ERR_OK);
	lab_path(path, l, "apps/web/agent.yaml");
	cr_assert_eq(config_load(c, path, why), ERR_OK, "%s", why);
	cr_assert_eq(c->n_kms_urls, 3);
	cr_assert_eq(c->kms_root.kind, ROOT_PIN_PUB);
	cr_assert_eq(c->boot_deadline_s, 9);
	cr_assert_str_eq(c->external_host, "");
	app.public_port = 20001;
	cr_assert_eq(
	    lab_write_agent(l, &app, &root, (uint8_t[20]){ 7 }, 9), ERR_OK);
	cr_assert_eq(config_load(c, path, why), ERR_OK, "%s", why);
	cr_assert_str_eq(c->external_host, "127.0.0.1");
	cr_assert_eq(c->external_port, 20001);

	lab_path(path, l, "operator.key");
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(account_load(&operator, path), ERR_OK);
	cr_assert_eq(memcmp(operator.address, l->operator_address, 20), 0);
	account_wipe(&operator);
	free(k);
	free(c);
	lab_free(l);
	tmpdir_remove(dir);
}

/* With a council each node and each agent knows the registry, and each member
 * has a key of its own; without one nobody has heard of it. */
Test(ctl_lab, council, .timeout = 60)
{
	char *dir = tmpdir_new(), path[LAB_PATH_MAX], why[512];
	struct lab_app app = { .name = "web", .host = "app0", .image = "app" };
	struct kmsd_config *k = malloc(sizeof *k);
	struct agent_config *c = malloc(sizeof *c);
	struct lab *l = NULL, *again = NULL;
	struct k256_secret s = { { [31] = 7 } };
	struct account member[2];
	struct k256_pub root;
	struct contract at;

	cr_assert_eq(secret_process_init(), ERR_OK);
	cr_assert_eq(k256_pubkey(&root, &s), ERR_OK);
	cr_assert_eq(lab_new(&l, dir, why), ERR_OK, "%s", why);
	l->n_members = 5;
	l->k_members = 3;
	cr_assert_eq(lab_make(l, 1, NULL, why), ERR_OK, "%s", why);
	cr_assert_eq(lab_load(&again, dir, why), ERR_OK, "%s", why);
	cr_assert_eq(memcmp(l, again, sizeof *l), 0);
	lab_contract(&at, again);
	cr_assert(at.has_registry);
	cr_assert_arr_eq(at.registry, l->registry, 20);

	lab_path(path, l, "kms/kms0/kmsd.yaml");
	cr_assert_eq(kmsd_config_load(k, path, why), ERR_OK, "%s", why);
	cr_assert(k->has_registry);
	cr_assert_arr_eq(k->registry_contract, l->registry, 20);
	cr_assert_gt(k->max_ahead_s, 86400);
	lab_path(path, l, "apps/web");
	cr_assert_eq(file_mkdirs(path), ERR_OK);
	cr_assert_eq(
	    lab_write_agent(l, &app, &root, (uint8_t[20]){ 7 }, 9), ERR_OK);
	lab_path(path, l, "apps/web/agent.yaml");
	cr_assert_eq(config_load(c, path, why), ERR_OK, "%s", why);
	cr_assert(c->has_registry);
	cr_assert_arr_eq(c->kms_registry, l->registry, 20);
	cr_assert_eq(c->n_anchor_signers, 1);
	cr_assert_eq(c->anchor_signer[0][0], 7);

	for (unsigned i = 0; i < 2; i++) {
		lab_path(path, l, "council/%u.key", 4 * i);
		cr_assert_eq(account_load(&member[i], path), ERR_OK);
	}
	cr_assert_neq(memcmp(member[0].address, member[1].address, 20), 0);
	lab_path(path, l, "council/5.key");
	cr_assert_eq(account_load(&member[0], path), ERR_NOTFOUND);
	free(k);
	free(c);
	lab_free(l);
	lab_free(again);
	tmpdir_remove(dir);
}

/* A replica's name is the first that is free, and fits. */
Test(ctl_lab, names_of_replicas, .timeout = 60)
{
	char *dir = tmpdir_new(), name[LAB_NAME_MAX];
	struct lab *l = make(dir, 1);

	cr_assert_eq(lab_app_next_name(name, l, "web"), ERR_OK);
	cr_assert_str_eq(name, "web-2");
	strcpy(l->app[l->n_apps++].name, "web-2");
	strcpy(l->node[0].name, "web-3");
	cr_assert_eq(lab_app_next_name(name, l, "web"), ERR_OK);
	cr_assert_str_eq(name, "web-4");
	cr_assert_eq(
	    lab_app_next_name(name, l, "n123456789012345678901234567890"),
	    ERR_LIMIT);
	lab_free(l);
	tmpdir_remove(dir);
}

/* With an app go its replicas and their folders, and nothing else. */
Test(ctl_lab, remove, .timeout = 60)
{
	static const char *const names[] = { "web", "shop", "web-2", "shop-2",
		"web-3" };
	static const char *const of[] = { "", "", "web", "shop", "web" };
	char *dir = tmpdir_new(), path[LAB_PATH_MAX];
	struct lab *l = make(dir, 1);
	const struct ctl c = { .out = stdout, .log = stderr };

	for (unsigned i = 0; i < 5; i++) {
		strcpy(l->app[i].name, names[i]);
		strcpy(l->app[i].of, of[i]);
		lab_path(path, l, "apps/%s", names[i]);
		cr_assert_eq(file_mkdirs(path), ERR_OK);
	}
	l->n_apps = 5;
	cr_assert_eq(lab_app_remove(&c, l, "shop-2"), CTL_OK);
	cr_assert_eq(l->n_apps, 4);
	cr_assert_eq(lab_app_remove(&c, l, l->app[0].name), CTL_OK);
	cr_assert_eq(l->n_apps, 1);
	cr_assert_str_eq(l->app[0].name, "shop");
	for (unsigned i = 0; i < 5; i++) {
		lab_path(path, l, "apps/%s", names[i]);
		cr_assert_eq(access(path, F_OK) == 0, i == 1, "%s", names[i]);
	}
	lab_free(l);
	tmpdir_remove(dir);
}

/* A machine's device is the hash of what its platform is called. */
Test(ctl_lab, devices, .timeout = 60)
{
	char *dir = tmpdir_new();
	struct lab *l = make(dir, 1);
	uint8_t a[32], b[32];

	cr_assert_eq(lab_app_device(a, l, "nowhere"), ERR_NOTFOUND);
	cr_assert_eq(lab_app_device(a, l, "../pki"), ERR_NOTFOUND);
	cr_assert_eq(lab_app_device(a, l, "app0"), ERR_OK);
	cr_assert_eq(lab_app_device(b, l, "app1"), ERR_OK);
	cr_assert_neq(memcmp(a, b, 32), 0);
	lab_free(l);
	tmpdir_remove(dir);
}

/* A node needs a new name, and a host and an image that are there. */
Test(ctl_lab, nodes_refused, .timeout = 60)
{
	char *dir = tmpdir_new();
	struct lab *l = make(dir, 1);

	cr_assert_eq(
	    lab_add_node(l, "kms0", "spare", "kms", false), ERR_EXISTS);
	cr_assert_eq(
	    lab_add_node(l, "n", "nowhere", "kms", false), ERR_NOTFOUND);
	cr_assert_eq(
	    lab_add_node(l, "n", "spare", "nothing", false), ERR_NOTFOUND);
	cr_assert_eq(
	    lab_add_node(l, "n", "../pki", "kms", false), ERR_NOTFOUND);
	cr_assert_eq(
	    lab_add_node(l, "../n", "spare", "kms", false), ERR_CONFIG);
	cr_assert_eq(lab_add_node(l, "", "spare", "kms", false), ERR_CONFIG);
	/* A seat's name has 31 characters at most. */
	cr_assert_eq(lab_add_node(l, "n1234567890123456789012345678901",
			 "spare", "kms", false),
	    ERR_CONFIG);
	cr_assert_eq(l->n_nodes, 1);
	lab_free(l);
	tmpdir_remove(dir);
}

/* Only one command at a time changes a folder. */
Test(ctl_lab, lock, .timeout = 60)
{
	char *dir = tmpdir_new(), why[LAB_WHY_MAX];
	struct lab *a = make(dir, 1), *b = NULL;

	cr_assert_eq(lab_load(&b, dir, why), ERR_OK);
	cr_assert_eq(lab_lock(a), ERR_OK);
	cr_assert_eq(lab_lock(b), ERR_AGAIN);
	lab_free(a);
	cr_assert_eq(lab_lock(b), ERR_OK);
	lab_free(b);
	tmpdir_remove(dir);
}

/* Ports are free, distinct, and not of the range that clients get. */
Test(ctl_lab, ports)
{
	uint16_t p[20];

	cr_assert_eq(secret_process_init(), ERR_OK);
	cr_assert_eq(lab_free_ports(p, 20), ERR_OK);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert(p[i] >= 1024 && p[i] < 32768);
		for (unsigned k = 0; k < i; k++)
			cr_assert_neq(p[i], p[k]);
	}
}

/* A folder without a cluster, and a sim.json that is not one, are refused
 * with words. */
Test(ctl_lab, bad_files)
{
	static const char *const bad[] = { "", "{", "[]", "{}",
		"{\"chain_id\":1}",
		/* A name that would leave the folder. */
		"{\"chain_id\":1,\"rpc_port\":1,\"pccs_port\":1,"
		"\"operator\":\"0x0000000000000000000000000000000000000000\","
		"\"kms_contract\":"
		"\"0x0000000000000000000000000000000000000000\","
		"\"anchor_contract\":"
		"\"0x0000000000000000000000000000000000000000\","
		"\"nodes\":[{\"name\":\"../x\",\"host\":\"a\",\"image\":\"a\","
		"\"listen_port\":1,\"admin_port\":1,\"listed\":true}],"
		"\"apps\":[]}",
		/* No anchor. */
		"{\"chain_id\":1,\"rpc_port\":1,\"pccs_port\":1,"
		"\"operator\":\"0x0000000000000000000000000000000000000000\","
		"\"kms_contract\":"
		"\"0x0000000000000000000000000000000000000000\","
		"\"nodes\":[],\"apps\":[]}",
		/* A port out of range. */
		"{\"chain_id\":1,\"rpc_port\":65536,\"pccs_port\":1,"
		"\"operator\":\"0x0000000000000000000000000000000000000000\","
		"\"kms_contract\":"
		"\"0x0000000000000000000000000000000000000000\","
		"\"anchor_contract\":"
		"\"0x0000000000000000000000000000000000000000\","
		"\"nodes\":[],\"apps\":[]}" };
	char *dir = tmpdir_new(), path[LAB_PATH_MAX], why[LAB_WHY_MAX] = "";
	struct lab *l = NULL;

	cr_assert_eq(lab_load(&l, dir, why), ERR_NOTFOUND);
	cr_assert_not_null(strstr(why, "sim init"));
	cr_assert_eq(file_join(path, sizeof path, dir, "sim.json"), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_assert_eq(
		    file_write(path, bad[i], strlen(bad[i]), 0600), ERR_OK);
		why[0] = '\0';
		cr_expect_neq(lab_load(&l, dir, why), ERR_OK, "case %zu", i);
		cr_expect_neq(why[0], '\0', "case %zu", i);
	}
	cr_assert_null(l);
	tmpdir_remove(dir);
}

/* The path ends up in YAML between quotes, and in socket addresses. */
Test(ctl_lab, bad_paths)
{
	char *dir = tmpdir_new(), path[LAB_PATH_MAX], why[LAB_WHY_MAX];
	struct lab *l = NULL;

	cr_assert_eq(file_join(path, sizeof path, dir, "it's"), ERR_OK);
	cr_assert_eq(lab_new(&l, path, why), ERR_CONFIG);
	cr_assert_eq(file_join(path, sizeof path, dir, "a\nb"), ERR_OK);
	cr_assert_eq(lab_new(&l, path, why), ERR_CONFIG);
	cr_assert_null(l);
	tmpdir_remove(dir);
}
