/* certmake: certificates with dstack's extensions, before they are signed:
 * dstack-compat.md 4.6.  certext.h reads them.
 *
 * Whoever calls has decided what may be in them: names are not judged here.
 * Text goes in as bytes, never through OpenSSL's configuration syntax. */
#ifndef COMMON_ATTEST_CERTMAKE_H
#define COMMON_ATTEST_CERTMAKE_H

#include <openssl/types.h>

#include "common/attest/bootinfo.h"

#define CERTMAKE_SERIAL 16
/* 1975-01-01: where certificates begin that say nothing else. */
#define CERTMAKE_1975 157766400
/* 9999-12-31T23:59:59Z, RFC 5280 4.1.2.5: no well-defined expiration. */
#define CERTMAKE_NEVER 253402300799

#define CERTMAKE_APP_ID "1.3.6.1.4.1.62397.1.3"
#define CERTMAKE_USAGE "1.3.6.1.4.1.62397.1.4"
#define CERTMAKE_ATTESTATION "1.3.6.1.4.1.62397.1.8"

/* The usage extension (.4) of what an app gets. */
#define CERTMAKE_USAGE_APP "app:custom"

/* What certmake_new needs; borrows all of it. */
struct certmake {
	const uint8_t *serial; /* CERTMAKE_SERIAL bytes; NULL: random ones */
	const char *org; /* "" leaves it out */
	const char *common_name; /* likewise */
	int64_t not_before; /* unix seconds */
	int64_t not_after;
	EVP_PKEY *key; /* whose it is */
	X509 *issuer; /* NULL: self-signed */
	/* Constants, in OpenSSL's syntax. */
	const char *basic_constraints;
	const char *key_usage;
};

/* certmake_new makes all but what follows and the signature.  The serial is
 * made positive and of fixed length.  NULL: no memory, or text that is not
 * UTF-8. */
X509 *certmake_new(const struct certmake *t);

/* The others add one extension, or none where nothing is asked for; false:
 * no memory, or what OpenSSL does not take. */

/* An extension in OpenSSL's configuration syntax, for constants alone; `x` is
 * its own issuer if it signs itself. */
bool certmake_conf(X509 *x, X509 *issuer, int nid, const char *value);
/* Extension `oid`, non-critical; its value is an OCTET STRING around the
 * bytes. */
bool certmake_octets(X509 *x, const char *oid, struct bytes in);
/* .9, "MessagePack array of 9". */
bool certmake_app_info(X509 *x, const struct boot_info *b);
/* DNS names and addresses, which are told apart; critical if the subject is
 * empty (RFC 5280 4.2.1.6). */
bool certmake_alt_names(X509 *x, const char *const *names, size_t n);
bool certmake_ext_key_usage(X509 *x, bool server_auth, bool client_auth);

/* certmake_address reads a numeric address: its 4 or 16 bytes, or 0. */
int certmake_address(uint8_t out[static 16], const char *name);

#endif
