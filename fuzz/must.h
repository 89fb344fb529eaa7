/* must: what a target asserts.  False ends the program by a signal, which
 * every fuzzer takes for a finding. */
#ifndef FUZZ_MUST_H
#define FUZZ_MUST_H

#include <stdbool.h>

static inline void
must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

#endif
