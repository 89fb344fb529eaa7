/* attestation_v1: dstack's VersionedAttestation, version 1, for TDX.
 *
 * What `Attest` of the guest API v1 answers.  The bytes are MessagePack
 * (dstack-compat.md 3.8), maps by name in this order:
 *
 *   {"version": 1,
 *    "platform": {"kind": "tdx", "data": {"quote": [u8, ...],
 *      "event_log": [{"imr", "event_type", "digest": bin, "event",
 *                     "event_payload": bin}, ...]}},
 *    "stack": {"kind": "dstack", "data": {"report_data": [u8, ...] of 64,
 *      "runtime_events": [{"event", "payload": bin}, ...],
 *      "config": text (vm_config)}}}
 *
 * V2 events have a member more, "version": 2.  The reader takes members in any
 * order, a bin where we write an array of integers and the reverse, and any
 * length of head; it refuses members of other names, and kinds that are not
 * these, by their name. */
#ifndef COMMON_ATTEST_ATTESTATION_V1_H
#define COMMON_ATTEST_ATTESTATION_V1_H

#include "common/attest/evidence.h"

/* Does a first byte promise version 1?  It is that of a map of three, or of
 * one with a longer head; version 0 has a 0. */
static inline bool
attestation_is_v1(uint8_t first)
{
	return first == 0x83 || first == 0xde || first == 0xdf;
}

/* attestation_v1_encode appends the attestation to `out`, which is left alone
 * on failure.  ERR_DENIED: the log does not parse; ERR_LIMIT; ERR_NOMEM. */
enum err attestation_v1_encode(struct buf *out, const struct evidence *ev,
    const uint8_t report_data[static 64], struct refusal *why);

/* attestation_v1_decode recognises exactly one attestation of version 1, as
 * attestation_decode (attestation.h, which calls it) does with version 0. */
enum err attestation_v1_decode(struct evidence *out,
    uint8_t report_data[static 64], struct bytes in, struct refusal *why);

#endif
