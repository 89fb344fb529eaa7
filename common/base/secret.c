#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <sodium.h>

#include "common/base/secret.h"

void *
secret_new(size_t len)
{
	void *p = sodium_malloc(len);

	if (p != NULL)
		memset(p, 0, len);
	return p;
}

void
secret_free(void *p)
{
	sodium_free(p);
}

/* A failing mprotect on our own pages is a bug, not an input. */
static void
must(int rc)
{
	if (rc != 0)
		sodium_misuse();
}

void
secret_lock(void *p)
{
	must(sodium_mprotect_noaccess(p));
}

void
secret_open_ro(void *p)
{
	must(sodium_mprotect_readonly(p));
}

void
secret_open_rw(void *p)
{
	must(sodium_mprotect_readwrite(p));
}

void
secret_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}

bool
secret_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

void
secret_random(void *out, size_t len)
{
	randombytes_buf(out, len);
}

enum err
secret_process_init(void)
{
	const struct rlimit none = { 0, 0 };

	if (sodium_init() < 0)
		return ERR_IO;
	(void)umask(077);
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return ERR_IO;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_IO;
	return ERR_OK;
}
