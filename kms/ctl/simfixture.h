/* simfixture: a folder of the incumbent's simulator, with a root of its own.
 *
 * The layout is that of dstack-compat.md 6 up to 0.5.5 (node/agent/fixture.h
 * reads it).  The published folders are not ours to copy, and nobody but
 * their maker can sign for another app; so this one has a fresh root, app and
 * instance, and a quote of a simulated TD that measured them.  The TD's
 * vendor, host and image stay in <dir>/platform. */
#ifndef KMS_CTL_SIMFIXTURE_H
#define KMS_CTL_SIMFIXTURE_H

#include "common/base/reason.h"

/* simfixture_make fills `dir`, which it makes if it is not there.
 * appkeys.json is written last, so that a folder that has it is whole.
 * ERR_EXISTS: it is there already; ERR_IO; ERR_DENIED with the reason. */
enum err simfixture_make(const char *dir, struct refusal *why);

#endif
