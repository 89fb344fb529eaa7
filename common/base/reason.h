/* reason: why something was refused.
 *
 * Each reason has a stable label (metrics, JSON, the wire) and a sentence
 * for people.  The strings of the contract's own reasons are those of the
 * incumbent's contracts, so that an app sees the same words.
 *
 * A refusal's detail is for the local log only; a peer gets code and text. */
#ifndef COMMON_BASE_REASON_H
#define COMMON_BASE_REASON_H

#include "common/base/err.h"

#define REASON_LIST(X) \
	X(NONE, "none", "not refused") \
	/* Quote and collateral (common/attest) */ \
	X(QUOTE_MALFORMED, "quote_malformed", "Quote does not parse") \
	X(QUOTE_UNSUPPORTED, "quote_unsupported", "Quote type not supported") \
	X(QUOTE_SIGNATURE, "quote_signature", "Quote signature is invalid") \
	X(QE_REPORT, "qe_report", "QE report is invalid") \
	X(QE_IDENTITY, "qe_identity", "QE identity does not match") \
	X(PCK_CHAIN, "pck_chain", "PCK certificate chain is invalid") \
	X(VENDOR_CHAIN, "vendor_chain", "Vendor certificate chain is invalid") \
	X(GUEST_POLICY, "guest_policy", "Guest policy is not accepted") \
	X(REVOKED, "revoked", "Platform certificate is revoked") \
	X(COLLATERAL_MISSING, "collateral_missing", \
	    "No collateral for platform") \
	X(COLLATERAL_INVALID, "collateral_invalid", "Collateral is invalid") \
	X(COLLATERAL_EXPIRED, "collateral_expired", \
	    "Collateral is out of date") \
	X(TCB_UNKNOWN, "tcb_unknown", "TCB level not supported") \
	X(TCB_STATUS, "tcb_status", "TCB status is not accepted") \
	X(TDX_MODULE, "tdx_module", "TDX module does not match") \
	X(TD_DEBUG, "td_debug", "Debug mode is enabled") \
	X(TD_ATTRIBUTES, "td_attributes", "TD attributes are not allowed") \
	X(PLATFORM, "platform", "This machine is not allowed") \
	X(SIMULATED, "simulated", "Simulated platforms are not accepted") \
	/* Evidence beyond the quote */ \
	X(REPORT_DATA, "report_data", \
	    "Report data is not bound to this session") \
	X(EVENT_LOG, "event_log", "Event log does not match the quote") \
	X(OS_IMAGE, "os_image", "OS image does not match the quote") \
	X(BOOT_INFO, "boot_info", "Boot information is incomplete") \
	X(EVIDENCE_EXPIRED, "evidence_expired", "Evidence has expired") \
	X(WRONG_ROLE, "wrong_role", "Not allowed in this role") \
	X(REFERENCE, "reference", "Evidence is not what was expected") \
	/* The channel */ \
	X(FRAME, "frame", "Bad frame") \
	X(FRAME_REPLAY, "frame_replay", "Frame replayed or out of order") \
	X(FRAME_TOO_LARGE, "frame_too_large", "Frame too large") \
	X(HANDSHAKE, "handshake", "Handshake failed") \
	X(REQUEST, "request", "Bad request") \
	X(BUSY, "busy", "Too busy") \
	X(RATE, "rate", "Too many requests") \
	X(TIMEOUT, "timeout", "Timed out") \
	/* What the contracts answer */ \
	X(CONTRACT_TCB, "contract_tcb", "TCB status is not up to date") \
	X(CONTRACT_OS_IMAGE, "contract_os_image", "OS image is not allowed") \
	X(CONTRACT_MR, "contract_mr", "Aggregated MR not allowed") \
	X(CONTRACT_KMS_DEVICE, "contract_kms_device", \
	    "KMS is not allowed to boot on this device") \
	X(CONTRACT_APP_UNKNOWN, "contract_app_unknown", "App not registered") \
	X(CONTRACT_APP_ADDRESS, "contract_app_address", \
	    "App not deployed or invalid address") \
	X(CONTRACT_COMPOSE, "contract_compose", "Compose hash not allowed") \
	X(CONTRACT_DEVICE, "contract_device", "Device not allowed") \
	X(CONTRACT_OTHER, "contract_other", "Denied by the app's contract") \
	/* The chain view */ \
	X(CHAIN_UNREACHABLE, "chain_unreachable", "Chain cannot be read") \
	X(CHAIN_DISAGREE, "chain_disagree", "Chain endpoints disagree") \
	X(CHAIN_STALE, "chain_stale", "Chain head is too old") \
	X(CHAIN_BACKWARDS, "chain_backwards", "Chain view went backwards") \
	X(CHAIN_WRONG, "chain_wrong", "Wrong chain") \
	X(CHAIN_ANSWER, "chain_answer", "Chain answer does not parse") \
	X(CHAIN_PROOF, "chain_proof", "Chain state is not proven") \
	X(CHAIN_CODE, "chain_code", "The KMS contract's code is not known") \
	X(CHAIN_LEASE, "chain_lease", \
	    "This node has not checked in on chain lately") \
	/* The key service */ \
	X(NOT_READY, "not_ready", "This node is not ready") \
	X(SELF_DENIED, "self_denied", "This KMS node is not allowed") \
	X(ROOT_MISMATCH, "root_mismatch", "Root is not the one on chain") \
	X(GENESIS_DONE, "genesis_done", "The contract names a root already") \
	X(EPOCH_UNKNOWN, "epoch_unknown", "No such key epoch") \
	X(EPOCH_CLOSED, "epoch_closed", "Key epoch is closed") \
	X(COUNTER_MISMATCH, "counter_mismatch", \
	    "The counter has another value") \
	X(COUNTER_LIMIT, "counter_limit", \
	    "The app has as many counters as it may have") \
	X(SEAT, "seat", "No seat for this node") \
	X(SLOT_ALIVE, "slot_alive", "The slot's holder is alive") \
	X(NO_LEADER, "no_leader", "No leader is known") \
	X(FENCED, "fenced", "The anchor could not be read in time") \
	X(ROLLBACK, "rollback", "The disk is older than the chain says") \
	X(EVICTED, "evicted", "Another life holds this slot") \
	X(NOT_BEST, "not_best", "Another disk has a newer log") \
	X(DISKS, "disks", "Too few disks to recover from") \
	X(NOT_MEMBER, "not_member", "Not a member of the cluster") \
	X(FORKED, "forked", "The log differs from the cluster's") \
	X(UNKNOWN_OUTCOME, "unknown_outcome", "The outcome is not known yet") \
	X(INTERNAL, "internal", "Internal error")

enum reason {
#define X(name, label, text) REASON_##name,
	REASON_LIST(X)
#undef X
	    REASON_COUNT
};

#define REFUSAL_DETAIL_MAX 200

/* A refusal: code for machines and peers, detail for the local log. */
struct refusal {
	enum reason code;
	char detail[REFUSAL_DETAIL_MAX];
};

/* reason_label is snake_case and stable; reason_text is one sentence. */
const char *reason_label(enum reason r);
const char *reason_text(enum reason r);

/* reason_from_label returns the reason of `label`, or REASON_INTERNAL. */
enum reason reason_from_label(const char *label);

/* reason_from_contract maps a contract's reason string to a code;
 * unknown strings become REASON_CONTRACT_OTHER. */
enum reason reason_from_contract(const char *text);

/* refuse fills `*why` (which may be NULL) and returns ERR_DENIED, so that a
 * check reads `return refuse(why, REASON_X, "svn %u < %u", a, b);`.
 * The detail is cut to fit and kept to printable ASCII. */
enum err refuse(struct refusal *why, enum reason code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
