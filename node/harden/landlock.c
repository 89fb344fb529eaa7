/* Landlock by its system calls; there is no library for it.  linux/landlock.h
 * has the meaning of each bit. */
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "node/harden/harden.h"

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define CHANGE \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)
/* Nobody may, anywhere: run a program, make a device, a pipe, a link. */
#define NEVER \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
	    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
	    LANDLOCK_ACCESS_FS_MAKE_SYM)
/* Those that make sense for what is no folder. */
#define OF_FILES \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	    LANDLOCK_ACCESS_FS_TRUNCATE_BIT)
/* Since ABI 3; headers may be older than the kernel. */
#define LANDLOCK_ACCESS_FS_TRUNCATE_BIT (1ull << 14)
#define ABI_TRUNCATE 3

/* What libraries read: certificates, names of hosts, time zones; of the
 * kernel what it says of itself.  None is secret, none is written. */
static const struct harden_files common[] = {
	{ .path = "/etc" },
	{ .path = "/usr" },
	{ .path = "/lib" },
	{ .path = "/lib64" },
	{ .path = "/proc" },
	{ .path = "/sys" },
	{ .path = "/run/systemd/resolve" },
	{ .path = "/run/resolvconf" },
	{ .path = "/run/NetworkManager" },
	{ .path = "/dev/urandom" },
	{ .path = "/dev/random" },
	{ .path = "/dev/null", .use = HARDEN_WRITE },
};

/* Opens the path; what is only read and is not there yet, by the folder in
 * which it may come to be. */
static int
open_path(const struct harden_files *f, bool may_come)
{
	char path[PATH_MAX], *slash;
	int fd = open(f->path, O_PATH | O_CLOEXEC);

	(void)snprintf(path, sizeof path, "%s", f->path);
	while (fd < 0 && errno == ENOENT && may_come &&
	    (slash = strrchr(path, '/')) != NULL && slash != path) {
		*slash = '\0';
		fd = open(path, O_PATH | O_CLOEXEC);
	}
	return fd;
}

static enum err
allow(int set, const struct harden_files *f, uint64_t change, bool may_come)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = READ };
	struct stat st;
	enum err e = ERR_OK;

	if (f->path[0] == '\0')
		return ERR_OK;
	if (f->make && (e = file_mkdirs(f->path)) != ERR_OK)
		return e;
	rule.parent_fd = open_path(f, may_come && f->use == HARDEN_READ);
	if (rule.parent_fd < 0)
		return ERR_OK; /* who needs it says so when it is opened */
	if (f->use == HARDEN_WRITE)
		rule.allowed_access |= change;
	if (fstat(rule.parent_fd, &st) != 0)
		e = ERR_IO;
	else if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= OF_FILES;
	if (e == ERR_OK &&
	    syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH,
		&rule, 0) != 0)
		e = ERR_IO;
	(void)close(rule.parent_fd);
	return e;
}

enum err
harden_restrict_files(unsigned *abi, const struct harden_options *o)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t change = CHANGE;
	enum err e = ERR_OK;
	int set;

	*abi = 0;
	if (v <= 0)
		return ERR_OK;
	if (v >= ABI_TRUNCATE)
		change |= LANDLOCK_ACCESS_FS_TRUNCATE_BIT;
	/* Moving between folders (REFER) is refused without being asked for. */
	set = (int)syscall(SYS_landlock_create_ruleset,
	    &(struct landlock_ruleset_attr){
		.handled_access_fs = READ | change | NEVER },
	    sizeof(uint64_t), 0);
	if (set < 0)
		return ERR_IO;
	for (size_t i = 0; e == ERR_OK && i < sizeof common / sizeof common[0];
	     i++)
		e = allow(set, &common[i], change, false);
	for (unsigned i = 0; e == ERR_OK && i < o->n_files; i++)
		e = allow(set, &o->files[i], change, true);
	if (e == ERR_OK && syscall(SYS_landlock_restrict_self, set, 0) != 0)
		e = ERR_IO;
	if (e == ERR_OK)
		*abi = (unsigned)v;
	(void)close(set);
	return e;
}
