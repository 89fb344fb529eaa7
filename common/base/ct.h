#ifndef COMMON_BASE_CT_H
#define COMMON_BASE_CT_H

/* CT_PUBLIC(x) states that `x`, computed from secrets, may be branched on.
 * Under `make check-ct` it tells valgrind so; otherwise it is nothing. */
#ifdef CT_CHECK
#include <valgrind/memcheck.h>
#define CT_SECRET(p, n) VALGRIND_MAKE_MEM_UNDEFINED((p), (n))
#define CT_PUBLIC(x) VALGRIND_MAKE_MEM_DEFINED(&(x), sizeof(x))
#else
#define CT_SECRET(p, n) ((void)(p), (void)(n))
#define CT_PUBLIC(x) ((void)(x))
#endif

#endif
