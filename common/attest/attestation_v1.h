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
 * V2 events have a member more, "version": 2. */
#ifndef COMMON_ATTEST_ATTESTATION_V1_H
#define COMMON_ATTEST_ATTESTATION_V1_H

#include "common/attest/evidence.h"

/* attestation_v1_encode appends the attestation to `out`, which is left alone
 * on failure.  ERR_DENIED: the log does not parse; ERR_LIMIT. */
enum err attestation_v1_encode(struct buf *out, const struct evidence *ev,
    const uint8_t report_data[static 64], struct refusal *why);

#endif
