/* gov: who decides about roots, and how a decision gets there.
 *
 * The registry of roots has an authority.  If that is an OperatorCouncil, a
 * decision is a proposal, votes, a notice period and an execution; another
 * contract is told what to call.  Transactions are sent by any account, or
 * printed for a wallet that holds the key (--print-tx). */
#ifndef KMS_CTL_GOV_H
#define KMS_CTL_GOV_H

#include "kms/ctl/contract.h"
#include "kms/ctl/councilabi.h"
#include "kms/gate/registryabi.h"

#define GOV_OPTIONS_READ \
	CONTRACT_OPTIONS_READ, CONTRACT_OPTION_REGISTRY, \
	{ \
		"council", "0xADDR", \
		    "a council (default: the registry's authority)" \
	}
#define GOV_OPTIONS_SEND \
	CONTRACT_OPTIONS_SEND, CONTRACT_OPTION_REGISTRY, \
	    { "council", "0xADDR", \
		    "a council (default: the registry's authority)" }, \
	    { "member", "N", "with --sim: sign as its council's N-th" }, \
	    { "print-tx", NULL, \
		    "send nothing: print it for a wallet; needs no key" }, \
	    { "from", "0xADDR", "with --print-tx: who is going to sign" }, \
	{ \
		"wait-final", NULL, "return once KMS nodes can see it" \
	}

struct gov {
	const struct ctl *c; /* borrows, as the next */
	const struct args *a;
	struct contract k;
	struct registry_state s; /* if k.has_registry */
	uint8_t council[20];
	bool has_council;
	struct council_state cs;
	uint64_t now; /* of the newest block */
	bool print; /* --print-tx */
	uint8_t who[20]; /* signs */
	bool has_who;
};

/* gov_open reads the options and the contracts.  `registry`: there must be
 * one; else a council will do.  On failure it has told the user. */
enum ctl_exit gov_open(struct gov *g, const struct ctl *c, const struct args *a,
    bool send, bool registry);

/* gov_call asks a contract.  ERR_DENIED and `why`. */
enum err gov_call(struct buf *answer, const struct gov *g,
    const uint8_t to[static 20], const struct buf *call, struct refusal *why);

/* gov_send sends `data`, which it takes, and adds transaction and block to
 * `told`; or prints it (g->print): then the caller is done. */
enum ctl_exit gov_send(
    struct gov *g, const uint8_t to[static 20], struct buf *data, json_t *told);

/* gov_decide has the authority call `target` with `data`, which it takes; it
 * takes `told`, too, and answers. */
enum ctl_exit gov_decide(struct gov *g, const uint8_t target[static 20],
    struct buf *data, json_t *told);
/* The same for several calls: always a proposal. */
enum ctl_exit gov_propose(
    struct gov *g, const struct council_call *call, size_t n, json_t *told);

/* gov_checklist reads a proposal; `answer` holds what it borrows. */
enum err gov_checklist(struct council_checklist *out, struct buf *answer,
    const struct gov *g, const uint8_t id[static 32], struct refusal *why);

/* gov_each visits the proposals that were made last, the newest first, until
 * `f` returns false. */
#define GOV_LOOK_BACK 32
enum err gov_each(const struct gov *g,
    bool (*f)(void *cookie, const struct council_checklist *c), void *cookie,
    struct refusal *why);

/* gov_command writes a command line with what leads to the same contracts. */
#define GOV_COMMAND_MAX 1024
void gov_command(char out[static GOV_COMMAND_MAX], const struct gov *g,
    bool send, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* What stands in the way of a vote, a veto, an execution by g->who: empty if
 * nothing does.  One sentence. */
#define GOV_WHY_MAX 512
void gov_may_vote(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c);
void gov_may_veto(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c);
void gov_may_execute(char why[static GOV_WHY_MAX], const struct gov *g,
    const struct council_checklist *c);

/* One proposal as a row for people, and its members: names, calls in words. */
json_t *gov_row(const struct gov *g, const struct council_checklist *c);
json_t *gov_calls(const struct council_checklist *c);
json_t *gov_names(const struct council_names *names);
json_t *gov_hash(const uint8_t h[static 32]);
json_t *gov_address(const uint8_t a[static 20]);

#endif
