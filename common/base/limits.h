/* limits: every bound on what arrives from outside, with its reason. */
#ifndef COMMON_BASE_LIMITS_H
#define COMMON_BASE_LIMITS_H

/* TDX ECDSA quotes are about 5 KiB; trailing zeros of 8 KiB are seen. */
#define LIMIT_QUOTE (16u * 1024)
/* QE authentication data: 32 bytes in every real quote, others are legal. */
#define LIMIT_QE_AUTH 1024u
/* One certificate, DER; Intel's are below 1300 bytes. */
#define LIMIT_CERT 4096u
/* dstack logs of boot and runtime events are 5 to 20 KiB. */
#define LIMIT_EVENT_LOG (128u * 1024)
/* vm_config carries the measurement document, base64, below 8 KiB. */
#define LIMIT_VM_CONFIG (32u * 1024)
/* TCB info of one platform is below 20 KiB, CRLs below 100 KiB. */
#define LIMIT_COLLATERAL (512u * 1024)
/* Providers of collateral: two or three are redundancy enough. */
#define LIMIT_PCCS 4u
/* TCB info lists up to about 20 levels and a handful of TDX modules. */
#define LIMIT_TCB_LEVELS 64u
#define LIMIT_TDX_IDENTITIES 32u
/* A Nitro document: 7.5 KiB with its three free fields at 1024 bytes each
 * and five certificates; the document's own bounds end below this. */
#define LIMIT_NITRO_DOC (16u * 1024)
/* One message of the attested channel, evidence included. */
#define LIMIT_MESSAGE (1024u * 1024)
/* Evidence as one message: its three parts and their protobuf tags. */
#define LIMIT_EVIDENCE (LIMIT_QUOTE + LIMIT_EVENT_LOG + LIMIT_VM_CONFIG + 64u)
/* What one session may leave unread before it is not read from either. */
#define LIMIT_CHANNEL_UNSENT (64u * 1024)
/* One message between KMS nodes: a snapshot of the log's state is below
 * 40 MiB, all else is below one part. */
#define LIMIT_LINK_MESSAGE (48u * 1024 * 1024)
/* What one batch carries, and so the size of a part: a batch with all its
 * heads is below LIMIT_MESSAGE, and takes milliseconds to seal and to move. */
#define LIMIT_LINK_PART (512u * 1024)
/* Messages in one batch: their heads together are 20 KiB. */
#define LIMIT_LINK_BATCH 1024u
/* What waits for one peer, besides one message of several parts: more than a
 * leader writes while a call times out is for a snapshot to repair. */
#define LIMIT_LINK_QUEUE (8u * 1024 * 1024)
#define LIMIT_LINK_QUEUE_ITEMS 4096u
/* Links of others that we answer: every configured peer in four lives. */
#define LIMIT_LINK_SESSIONS 64u
/* A frame before the peer has shown a live Noise handshake. */
#define LIMIT_HANDSHAKE_FRAME 512u
/* An answer of a chain endpoint: 64 KiB of data, hex, and its JSON. */
#define LIMIT_RPC_REPLY (512u * 1024)
/* Data of one eth_call: (bool, string) needs 100 bytes, mostly. */
#define LIMIT_CALL_ANSWER (64u * 1024)
/* kmsInfo() carries a quote and an event log, as large as they get. */
#define LIMIT_KMS_INFO (256u * 1024)
/* Chain endpoints of one view: a 5 of 9 quorum is generous. */
#define LIMIT_CHAIN_ENDPOINTS 9u
/* JSON-RPC requests at once: two for every endpoint. */
#define LIMIT_RPC_PARALLEL (2u * LIMIT_CHAIN_ENDPOINTS)
/* A block header in JSON, with the hashes of its transactions: a block of
 * 60 M gas holds below 3,000 of them, 69 bytes each. */
#define LIMIT_RPC_BLOCK (512u * 1024)
/* A body at the agent's socket; dstack allows 10 MiB, none needs it. */
#define LIMIT_HTTP_BODY (1024u * 1024)
#define LIMIT_APP_COMPOSE (1024u * 1024)
#define LIMIT_CONFIG_FILE (256u * 1024)
/* A contract's reason string that we are ready to show. */
#define LIMIT_REASON_TEXT 200u
/* Path and purpose of GetKey, subject and names of GetTlsKey. */
#define LIMIT_KEY_PATH 4096u
/* Names in one certificate; as many as SignCert carries (msg.c). */
#define LIMIT_ALT_NAMES 32u
/* A message to Sign or Verify; larger data is hashed by the caller. */
#define LIMIT_SIGN_DATA (256u * 1024)
/* One event of an app; the log as a whole has LIMIT_EVENT_LOG. */
#define LIMIT_EVENT_PAYLOAD (16u * 1024)

#endif
