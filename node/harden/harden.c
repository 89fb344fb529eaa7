#include <linux/capability.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "node/harden/harden.h"

/* Guarded pages of every session and every key at once; what is locked today
 * is some hundred KiB. */
#define LOCKED_WANTED (64ul << 20)
#define LOCKED_PROBE (256u << 10)
#define CAPS_MAX 64 /* the kernel has 41; asking beyond ends the loop */
#define STATUS_MAX 16384

static struct {
	unsigned landlock;
	bool locked;
} given;

static enum err
failed(char *why, const char *step)
{
	(void)snprintf(why, HARDEN_WHY_MAX, "%s: %s", step, strerror(errno));
	return ERR_IO;
}

/* ---- limits ---- */

/* As high as this process may; what the kernel will not give is left. */
static void
raise_limit(int what, rlim_t want)
{
	struct rlimit r;

	if (getrlimit((__rlimit_resource_t)what, &r) != 0 || r.rlim_cur >= want)
		return;
	if (r.rlim_max < want) {
		const struct rlimit more = { want, want };

		if (setrlimit((__rlimit_resource_t)what, &more) == 0)
			return;
	}
	r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
	(void)setrlimit((__rlimit_resource_t)what, &r);
}

static enum err
limits(const struct harden_options *o, char *why)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return failed(why, "RLIMIT_CORE");
	raise_limit(RLIMIT_MEMLOCK, LOCKED_WANTED);
	if (o->descriptors != 0)
		raise_limit(RLIMIT_NOFILE, o->descriptors);
	(void)umask(077);
	/* Who hangs up ends a write of ours, never the process. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return failed(why, "SIGPIPE");
	return ERR_OK;
}

/* libsodium goes on when it cannot lock: this says so. */
static void
check_locking(void)
{
	struct rlimit r = { 0, 0 };
	void *p = mmap(NULL, LOCKED_PROBE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	given.locked = p != MAP_FAILED && mlock(p, LOCKED_PROBE) == 0;
	if (p != MAP_FAILED)
		(void)munmap(p, LOCKED_PROBE);
	if (given.locked)
		return;
	(void)getrlimit(RLIMIT_MEMLOCK, &r);
	log_event(LOG_WARN, "memory_not_locked",
	    log_u64("limit", (uint64_t)r.rlim_cur),
	    log_u64("wanted", LOCKED_WANTED),
	    log_str("effect", "keys may be written to swap"));
}

/* ---- user and capabilities ---- */

static enum err
find_user(uid_t *uid, gid_t *gid, const struct harden_config *c, char *why)
{
	const struct passwd *p = getpwnam(c->user);
	const struct group *g;

	if (p == NULL || p->pw_uid == 0) {
		(void)snprintf(why, HARDEN_WHY_MAX, "process.user: %s",
		    p == NULL ? "no such user" : "must not be root");
		return ERR_CONFIG;
	}
	*uid = p->pw_uid;
	*gid = p->pw_gid;
	if (c->group[0] == '\0')
		return ERR_OK;
	if ((g = getgrnam(c->group)) == NULL || g->gr_gid == 0) {
		(void)snprintf(why, HARDEN_WHY_MAX, "process.group: %s",
		    g == NULL ? "no such group" : "must not be root's");
		return ERR_CONFIG;
	}
	*gid = g->gr_gid;
	return ERR_OK;
}

/* All three ids, so that none is left to go back to; and then it is tried. */
static enum err
drop_user(const struct harden_config *c, char *why)
{
	uid_t uid, r, e, s;
	gid_t gid, rg, eg, sg;
	enum err rc;

	if (c->user[0] == '\0')
		return ERR_OK;
	if ((rc = find_user(&uid, &gid, c, why)) != ERR_OK)
		return rc;
	if (geteuid() != 0) {
		if (geteuid() == uid && getuid() == uid)
			return ERR_OK;
		(void)snprintf(why, HARDEN_WHY_MAX,
		    "process.user: only root can become %s", c->user);
		return ERR_CONFIG;
	}
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(uid, uid, uid) != 0)
		return failed(why, "process.user");
	if (getresuid(&r, &e, &s) != 0 || getresgid(&rg, &eg, &sg) != 0)
		return failed(why, "process.user");
	if (r != uid || e != uid || s != uid || rg != gid || eg != gid ||
	    sg != gid || setresuid((uid_t)-1, 0, (uid_t)-1) == 0 ||
	    setresgid((gid_t)-1, 0, (gid_t)-1) == 0) {
		(void)snprintf(
		    why, HARDEN_WHY_MAX, "process.user: root can be had again");
		return ERR_IO;
	}
	return ERR_OK;
}

/* What no program may give back: only root can do that, and has to before it
 * becomes somebody else. */
static void
drop_bounding(void)
{
	for (unsigned i = 0; i < CAPS_MAX; i++)
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0)
			break;
}

/* ---- what the kernel says ---- */

static uint64_t
status_field(const char *text, const char *name, int base)
{
	const char *p = text != NULL ? strstr(text, name) : NULL;

	return p == NULL ? 0 : strtoull(p + strlen(name), NULL, base);
}

/* A unit may forbid capset: who has none does not call it. */
static enum err
drop_capabilities(char *why)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[2] = { 0 }, have[2] = { 0 };

	if (syscall(SYS_capget, &head, have) == 0 &&
	    memcmp(have, none, sizeof have) == 0)
		return ERR_OK;
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) != 0)
		return failed(why, "capset");
	return ERR_OK;
}

void
harden_state(struct harden_state *out)
{
	struct buf b = { 0 };
	const char *t = file_read(&b, "/proc/self/status", STATUS_MAX) == ERR_OK
	    ? (const char *)b.p
	    : NULL;

	*out = (struct harden_state){
		.filter = harden_installed(),
		.kernel_filters = status_field(t, "\nSeccomp:\t", 10) == 2,
		.no_new_privs = status_field(t, "\nNoNewPrivs:\t", 10) == 1,
		.dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0,
		.memory_locked = given.locked,
		/* Not to be read is not to have none. */
		.capabilities =
		    t == NULL ? UINT64_MAX : status_field(t, "\nCapEff:\t", 16),
		.landlock = given.landlock,
		.uid = geteuid(),
	};
	buf_fini(&b);
}

json_t *
harden_page(void)
{
	struct harden_state s;
	json_t *o = json_object();

	harden_state(&s);
	(void)!json_set_str(o, "seccomp",
	    s.kernel_filters ? harden_filter_text(s.filter) : "off");
	(void)!json_set_bool(o, "no_new_privs", s.no_new_privs);
	(void)!json_set_bool(o, "capabilities", s.capabilities != 0);
	(void)!json_set_bool(o, "dumpable", s.dumpable);
	(void)!json_set_bool(o, "memory_locked", s.memory_locked);
	(void)!json_set_u64(o, "landlock", s.landlock);
	(void)!json_set_u64(o, "uid", s.uid);
	return o;
}

/* ---- all of it ---- */

enum err
harden_process(const struct harden_options *o, char why[static HARDEN_WHY_MAX])
{
	enum err e;

	if (close_range(3 + o->keep, ~0u, 0) != 0)
		return failed(why, "close_range");
	if ((e = limits(o, why)) != ERR_OK)
		return e;
	drop_bounding();
	if ((e = drop_user(o->cfg, why)) != ERR_OK ||
	    (e = drop_capabilities(why)) != ERR_OK)
		return e;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return failed(why, "no new privileges");
	/* Another user is another credential: the kernel forgot it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return failed(why, "not dumpable");
	check_locking();
	if (o->cfg->filter != HARDEN_OFF &&
	    (e = harden_restrict_files(&given.landlock, o)) != ERR_OK)
		return failed(why, "landlock");
	if (given.landlock == 0)
		log_event(LOG_WARN, "files_not_restricted",
		    log_str("cause",
			o->cfg->filter == HARDEN_OFF
			    ? "process.seccomp: off"
			    : "this kernel has no Landlock"));
	log_event(LOG_INFO, "hardened", log_u64("uid", geteuid()),
	    log_u64("landlock", given.landlock),
	    log_str("seccomp", harden_filter_text(o->cfg->filter)),
	    log_str("memory_locked", given.locked ? "yes" : "no"));
	return ERR_OK;
}
