/* account: the key of an Ethereum account, from a file.
 *
 * It pays for transactions of kmsctl; no decision rests on it. */
#ifndef COMMON_ETH_ACCOUNT_H
#define COMMON_ETH_ACCOUNT_H

#include "common/crypto/k256.h"

struct account {
	struct k256_secret key; /* account_wipe */
	uint8_t address[20];
};

/* account_load reads a file of 64 hex digits (0x and one newline allowed).
 * ERR_NOTFOUND; ERR_DENIED: not a plain file, or anyone but its owner may
 * touch it; ERR_MALFORMED: not such a key; ERR_IO. */
enum err account_load(struct account *out, const char *path);
void account_wipe(struct account *a);

/* account_address_text writes "0x" and hex with the mixed-case check sum
 * of EIP-55. */
#define ACCOUNT_ADDRESS_TEXT 43
void account_address_text(
    char out[static ACCOUNT_ADDRESS_TEXT], const uint8_t address[static 20]);

#endif
