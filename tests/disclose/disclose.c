/* disclose: lets a test know the secrets that it will look for.
 *
 * Linked with --wrap into a kmsd of the tests alone (kmsd-disclose): every
 * root, wrapping key and app key that this process makes is appended, in hex, to the file
 * that KMS_DISCLOSE_FILE names; and, if KMS_DISCLOSE_CHANNEL_FILE names one,
 * the traffic keys of every session to that.  The real programs have no such
 * hook.
 *
 * With KMS_DISCLOSE_MEMORY=1, for a test that searches memory: also the keys
 * of sessions, of the store and of the anchor; the process may be dumped, in
 * the folder of that file; and it keeps a secret where none should be
 * ("planted"), so that a search can be seen to find one.  Nothing here leaves
 * a copy behind itself. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "kms/keys/wrap.h"
#include "node/channel/noise.h"
#include "node/harden/harden.h"
#include "node/store/seal.h"

enum err __real_epoch_roots_generate(struct epoch_roots **out, uint64_t number);
enum err __wrap_epoch_roots_generate(struct epoch_roots **out, uint64_t number);
enum err __real_keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id);
enum err __wrap_keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id);
void __real_wrap_key_generate(struct wrap_key *out);
void __wrap_wrap_key_generate(struct wrap_key *out);
enum err __real_keys_anchor(struct k256_secret *out, struct epoch_roots *r);
enum err __wrap_keys_anchor(struct k256_secret *out, struct epoch_roots *r);
void __real_noise_init(struct noise *ns, enum noise_side side,
    const uint8_t s[static 32], const uint8_t s_pub[static 32],
    const uint8_t e[static 32], struct bytes prologue);
void __wrap_noise_init(struct noise *ns, enum noise_side side,
    const uint8_t s[static 32], const uint8_t s_pub[static 32],
    const uint8_t e[static 32], struct bytes prologue);
void __real_noise_split(
    struct noise *ns, struct noise_cipher *send, struct noise_cipher *recv);
void __wrap_noise_split(
    struct noise *ns, struct noise_cipher *send, struct noise_cipher *recv);
enum err __real_seal_init(struct seal *s, const uint8_t key[static 32],
    const uint8_t cluster[static 32], const char *slot);
enum err __wrap_seal_init(struct seal *s, const uint8_t key[static 32],
    const uint8_t cluster[static 32], const char *slot);
enum err __real_secret_process_init(void);
enum err __wrap_secret_process_init(void);
enum err __real_harden_process(
    const struct harden_options *o, char why[static HARDEN_WHY_MAX]);
enum err __wrap_harden_process(
    const struct harden_options *o, char why[static HARDEN_WHY_MAX]);
int __real_setrlimit(__rlimit_resource_t what, const struct rlimit *r);
int __wrap_setrlimit(__rlimit_resource_t what, const struct rlimit *r);
int __real_prctl(int what, unsigned long a, unsigned long b, unsigned long c,
    unsigned long d);
int __wrap_prctl(int what, unsigned long a, unsigned long b, unsigned long c,
    unsigned long d);

static bool
memory(void)
{
	const char *v = getenv("KMS_DISCLOSE_MEMORY");

	return v != NULL && strcmp(v, "1") == 0;
}

static void
disclose_to(const char *path, const char *name, const uint8_t key[static 32])
{
	int fd = path != NULL
	    ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)
	    : -1;
	char line[100];
	int n = snprintf(line, sizeof line, "%s ", name);

	hex_encode(line + n, key, 32);
	line[n + 64] = '\n';
	if (fd < 0 || write(fd, line, (size_t)n + 65) != n + 65)
		abort();
	(void)close(fd);
	secret_wipe(line, sizeof line);
	secret_wipe_stack();
}

static void
disclose(const char *name, const uint8_t key[static 32])
{
	disclose_to(getenv("KMS_DISCLOSE_FILE"), name, key);
}

enum err
__wrap_epoch_roots_generate(struct epoch_roots **out, uint64_t number)
{
	uint8_t k256[32], ca[32];
	enum err e = __real_epoch_roots_generate(out, number);

	if (e == ERR_OK) {
		epoch_roots_export(*out, k256, ca);
		disclose("root_k256", k256);
		disclose("root_ca", ca);
		secret_wipe(k256, sizeof k256);
		secret_wipe(ca, sizeof ca);
	}
	return e;
}

enum err
__wrap_keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id)
{
	enum err e = __real_keys_app(out, r, app_id, instance_id);

	if (e == ERR_OK) {
		disclose("app_k256", out->k256.b);
		disclose("app_disk", out->disk_crypt_key);
		disclose("app_env", out->env_crypt_key);
		if (out->has_replica)
			disclose("app_replica", out->replica.b);
	}
	return e;
}

void
__wrap_wrap_key_generate(struct wrap_key *out)
{
	__real_wrap_key_generate(out);
	disclose("wrap_key", out->b);
}

/* ---- for a search of memory ---- */

enum err
__wrap_keys_anchor(struct k256_secret *out, struct epoch_roots *r)
{
	enum err e = __real_keys_anchor(out, r);

	if (e == ERR_OK && memory())
		disclose("anchor", out->b);
	return e;
}

void
__wrap_noise_init(struct noise *ns, enum noise_side side,
    const uint8_t s[static 32], const uint8_t s_pub[static 32],
    const uint8_t e[static 32], struct bytes prologue)
{
	if (memory()) {
		disclose("channel_static", s);
		disclose("channel_ephemeral", e);
	}
	__real_noise_init(ns, side, s, s_pub, e, prologue);
}

void
__wrap_noise_split(
    struct noise *ns, struct noise_cipher *send, struct noise_cipher *recv)
{
	/* For `kmsctl wire dump --keys`, not for what searches for keys. */
	const char *path = getenv("KMS_DISCLOSE_CHANNEL_FILE");

	__real_noise_split(ns, send, recv);
	if (path != NULL) {
		disclose_to(path, "channel_key", send->k);
		disclose_to(path, "channel_key", recv->k);
	}
	if (memory()) {
		disclose("channel_send", send->k);
		disclose("channel_recv", recv->k);
	}
}

enum err
__wrap_seal_init(struct seal *s, const uint8_t key[static 32],
    const uint8_t cluster[static 32], const char *slot)
{
	if (memory())
		disclose("seal_key", key);
	return __real_seal_init(s, key, cluster, slot);
}

/* On the heap, for as long as the process lives. */
static uint8_t *planted;

/* All of the real one but what forbids a core: a limit that is down cannot be
 * raised again without privileges. */
static enum err
may_be_dumped(void)
{
	struct rlimit core;
	char path[PATH_MAX];

	if (sodium_init() < 0 || getrlimit(RLIMIT_CORE, &core) != 0)
		return ERR_IO;
	(void)umask(077);
	core.rlim_cur = core.rlim_max;
	(void)snprintf(path, sizeof path, "%s", getenv("KMS_DISCLOSE_FILE"));
	if (__real_setrlimit(RLIMIT_CORE, &core) != 0 ||
	    chdir(dirname(path)) != 0 || (planted = malloc(32)) == NULL)
		return ERR_IO;
	secret_random(planted, 32);
	disclose("planted", planted);
	return ERR_OK;
}

enum err
__wrap_secret_process_init(void)
{
	return memory() ? may_be_dumped() : __real_secret_process_init();
}

/* The steps of node/harden that would forbid a core. */
int
__wrap_setrlimit(__rlimit_resource_t what, const struct rlimit *r)
{
	return what == RLIMIT_CORE && memory() ? 0 : __real_setrlimit(what, r);
}

int
__wrap_prctl(int what, unsigned long a, unsigned long b, unsigned long c,
    unsigned long d)
{
	return what == PR_SET_DUMPABLE && memory()
	    ? __real_prctl(what, 1, b, c, d)
	    : __real_prctl(what, a, b, c, d);
}

/* ---- for all ---- */

static void
let_write(
    struct harden_options *o, char path[static PATH_MAX], const char *file)
{
	if (file == NULL)
		return;
	(void)snprintf(path, PATH_MAX, "%s", file);
	o->files[o->n_files++] =
	    (struct harden_files){ dirname(path), HARDEN_WRITE, false };
}

/* What it names may be written besides what a real one may write. */
enum err
__wrap_harden_process(
    const struct harden_options *o, char why[static HARDEN_WHY_MAX])
{
	static char path[2][PATH_MAX];
	struct harden_options more = *o;

	let_write(&more, path[0], getenv("KMS_DISCLOSE_FILE"));
	let_write(&more, path[1], getenv("KMS_DISCLOSE_CHANNEL_FILE"));
	return __real_harden_process(&more, why);
}
