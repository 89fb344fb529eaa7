/* history: what clients saw of counters, and whether it can be true.
 *
 * A history is text, one line an attempt, in any order:
 *
 *   op CLIENT NODE get|inc COUNTER OPERATION EXPECTED INVOKE RETURN
 *      ok|mismatch|no|unknown VALUE GENERATION INDEX
 *
 * (one line, single spaces; "-" where there is nothing; "#" begins a
 * comment).  Times are nanoseconds of one monotonic clock.  OPERATION is 32
 * hex digits, the same for attempts at one increment.
 *
 *   ok        get: VALUE is its value; inc: it moved to VALUE
 *   mismatch  inc: VALUE was its value, not EXPECTED; nothing was done
 *   no        refused; nothing was or will be done
 *   unknown   no answer, or one that does not say: an inc may have its effect
 *             at any time after INVOKE, or never
 *
 * Every counter begins at 0. */
#ifndef TESTS_LIB_HISTORY_H
#define TESTS_LIB_HISTORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/err.h"

#define HISTORY_NAME_MAX 65
#define HISTORY_WHY_MAX 400
#define HISTORY_OPERATION 16

enum history_kind { HISTORY_GET, HISTORY_INC };
enum history_outcome {
	HISTORY_OK,
	HISTORY_MISMATCH,
	HISTORY_NO,
	HISTORY_UNKNOWN,
};

struct history_op {
	unsigned client, node;
	enum history_kind kind;
	char counter[HISTORY_NAME_MAX];
	uint8_t operation[HISTORY_OPERATION]; /* inc */
	uint64_t expected; /* inc */
	uint64_t invoke_ns, return_ns;
	enum history_outcome outcome;
	uint64_t value, generation, index; /* ok, mismatch */
};

struct history {
	struct history_op *op; /* owns */
	size_t n, cap;
};

enum err history_add(struct history *h, const struct history_op *op);
void history_fini(struct history *h);

/* history_write prints one line. */
void history_write(FILE *to, const struct history_op *op);
/* history_read appends what `in` holds.  ERR_MALFORMED: `why` names the
 * line. */
enum err history_read(
    struct history *h, FILE *in, char why[static HISTORY_WHY_MAX]);

/* history_check: ERR_OK if the history is linearizable, and if (generation,
 * index) orders the answers; ERR_CORRUPT if not: `why`. */
enum err history_check(
    const struct history *h, char why[static HISTORY_WHY_MAX]);

#endif
