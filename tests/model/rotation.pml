/* rotation: from the order of a new root to its use, and the end of an old one.
 *
 * Epoch 0 is in use; epoch 1 is ordered.  Three seats.  The ledger is one list
 * that all see (join.pml is about that); nodes look at it, and at the registry,
 * whenever they like.  README.md has the abstractions and the properties; the
 * transitions have the names of RootRegistry.sol and of the ledger's commands.
 *
 * Roots are numbers: 0 is that of epoch 0, 1 to 3 are made by nodes in this
 * order, 4 is the thief's.  Each is a bit of a mask, as is each seat. */

#define N 3
#define THIEFS 4
#define BIT(i) (1 << (i))
#define HAS(mask, i) (((mask) >> (i)) & 1)
/* More than half of three seats, and two thirds. */
#define QUORUM(mask) (HAS(mask, 0) + HAS(mask, 1) + HAS(mask, 2) >= 2)

/* Budgets of what may go wrong, set by run.sh. */
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef COLD_STARTS
#define COLD_STARTS 0 /* all lives lost, the log cut to its anchor */
#endif
#ifndef REORGS
#define REORGS 0 /* blocks that were not final are gone */
#endif
#ifndef EXPIRIES
#define EXPIRIES 0 /* holdersAge passes */
#endif
#ifndef VETOES
#define VETOES 0
#endif
#ifndef WITHDRAWALS
#define WITHDRAWALS 0
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2 /* EPOCH commands in the ledger */
#endif
#ifndef LEADERS
#define LEADERS 2 /* nodes that make roots: two at once are enough */
#endif
#ifndef ROOTS
#define ROOTS 3 /* that nodes make; up to 3 */
#endif

/* enum Status of the contract. */
#define NONE 0
#define ORDERED 1
#define PUBLISHED 2
#define ACTIVE 3
#define TAINTED 4
#define DESTROYED 5

typedef registry {
	byte order;     /* Order.number */
	byte vetoes;
	byte confirmed; /* EMERGENCY: the root of the second vote, 0: none */
	byte status;    /* of epoch 1 */
	byte root;
	byte used;      /* roots ever published */
	byte old;       /* status of epoch 0 */
	byte anchor;    /* EPOCH commands up to the point of ClusterAnchor */
};
registry head, fin;     /* the newest block; the newest final one */
bit window;             /* vetoWindow has passed */
bit fresh;              /* the evidence of holders is not too old */
byte signed_;           /* roots whose publication is signed: anyone sends it */
byte signed_for[THIEFS]; /* and for which order */

/* The ledger, as all that follow the log will apply it. */
typedef epoch {
	byte root, order, vetoes;
	byte handed;    /* seats: HANDOVER */
	byte held;      /* seats: HELD, by the incarnation that is there now */
};
byte n_epochs;          /* EPOCH commands taken, from 1 on */
epoch led[ATTEMPTS + 1];
byte anchored;          /* ANCHORED: up to this EPOCH */
byte led_old = ACTIVE;  /* EPOCH_STATE of epoch 0 */

typedef node_state {
	bit up;
	byte keys;      /* wrapping keys in RAM; while down: on the disk shown */
	byte old;       /* what it knows of epoch 0 */
	byte new;       /* the root that it uses for epoch 1 */
	byte root;      /* its EPOCH command under way: a root, */
	byte attempt, order, vetoes;
};
node_state node[N];

byte made;
byte crashes, cold_starts, reorgs, expiries, vetoed, withdrawals;

/* For the properties alone. */
byte had[THIEFS + 1];   /* seats that ever had this root */
byte lived;             /* roots that a node had since evidence last aged */
byte ever_active;
bit gone;               /* destroyed in the ledger, and dropped by all */

/* One bit a property, so that pan names what broke. */
bit one_root, quorum_of_holders, holder_alive, published_is_known,
    release_destroyed, stays_destroyed, release_other_root, stolen_root,
    handover_unlogged;
#define MUST(name, cond) \
	if \
	:: (cond) -> skip \
	:: else -> name = 1; assert(!name) \
	fi

#define LIVES(i) (node[i].up)
#define MAJORITY (LIVES(0) + LIVES(1) + LIVES(2) >= 2)
#define DEAD (!LIVES(0) -> 0 : (!LIVES(1) -> 1 : 2))
#define SOMEBODY_HAS(r) \
	((LIVES(0) && HAS(node[0].keys, r)) || \
	    (LIVES(1) && HAS(node[1].keys, r)) || \
	    (LIVES(2) && HAS(node[2].keys, r)))
#define LAST led[n_epochs]
#define IS_EPOCH(k, r) (n_epochs >= (k) && led[k].root == (r))
#define IN_LEDGER(r) (IS_EPOCH(1, r) || IS_EPOCH(ATTEMPTS, r))

#define OF_ORDER(k) (n_epochs >= (k) && led[k].root == head.root && \
	led[k].order == head.order)
#define KNOWS_PUBLISHED \
	(head.status < PUBLISHED || head.root == THIEFS || OF_ORDER(1) || \
	    OF_ORDER(ATTEMPTS))

/* Nobody is left who could hand the last one's wrapping key over. */
#ifdef NO_RETRY
#define LOST 0
#elif defined(RETRY_AT_WILL)
#define LOST (!QUORUM(LAST.held)) /* who is silent may be alive */
#else
#define LOST (!SOMEBODY_HAS(LAST.root))
#endif
/* There is an order, and no root of ours for it.  A root that the thief has
 * published stands in nobody's way: the vote needs one to vote for. */
#ifdef ORDERED_ALONE
#define IS_ORDERED (fin.status == ORDERED)
#else
#define IS_ORDERED \
	(fin.status == ORDERED || \
	    (fin.status == PUBLISHED && !IN_LEDGER(fin.root)))
#endif
#define NEEDS_ROOT \
	(IS_ORDERED && \
	    (n_epochs == 0 || LAST.order != fin.order || \
		LAST.vetoes != fin.vetoes || LOST))

inline gets(who, what)
{
	node[who].keys = node[who].keys | BIT(what);
	had[what] = had[what] | BIT(who);
	lived = lived | BIT(what);
}

/* A new incarnation has the slot: it is another holder, or none. */
inline new_life(who)
{
	for (i : 1 .. n_epochs) {
		led[i].held = led[i].held & ~BIT(who);
		led[i].handed = led[i].handed & ~BIT(who)
	}
}

/* A member is caught up before it uses what its disk has (keystore_adopt). */
inline adopt(who)
{
	keep = 0;
#ifdef JOIN_BELIEVES_DISK
	keep = keep | BIT(0);
#else
	if
	:: led_old != DESTROYED -> keep = BIT(0)
	:: else
	fi;
#endif
	for (i : 1 .. n_epochs) {
		keep = keep | BIT(led[i].root)
	}
	node[who].keys = node[who].keys & keep;
	for (i : 0 .. ROOTS) {
		if
		:: HAS(node[who].keys, i) ->
			had[i] = had[i] | BIT(who);
			lived = lived | BIT(i)
		:: else
		fi
	}
	MUST(stays_destroyed, !(gone && HAS(node[who].keys, 0)));
	node[who].up = 1;
	node[who].old = led_old;
	node[who].new = 0;
	keep = 0; i = 0
}

/* What a host shows of a disk: the newest state, nothing, or an old one. */
inline die(who)
{
	node[who].up = 0;
	node[who].new = 0;
	if
	:: skip
	:: node[who].keys = 0
#ifdef OLD_EPOCH_ENDS
	:: node[who].keys = node[who].keys | BIT(0)
#endif
	fi;
	if
	:: skip /* its entry has reached others, and may be committed */
	:: node[who].root = 0; node[who].attempt = 0;
		node[who].order = 0; node[who].vetoes = 0
	fi
}

#ifdef NO_QUORUM_CHECK
#define ENOUGH(k) true
#else
#define ENOUGH(k) QUORUM(led[k].held)
#endif
#ifdef NO_ANCHOR_WAIT
#define EFFECTIVE(k) (k <= n_epochs)
#else
#define EFFECTIVE(k) (k <= anchored)
#endif
#define MAY_SIGN(n, k) \
	(EFFECTIVE(k) && ENOUGH(k) && led[k].order == fin.order && \
	    HAS(node[n].keys, led[k].root) && !HAS(signed_, led[k].root) && \
	    !HAS(fin.used, led[k].root) && \
	    (fin.confirmed == 0 || fin.confirmed == led[k].root))

proctype member(byte n)
{
	byte i, k, keep;

end:	do
	/* A leader whom a quorum confirmed; two may take turns at it.  The
	 * wrapping key is on its own disk before anybody hears of it. */
	:: atomic { LIVES(n) && n < LEADERS && MAJORITY && NEEDS_ROOT &&
		node[n].root == 0 && made < ROOTS && n_epochs < ATTEMPTS ->
generate:	made++;
		node[n].root = made;
		node[n].attempt = n_epochs + 1;
		node[n].order = fin.order;
		node[n].vetoes = fin.vetoes;
		gets(n, made) }

	/* The hand-over is in the log before the key leaves. */
	:: atomic { LIVES(n) && MAJORITY && n_epochs >= 1 &&
		!HAS(node[n].keys, LAST.root) && !HAS(LAST.handed, n) &&
		SOMEBODY_HAS(LAST.root) ->
HANDOVER:	LAST.handed = LAST.handed | BIT(n) }
#ifdef NO_HANDOVER_LOG
	:: atomic { LIVES(n) && n_epochs >= 1 &&
		!HAS(node[n].keys, LAST.root) && SOMEBODY_HAS(LAST.root) ->
#else
	:: atomic { LIVES(n) && n_epochs >= 1 &&
		!HAS(node[n].keys, LAST.root) && SOMEBODY_HAS(LAST.root) &&
		HAS(LAST.handed, n) ->
#endif
hand_over:	skip;
		MUST(handover_unlogged, HAS(LAST.handed, n));
		gets(n, LAST.root) }

#ifdef OLD_EPOCH_ENDS
	/* Epoch 0 too, for who has joined and has not heard of its end. */
	:: atomic { LIVES(n) && !HAS(node[n].keys, 0) && SOMEBODY_HAS(0) &&
		node[n].old != DESTROYED ->
		MUST(stays_destroyed, !gone);
		gets(n, 0) }
#endif

	:: atomic { LIVES(n) && MAJORITY && n_epochs >= 1 &&
		HAS(node[n].keys, LAST.root) && !HAS(LAST.held, n) ->
HELD:		LAST.held = LAST.held | BIT(n) }

	/* P5.  The anchor moves; at a final block it counts. */
	:: atomic { LIVES(n) && MAJORITY && head.anchor < n_epochs ->
anchor_advance:	head.anchor = n_epochs }
	:: atomic { LIVES(n) && MAJORITY && anchored < fin.anchor &&
		fin.anchor <= n_epochs ->
ANCHORED:	anchored = fin.anchor }

	/* What publishRoot needs: signed by who has the root, for the order
	 * that is there.  From now on it is out of our hands. */
	:: atomic { LIVES(n) && MAJORITY && fin.status == ORDERED &&
		(MAY_SIGN(n, 1) || MAY_SIGN(n, ATTEMPTS)) ->
		k = (MAY_SIGN(n, 1) -> 1 : ATTEMPTS);
sign:		signed_ = signed_ | BIT(led[k].root);
		signed_for[led[k].root] = led[k].order;
		lived = lived | BIT(led[k].root);
		k = 0 }

	/* Evidence of holders is renewed, by one who has the root. */
	:: atomic { LIVES(n) && MAJORITY && fin.status == PUBLISHED &&
		head.status == PUBLISHED && head.root == fin.root && !fresh &&
		HAS(node[n].keys, fin.root) && IN_LEDGER(fin.root) &&
		QUORUM(led[(IS_EPOCH(1, fin.root) -> 1 : ATTEMPTS)].held) ->
attestHolders:	fresh = 1;
		lived = lived | BIT(fin.root) }

	/* The leader says in the log what a final block says; never back. */
	:: atomic { LIVES(n) && MAJORITY && led_old < fin.old ->
EPOCH_STATE:	led_old = fin.old }

	/* Its own look.  The root that the registry names, and no other. */
	:: atomic { LIVES(n) && node[n].old < fin.old -> node[n].old = fin.old }
	:: atomic { LIVES(n) && node[n].old < led_old -> node[n].old = led_old }
#ifdef NODE_TRUSTS_LEDGER
	:: atomic { LIVES(n) && fin.status == ACTIVE && node[n].new == 0 &&
		n_epochs >= 1 ->
		node[n].new = LAST.root }
#else
	:: atomic { LIVES(n) && fin.status == ACTIVE && node[n].new == 0 &&
		IN_LEDGER(fin.root) ->
follow:		node[n].new = fin.root }
#endif

	/* The end of a root: its wrapping key is dropped. */
	:: atomic { LIVES(n) && node[n].old == DESTROYED &&
		HAS(node[n].keys, 0) ->
drop:		node[n].keys = node[n].keys & ~BIT(0);
		if
		:: led_old == DESTROYED && !SOMEBODY_HAS(0) -> gone = 1
		:: else
		fi }
	/* So does a root whose order is over. */
	:: atomic { LIVES(n) && n_epochs >= 1 && LAST.order < fin.order &&
		HAS(node[n].keys, LAST.root) ->
		node[n].keys = node[n].keys & ~BIT(LAST.root) }
	od
}

/* The log commits what was sent to it, also after its sender died; the ledger
 * takes the first EPOCH of an attempt. */
proctype ledger()
{
	byte i;

end:	do
	:: atomic { MAJORITY && (node[0].root != 0 || node[1].root != 0 ||
		node[2].root != 0) ->
		if
		:: node[0].root != 0 -> i = 0
		:: node[1].root != 0 -> i = 1
		:: node[2].root != 0 -> i = 2
		fi;
		if
		:: node[i].attempt == n_epochs + 1 &&
		    n_epochs < ATTEMPTS &&
		    (n_epochs == 0 || node[i].order >= LAST.order) ->
EPOCH:			n_epochs++;
#ifdef DROPS_ATTEMPTS
			led[n_epochs - 1].root = 0;
#endif
			LAST.root = node[i].root;
			LAST.order = node[i].order;
			LAST.vetoes = node[i].vetoes
#ifdef NO_FIRST_EPOCH_WINS
		:: node[i].attempt == n_epochs && n_epochs > 0 ->
			LAST.root = node[i].root;
			LAST.held = 0;
			LAST.handed = 0
#endif
		:: else ->
second_EPOCH:		if
			:: LIVES(i) -> node[i].keys =
				node[i].keys & ~BIT(node[i].root)
			:: else
			fi
		fi;
		MUST(published_is_known, KNOWS_PUBLISHED);
		node[i].root = 0; node[i].attempt = 0;
		node[i].order = 0; node[i].vetoes = 0;
		i = 0 }
	od
}

#include "rotation_chain.pml"

/* The hosts. */
#if CRASHES > 0 || COLD_STARTS > 0
proctype host()
{
	byte i, n, keep;

end:	do
#if CRASHES > 0
	/* A majority stays alive. */
	:: atomic { crashes < CRASHES && LIVES(0) && LIVES(1) && LIVES(2) ->
crash:		crashes++;
		if
		:: n = 0
#if CRASHES > 1
		:: n = 1 /* as good as 0, or 2, if it is the only one */
#endif
		:: n = 2
		fi;
		die(n);
		n = 0 }
	/* JOIN to voter, all of join.pml.  What its last life sent is by then
	 * committed, or never will be. */
	:: atomic { MAJORITY && !(LIVES(0) && LIVES(1) && LIVES(2)) &&
		node[DEAD].root == 0 ->
JOIN:		n = DEAD;
		new_life(n);
		adopt(n);
		n = 0 }
#endif
#if COLD_STARTS > 0
	/* P6, at its worst: nothing is left but what is anchored. */
	:: atomic { cold_starts < COLD_STARTS ->
		cold_starts++;
		if
		:: n_epochs > 0 && fin.anchor < n_epochs ->
cold_start:		LAST.root = 0; LAST.order = 0; LAST.vetoes = 0;
			LAST.handed = 0; LAST.held = 0;
			n_epochs--
		:: else
		fi;
		anchored = (anchored > n_epochs -> n_epochs : anchored);
		head.anchor =
		    (head.anchor > n_epochs -> n_epochs : head.anchor);
		MUST(published_is_known, KNOWS_PUBLISHED);
		for (n : 0 .. N - 1) {
			node[n].root = 0; node[n].attempt = 0;
			node[n].order = 0; node[n].vetoes = 0;
			if
			:: skip
			:: node[n].keys = 0
			fi;
			new_life(n);
			adopt(n)
		}
		n = 0 }
#endif
	od
}
#endif

/* Apps ask for keys of both epochs, of any node, for ever. */
proctype app()
{
	byte n;

end:	do
	:: atomic {
		if
		:: n = 0
		:: n = 1
		:: n = 2
		fi;
		if
		:: LIVES(n) && HAS(node[n].keys, 0) &&
#ifndef RELEASE_IGNORES_STATE
		    node[n].old != DESTROYED &&
#endif
		    1 ->
release:		skip;
			MUST(release_destroyed, node[n].old != DESTROYED)
		:: else
		fi;
		if
		:: LIVES(n) && node[n].new != 0 &&
		    HAS(node[n].keys, node[n].new) ->
release_new:		skip;
			MUST(release_other_root, node[n].new == ever_active)
		:: else
		fi;
		n = 0 }
	od
}

init {
	byte i;

	atomic {
		head.old = ACTIVE; fin.old = ACTIVE;
		for (i : 0 .. N - 1) {
			node[i].up = 1;
			node[i].old = ACTIVE;
			node[i].keys = BIT(0)
		}
#ifdef OLD_EPOCH_ENDS
		/* Epoch 1 is in use: what happened before is the others'. */
		made = 1; n_epochs = 1; anchored = 1;
		led[1].root = 1; led[1].order = 1; led[1].held = 7;
		head.order = 1; head.root = 1; head.status = ACTIVE;
		head.used = BIT(1); head.anchor = 1;
		fin.order = 1; fin.root = 1; fin.status = ACTIVE;
		fin.used = BIT(1); fin.anchor = 1;
		ever_active = 1;
		for (i : 0 .. N - 1) {
			node[i].keys = BIT(0) | BIT(1);
			node[i].new = 1
		}
#endif
		i = 0;
		run member(0); run member(1); run member(2);
		run ledger(); run anyone(); run chain(); run authority();
		run app();
#if CRASHES > 0 || COLD_STARTS > 0
		run host();
#endif
#ifdef THIEF
		run thief()
#endif
	}
}

ltl eventually_active { <> (head.status == ACTIVE) }
