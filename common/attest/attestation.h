/* attestation: dstack's VersionedAttestation, version 0, for TDX; the reader
 * takes version 1 (attestation_v1.h) as well.
 *
 * What `Attest` answers and what certificates carry (extension .8).  The
 * bytes are SCALE (dstack-compat.md 3.8); lengths and counts are its compact
 * integers, shortest form, other integers little-endian:
 *
 *   u8 0 version | u8 0 TDX
 *   quote          length, bytes
 *   event log      count, each: u32 imr | u32 type | digest | name | payload
 *   runtime events count, each: name | payload    (RTMR3's, once more)
 *   report data    64 bytes
 *   config         length, text (vm_config)
 *
 * The stripped form is for certificates: its event log has RTMR3's events
 * without digests, and the three "ACPI DATA" events. */
#ifndef COMMON_ATTEST_ATTESTATION_H
#define COMMON_ATTEST_ATTESTATION_H

#include "common/attest/evidence.h"

/* attestation_encode appends the attestation to `out`, which is left alone
 * on failure.  ERR_DENIED: the log does not parse; ERR_UNSUPPORTED: it has
 * V2 events, which version 0 cannot say; ERR_LIMIT; ERR_NOMEM, whatever `why`
 * says. */
enum err attestation_encode(struct buf *out, const struct evidence *ev,
    const uint8_t report_data[static 64], bool stripped, struct refusal *why);

/* attestation_decode recognises exactly one attestation, of version 0 or 1
 * by its first byte; the caller owns `*out`, whose event log is the JSON of eventlog.h.
 * ERR_DENIED with REASON_QUOTE_UNSUPPORTED (another version or platform),
 * REASON_QUOTE_MALFORMED, or REASON_EVENT_LOG.  The runtime events must be
 * those of the event log; nothing is verified beyond that.  ERR_NOMEM, whatever
 * `why` says. */
enum err attestation_decode(struct evidence *out,
    uint8_t report_data[static 64], struct bytes in, struct refusal *why);

#endif
