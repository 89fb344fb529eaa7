/* lab_make: the files of a simulated cluster. */
#ifndef KMS_CTL_LAB_MAKE_H
#define KMS_CTL_LAB_MAKE_H

#include "kms/ctl/lab.h"

#define LAB_APP_HOSTS 2 /* app0, app1: besides one for each KMS node */

/* lab_make fills a new folder: PKI, hosts, images, operator's key, ports,
 * and a configuration for each of `n_nodes` nodes.  `more_hosts` is a list
 * of names with commas between, or NULL.  l->n_members and k_members say
 * whether there is a council.  `why` says what failed. */
enum err lab_make(struct lab *l, unsigned n_nodes, const char *more_hosts,
    char why[LAB_WHY_MAX]);

/* lab_add_node gives one more node ports and a configuration; its peers are
 * those that are there.  `host` and `image` must exist. */
enum err lab_add_node(struct lab *l, const char *name, const char *host,
    const char *image, bool listed);

/* What is in a node's kmsd.yaml besides what all have. */
struct lab_node_wishes {
	const char *slot;
	bool genesis;
	uint16_t rpc_port; /* 0: the chain's own */
	unsigned snapshot_every; /* 0: kmsd's default */
	bool strangers; /* the lab's nodes are no peers of it */
	const struct lab_node *peer; /* more peers: borrows n_peers of them */
	unsigned n_peers; /* its own entry is left out */
};
/* lab_write_node writes the configuration of `n`, which need not be one of
 * the lab's own; lab_write_listed that of a node as `sim up` knows it. */
enum err lab_write_node(const struct lab *l, const struct lab_node *n,
    const struct lab_node_wishes *w);
enum err lab_write_listed(const struct lab *l, const struct lab_node *n);

/* lab_write_agent writes agent.yaml of an app, which pins the root, and, in a
 * cluster with a registry, that, and who signs in an emergency. */
enum err lab_write_agent(const struct lab *l, const struct lab_app *a,
    const struct k256_pub *root, const uint8_t anchor_signer[static 20],
    unsigned boot_deadline_s);

/* lab_remove deletes a simulated cluster's folder; the caller has made sure
 * that nothing of it runs. */
enum err lab_remove(const struct lab *l);
/* lab_remove_folder deletes one, with all that is in it. */
enum err lab_remove_folder(const char *path);

#endif
