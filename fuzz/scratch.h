/* scratch: a new folder, in memory if there is such a place: every input is a
 * file there.  Who asks removes it. */
#ifndef FUZZ_SCRATCH_H
#define FUZZ_SCRATCH_H

#define SCRATCH_MAX 64

void scratch_dir(char out[static SCRATCH_MAX], const char *name);

#endif
