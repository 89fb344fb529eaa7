/* err: the one error type of the house.
 *
 * Codes are few and named by what the caller does next.  The cause of a
 * refusal (which measurement, which signature) is a `struct refusal`
 * (reason.h), not an error code. */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

/* Ignoring a returned error is a compile-time warning, everywhere, at once. */
#define MUST_CHECK [[nodiscard]]

#define ERR_LIST(X) \
	X(OK, "success") \
	X(MALFORMED, "input does not parse") /* drop the sender */ \
	X(AUTH, "input does not authenticate") /* drop the sender */ \
	X(DENIED, "refused") /* the refusal says why */ \
	X(AGAIN, "not now, try again or elsewhere") \
	X(NOTFOUND, "no such thing") \
	X(EXISTS, "exists already") \
	X(LIMIT, "over a limit") \
	X(TIMEOUT, "timed out") \
	X(PHASE, "not possible in this phase") \
	X(UNSUPPORTED, "not supported here") \
	X(CONFIG, "bad configuration") /* tell the operator */ \
	X(IO, "input/output error") \
	X(CORRUPT, "stored data is damaged") /* stop */ \
	X(NOMEM, "out of memory")

enum MUST_CHECK err {
#define X(name, text) ERR_##name,
	ERR_LIST(X)
#undef X
};

/* err_text returns a static string that describes `e`. */
const char *err_text(enum err e);

#endif
