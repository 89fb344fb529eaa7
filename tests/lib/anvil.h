/* anvil: a development chain in a process of its own, for one test.
 *
 * Foundry's anvil is there after `npm install` in contracts/; tests that
 * need it are skipped otherwise.  Chain id 31337, every transaction is
 * mined at once; `finalized` is two blocks behind the latest. */
#ifndef TESTS_LIB_ANVIL_H
#define TESTS_LIB_ANVIL_H

#include <stdbool.h>
#include <sys/types.h>

#include <jansson.h>

#define ANVIL_CHAIN 31337

struct anvil {
	pid_t pid;
	char url[64];
};

/* anvil_start returns false if the program is not installed; aborts if it
 * does not come up.  The child dies with this process. */
bool anvil_start(struct anvil *a);
/* The same with the rules of another fork: "london", "shanghai", ... */
bool anvil_start_fork(struct anvil *a, const char *rules);
void anvil_stop(struct anvil *a);

/* anvil_rpc sends one request, which must succeed. */
void anvil_rpc(const struct anvil *a, const char *method, const char *params);
/* And returns the answer, which the caller owns. */
json_t *anvil_ask(
    const struct anvil *a, const char *method, const char *params);

#endif
