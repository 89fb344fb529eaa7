// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// k of n members decide, everybody sees it coming, and it can be stopped.
///
/// A proposal is a list of calls.  Once k members have voted for it, it waits
/// for the notice period; then anyone may execute it.  n - k + 1 members, or
/// the guardian, veto it at any time before.  So many who veto leave fewer than
/// k behind: where k want something, the rest cannot stop them, and nobody has
/// to be asked about his own removal.
///
/// Members change only by a proposal, which begins a new generation; whatever
/// was voted on before is void.
contract OperatorCouncil {
    struct Call {
        address target;
        bytes data;
    }

    enum Stage {
        NONE,
        VOTING,
        WAITING, // has its votes; the notice period runs
        READY,
        EXECUTED,
        VETOED,
        EXPIRED,
        VOID // the members have changed since
    }

    struct Proposal {
        uint64 generation;
        uint64 proposedAt;
        uint64 passedAt; // when it had its votes; 0: not yet
        uint32 votes; // bit i: member i of that generation
        uint32 vetoes;
        uint64 wait; // seconds from its votes to its execution
        uint64 endedAt;
        Stage ended; // EXECUTED, VETOED, or NONE
        Call[] calls;
    }

    /// One proposal, as its voters want to read it.
    struct Checklist {
        bytes32 id;
        Stage stage;
        uint64 generation;
        uint64 needed; // votes
        uint64 missing; // votes until it passes
        address[] votedFor; // if the members are still the same
        address[] notVoted;
        uint64 vetoesNeeded;
        address[] vetoed;
        uint64 proposedAt;
        uint64 votesUntil;
        uint64 passedAt;
        uint64 mayExecuteAt; // 0: it has not passed
        uint64 mayExecuteUntil;
        uint64 endedAt;
        Call[] calls;
    }

    struct State {
        address[] members;
        uint64 k;
        uint64 vetoesNeeded;
        uint64 generation;
        address guardian;
        uint64 notice;
        uint64 life;
        uint256 proposals; // ever made
    }

    uint256 public constant MAX_MEMBERS = 32;
    uint256 public constant MAX_CALLS = 16;
    uint64 public constant MAX_WAIT = 365 days;
    bytes32 public constant DOMAIN = keccak256("devproof-kms/council/v1");

    uint64 public immutable notice;
    /// Seconds that a proposal may gather votes, and later be executed.
    uint64 public immutable life;

    address[] private _members;
    mapping(address member => uint256) private _placeOf; // from 1
    uint64 private _k;
    uint64 private _generation;
    address public guardian; // may veto what is not about the council itself
    bytes32[] private _ids;
    mapping(bytes32 id => Proposal) private _proposals;

    event MembersSet(uint64 indexed generation, address[] members, uint64 k);
    event GuardianSet(address indexed guardian);
    event Proposed(
        bytes32 indexed id,
        uint64 indexed generation,
        address indexed by,
        Call[] calls,
        bytes32 salt
    );
    event Voted(bytes32 indexed id, address indexed by, uint64 missing);
    event Passed(bytes32 indexed id, uint64 mayExecuteAt, uint64 mayExecuteUntil);
    event VetoVoted(bytes32 indexed id, address indexed by);
    event Vetoed(bytes32 indexed id, address indexed by);
    event Executed(bytes32 indexed id, address indexed by);

    modifier onlySelf() {
        require(msg.sender == address(this), "Only by a proposal of its own");
        _;
    }

    constructor(
        address[] memory members_,
        uint64 k_,
        uint64 notice_,
        uint64 life_,
        address guardian_
    ) {
        require(notice_ >= 1 && notice_ <= MAX_WAIT, "Notice out of range");
        require(life_ >= 1 && life_ <= MAX_WAIT, "Life out of range");
        notice = notice_;
        life = life_;
        _setMembers(members_, k_);
        _setGuardian(guardian_);
    }

    // What voters and auditors read.

    function state() external view returns (State memory s) {
        s.members = _members;
        s.k = _k;
        s.vetoesNeeded = _vetoesNeeded();
        s.generation = _generation;
        s.guardian = guardian;
        s.notice = notice;
        s.life = life;
        s.proposals = _ids.length;
    }

    function isMember(address who) public view returns (bool) {
        return _placeOf[who] != 0;
    }

    /// In the order in which they were made, from 0.
    function proposalAt(uint256 i) external view returns (bytes32) {
        return _ids[i];
    }

    /// Known before it is made, and different on each chain, council and
    /// generation.
    function proposalId(Call[] memory calls, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, block.chainid, address(this), _generation, calls, salt));
    }

    function stageOf(bytes32 id) public view returns (Stage) {
        Proposal storage p = _proposals[id];

        if (p.proposedAt == 0 || p.ended != Stage.NONE) {
            return p.ended;
        }
        if (p.generation != _generation) {
            return Stage.VOID;
        }
        if (p.passedAt == 0) {
            return block.timestamp > p.proposedAt + life ? Stage.EXPIRED : Stage.VOTING;
        }
        if (block.timestamp < p.passedAt + p.wait) {
            return Stage.WAITING;
        }
        return block.timestamp > p.passedAt + p.wait + life ? Stage.EXPIRED : Stage.READY;
    }

    function checklist(bytes32 id) external view returns (Checklist memory c) {
        Proposal storage p = _proposals[id];
        uint32 everybody = uint32((uint256(1) << _members.length) - 1);

        c.id = id;
        c.stage = stageOf(id);
        c.calls = p.calls;
        c.generation = p.generation;
        c.proposedAt = p.proposedAt;
        c.endedAt = p.endedAt;
        if (c.stage == Stage.NONE) {
            return c;
        }
        c.votesUntil = p.proposedAt + life;
        c.passedAt = p.passedAt;
        if (p.passedAt != 0) {
            c.mayExecuteAt = p.passedAt + p.wait;
            c.mayExecuteUntil = p.passedAt + p.wait + life;
        }
        if (p.generation != _generation) {
            return c; // the names behind the votes are in the events
        }
        c.needed = _k;
        c.missing = p.passedAt != 0 ? 0 : _k - _count(p.votes);
        c.vetoesNeeded = _vetoesNeeded();
        c.votedFor = _named(p.votes);
        c.notVoted = _named(everybody & ~p.votes);
        c.vetoed = _named(p.vetoes);
    }

    // Deciding.

    /// Proposing is voting for it.  The salt tells apart what is proposed again.
    function propose(Call[] calldata calls, bytes32 salt) external returns (bytes32 id) {
        require(isMember(msg.sender), "Not a member");
        require(calls.length >= 1 && calls.length <= MAX_CALLS, "Nothing, or too much");
        id = proposalId(calls, salt);
        Proposal storage p = _proposals[id];
        require(p.proposedAt == 0, "Proposed before");
        p.generation = _generation;
        p.proposedAt = uint64(block.timestamp);
        p.wait = _waitFor(calls);
        for (uint256 i = 0; i < calls.length; i++) {
            require(calls[i].target.code.length > 0, "Target is no contract");
            p.calls.push(calls[i]);
        }
        _ids.push(id);
        emit Proposed(id, _generation, msg.sender, calls, salt);
        vote(id);
    }

    function vote(bytes32 id) public {
        Proposal storage p = _proposals[id];
        uint32 bit = _bit();

        require(stageOf(id) == Stage.VOTING, "Not open for votes");
        require(p.votes & bit == 0, "Voted already");
        p.votes |= bit;
        uint64 missing = _k - _count(p.votes);
        emit Voted(id, msg.sender, missing);
        if (missing == 0) {
            p.passedAt = uint64(block.timestamp);
            emit Passed(id, p.passedAt + p.wait, p.passedAt + p.wait + life);
        }
    }

    /// Whoever voted for it may still think better of it.
    function veto(bytes32 id) external {
        Proposal storage p = _proposals[id];
        Stage stage = stageOf(id);

        require(
            stage == Stage.VOTING || stage == Stage.WAITING || stage == Stage.READY,
            "Nothing to veto"
        );
        if (msg.sender != guardian || _ownAffair(p)) {
            uint32 bit = _bit();

            require(p.vetoes & bit == 0, "Vetoed already");
            p.vetoes |= bit;
            emit VetoVoted(id, msg.sender);
            if (_count(p.vetoes) < _vetoesNeeded()) {
                return;
            }
        }
        p.ended = Stage.VETOED;
        p.endedAt = uint64(block.timestamp);
        emit Vetoed(id, msg.sender);
    }

    /// By anyone.  If one call fails, none is made, and it may be tried again.
    function execute(bytes32 id) external {
        Proposal storage p = _proposals[id];

        require(stageOf(id) == Stage.READY, "Not ready");
        p.ended = Stage.EXECUTED;
        p.endedAt = uint64(block.timestamp);
        emit Executed(id, msg.sender);
        for (uint256 i = 0; i < p.calls.length; i++) {
            address target = p.calls[i].target;

            require(target.code.length > 0, "Target is no contract");
            (bool ok, bytes memory answer) = target.call(p.calls[i].data);
            if (!ok) {
                assembly {
                    revert(add(answer, 32), mload(answer))
                }
            }
        }
    }

    // What only proposals can change.

    function setMembers(address[] calldata members_, uint64 k_) external onlySelf {
        _setMembers(members_, k_);
    }

    function setGuardian(address guardian_) external onlySelf {
        _setGuardian(guardian_);
    }

    /// Seconds that such a proposal waits.
    function _waitFor(Call[] calldata) internal view virtual returns (uint64) {
        return notice;
    }

    function _setMembers(address[] memory members_, uint64 k_) private {
        require(members_.length >= 1 && members_.length <= MAX_MEMBERS, "1 to 32 members");
        require(k_ >= 1 && k_ <= members_.length, "k out of range");
        for (uint256 i = 0; i < _members.length; i++) {
            delete _placeOf[_members[i]];
        }
        for (uint256 i = 0; i < members_.length; i++) {
            require(members_[i] != address(0) && members_[i] != address(this), "No member");
            require(_placeOf[members_[i]] == 0, "Named twice");
            _placeOf[members_[i]] = i + 1;
        }
        _members = members_;
        _k = k_;
        _generation++;
        emit MembersSet(_generation, members_, k_);
    }

    function _setGuardian(address guardian_) private {
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// About nothing but who the members and the guardian are.
    function _ownAffair(Proposal storage p) private view returns (bool) {
        for (uint256 i = 0; i < p.calls.length; i++) {
            bytes4 what = bytes4(p.calls[i].data);

            if (
                p.calls[i].target != address(this)
                    || (what != this.setMembers.selector && what != this.setGuardian.selector)
            ) {
                return false;
            }
        }
        return true;
    }

    function _vetoesNeeded() private view returns (uint64) {
        return uint64(_members.length) - _k + 1;
    }

    function _bit() private view returns (uint32) {
        require(isMember(msg.sender), "Not a member");
        return uint32(1) << uint32(_placeOf[msg.sender] - 1);
    }

    function _count(uint32 bits) private pure returns (uint64 n) {
        for (; bits != 0; bits &= bits - 1) {
            n++;
        }
    }

    function _named(uint32 bits) private view returns (address[] memory names) {
        uint256 n = 0;

        names = new address[](_count(bits));
        for (uint256 i = 0; i < _members.length; i++) {
            if ((bits >> i) & 1 == 1) {
                names[n++] = _members[i];
            }
        }
    }
}
