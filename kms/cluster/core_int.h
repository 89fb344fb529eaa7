/* core_int: what the core's files share; nobody else includes it.
 *
 *   core.c         events, actions, messages
 *   core_log.c     the log and the ledger behind it
 *   core_join.c    how a node gets in, and what a leader does about members
 *   core_anchor.c  what the chain says: critical entries, recovery, fence
 *   core_rotate.c  what the registry of roots says: the life of an epoch
 *   core_client.c  commands and reads, from here and forwarded
 *   core_round.c   a majority confirms the term
 *   core_view.c    answers without effects
 *   corewire.c     the bytes of its messages */
#ifndef KMS_CLUSTER_CORE_INT_H
#define KMS_CLUSTER_CORE_INT_H

#include "kms/cluster/core.h"
#include "kms/cluster/logcache.h"

#define CORE_PEERS 64 /* incarnations heard of; the oldest makes room */
#define CORE_CHECKPOINTS 24
#define CORE_WAITING_MAX 4096 /* client requests under way, reads and writes */
#define CORE_CHAIN_RETRY_MS 5000 /* a write that did not show is tried again */
#define CORE_NONCE_LEN 16
#define CORE_OWN_TICKET UINT64_MAX /* our own command: nobody is told */

/* ---- messages: "KP" | version u8 = 1 | type u8 | cluster u64 |
 *      generation u64 | to u64 (raft id, 0: anybody) | body ---- */

enum corewire_type {
	WIRE_RAFT = 1, /* an engine's message */
	WIRE_JOIN = 2, /* nonce 16, certified u8, generation, last, last term,
			  n u8, n * (index, hash 32) */
	WIRE_CERTIFICATE = 3, /* nonce 16, match, term, commit */
	WIRE_REFUSED = 4, /* nonce 16, n u8, reason label n */
	WIRE_FORWARD = 5, /* ticket, command */
	WIRE_FORWARDED = 6, /* ticket, kind u8, err u8, n u8, reason label n,
			       value, index */
	WIRE_READ = 7, /* ticket */
	WIRE_READ_AT = 8, /* ticket, ok u8, index */
	WIRE_ROUND = 9, /* number, term */
	WIRE_ROUND_OK = 10, /* number, term */
	WIRE_EVICTED = 11, /* index of the configuration */
	WIRE_LEAVE = 12, /* nothing */
};

struct corewire {
	enum corewire_type type;
	uint64_t cluster, generation, to;
	uint8_t nonce[CORE_NONCE_LEN];
	bool certified; /* JOIN */
	uint64_t disk_generation, last, last_term; /* JOIN */
	unsigned n_points;
	struct {
		uint64_t index;
		uint8_t hash[32];
	} point[CORE_CHECKPOINTS];
	uint64_t match, term, commit; /* CERTIFICATE, ROUND */
	enum reason reason; /* REFUSED, FORWARDED */
	uint64_t ticket, number, index, value;
	enum core_outcome_kind kind; /* FORWARDED */
	enum err err; /* FORWARDED */
	bool ok; /* READ_AT */
	struct bytes body; /* RAFT, FORWARD; borrows */
};
enum err corewire_write(struct buf *out, const struct corewire *m);
enum err corewire_read(struct corewire *out, struct bytes in);

/* ---- the state ---- */

/* One incarnation that was heard of. */
struct core_peer {
	struct member who;
	uint64_t id;
	uint64_t heard_ms; /* any authenticated message */
	bool denied; /* by the contract */
	bool leaves; /* it said so */
	bool offers; /* a JOIN was heard */
	bool certified;
	uint64_t offer_ms;
	uint8_t nonce[CORE_NONCE_LEN];
	uint64_t disk_generation, last, last_term, match;
	bool wants_certificate; /* with the next round */
	enum reason refused;
	uint64_t lag_since; /* leader: far behind since, 0: it is not */
	enum left_why why; /* why it is being removed */
};

/* A client's request, or one that was forwarded to us. */
struct core_request {
	enum { REQUEST_WRITE, REQUEST_READ } kind;
	enum {
		REQUEST_QUEUED, /* waits for a leader, or for the flush */
		REQUEST_SENT, /* the leader has it */
		REQUEST_LOGGED, /* at `index`, of `term` */
		REQUEST_ROUND, /* waits for round `number` */
		REQUEST_APPLY, /* waits until `index` is applied */
	} state;
	uint64_t ticket; /* 0: our own freshness */
	uint64_t from; /* raft id of who forwarded it; 0: local */
	uint64_t deadline_ms, began_ms;
	uint64_t index, term, number;
	uint64_t sent, retry_ms; /* the attempt at the leader; the next one */
	uint64_t asked; /* raft id of that leader: it alone can answer */
	bool again; /* an attempt before this one may have been done */
	struct buf command; /* owns; until it is in the log, or answered */
};

struct core {
	struct core_options o;
	uint64_t id; /* raft's */
	uint64_t now;
	enum core_phase phase;
	enum core_halt halt;
	struct refusal waiting;

	struct engine *engine; /* owns; NULL until the log is certified */
	struct ledger *ledger; /* owns */
	uint64_t generation; /* of the engine's log */
	uint64_t started_ms; /* the engine */
	uint64_t applied_commands, elections;

	/* What the disk offered, until the engine starts. */
	bool has_disk;
	uint64_t disk_generation;
	struct logcache disk; /* owns */
	bool disk_has_snapshot;
	struct engine_snapshot disk_snapshot;
	struct buf disk_snapshot_data; /* owns */
	uint8_t nonce[CORE_NONCE_LEN];
	uint64_t next_join_ms;

	struct core_peer peer[CORE_PEERS];
	unsigned n_peers;

	/* The write that is under way, and what to tell the engine then. */
	uint64_t write_number;
	bool write_open;
	uint64_t write_last;
	bool write_install;
	bool start_wipe, start_meta; /* the first write of an engine's life */
	uint64_t start_truncate;

	/* Leader: */
	uint64_t led_term; /* whose beginning was marked by a barrier */
	uint64_t led_since_ms;
	uint64_t busy_index; /* our own last entry: one at a time */
	bool was_member; /* a committed configuration had us */

	/* Rounds: a quorum says that this term is still the highest. */
	uint64_t round, round_term, round_index, round_began;
	uint64_t round_acks[ENGINE_MEMBERS_MAX];
	unsigned n_round_acks;
	uint64_t rounds_done;
	uint64_t confirmed_ms; /* when the last one that held began */
	bool wants_round;
	uint64_t fresh_asked_ms; /* a follower's own question is under way */

	struct core_request request[CORE_WAITING_MAX];
	unsigned n_requests;
	uint64_t forwarded;

	/* The chain. */
	bool has_view, can_write;
	struct anchor_view view;
	uint64_t anchor_ms;
	uint64_t order_ms; /* when the order, as it is, was first seen */
	int64_t anchor_wall_s;
	uint64_t next_chain_ms;
	uint64_t checkpoint; /* anchor at least this index */
	bool lossy; /* of the order that we follow */

	/* The registry of roots. */
	struct core_rotate {
		bool has_view;
		struct registry_state view;
		struct chain_block block;
		uint64_t read_ms; /* when it came */
		uint64_t asked_ms; /* when it was so */
		int64_t wall_s;
		bool has_kept;
		struct k256_pub kept; /* whose key this node keeps */
		uint64_t next_look_ms, next_held_ms, next_make_ms;
		uint64_t next_write_ms[CORE_REGISTRY_KINDS];
		/* The newest roots: since when none of their holders is
		 * heard. */
		uint64_t of_index, of_term, heard_ms;
		/* Troubles of this order that were told. */
		struct {
			const char *name;
			uint64_t at; /* about which epoch, or hand-over */
		} told[8];
		unsigned n_told;
	} rotate;

	bool draining;
	bool may_not_lead; /* denied, or without a disk: hand it on */
	uint64_t drain_deadline_ms, drain_sent_ms;

	struct core_action *action; /* owns: a queue */
	size_t n_actions, actions_cap, first_action;
	enum err failed;
};

/* core.c */
struct core_action *core_act(struct core *c, enum core_action_kind kind);
void core_tell(struct core *c, bool warn, const char *name, const char *slot,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void core_send(
    struct core *c, const struct member *to, struct corewire *m, bool early);
/* core_who names the incarnation behind a raft id: as its session attested,
 * or, if it was never heard, slot and incarnation by the configuration. */
bool core_who(struct core *c, uint64_t id, struct member *out);
/* core_send_id addresses an incarnation by its raft id; dropped if it is not
 * known. */
void core_send_id(struct core *c, uint64_t id, struct corewire *m, bool early);
void core_halt(struct core *c, enum core_halt why);
void core_set_phase(struct core *c, enum core_phase p);
uint64_t core_id_of(const struct core *c, const struct member *m);
struct core_peer *core_find_peer(struct core *c, uint64_t id);
const struct engine_member *core_config_member(
    const struct core *c, uint64_t id);
bool core_leads(const struct core *c); /* with an entry of its term committed */
/* core_start starts the engine with the disk's log up to `match`, in `term`;
 * `open` makes self the one voter. */
void core_start(struct core *c, uint64_t match, uint64_t generation,
    uint64_t term, bool open);
/* Our own command into the log: busy_index grows. */
void core_log(struct core *c, const struct command *cmd);
void core_check(struct core *c, enum err e); /* remembers what is fatal */
void core_address(char out[static ENGINE_ADDRESS_MAX], const struct member *m);
/* The slot in an address; the caller's buffer of SLOT_MAX. */
void core_address_slot(char out[static SLOT_MAX], const char *address);

/* core_log.c, called by core.c */
void core_log_boot(struct core *c, const struct core_event *e);
void core_log_begin(struct core *c, const struct core_event *e);
void core_log_begin_term(struct core *c);
void core_log_apply(struct core *c);
void core_log_compact(struct core *c);
void core_log_emit(struct core *c);
void core_log_persisted(struct core *c, uint64_t number);

/* core_join.c */
void core_join_tick(struct core *c);
void core_join_message(
    struct core *c, struct core_peer *p, const struct corewire *m);
void core_manage(struct core *c);
unsigned core_voters(const struct engine_config *k);
unsigned core_min_voters(const struct core *c);
const struct anchor_seat *core_seat(const struct core *c, const char *slot);
bool core_seated(const struct core *c, const struct member *who); /* its own */

/* core_view.c */
bool core_must_hand_on(const struct core *c); /* a leader, to another one */

/* core_anchor.c */
void core_anchor_event(struct core *c, const struct core_event *e);
void core_anchor_tick(struct core *c);
bool core_fenced(const struct core *c, uint64_t now_ms);

/* core_rotate.c */
void core_rotate_event(struct core *c, const struct core_event *e);
void core_rotate_made(struct core *c, struct bytes command);
void core_rotate_kept(struct core *c, const struct k256_pub *k);
void core_rotate_tick(struct core *c);
const char *core_rotate_trouble(const struct core *c, uint64_t *at);

/* core_round.c */
void core_round_begin(struct core *c);
void core_round_ask(
    struct core *c, const struct core_peer *p, const struct corewire *m);
void core_round_ok(
    struct core *c, const struct core_peer *p, const struct corewire *m);

/* core_client.c */
void core_client_submit(struct core *c, uint64_t ticket, struct bytes command);
void core_client_read(struct core *c, uint64_t ticket);
void core_client_message(
    struct core *c, struct core_peer *p, const struct corewire *m);
void core_client_applied(struct core *c, uint64_t index, uint64_t term,
    const struct ledger_outcome *out);
void core_client_flush(struct core *c);
void core_client_tick(struct core *c);
void core_client_lost(struct core *c); /* leader or term changed */
void core_rounds(struct core *c);
uint64_t core_client_deadline(const struct core *c);

#endif
