#include <string.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/dstack.h"
#include "common/crypto/hash.h"

enum err
dstack_kdf(uint8_t out[static 32], const uint8_t ikm[static 32],
    const struct bytes *info, size_t n)
{
	return hkdf_sha256(
	    out, 32, BYTES_STR("RATLS"), (struct bytes){ ikm, 32 }, info, n);
}

enum err
dstack_kdf_p256(struct p256_secret *out, const uint8_t ikm[static 32],
    const struct bytes *info, size_t n)
{
	struct p256_secret tmp;
	enum err e = dstack_kdf(tmp.b, ikm, info, n);

	if (e == ERR_OK && !p256_secret_valid(&tmp))
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		*out = tmp;
	p256_secret_wipe(&tmp);
	return e;
}

enum err
dstack_kdf_dh(uint8_t out[static 32], const uint8_t ikm[static 32],
    const struct bytes *info, size_t n)
{
	struct p256_secret s = { 0 };
	uint8_t der[P256_PKCS8_LEN] = { 0 };
	enum err e = dstack_kdf_p256(&s, ikm, info, n);

	if (e == ERR_OK)
		e = p256_pkcs8(der, &s);
	if (e == ERR_OK)
		sha256(out, der, sizeof der);
	secret_wipe(der, sizeof der);
	p256_secret_wipe(&s);
	return e;
}

/* "dstack-kms-issued:" || app_id || app public key: dstack-compat.md 2.2. */
#define ISSUED(app_id, app) \
	{ \
		BYTES_STR("dstack-kms-issued:"), { app_id, 20 }, \
		    BYTES_OF((app)->b) \
	}

enum err
dstack_sign_app(struct k256_sig65 *out, const struct k256_secret *root,
    const uint8_t app_id[static 20], const struct k256_pub *app)
{
	const struct bytes part[] = ISSUED(app_id, app);

	return k256_sign65(out, root, part, sizeof part / sizeof part[0]);
}

enum err
dstack_recover_app(struct k256_pub *root, const struct k256_sig65 *sig,
    const uint8_t app_id[static 20], const struct k256_pub *app)
{
	const struct bytes part[] = ISSUED(app_id, app);

	return k256_recover65(root, sig, part, sizeof part / sizeof part[0]);
}

/* The parts of purpose ":" hex(pub); `hex` is the caller's room for them. */
static enum err
purpose_parts(struct bytes part[static 3], char hex[static 67],
    const char *purpose, struct bytes pub)
{
	if (pub.len != 32 && pub.len != 33)
		return ERR_MALFORMED;
	hex_encode(hex, pub.p, pub.len);
	part[0] = (struct bytes){ (const uint8_t *)purpose, strlen(purpose) };
	part[1] = BYTES_STR(":");
	part[2] = (struct bytes){ (const uint8_t *)hex, 2 * pub.len };
	return ERR_OK;
}

enum err
dstack_sign_purpose(struct k256_sig65 *out, const struct k256_secret *app,
    const char *purpose, struct bytes pub)
{
	struct bytes part[3];
	char hex[67];
	enum err e = purpose_parts(part, hex, purpose, pub);

	return e != ERR_OK ? e : k256_sign65(out, app, part, 3);
}

enum err
dstack_recover_purpose(struct k256_pub *app, const struct k256_sig65 *sig,
    const char *purpose, struct bytes pub)
{
	struct bytes part[3];
	char hex[67];
	enum err e = purpose_parts(part, hex, purpose, pub);

	return e != ERR_OK ? e : k256_recover65(app, sig, part, 3);
}
