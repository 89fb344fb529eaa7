#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "common/base/file.h"
#include "common/eth/account.h"
#include "tests/lib/tmpdir.h"

#define KEY "4646464646464646464646464646464646464646464646464646464646464646"

static char *dir;
static char path[256];

static void
setup(void)
{
	dir = tmpdir_new();
	cr_assert_eq(file_join(path, sizeof path, dir, "key"), ERR_OK);
}

static void
teardown(void)
{
	tmpdir_remove(dir);
}

static enum err
load(const char *text, size_t len, mode_t mode)
{
	struct account a;
	enum err e;

	cr_assert_eq(file_write(path, text, len, mode), ERR_OK);
	e = account_load(&a, path);
	if (e == ERR_OK)
		account_wipe(&a);
	return e;
}

/* A private file gives the key and its address (EIP-155's example key). */
Test(account, loads, .init = setup, .fini = teardown)
{
	static const char *const good[] = { KEY, "0x" KEY, KEY "\n",
		"0x" KEY "\n" };
	char text[ACCOUNT_ADDRESS_TEXT];
	struct account a;

	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(
		    file_write(path, good[i], strlen(good[i]), 0600), ERR_OK);
		cr_assert_eq(account_load(&a, path), ERR_OK, "%zu", i);
		account_address_text(text, a.address);
		cr_assert_str_eq(
		    text, "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");
		account_wipe(&a);
		cr_assert_eq(a.key.b[0], 0);
	}
}

/* A key that others could read or change is not used. */
Test(account, open_files_are_refused, .init = setup, .fini = teardown)
{
	static const mode_t bad[] = { 0604, 0640, 0602, 0620, 0601, 0644,
		0666 };

	cr_assert_eq(load(KEY, 64, 0400), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(
		    load(KEY, 64, bad[i]), ERR_DENIED, "%o", (unsigned)bad[i]);
}

/* Anything but one valid scalar in hex is refused. */
Test(account, other_content_is_refused, .init = setup, .fini = teardown)
{
	static const char *const bad[] = { "", "\n", "0x", "0x\n", KEY "0",
		KEY "00", KEY "\n\n", " " KEY, KEY " ", KEY "\r\n",
		KEY "                         ",
		"000000000000000000000000000000000000000000000000000000000000"
		"0000",
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd036"
		"4141",
		"g6464646464646464646464646464646464646464646464646464646464"
		"64646" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		cr_assert_eq(load(bad[i], strlen(bad[i]), 0600), ERR_MALFORMED,
		    "%zu", i);
	cr_assert_eq(load(KEY "\0", 65, 0600), ERR_MALFORMED);
}

/* Only a plain file is read. */
Test(account, no_file, .init = setup, .fini = teardown)
{
	char below[300];
	struct account a;

	cr_assert_eq(account_load(&a, path), ERR_NOTFOUND);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(account_load(&a, path), ERR_DENIED);
	cr_assert_neq(account_load(&a, dir), ERR_OK);
	/* One that cannot be looked for is not one that is not there. */
	cr_assert_eq(file_join(below, sizeof below, path, "key"), ERR_OK);
	cr_assert_eq(account_load(&a, below), ERR_IO);
}
