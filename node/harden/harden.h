/* harden: a process that can do its own work and nothing else.
 *
 * In this order, while there is one thread: limits, descriptors, the user,
 * capabilities, no new privileges, the files that can be named (Landlock),
 * then the system calls (seccomp).  What was opened before stays open.
 * README.md has what each step is for and what it costs. */
#ifndef NODE_HARDEN_HARDEN_H
#define NODE_HARDEN_HARDEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "common/base/yaml.h"

#define HARDEN_NAME_MAX 32 /* of a user or group */
#define HARDEN_WHY_MAX 256
#define HARDEN_FILES_MAX 24

/* ---- configuration: the section `process` of kmsd and cvm-agent ---- */

/* What happens to a system call that is not on the list. */
enum harden_filter {
	HARDEN_ENFORCE, /* the process ends with SIGSYS */
	HARDEN_LOG, /* it is done, and the kernel's log says so */
	HARDEN_OFF, /* there is no filter */
};

struct harden_config {
	char user[HARDEN_NAME_MAX], group[HARDEN_NAME_MAX]; /* "": as started */
	enum harden_filter filter;
};

/* The same as YAML has it; both mains have it in their files' structs. */
struct harden_file {
	char user[HARDEN_NAME_MAX], group[HARDEN_NAME_MAX];
	char seccomp[8];
};
extern const cyaml_schema_field_t harden_fields[];

/* harden_decode.  ERR_CONFIG: `why` says which key, and what it must be. */
enum err harden_decode(struct harden_config *out, const struct harden_file *f,
    char why[static YAML_WHY_MAX]);
const char *harden_filter_text(enum harden_filter f);
/* harden_print appends the effective values, one `process.key: value` a line. */
enum err harden_print(struct buf *b, const struct harden_config *c);

/* ---- the steps ---- */

enum harden_use {
	HARDEN_READ, /* files, and those of the folders below */
	HARDEN_WRITE, /* the same, and to make and remove them */
};

struct harden_files {
	/* "": nothing to allow.  Not there: the folder in which it may come
	 * to be, if it is only read; else nothing. */
	const char *path;
	enum harden_use use;
	bool make; /* a folder that is made if it is not there */
};

struct harden_options {
	const struct harden_config *cfg;
	struct harden_files files[HARDEN_FILES_MAX]; /* what `cfg` names */
	unsigned n_files;
	unsigned keep; /* descriptors from 3 on that systemd has opened */
	unsigned descriptors; /* RLIMIT_NOFILE to ask for; 0: as it is */
};

/* harden_process takes every step but the filter.  One thread must run, and
 * secret_process_init must have been called.  Logs one line of what holds
 * now, and a warning for each thing that the machine could not give.
 * ERR_CONFIG: the user or group cannot be had; ERR_IO: a step failed that
 * must not.  `why` says which; the process must end then. */
enum err harden_process(
    const struct harden_options *o, char why[static HARDEN_WHY_MAX]);

/* Whose system calls. */
enum harden_role {
	HARDEN_WORKER, /* threads, files, sockets; no process */
	HARDEN_KEEPER, /* what a worker may, and to fork, wait and signal */
};

/* harden_filter installs the filter for all threads, now and later, and for
 * what they fork.  It is for ever.  Nothing in sanitizers' builds: they need
 * more calls.  ERR_IO: the kernel has none. */
enum err harden_filter(enum harden_role role, enum harden_filter how);

/* ---- what holds ---- */

struct harden_state {
	enum harden_filter filter; /* as installed */
	bool kernel_filters; /* the kernel says that there is one */
	bool no_new_privs, dumpable, memory_locked;
	uint64_t capabilities; /* effective; 0: none */
	unsigned landlock; /* its ABI; 0: files are not restricted */
	unsigned uid;
};

/* harden_state asks the kernel, so it may be called at any time. */
void harden_state(struct harden_state *out);
/* harden_page is the same for operators; the caller owns the object. */
json_t *harden_page(void);

/* ---- for harden's own files ---- */

/* filter.c: what harden_filter has installed. */
enum harden_filter harden_installed(void);

/* landlock.c: restricts this thread, and what comes of it, to `o` and what
 * every program reads.  `*abi` is 0 if the kernel has no Landlock. */
enum err harden_restrict_files(unsigned *abi, const struct harden_options *o);

#endif
