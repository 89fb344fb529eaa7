#ifndef COMMON_BASE_CT_H
#define COMMON_BASE_CT_H

/* CT_PUBLIC(x) states that `x`, computed from secrets, may be branched on.
 * Under `make check-ctime` (tests/ctime) it tells valgrind so; otherwise it is nothing. */
#ifdef CT_CHECK
#include <valgrind/memcheck.h>
#define CT_PUBLIC(x) VALGRIND_MAKE_MEM_DEFINED(&(x), sizeof(x))
#define CT_PUBLIC_BYTES(p, n) VALGRIND_MAKE_MEM_DEFINED((p), (n))
#else
#define CT_PUBLIC(x) ((void)(x))
#define CT_PUBLIC_BYTES(p, n) ((void)(p), (void)(n))
#endif

#endif
