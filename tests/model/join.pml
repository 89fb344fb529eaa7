/* join: how a new incarnation becomes a voter (P1 to P3 and P8), over raft.
 *
 * Three slots.  Incarnation i has slot i % 3; 0, 1, 2 are the voters of the
 * beginning, 3 and 4 are later lives of slots 0 and 1, or forks of them: they
 * may boot while 0 and 1 live.  A log is named by its last entry, as a hash
 * chain does it.  README.md has the abstractions and the properties; the
 * transitions have the names of core_join.c, its events, and raft's messages. */

#define SLOTS 3
#define LIVES 5
#ifndef BOOTS
#define BOOTS 1 /* of new lives: 3, then 4 */
#endif
#ifndef TERMS
#define TERMS 2 /* a leader each, at most */
#endif
#ifndef ENTRIES
#define ENTRIES 7 /* in all logs together; up to 14 */
#endif
#ifndef INCREMENTS
#define INCREMENTS 1 /* entries of clients */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef CUTS
#define CUTS 0 /* times that one incarnation changes sides of a split */
#endif
#ifndef RESTORES
#define RESTORES 0 /* only without the protocol: see JOIN_BELIEVES_DISK */
#endif

#define BIT(i) (1 << (i))
#define HAS(mask, i) (((mask) >> (i)) & 1)
#define COUNT(m) (HAS(m, 0) + HAS(m, 1) + HAS(m, 2) + HAS(m, 3) + HAS(m, 4))

/* Phases of core.h, with LEARNING and MEMBER in one: the log tells them. */
#define WAITING 0
#define JOINING 1
#define RUNS 2
#define HALTED 3

typedef entry {
	byte index, term;
	byte voters, learners; /* the configuration from here on */
	short all;             /* the entries of the log that ends here */
};
byte n_entries;
entry log_[ENTRIES + 1];

typedef life {
	byte phase, term, vote; /* vote: incarnation + 1 */
	byte last, commit;      /* entries */
	bit leads;
	bit side;               /* of a split */
	byte offer;             /* the leader that heard its JOIN, + 1 */
};
life inc[LIVES];

byte boots, increments, crashes, cuts, restores;

/* For the properties alone. */
byte top = 1;                 /* the highest entry that anybody committed */
byte leader_of[TERMS + 1];
byte voted_term[LIVES], voted_for[LIVES];

/* One bit a property, so that pan names what broke. */
bit one_leader, one_vote, committed_lost, one_voter_of_slot, live_evicted,
    blind_voter;
#define MUST(name, cond) \
	if \
	:: (cond) -> skip \
	:: else -> name = 1; assert(!name) \
	fi

#define LAST(i) log_[inc[i].last]
#define VOTERS(i) LAST(i).voters
#define LEARNERS(i) LAST(i).learners
#define HOLDS(i, e) HAS(LAST(i).all, e)
#define LEADS(i) (inc[i].phase == RUNS && inc[i].leads)
#define REACHES(a, b) (inc[a].side == inc[b].side)
#define SILENT(i, j) (inc[j].phase != RUNS || !REACHES(i, j))

/* The other life of a slot. */
#define OTHER(i) ((i) >= 3 -> (i) - 3 : (i) + 3)
#define HAS_OTHER(i) ((i) != 2)

#define OF(j, mask, what) ((HAS(mask, j) && (what)) -> 1 : 0)
#define MOST(mask, p0, p1, p2, p3, p4) \
	(2 * (OF(0, mask, p0) + OF(1, mask, p1) + OF(2, mask, p2) + \
	    OF(3, mask, p3) + OF(4, mask, p4)) > COUNT(mask))

#define MOST_HOLD(i) \
	MOST(VOTERS(i), HOLDS(0, inc[i].last), HOLDS(1, inc[i].last), \
	    HOLDS(2, inc[i].last), HOLDS(3, inc[i].last), \
	    HOLDS(4, inc[i].last))

/* P9: "is your term still ours?"  A majority of yes. */
#define SAYS_YES(i, j) \
	(inc[j].phase == RUNS && REACHES(i, j) && inc[j].term == inc[i].term)
#define CONFIRMED(i) \
	(LEADS(i) && MOST(VOTERS(i), SAYS_YES(i, 0), SAYS_YES(i, 1), \
	    SAYS_YES(i, 2), SAYS_YES(i, 3), SAYS_YES(i, 4)))

/* Could a majority of these voters commit now? */
#define HEARS(i, j) (!SILENT(i, j))
#define CAN_COMMIT(i, mask) \
	MOST(mask, HEARS(i, 0), HEARS(i, 1), HEARS(i, 2), HEARS(i, 3), \
	    HEARS(i, 4))

/* A leader that hears of a higher term, or no majority, is none. */
#define HIGHER(i, j) \
	(inc[j].phase == RUNS && REACHES(i, j) && inc[j].term > inc[i].term)
#define STEPS_DOWN(i) (ANY(HIGHER, i) || !CAN_COMMIT(i, VOTERS(i)))

/* Who hears a leader does not stand, nor who would lose (pre-vote).  It saves
 * terms, which are few here; safety must hold without it. */
#define WOULD(i, j) \
	(!SILENT(i, j) && inc[j].term <= inc[i].term && \
	    (LAST(i).term > LAST(j).term || (LAST(i).term == LAST(j).term && \
		LAST(i).index >= LAST(j).index)))
#ifdef LIVENESS
#define STANDS(i) \
	(!LEADS(0) && !LEADS(1) && !LEADS(2) && !LEADS(3) && \
	    MOST(VOTERS(i), WOULD(i, 0), WOULD(i, 1), WOULD(i, 2), \
		WOULD(i, 3), WOULD(i, 4)))
#else
#define STANDS(i) true
#endif

/* One change at a time, after an entry of the own term is committed (I5). */
#ifdef NO_GATE
#define MAY_CHANGE(i) (LEADS(i) && n_entries < ENTRIES)
#else
#define MAY_CHANGE(i) \
	(LEADS(i) && inc[i].commit == inc[i].last && \
	    LAST(i).term == inc[i].term && n_entries < ENTRIES)
#endif

/* What a leader may do about new life j; its slot's holder is OTHER(j). */
#define HELD(i, j) HAS(VOTERS(i) | LEARNERS(i), OTHER(j))
#ifdef NO_EVICT_WAIT
#define EVICTABLE(i, j) (OTHER(j) != (i))
#else
#define EVICTABLE(i, j) (OTHER(j) != (i) && SILENT(i, OTHER(j)))
#endif
#define ADDS(i, j) \
	(MAY_CHANGE(i) && inc[j].phase == RUNS && REACHES(i, j) && \
	    inc[j].offer == (i) + 1 && \
	    !HAS(VOTERS(i) | LEARNERS(i), j) && \
	    (!HELD(i, j) || EVICTABLE(i, j)))
#define REPLACES(i, j) \
	(MAY_CHANGE(i) && HAS(LEARNERS(i), j) && REACHES(i, j) && \
	    inc[j].last == inc[i].last && HELD(i, j) && EVICTABLE(i, j) && \
	    CAN_COMMIT(i, VOTERS(i) & ~BIT(OTHER(j))))
#ifdef PROMOTE_FIRST
#define SLOT_FREE(i, j) true
#else
#define SLOT_FREE(i, j) (!HELD(i, j))
#endif
/* I6: nobody votes with less than what is committed. */
#ifdef PROMOTE_BLIND
#define CAUGHT_UP(i, j) true
#else
#define CAUGHT_UP(i, j) HOLDS(j, inc[i].commit)
#endif
#define PROMOTES(i, j) \
	(MAY_CHANGE(i) && HAS(LEARNERS(i), j) && !SILENT(i, j) && \
	    SLOT_FREE(i, j) && CAUGHT_UP(i, j) && \
	    CAN_COMMIT(i, VOTERS(i) | BIT(j)))
#define EITHER(what, i) (what(i, 3) || what(i, 4))
#define ANY(what, i) \
	(what(i, 0) || what(i, 1) || what(i, 2) || what(i, 3) || what(i, 4))

/* j leads, and has something for i. */
#define APPENDS(i, j) \
	(LEADS(j) && (i) != (j) && REACHES(i, j) && \
	    HAS(VOTERS(j) | LEARNERS(j), i) && \
	    (inc[i].term < inc[j].term || (inc[i].term == inc[j].term && \
		(inc[i].last != inc[j].last || inc[i].commit != inc[j].commit))))
/* j leads, and would hear i; who has knocked there does not mind. */
#define IS_OPEN(i, j) (LEADS(j) && REACHES(i, j) && inc[i].offer != (j) + 1)
/* j has confirmed that it leads, after i knocked there. */
#define CERTIFIES(i, j) (inc[i].offer == (j) + 1 && CONFIRMED(j) && \
    inc[j].commit != 0 && REACHES(i, j))
/* j leads a committed configuration without i. */
#define EVICTS(i, j) (LEADS(j) && REACHES(i, j) && \
    inc[j].commit == inc[j].last && !HAS(VOTERS(j) | LEARNERS(j), i))

#define PICK(what) \
	if \
	:: what(i, 0) -> j = 0 \
	:: what(i, 1) -> j = 1 \
	:: what(i, 2) -> j = 2 \
	:: what(i, 3) -> j = 3 \
	:: what(i, 4) -> j = 4 \
	fi
#define PICK_NEW(what) \
	if \
	:: what(i, 3) -> j = 3 \
	:: what(i, 4) -> j = 4 \
	fi

/* An entry with configuration (v, l). */
inline append()
{
	n_entries++;
	log_[n_entries].voters = v;
	log_[n_entries].learners = l;
	log_[n_entries].index = LAST(i).index + 1;
	log_[n_entries].term = inc[i].term;
	log_[n_entries].all = LAST(i).all | BIT(n_entries);
	inc[i].last = n_entries;
	v = 0; l = 0;
	MUST(one_voter_of_slot, !(HAS(VOTERS(i), 0) && HAS(VOTERS(i), 3)) &&
	    !(HAS(VOTERS(i), 1) && HAS(VOTERS(i), 4)))
}

inline casts(who)
{
#ifndef IGNORE_VOTES
	MUST(one_vote, voted_term[who] != t || voted_for[who] == i + 1);
#endif
	inc[who].term = t;
	inc[who].vote = i + 1;
	inc[who].leads = 0;
	voted_term[who] = t;
	voted_for[who] = i + 1
}

proctype node(byte i)
{
	byte j, t, votes, v, l;

end:	do
	/* ---- raft: one step for what takes two messages ---- */

	:: atomic { inc[i].phase == RUNS && !inc[i].leads &&
		HAS(VOTERS(i), i) && inc[i].term < TERMS && STANDS(i) ->
RequestVote:	t = inc[i].term + 1;
		casts(i);
		votes = BIT(i);
		for (j : 0 .. LIVES - 1) {
			if
			:: j != i && HAS(VOTERS(i), j) &&
			    inc[j].phase == RUNS && REACHES(i, j) &&
			    (inc[j].term < t ||
				(inc[j].term == t && inc[j].vote == 0)) &&
			    (LAST(i).term > LAST(j).term ||
				(LAST(i).term == LAST(j).term &&
				    LAST(i).index >= LAST(j).index)) ->
				if
				:: casts(j); votes = votes | BIT(j)
#ifndef LIVENESS
				:: skip /* a message is lost */
#endif
				fi
			:: else
			fi
		}
		if
		:: MOST(VOTERS(i), HAS(votes, 0), HAS(votes, 1),
			HAS(votes, 2), HAS(votes, 3), HAS(votes, 4)) ->
leader:			inc[i].leads = 1;
#ifndef IGNORE_VOTES
			MUST(one_leader, leader_of[t] == 0);
#endif
			leader_of[t] = i + 1;
			MUST(committed_lost, HOLDS(i, top))
		:: else
		fi;
		j = 0; t = 0; votes = 0 }

	:: atomic { LEADS(i) && STEPS_DOWN(i) ->
step_down:	inc[i].leads = 0 }

	/* The first entry of a term, and what clients ask for. */
	:: atomic { LEADS(i) && n_entries < ENTRIES &&
		LAST(i).term != inc[i].term ->
barrier:	v = VOTERS(i); l = LEARNERS(i); append() }
	:: atomic { LEADS(i) && n_entries < ENTRIES &&
		increments < INCREMENTS ->
increment:	increments++;
		v = VOTERS(i); l = LEARNERS(i); append() }

	:: atomic { inc[i].phase == RUNS && ANY(APPENDS, i) ->
		PICK(APPENDS);
AppendEntries:	inc[i].vote = (inc[i].term == inc[j].term ->
		    inc[i].vote : 0);
		inc[i].term = inc[j].term;
		inc[i].leads = 0;
		inc[i].last = inc[j].last;
		inc[i].commit = inc[j].commit;
		j = 0 }

#ifdef COMMITS_OLD_TERMS
	:: atomic { LEADS(i) && inc[i].commit != inc[i].last &&
#else
	:: atomic { LEADS(i) && inc[i].commit != inc[i].last &&
		LAST(i).term == inc[i].term &&
#endif
		MOST_HOLD(i) ->
commit:		inc[i].commit = inc[i].last;
		MUST(committed_lost, HAS(LAST(i).all, top) ||
		    HAS(log_[top].all, inc[i].last));
		top = (HAS(LAST(i).all, top) -> inc[i].last : top) }

	/* ---- P1, P2: the joining side ---- */

	/* JOIN to all, again and again, until the leader of now has it. */
	:: atomic { i >= 3 && (inc[i].phase == JOINING ||
		(inc[i].phase == RUNS && !HAS(VOTERS(i), i))) &&
#ifdef KNOCK_ONCE
		inc[i].offer == 0 &&
#endif
		ANY(IS_OPEN, i) ->
		PICK(IS_OPEN);
knock:		inc[i].offer = j + 1;
		j = 0 }

	/* Of its disk remains what is the leader's committed history: any
	 * part of that, for the disk may be of any age, or a fork's. */
	:: atomic { inc[i].phase == JOINING && ANY(CERTIFIES, i) ->
		PICK(CERTIFIES);
certificate:	inc[i].term = inc[j].term;
		t = inc[j].commit;
		do
		:: t > 0 && HAS(log_[inc[j].commit].all, t) -> break
		:: t > 0 -> t--
		:: t == 0 -> break
		od;
		inc[i].last = t;
		inc[i].commit = t;
		inc[i].vote = 0;
		inc[i].phase = RUNS;
		t = 0;
		j = 0 }

	/* ---- P3: the leader's changes ---- */

	:: atomic { EITHER(ADDS, i) ->
		PICK_NEW(ADDS);
learner_added:	v = VOTERS(i);
		l = LEARNERS(i) | BIT(j);
		append();
		MUST(live_evicted, !HELD(i, j) || SILENT(i, OTHER(j)));
		j = 0 }
	:: atomic { EITHER(REPLACES, i) ->
		PICK_NEW(REPLACES);
member_replaced: v = VOTERS(i) & ~BIT(OTHER(j));
		l = LEARNERS(i) & ~BIT(OTHER(j));
		append();
		MUST(live_evicted, SILENT(i, OTHER(j)));
		j = 0 }
	:: atomic { EITHER(PROMOTES, i) ->
		PICK_NEW(PROMOTES);
		MUST(blind_voter, HOLDS(j, inc[i].commit));
member_admitted: v = VOTERS(i) | BIT(j);
		l = LEARNERS(i) & ~BIT(j);
		append();
		j = 0 }

	/* ---- P8 ---- */

	:: atomic { inc[i].phase == RUNS && inc[i].offer == 0 &&
		ANY(EVICTS, i) ->
evicted:	inc[i].phase = HALTED;
		inc[i].leads = 0 }
	od
}

/* The hosts: they kill, cut off, start again with any disk, and fork. */
proctype host()
{
	byte i, t;

end:	do
	:: atomic { boots < BOOTS ->
boot:		inc[3 + boots].phase = JOINING;
		boots++ }
#ifdef LIVENESS
	/* A majority stays alive: only the one that is replaced dies. */
	:: atomic { inc[0].phase == RUNS && crashes < CRASHES -> i = 0;
#else
	:: atomic { crashes < CRASHES ->
		if
		:: inc[0].phase == RUNS -> i = 0
		:: inc[1].phase == RUNS -> i = 1
		:: inc[2].phase == RUNS -> i = 2
		:: inc[3].phase == RUNS -> i = 3
		fi;
#endif
		crashes++;
crash:		inc[i].phase = HALTED;
		inc[i].leads = 0;
		i = 0 }
#if CUTS > 0
	:: atomic { cuts < CUTS ->
		cuts++;
		if
		:: i = 0
		:: i = 1
		:: i = 2
		:: i = 3
		fi;
cut:		inc[i].side = 1 - inc[i].side;
		i = 0 }
#endif
#ifdef JOIN_BELIEVES_DISK
	/* Plain raft: who has the disk is the node, whatever the disk is. */
	:: atomic { restores < RESTORES ->
		restores++;
		if
		:: inc[0].phase == RUNS -> i = 0
		:: inc[1].phase == RUNS -> i = 1
		:: inc[2].phase == RUNS -> i = 2
		fi;
		inc[i].leads = 0;
		inc[i].vote = 0;
		t = inc[i].last;
		do
		:: HAS(LAST(i).all, t) -> break
		:: t > 1 -> t--
		od;
		inc[i].last = t;
		inc[i].term = log_[t].term;
		inc[i].commit = 1;
		t = 0;
		i = 0 }
#endif
	od
}

init {
	byte i;

	atomic {
		n_entries = 1;
		log_[1].index = 1;
		log_[1].voters = 7;
		log_[1].all = BIT(1);
		for (i : 0 .. 2) {
			inc[i].phase = RUNS;
			inc[i].last = 1;
			inc[i].commit = 1
		}
		i = 0;
		run node(0); run node(1); run node(2); run node(3);
#if BOOTS > 1
		run node(4);
#endif
		run host()
	}
}

/* The joiner votes, as a leader of now has committed it. */
#define VOTES(i) (LEADS(i) && inc[i].commit == inc[i].last && HAS(VOTERS(i), 3))
ltl eventually_voter { <> (VOTES(0) || VOTES(1) || VOTES(2) || VOTES(3)) }
