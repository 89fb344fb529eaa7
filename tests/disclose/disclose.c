/* disclose: lets a test know the secrets that it will look for.
 *
 * Linked with --wrap into a kmsd of the tests alone (kmsd-disclose): every
 * root, wrapping key and app key that this process makes is appended, in hex, to the file
 * that KMS_DISCLOSE_FILE names.  The real programs have no such hook. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/hex.h"
#include "kms/keys/wrap.h"

enum err __real_epoch_roots_generate(struct epoch_roots **out, uint64_t number);
enum err __wrap_epoch_roots_generate(struct epoch_roots **out, uint64_t number);
enum err __real_keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id);
enum err __wrap_keys_app(struct app_keys *out, struct epoch_roots *r,
    const uint8_t app_id[static 20], const uint8_t *instance_id);
void __real_wrap_key_generate(struct wrap_key *out);
void __wrap_wrap_key_generate(struct wrap_key *out);

static void
disclose(const char *name, const uint8_t key[static 32])
{
	const char *path = getenv("KMS_DISCLOSE_FILE");
	FILE *f = path != NULL ? fopen(path, "a") : NULL;
	char hex[65];

	if (f == NULL)
		abort();
	(void)fprintf(f, "%s %s\n", name, hex_encode(hex, key, 32));
	(void)fclose(f);
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
