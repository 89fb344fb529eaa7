/* afl: the main() of a fuzz target under AFL++, in its persistent mode.
 *
 * Each input is copied to memory of its exact size, so that the address
 * sanitizer sees a read behind its end.  With files as arguments it runs them
 * once each, without a fuzzer: how a finding is seen again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h> /* read, for the fuzzer's macros */

#include "common/base/file.h"

#define INPUT_MAX (4u << 20)
/* Then a fresh process: what an input leaves behind does not pile up. */
#define INPUTS_A_PROCESS 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* What a target makes once, so that no input is the first: it may have none. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What AFL++'s compiler puts in for these names uses extensions. */
#pragma clang diagnostic ignored "-Wpedantic"
#pragma clang diagnostic ignored "-Wgnu-statement-expression"
#pragma clang diagnostic ignored "-Wconversion"

__AFL_FUZZ_INIT();

static void
run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, data, len);
	(void)LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

int
main(int argc, char **argv)
{
	const uint8_t *data;

	if (LLVMFuzzerInitialize != NULL)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		struct buf b = { 0 };

		if (file_read(&b, argv[i], INPUT_MAX) != ERR_OK) {
			(void)fprintf(stderr, "%s: cannot be read\n", argv[i]);
			return 2;
		}
		/* Above all for a crash: which file it was. */
		(void)fprintf(stderr, "running %s\n", argv[i]);
		run(b.p, b.len);
		buf_fini(&b);
	}
	if (argc > 1)
		return 0;
	run((const uint8_t *)"", 1); /* what libraries do once */
	__AFL_INIT();
	data = __AFL_FUZZ_TESTCASE_BUF;
	while (__AFL_LOOP(INPUTS_A_PROCESS))
		run(data, (size_t)__AFL_FUZZ_TESTCASE_LEN);
	return 0;
}
