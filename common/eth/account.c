#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/hex.h"
#include "common/base/secret.h"
#include "common/crypto/keccak.h"
#include "common/eth/account.h"

/* "0x", 64 digits and CR LF fit; one byte more shows what is too long. */
#define FILE_MAX 69u

static enum err
read_private(char *out, size_t *out_len, const char *path)
{
	/* NONBLOCK, so that a pipe in its place cannot hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	enum err e = ERR_OK;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
	if (fstat(fd, &st) != 0) {
		e = ERR_IO;
		goto done;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		e = ERR_DENIED;
		goto done;
	}
	n = read(fd, out, FILE_MAX);
	if (n < 0)
		e = ERR_IO;
	else
		*out_len = (size_t)n;
done:
	(void)close(fd);
	return e;
}

enum err
account_load(struct account *out, const char *path)
{
	char text[FILE_MAX + 1] = { 0 };
	struct account tmp;
	struct k256_pub pub;
	size_t len = 0;
	enum err e;

	if ((e = read_private(text, &len, path)) != ERR_OK)
		goto done;
	/* Too long, or cut by a NUL: both show here. */
	if (len >= FILE_MAX || strlen(text) != len) {
		e = ERR_MALFORMED;
		goto done;
	}
	if (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	if ((e = hex_fixed(tmp.key.b, sizeof tmp.key.b, text)) != ERR_OK ||
	    (e = k256_pubkey(&pub, &tmp.key)) != ERR_OK ||
	    (e = k256_address(tmp.address, &pub)) != ERR_OK)
		goto done;
	*out = tmp;
done:
	secret_wipe(text, sizeof text);
	account_wipe(&tmp);
	return e;
}

void
account_wipe(struct account *a)
{
	secret_wipe(a, sizeof *a);
}

void
account_address_text(
    char out[static ACCOUNT_ADDRESS_TEXT], const uint8_t address[static 20])
{
	uint8_t h[32];

	out[0] = '0';
	out[1] = 'x';
	hex_encode(out + 2, address, 20);
	/* EIP-55: a letter is upper case when its nibble of the hash is 8+. */
	keccak256(h, out + 2, 40);
	for (unsigned i = 0; i < 40; i++) {
		unsigned nibble =
		    (unsigned)h[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15u;

		if (out[2 + i] >= 'a' && nibble >= 8)
			out[2 + i] = (char)(out[2 + i] - 'a' + 'A');
	}
}
