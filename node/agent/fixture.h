/* fixture: the agent without a CVM, from a folder of files.
 *
 * dstack-compat.md 6.  `phala simulator` keeps the keys, the quote and the
 * event log of one app in a folder, so that code can be tried anywhere.  Such
 * a folder is served here, on the same sockets and with the same answers:
 * keys are derived from its app key and its published signature is replayed;
 * a quote is the stored one with other report data (its signature is then
 * wrong); certificates are signed by the root CA's key, which is in the
 * folder; events go nowhere in the older kind of folder, and are refused in
 * the newer one.
 *
 *   app-compose.json   the app; its hash need not be the one in the log
 *   appkeys.json       dstack-compat.md 2.5, of a provider {"None": ...}
 *   sys-config.json    its vm_config
 *   quote.hex, eventlog.json    up to 0.5.5; or
 *   attestation.bin             from 0.5.6 on
 *
 * Nothing of it is secret or attested, and everything that shows it says
 * `simulated`.  dstack.toml, which names files and sockets, is not read. */
#ifndef NODE_AGENT_FIXTURE_H
#define NODE_AGENT_FIXTURE_H

#include "node/agent/backend.h"

struct fixture; /* opaque */

/* fixture_load reads the folder.  ERR_CONFIG: `why` names the file and what
 * is wrong with it.  The caller owns `*out`. */
enum err fixture_load(
    struct fixture **out, const char *dir, struct refusal *why);
void fixture_free(struct fixture *f); /* wipes; NULL is fine */

/* fixture_backend borrows the fixture for the life of the result. */
struct agent_backend fixture_backend(struct fixture *f);

/* fixture_root is the address of the root that the chain of signatures ends
 * in; the published folder of 0.5.3 has 0x8f2c...e7C5. */
void fixture_root(uint8_t address[static 20], const struct fixture *f);

/* ---- the parts, for tests ---- */

/* What appkeys.json says.  Holds secrets: wipe it. */
struct fixture_keys {
	struct k256_secret k256;
	struct k256_sig65 k256_signature;
	struct p256_secret ca; /* of the root CA */
	struct buf ca_der; /* owns: its certificate */
};
enum err fixture_keys_parse(
    struct fixture_keys *out, struct bytes json, struct refusal *why);
void fixture_keys_wipe(struct fixture_keys *k);

/* The file members of the folder, as they are. */
struct fixture_files {
	struct buf app_compose, app_keys, sys_config; /* own, as all */
	struct buf quote_hex, event_log; /* either these, */
	struct buf attestation; /* or this */
};
/* fixture_make does the same as fixture_load from files in memory. */
enum err fixture_make(
    struct fixture **out, const struct fixture_files *in, struct refusal *why);

#endif
