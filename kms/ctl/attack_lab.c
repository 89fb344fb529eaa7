/* Processes and disks: what the host of a node can do. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "kms/ctl/attack_int.h"
#include "kms/ctl/lab_make.h"
#include "kms/ctl/lab_recover.h"
#include "kms/ctl/lab_relay.h"
#include "kms/ctl/lab_run.h"
#include "kms/ctl/proc.h"

#define DISK_MAX ((size_t)256 << 20)
#define STAT_MAX 1024
#define PAGE 4096u /* of LMDB here */

bool
attack_start(struct attack *a, const struct lab_node *n)
{
	return lab_start_node(a->c, a->l, n) == CTL_OK ||
	    attack_broke(a, "%s does not start", n->name);
}

bool
attack_kill(struct attack *a, const struct lab_node *n)
{
	return lab_stop(a->c, a->l, n->name, SIGKILL) == CTL_OK ||
	    attack_broke(a, "%s does not end", n->name);
}

bool
attack_kill_all(struct attack *a)
{
	bool ok = true;

	for (unsigned i = 0; i < a->l->n_nodes; i++)
		ok = ok && attack_kill(a, &a->l->node[i]);
	return ok;
}

bool
attack_start_all(struct attack *a)
{
	bool ok = true;

	for (unsigned i = 0; i < a->l->n_nodes; i++)
		if (a->l->node[i].listed)
			ok = ok && attack_start(a, &a->l->node[i]);
	return ok;
}

static char
state_of(pid_t pid)
{
	struct buf b = { 0 };
	char path[64], state = '?';
	const char *p;

	(void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (file_read(&b, path, STAT_MAX) == ERR_OK &&
	    (p = strrchr((char *)b.p, ')')) != NULL && p[1] == ' ')
		state = p[2];
	buf_fini(&b);
	return state;
}

bool
attack_runs(struct attack *a, const struct lab_node *n)
{
	pid_t pid;

	return lab_runs(a->l, n->name, &pid) &&
	    state_of(proc_worker(pid)) != 'T';
}

bool
attack_freeze(struct attack *a, const char *name)
{
	struct ctl_wait w = ctl_wait(a->c, "", ATTACK_SOON_MS);
	pid_t pid;

	if (!lab_runs(a->l, name, &pid) || kill(-pid, SIGSTOP) != 0)
		return attack_broke(a, "%s does not run", name);
	while (state_of(proc_worker(pid)) != 'T')
		if (!ctl_wait_more(&w))
			return attack_broke(a, "%s does not stop", name);
	return true;
}

bool
attack_thaw(struct attack *a, const char *name)
{
	pid_t pid;

	return (lab_runs(a->l, name, &pid) && kill(-pid, SIGCONT) == 0) ||
	    attack_broke(a, "%s does not run", name);
}

/* ---- disks ---- */

/* LMDB writes pages that nobody reads yet, then the meta page that names
 * them: whenever the process stands still, its file is a whole one. */
static enum err
copy_file(const char *to, const char *from)
{
	struct buf b = { 0 };
	enum err e = file_read(&b, from, DISK_MAX);

	if (e == ERR_OK)
		e = file_write(to, b.p, b.len, 0600);
	buf_fini(&b);
	return e;
}

bool
attack_take(struct attack *a, const struct lab_node *n, const char *tag)
{
	char from[LAB_PATH_MAX], to[LAB_PATH_MAX];
	bool runs = lab_runs(a->l, n->name, NULL);
	enum err e;

	lab_path(to, a->l, "attack");
	if ((e = file_mkdirs(to)) != ERR_OK)
		return attack_broke(a, "%s: %s", to, err_text(e));
	lab_path(from, a->l, "kms/%s/data/db/data.mdb", n->name);
	lab_path(to, a->l, "attack/%s-%s.mdb", n->name, tag);
	if (runs && !attack_freeze(a, n->name))
		return false;
	e = copy_file(to, from);
	if (runs && !attack_thaw(a, n->name))
		return false;
	return e == ERR_OK || attack_broke(a, "%s: %s", from, err_text(e));
}

bool
attack_put(struct attack *a, const struct lab_node *to,
    const struct lab_node *from, const char *tag)
{
	char dir[LAB_PATH_MAX], src[LAB_PATH_MAX], dst[LAB_PATH_MAX];
	enum err e;

	lab_path(src, a->l, "attack/%s-%s.mdb", from->name, tag);
	lab_path(dir, a->l, "kms/%s/data/db", to->name);
	lab_path(dst, a->l, "kms/%s/data/db/data.mdb", to->name);
	if ((e = file_mkdirs(dir)) == ERR_OK)
		e = copy_file(dst, src);
	return e == ERR_OK || attack_broke(a, "%s: %s", dst, err_text(e));
}

/* Every second one of the pages that differ. */
static enum err
mix(struct buf *newer, const struct buf *older)
{
	size_t n = newer->len < older->len ? newer->len : older->len;
	unsigned differ = 0;

	/* Two meta pages begin the file: those stay the newer ones. */
	for (size_t at = 2 * PAGE; at + PAGE <= n; at += PAGE)
		if (memcmp(newer->p + at, older->p + at, PAGE) != 0 &&
		    differ++ % 2 == 0)
			memcpy(newer->p + at, older->p + at, PAGE);
	return differ > 0 ? ERR_OK : ERR_NOTFOUND;
}

bool
attack_mix(struct attack *a, const struct lab_node *n, const char *newer,
    const char *older)
{
	char path[LAB_PATH_MAX];
	struct buf x = { 0 }, y = { 0 };
	enum err e;

	lab_path(path, a->l, "attack/%s-%s.mdb", n->name, newer);
	e = file_read(&x, path, DISK_MAX);
	lab_path(path, a->l, "attack/%s-%s.mdb", n->name, older);
	if (e == ERR_OK)
		e = file_read(&y, path, DISK_MAX);
	if (e == ERR_OK)
		e = mix(&x, &y);
	lab_path(path, a->l, "kms/%s/data/db/data.mdb", n->name);
	if (e == ERR_OK)
		e = file_write(path, x.p, x.len, 0600);
	buf_fini(&x);
	buf_fini(&y);
	return e == ERR_OK || attack_broke(a, "%s: %s", path, err_text(e));
}

/* ---- second processes ---- */

/* The ports of copies stay what they were: a peer list may name them. */
static bool
find_ports(struct attack *a)
{
	uint16_t port[2 * ATTACK_NODES];

	if (a->copy[0].listen_port != 0)
		return true;
	if (lab_free_ports(port, 2 * ATTACK_NODES) != ERR_OK)
		return attack_broke(a, "no ports are free");
	for (unsigned i = 0; i < ATTACK_NODES; i++) {
		a->copy[i].listen_port = port[2 * i];
		a->copy[i].admin_port = port[2 * i + 1];
	}
	return true;
}

const struct lab_node *
attack_copy(struct attack *a, const struct lab_node *n,
    const struct attack_copy_wishes *w)
{
	struct lab_node_wishes wishes = { .slot = n->name,
		.genesis = w->genesis,
		.strangers = w->strangers,
		.peer = a->copy,
		.n_peers = w->strangers ? ATTACK_NODES : 0 };
	struct lab_node *d;
	char db[LAB_PATH_MAX];
	enum err e;

	if (!find_ports(a))
		return NULL;
	d = &a->copy[a->n_copies++];
	(void)snprintf(d->name, sizeof d->name, "%.24s-copy", n->name);
	(void)snprintf(d->host, sizeof d->host, "%s", w->host);
	(void)snprintf(d->image, sizeof d->image, "%s", n->image);
	lab_path(db, a->l, "kms/%s/data/db/data.mdb", d->name);
	(void)unlink(db); /* of an earlier attack */
	if ((e = lab_write_node(a->l, d, &wishes)) != ERR_OK) {
		(void)attack_broke(a, "%s: %s", d->name, err_text(e));
		return NULL;
	}
	return d;
}

/* ---- the end ---- */

static bool
end_copies(struct attack *a)
{
	bool ok = true;

	for (unsigned i = 0; i < a->n_copies; i++)
		ok = attack_kill(a, &a->copy[i]) && ok;
	a->n_copies = 0;
	return lab_stop(a->c, a->l, LAB_RELAY, SIGKILL) == CTL_OK && ok;
}

bool
attack_whole(struct attack *a)
{
	bool ok = end_copies(a);

	for (unsigned i = 0; i < a->l->n_nodes; i++) {
		const struct lab_node *n = &a->l->node[i];
		pid_t pid;

		if (!n->listed)
			continue;
		if (lab_write_listed(a->l, n) != ERR_OK)
			ok = attack_broke(a, "%s: no configuration", n->name);
		if (lab_runs(a->l, n->name, &pid))
			(void)kill(-pid, SIGCONT);
		else
			ok = attack_start(a, n) && ok;
	}
	if (ok && lab_await_ready(a->c, a->l, NULL) != CTL_OK)
		ok = attack_broke(a, "the cluster is not ready again");
	ok = ok && attack_clear_order(a) && attack_agree(a);
	return ok;
}
