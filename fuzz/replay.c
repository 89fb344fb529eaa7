/* replay: runs a fuzz target over the files of a corpus without libFuzzer,
 * so that every finding stays a test.  Prints TAP. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"

#define INPUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
replay(const char *path)
{
	struct buf b = { 0 };

	if (file_read(&b, path, INPUT_MAX) != ERR_OK) {
		(void)printf("not ok - %s: cannot be read\n", path);
	} else {
		/* A crash ends the program: the runner sees its status. */
		(void)LLVMFuzzerTestOneInput(b.p, b.len);
		(void)printf("ok - %s\n", path);
	}
	buf_fini(&b);
}

int
main(int argc, char **argv)
{
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
	const struct dirent *e;
	char path[1024];

	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	/* The empty input is in every corpus. */
	(void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	(void)printf("ok - empty input\n");
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		if (file_join(path, sizeof path, argv[1], e->d_name) == ERR_OK)
			replay(path);
	}
	if (d != NULL)
		(void)closedir(d);
	return 0;
}
