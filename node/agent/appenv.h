/* appenv: an app's encrypted environment, decrypted at boot:
 * dstack-compat.md 2.4.
 *
 * Whoever deploys the app encrypts it to the app's env key (`kmsctl env
 * encrypt`); here it is opened and written where the app is started from.  It
 * is confidential, and nobody's word: anyone who knows the public key, the
 * host first of all, can put another one in its place.  So only names that
 * app-compose.json lists (allowed_envs), which is measured, get through. */
#ifndef NODE_AGENT_APPENV_H
#define NODE_AGENT_APPENV_H

#include "node/agent/release.h"

/* dstack's limits: names and values together are APPENV_TOTAL at most. */
#define APPENV_ITEMS 1024
#define APPENV_NAME 255
#define APPENV_VALUE (128u * 1024)
#define APPENV_TOTAL (1024u * 1024)
/* As JSON, with escapes, and boxed. */
#define APPENV_FILE_MAX (2u * APPENV_TOTAL)
/* The epochs below the app's own whose keys are tried as well. */
#define APPENV_EPOCHS 8

#define APPENV_FILE ".encrypted-env"
#define APPENV_DOTENV ".decrypted-env"
#define APPENV_JSON ".decrypted-env.json"

/* ^[a-zA-Z_][a-zA-Z0-9_]*$, at most APPENV_NAME. */
bool appenv_name_ok(const char *name);

/* A value that every reader of env files can be told: no NUL, and no backslash
 * at its end.  Readers of compose files take the quote behind it for text,
 * single quotes too, and read on in the next line: one value could hide a
 * variable that is not allowed in the next. */
bool appenv_value_ok(const char *value, size_t len);

struct appenv_count {
	size_t kept;
	size_t dropped; /* not in allowed_envs, or no name at all */
};

/* appenv_render reads (plain), {"env":[{"key":K,"value":V},...]}, keeps what
 * allowed_envs of (compose) lists, and makes both forms of it: lines
 * NAME=VALUE, quoted for a compose file's env_file, and one JSON object.  Of
 * a name that comes twice the last value counts.
 * ERR_CONFIG: app-compose is not as it must be; ERR_MALFORMED: (plain) is not,
 * or an allowed value is not appenv_value_ok; ERR_LIMIT.  `why` says what, without a value.  Both
 * outputs are replaced on success: buf_wipe them. */
enum err appenv_render(struct buf *dotenv, struct buf *json,
    struct appenv_count *n, struct bytes plain, struct bytes compose,
    struct refusal *why);

struct appenv_options {
	const char *file; /* the encrypted one */
	bool must_exist; /* else nothing is to be done without it */
	const char *dir; /* where both files go: on a tmpfs */
	struct bytes compose;
	void *cookie;
	/* The release of another epoch, as heldkeys_options.fetch. */
	enum err (*fetch)(void *cookie, struct app_release *out,
	    const uint64_t *epoch, struct refusal *why);
};

/* appenv_install removes what an earlier start has left in `dir`, opens the
 * file with the env key of `own`, or else of an older epoch that the KMS still
 * gives out (the file may be from before the app was moved on), and writes
 * both forms (0600).  ERR_DENIED: no key opens it; others as above, or of
 * `fetch`, which are worth another try. */
enum err appenv_install(const struct appenv_options *o,
    const struct app_release *own, struct refusal *why);

#endif
