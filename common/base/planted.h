/* planted: bugs put in on purpose, to see that the fuzzers find them.
 *
 * `make fuzz-proof` compiles one file with -DPLANT=n, links it into the target
 * that should notice, and fuzzes that; fuzz/proof.sh says what bug n is.  In
 * every other build PLANTED is 0 and the compiler drops what depends on it.
 * A program that is meant to run cannot have one: PLANT without the address
 * sanitizer does not compile, and the lint allows it in the proof alone. */
#ifndef COMMON_BASE_PLANTED_H
#define COMMON_BASE_PLANTED_H

#ifndef PLANT
#define PLANTED(n) 0
#elif defined(__has_feature)
#if !__has_feature(address_sanitizer)
#error "PLANT is for make fuzz-proof alone"
#endif
#define PLANTED(n) (PLANT == (n))
#else
#error "PLANT is for make fuzz-proof alone"
#endif

#endif
