#include <stdio.h>
#include <stdlib.h>

#include "fuzz/must.h"
#include "fuzz/scratch.h"

void
scratch_dir(char out[static SCRATCH_MAX], const char *name)
{
	(void)snprintf(out, SCRATCH_MAX, "/dev/shm/fuzz-%s-XXXXXX", name);
	if (mkdtemp(out) == NULL) {
		(void)snprintf(out, SCRATCH_MAX, "/tmp/fuzz-%s-XXXXXX", name);
		must(mkdtemp(out) != NULL);
	}
}
