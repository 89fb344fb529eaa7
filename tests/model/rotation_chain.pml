/* rotation_chain: the registry's side of rotation.pml, which includes it: what
 * RootRegistry.sol lets anyone do, time and finality, the authority, a thief. */

/* What anyone may send to the registry. */
#ifdef NO_ORDER_IN_DIGEST
#define FOR_THIS_ORDER(r) true
#else
#define FOR_THIS_ORDER(r) (signed_for[r] == head.order)
#endif
#ifdef NO_ORDERED_CHECK
#define MAY_PUBLISH (head.status != NONE)
#else
#define MAY_PUBLISH (head.status == ORDERED)
#endif
#define CONFIRMED(r) (head.confirmed == 0 || head.confirmed == (r))

inline publish(what)
{
	head.status = PUBLISHED;
	head.root = what;
	head.used = head.used | BIT(what);
	fresh = 1;
	window = 0
}

proctype anyone()
{
	byte r;

end:	do
	:: atomic { MAY_PUBLISH && (signed_ & ~head.used) != 0 ->
		if
		:: HAS(signed_ & ~head.used, 1) && FOR_THIS_ORDER(1) &&
		    CONFIRMED(1) -> r = 1
		:: HAS(signed_ & ~head.used, 2) && FOR_THIS_ORDER(2) &&
		    CONFIRMED(2) -> r = 2
		:: HAS(signed_ & ~head.used, 3) && FOR_THIS_ORDER(3) &&
		    CONFIRMED(3) -> r = 3
		fi;
publishRoot:	publish(r);
		MUST(published_is_known, KNOWS_PUBLISHED);
		r = 0 }
	:: atomic { head.status == PUBLISHED && window &&
#ifndef NO_HOLDERS_AGE
		fresh &&
#endif
#if defined(EMERGENCY) && !defined(NO_SECOND_VOTE)
		head.confirmed == head.root &&
#endif
		1 ->
activate:	head.status = ACTIVE;
		MUST(one_root, ever_active == 0 || ever_active == head.root);
		MUST(stolen_root, head.root != THIEFS);
		MUST(quorum_of_holders, QUORUM(had[head.root]));
		MUST(holder_alive, HAS(lived, head.root));
		ever_active = head.root }
	od
}

/* Blocks become final; time passes. */
proctype chain()
{
end:	do
	:: atomic { head.order != fin.order || head.vetoes != fin.vetoes ||
		head.confirmed != fin.confirmed || head.status != fin.status ||
		head.old != fin.old || head.anchor != fin.anchor ||
		head.root != fin.root ->
final:		fin.order = head.order; fin.vetoes = head.vetoes;
		fin.confirmed = head.confirmed; fin.status = head.status;
		fin.root = head.root; fin.used = head.used;
		fin.old = head.old; fin.anchor = head.anchor }
	:: atomic { reorgs < REORGS && fin.order != 0 &&
		head.status != ACTIVE &&
		(head.status != fin.status || head.anchor != fin.anchor) ->
reorg:		reorgs++;
		head.order = fin.order; head.vetoes = fin.vetoes;
		head.confirmed = fin.confirmed; head.status = fin.status;
		head.root = fin.root; head.used = fin.used;
		head.old = fin.old; head.anchor = fin.anchor }
	:: atomic { head.status == PUBLISHED && !window -> window = 1 }
	:: atomic { expiries < EXPIRIES && (fresh || signed_ != 0) ->
holdersAge:	expiries++;
		fresh = 0;
		signed_ = 0;
		signed_for[1] = 0; signed_for[2] = 0; signed_for[3] = 0;
		lived = (SOMEBODY_HAS(1) -> BIT(1) : 0) |
		    (SOMEBODY_HAS(2) -> BIT(2) : 0) |
		    (SOMEBODY_HAS(3) -> BIT(3) : 0) }
	od
}

inline veto()
{
	head.vetoes++;
	head.confirmed = 0;
	head.status = ORDERED;
	head.root = 0;
	window = 0;
	fresh = 0
}

proctype authority()
{
end:	do
	:: atomic { head.status == NONE && head.order <= WITHDRAWALS ->
orderRotation:	head.order++;
		head.status = ORDERED;
		head.confirmed = 0 }
#if VETOES > 0
	:: atomic { head.status == PUBLISHED && vetoed < VETOES ->
vetoRoot:	vetoed++;
		veto() }
#endif
#if WITHDRAWALS > 0
	:: atomic { (head.status == ORDERED || head.status == PUBLISHED) &&
		withdrawals < WITHDRAWALS ->
withdrawOrder:	withdrawals++;
		head.status = NONE;
		head.root = 0;
		head.confirmed = 0;
		window = 0;
		fresh = 0 }
#endif
#ifdef EMERGENCY
	/* The second vote: for a root of the nodes, by their attestations. */
	:: atomic { (head.status == ORDERED || head.status == PUBLISHED) &&
		anchored >= 1 && head.confirmed != led[anchored].root ->
		if
		:: head.status == PUBLISHED &&
		    head.root != led[anchored].root -> veto()
		:: else
		fi;
confirmRoot:	head.confirmed = led[anchored].root }
#endif
#ifdef OLD_EPOCH_ENDS
	:: atomic { head.status == ACTIVE && head.old == ACTIVE ->
taint:		head.old = TAINTED }
	:: atomic { head.status == ACTIVE && head.old != DESTROYED ->
destroy:	head.old = DESTROYED }
#endif
	od
}

#ifdef THIEF
/* Has the root of epoch 0, and with THIEF_HAS_SIGNER the anchor's signer too.
 * Whatever it signs itself says that all seats hold its root. */
proctype thief()
{
end:	do
	:: atomic { head.status == ORDERED && !HAS(head.used, THIEFS) &&
#if !defined(THIEF_HAS_SIGNER) && !defined(NO_CLUSTER_SIGNATURE)
		false &&
#endif
		CONFIRMED(THIEFS) ->
		publish(THIEFS) }
	od
}
#endif
