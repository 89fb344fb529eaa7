/* shake: two sessions that have shaken hands, for targets that begin behind
 * the handshake.  It is done once per kind; each pair is a copy of that. */
#ifndef FUZZ_SHAKE_H
#define FUZZ_SHAKE_H

#include "node/channel/session_int.h"

#define SHAKE_DIALLER 0
#define SHAKE_ANSWERER 1

/* Bytes that look random, but are the same in every run of the program: a
 * counter, hashed.  shake_restart begins it anew; call it for each input. */
void shake_random(void *out, size_t len);
void shake_restart(void);

/* shake_options are those of a session of `role` (with `chain` as its chain
 * id) that are valid until the next call; each side has one static key. */
struct session_options shake_options(enum channel_role role, uint64_t chain);
const uint8_t *shake_static_public(int side);

/* shake_new makes a pair at time 0: after Noise, when the dialler is to prove
 * and nothing is sealed yet; or open, after one frame each way.  The caller
 * owns both (session_free). */
void shake_new(
    struct session *pair[static 2], enum channel_role dialler, bool open);

/* Moves what `from` holds to `s`, up to the next event; ERR_OK and one event
 * at most, or the program ends. */
void shake_deliver(struct session *s, struct session_event *ev, struct buf *out,
    struct buf *from);

#endif
