// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {Vm} from "forge-std/Vm.sol";
import {OperatorCouncil} from "../src/OperatorCouncil.sol";

/// Something that a council decides about.
contract Thing {
    address public immutable boss;
    uint256 public value;

    constructor(address boss_) {
        boss = boss_;
    }

    function set(uint256 v) external {
        require(msg.sender == boss, "Not the boss");
        require(v != 666, "Not that");
        value = v;
    }

    /// Tries to be executed twice.
    function reenter(bytes32 id) external {
        value++;
        OperatorCouncil(boss).execute(id);
    }
}

abstract contract CouncilTest is Test {
    uint64 internal constant NOTICE = 2 days;
    uint64 internal constant LIFE = 7 days;

    address internal immutable stranger = makeAddr("stranger");
    address internal immutable guardian = makeAddr("guardian");

    OperatorCouncil internal council;
    Thing internal thing;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        council = new OperatorCouncil(members(5), 3, NOTICE, LIFE, guardian);
        thing = new Thing(address(council));
    }

    function member(uint256 i) internal pure returns (address) {
        return address(uint160(0x1000 + i));
    }

    function members(uint256 n) internal pure returns (address[] memory list) {
        list = new address[](n);
        for (uint256 i = 0; i < n; i++) {
            list[i] = member(i);
        }
    }

    function one(address target, bytes memory data)
        internal
        pure
        returns (OperatorCouncil.Call[] memory calls)
    {
        calls = new OperatorCouncil.Call[](1);
        calls[0] = OperatorCouncil.Call(target, data);
    }

    function setTo(uint256 v) internal view returns (OperatorCouncil.Call[] memory) {
        return one(address(thing), abi.encodeCall(thing.set, (v)));
    }

    function newMembers(uint256 n, uint64 k) internal view returns (OperatorCouncil.Call[] memory) {
        return one(address(council), abi.encodeCall(council.setMembers, (members(n), k)));
    }

    /// By member 0, and with the votes of those who follow.
    function proposed(OperatorCouncil.Call[] memory calls, uint256 votes)
        internal
        returns (bytes32 id)
    {
        vm.prank(member(0));
        id = council.propose(calls, 0);
        for (uint256 i = 1; i < votes; i++) {
            vm.prank(member(i));
            council.vote(id);
        }
    }

    function passed(OperatorCouncil.Call[] memory calls) internal {
        bytes32 id = proposed(calls, council.state().k);

        skip(NOTICE);
        council.execute(id);
    }

    function assertStage(bytes32 id, OperatorCouncil.Stage s) internal view {
        assertEq(uint8(council.stageOf(id)), uint8(s), "stage");
    }
}

contract OperatorCouncilTest is CouncilTest {
    function refusesMembers(address[] memory list, uint64 k, string memory why) private {
        vm.expectRevert(bytes(why));
        new OperatorCouncil(list, k, NOTICE, LIFE, guardian);
    }

    function test_constructor_refuses() public {
        address[] memory list = members(3);

        refusesMembers(new address[](0), 0, "1 to 32 members");
        refusesMembers(members(33), 17, "1 to 32 members");
        refusesMembers(list, 0, "k out of range");
        refusesMembers(list, 4, "k out of range");
        list[2] = list[0];
        refusesMembers(list, 2, "Named twice");
        list[2] = address(0);
        refusesMembers(list, 2, "No member");
        for (uint64 bad = 0; bad <= 365 days + 1; bad += 365 days + 1) {
            vm.expectRevert("Notice out of range");
            new OperatorCouncil(members(3), 2, bad, LIFE, guardian);
            vm.expectRevert("Life out of range");
            new OperatorCouncil(members(3), 2, NOTICE, bad, guardian);
        }
        new OperatorCouncil(members(32), 32, NOTICE, LIFE, address(0));
    }

    function test_strangers_do_nothing() public {
        OperatorCouncil.Call[] memory calls = setTo(1);
        bytes32 id = proposed(calls, 1);
        address[2] memory who = [stranger, guardian];

        for (uint256 i = 0; i < 2; i++) {
            vm.startPrank(who[i]);
            vm.expectRevert("Not a member");
            council.propose(calls, keccak256("again"));
            vm.expectRevert("Not a member");
            council.vote(id);
            vm.expectRevert("Only by a proposal of its own");
            council.setMembers(members(1), 1);
            vm.expectRevert("Only by a proposal of its own");
            council.setGuardian(stranger);
            vm.stopPrank();
        }
        vm.prank(stranger);
        vm.expectRevert("Not a member");
        council.veto(id);
        vm.prank(member(0));
        vm.expectRevert("Only by a proposal of its own");
        council.setMembers(members(1), 1);
    }

    function test_what_can_be_proposed() public {
        OperatorCouncil.Call[] memory calls = new OperatorCouncil.Call[](17);

        vm.startPrank(member(0));
        vm.expectRevert("Nothing, or too much");
        council.propose(new OperatorCouncil.Call[](0), 0);
        vm.expectRevert("Nothing, or too much");
        council.propose(calls, 0);
        calls = one(stranger, "");
        vm.expectRevert("Target is no contract");
        council.propose(calls, 0);
        calls = setTo(1);
        council.propose(calls, 0);
        vm.expectRevert("Proposed before");
        council.propose(calls, 0);
        council.propose(calls, keccak256("another"));
        vm.stopPrank();
    }

    function test_k_votes_notice_execution() public {
        OperatorCouncil.Call[] memory calls = setTo(7);
        bytes32 id = council.proposalId(calls, 0);

        assertEq(
            id,
            keccak256(
                abi.encode(
                    keccak256("devproof-kms/council/v1"),
                    block.chainid,
                    address(council),
                    1,
                    calls,
                    bytes32(0)
                )
            )
        );
        assertStage(id, OperatorCouncil.Stage.NONE);
        assertEq(proposed(calls, 2), id);
        assertEq(council.proposalAt(0), id);
        assertStage(id, OperatorCouncil.Stage.VOTING);
        vm.expectRevert("Not ready");
        council.execute(id);
        vm.prank(member(1));
        vm.expectRevert("Voted already");
        council.vote(id);
        skip(NOTICE); // counts from the last vote
        vm.recordLogs();
        vm.prank(member(4));
        council.vote(id);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 2);
        assertEq(logs[1].topics[0], keccak256("Passed(bytes32,uint64,uint64)"));
        assertEq(
            logs[1].data, abi.encode(block.timestamp + NOTICE, block.timestamp + NOTICE + LIFE)
        );
        assertStage(id, OperatorCouncil.Stage.WAITING);
        vm.prank(member(3));
        vm.expectRevert("Not open for votes");
        council.vote(id);
        skip(NOTICE - 1);
        vm.prank(member(0));
        vm.expectRevert("Not ready");
        council.execute(id);
        skip(1);
        assertStage(id, OperatorCouncil.Stage.READY);
        vm.prank(stranger); // anyone
        council.execute(id);
        assertEq(thing.value(), 7);
        assertStage(id, OperatorCouncil.Stage.EXECUTED);
        vm.expectRevert("Not ready");
        council.execute(id);
        vm.prank(member(0));
        vm.expectRevert("Nothing to veto");
        council.veto(id);
    }

    function test_expiry() public {
        bytes32 slow = proposed(setTo(1), 2);
        bytes32 late = proposed(setTo(2), 3);

        skip(LIFE);
        vm.prank(member(2));
        council.vote(slow); // just in time
        skip(NOTICE);
        assertStage(late, OperatorCouncil.Stage.READY);
        skip(1);
        assertStage(late, OperatorCouncil.Stage.EXPIRED);
        vm.expectRevert("Not ready");
        council.execute(late);
        vm.prank(member(0));
        vm.expectRevert("Nothing to veto");
        council.veto(late);
        council.execute(slow);

        bytes32 never = proposed(setTo(3), 2);
        skip(LIFE + 1);
        assertStage(never, OperatorCouncil.Stage.EXPIRED);
        vm.prank(member(2));
        vm.expectRevert("Not open for votes");
        council.vote(never);
    }

    function test_members_veto() public {
        bytes32 id = proposed(setTo(1), 3);

        vm.prank(member(0)); // though he voted for it
        council.veto(id);
        vm.prank(member(0));
        vm.expectRevert("Vetoed already");
        council.veto(id);
        vm.prank(member(3));
        council.veto(id);
        skip(NOTICE);
        assertStage(id, OperatorCouncil.Stage.READY);
        vm.prank(member(4)); // until the very last moment
        council.veto(id);
        assertStage(id, OperatorCouncil.Stage.VETOED);
        vm.expectRevert("Not ready");
        council.execute(id);
        assertEq(thing.value(), 0);
        // Also while it is being voted on.
        id = proposed(setTo(2), 2);
        for (uint256 i = 2; i < 5; i++) {
            vm.prank(member(i));
            council.veto(id);
        }
        vm.prank(member(2));
        vm.expectRevert("Not open for votes");
        council.vote(id);
    }

    function test_guardian_vetoes_all_but_his_own_removal() public {
        bytes32 id = proposed(setTo(1), 3);

        vm.prank(guardian);
        council.veto(id);
        assertStage(id, OperatorCouncil.Stage.VETOED);

        id = proposed(one(address(council), abi.encodeCall(council.setGuardian, (address(0)))), 3);
        vm.prank(guardian);
        vm.expectRevert("Not a member");
        council.veto(id);
        bytes32 removal = proposed(newMembers(3, 2), 3);
        vm.prank(guardian);
        vm.expectRevert("Not a member");
        council.veto(removal);
        // But nothing hides behind such a call.
        OperatorCouncil.Call[] memory both = new OperatorCouncil.Call[](2);
        both[0] = newMembers(3, 2)[0];
        both[1] = setTo(1)[0];
        bytes32 hidden = proposed(both, 3);
        vm.prank(guardian);
        council.veto(hidden);

        skip(NOTICE);
        council.execute(id);
        assertEq(council.guardian(), address(0));
        vm.prank(address(0));
        vm.expectRevert("Not a member");
        council.veto(removal);
    }

    /// Two of five cannot stop the other three from removing them.
    function test_nobody_vetoes_his_own_removal() public {
        bytes32 id = proposed(newMembers(3, 2), 3);

        vm.prank(member(3));
        council.veto(id);
        vm.prank(member(4));
        council.veto(id);
        skip(NOTICE);
        council.execute(id);
        assertFalse(council.isMember(member(4)));
        assertEq(council.state().members.length, 3);
    }

    function test_new_members_void_old_votes() public {
        bytes32 voting = proposed(setTo(1), 2);
        bytes32 ready = proposed(setTo(2), 3);
        bytes32 id = council.proposalId(setTo(3), 0);

        passed(newMembers(4, 3));
        assertEq(council.state().generation, 2);
        assertStage(voting, OperatorCouncil.Stage.VOID);
        assertStage(ready, OperatorCouncil.Stage.VOID);
        vm.prank(member(2));
        vm.expectRevert("Not open for votes");
        council.vote(voting);
        vm.expectRevert("Not ready");
        council.execute(ready);
        vm.prank(member(2));
        vm.expectRevert("Nothing to veto");
        council.veto(ready);
        assertEq(council.checklist(ready).votedFor.length, 0);
        // The same call is another proposal now.
        assertNotEq(council.proposalId(setTo(3), 0), id);
        passed(setTo(2));
        assertEq(thing.value(), 2);
        vm.prank(member(4));
        vm.expectRevert("Not a member");
        council.vote(id);
    }

    /// A mistake in a proposal about members leaves everything as it was.
    function test_it_does_not_strand_itself() public {
        OperatorCouncil.Call[] memory calls = newMembers(0, 0);
        bytes32 id = proposed(calls, 3);

        skip(NOTICE);
        vm.expectRevert("1 to 32 members");
        council.execute(id);
        assertStage(id, OperatorCouncil.Stage.READY);
        address[] memory self = members(2);
        self[1] = address(council);
        calls = one(address(council), abi.encodeCall(council.setMembers, (self, 2)));
        id = proposed(calls, 3);
        skip(NOTICE);
        vm.expectRevert("No member");
        council.execute(id);
        assertEq(council.state().generation, 1);
        passed(newMembers(5, 3)); // renewed as they are
        assertEq(council.state().members.length, 5);
        passed(newMembers(1, 1));
        passed(newMembers(5, 3));
    }

    function test_a_call_that_fails_undoes_all() public {
        OperatorCouncil.Call[] memory calls = new OperatorCouncil.Call[](2);

        calls[0] = setTo(5)[0];
        calls[1] = setTo(666)[0];
        bytes32 id = proposed(calls, 3);
        skip(NOTICE);
        vm.expectRevert("Not that");
        council.execute(id);
        assertEq(thing.value(), 0);
        assertStage(id, OperatorCouncil.Stage.READY);

        calls[1] = setTo(6)[0];
        passed(calls);
        assertEq(thing.value(), 6);
        // Its target is gone meanwhile.
        id = proposed(setTo(1), 3);
        skip(NOTICE);
        vm.etch(address(thing), "");
        vm.expectRevert("Target is no contract");
        council.execute(id);
    }

    function test_not_executed_within_itself() public {
        OperatorCouncil.Call[] memory calls;
        Thing other = new Thing(address(council));
        bytes32 id = proposed(setTo(1), 3);

        // A proposal may execute another, but none that is being executed.
        calls = one(address(other), abi.encodeCall(other.reenter, (id)));
        bytes32 outer = proposed(calls, 3);
        skip(NOTICE);
        council.execute(outer);
        assertEq(thing.value(), 1);
        vm.expectRevert("Not ready");
        council.execute(id);
        vm.expectRevert("Not ready");
        council.execute(outer);
    }

    function test_checklist() public {
        OperatorCouncil.Call[] memory calls = setTo(7);
        bytes32 id = proposed(calls, 2);
        uint64 at = uint64(block.timestamp);

        vm.prank(member(4));
        council.veto(id);
        OperatorCouncil.Checklist memory c = council.checklist(id);
        assertEq(c.id, id);
        assertEq(uint8(c.stage), uint8(OperatorCouncil.Stage.VOTING));
        assertEq(c.generation, 1);
        assertEq(c.needed, 3);
        assertEq(c.missing, 1);
        assertEq(c.votedFor.length, 2);
        assertEq(c.votedFor[1], member(1));
        assertEq(c.notVoted.length, 3);
        assertEq(c.notVoted[0], member(2));
        assertEq(c.vetoesNeeded, 3);
        assertEq(c.vetoed.length, 1);
        assertEq(c.vetoed[0], member(4));
        assertEq(c.proposedAt, at);
        assertEq(c.votesUntil, at + LIFE);
        assertEq(c.mayExecuteAt, 0);
        assertEq(keccak256(abi.encode(c.calls)), keccak256(abi.encode(calls)));
        skip(5);
        vm.prank(member(2));
        council.vote(id);
        c = council.checklist(id);
        assertEq(c.missing, 0);
        assertEq(c.passedAt, at + 5);
        assertEq(c.mayExecuteAt, at + 5 + NOTICE);
        assertEq(c.mayExecuteUntil, at + 5 + NOTICE + LIFE);
        assertEq(c.endedAt, 0);
        skip(NOTICE);
        council.execute(id);
        c = council.checklist(id);
        assertEq(c.endedAt, block.timestamp);
        assertEq(c.votedFor.length, 3);
        assertEq(uint8(council.checklist(0).stage), 0);

        OperatorCouncil.State memory s = council.state();
        assertEq(s.members.length, 5);
        assertEq(s.k, 3);
        assertEq(s.vetoesNeeded, 3);
        assertEq(s.proposals, 1);
        assertEq(s.guardian, guardian);
        assertEq(s.notice, NOTICE);
        assertEq(s.life, LIFE);
    }

    /// Any council: k who agree get it done against all others, and the others
    /// get nothing done without one of them.
    function testFuzz_k_of_n(uint8 n_, uint8 k_) public {
        uint256 n = bound(n_, 1, 32);
        uint64 k = uint64(bound(k_, 1, n));

        council = new OperatorCouncil(members(n), k, NOTICE, LIFE, address(0));
        thing = new Thing(address(council));
        bytes32 id = proposed(setTo(1), k);
        for (uint256 i = k; i < n; i++) {
            vm.prank(member(i));
            council.veto(id);
        }
        skip(NOTICE);
        council.execute(id);
        assertEq(thing.value(), 1);

        id = proposed(setTo(2), k - 1);
        if (k > 1) {
            skip(NOTICE);
            vm.expectRevert("Not ready");
            council.execute(id);
        }
    }
}

/// Members who do anything at any time.
contract CouncilWorld is CouncilTest {
    bytes32[] private ids;
    mapping(bytes32 id => uint256) private votes; // bits, by the handler's count
    mapping(bytes32 id => uint64) private passedAt;
    mapping(bytes32 id => uint64) private generationOf;
    mapping(bytes32 id => uint256) private vetoes;
    mapping(bytes32 id => bool) private done;
    bool public broken;
    uint256 public executions;
    uint256 public generations = 1;

    constructor() {
        setUp();
    }

    function state() external view returns (OperatorCouncil.State memory) {
        return council.state();
    }

    function pick(uint256 seed) private view returns (bytes32) {
        return ids.length == 0 ? bytes32(0) : ids[ids.length - 1 - seed % 4 % ids.length];
    }

    function count(uint256 bits) private pure returns (uint256 n) {
        for (; bits != 0; bits &= bits - 1) {
            n++;
        }
    }

    function time(uint32 seconds_) external {
        skip(seconds_ % (NOTICE + 1));
    }

    function propose(uint8 by, uint8 what, uint8 n, uint8 k) external {
        OperatorCouncil.Call[] memory calls = what % 4 == 0 ? newMembers(n % 7, k % 7) : setTo(what);

        vm.prank(member(by % 7));
        try council.propose(calls, bytes32(ids.length)) returns (bytes32 id) {
            ids.push(id);
            generationOf[id] = council.state().generation;
            noteVote(id, by % 7);
        } catch {
            broken = broken || council.isMember(member(by % 7));
        }
    }

    function noteVote(bytes32 id, uint256 by) private {
        broken = broken || (votes[id] >> by) & 1 == 1 || !council.isMember(member(by));
        votes[id] |= 1 << by;
        if (count(votes[id]) == council.state().k) {
            passedAt[id] = uint64(block.timestamp);
        }
    }

    function vote(uint8 by, uint256 seed) external {
        bytes32 id = pick(seed);

        vm.prank(member(by % 7));
        try council.vote(id) {
            broken = broken || generationOf[id] != council.state().generation;
            noteVote(id, by % 7);
        } catch {}
    }

    function veto(uint8 by, uint256 seed) external {
        bytes32 id = pick(seed);

        vm.prank(member(by % 7));
        try council.veto(id) {
            vetoes[id]++;
        } catch {}
    }

    function execute(uint256 seed) external {
        bytes32 id = pick(seed);
        OperatorCouncil.State memory was = council.state();

        try council.execute(id) {
            executions++;
            broken = broken || done[id] || passedAt[id] == 0
                || block.timestamp < passedAt[id] + NOTICE
                || block.timestamp > passedAt[id] + NOTICE + LIFE
                || generationOf[id] != was.generation || count(votes[id]) < was.k
                || vetoes[id] >= was.vetoesNeeded;
            done[id] = true;
            if (council.state().generation != was.generation) {
                generations++;
            }
        } catch {}
    }

    /// What chance seldom brings about.
    function whole(uint8 what) external {
        OperatorCouncil.State memory s = council.state();
        bytes32 id;

        vm.prank(s.members[0]);
        id = council.propose(
            what % 3 == 0 ? newMembers(3 + what % 4, 2) : setTo(what), bytes32(ids.length)
        );
        ids.push(id);
        generationOf[id] = s.generation;
        noteVote(id, uint160(s.members[0]) - 0x1000);
        for (uint64 i = 1; i < s.k; i++) {
            vm.prank(s.members[i]);
            try council.vote(id) {
                noteVote(id, uint160(s.members[i]) - 0x1000);
            } catch {}
        }
        skip(NOTICE);
        this.execute(0);
    }
}

contract OperatorCouncilInvariantsTest is CouncilTest {
    CouncilWorld private world;

    function setUp() public override {
        world = new CouncilWorld();
        targetContract(address(world));
        bytes4[] memory only = new bytes4[](6);
        only[0] = CouncilWorld.time.selector;
        only[1] = CouncilWorld.propose.selector;
        only[2] = CouncilWorld.vote.selector;
        only[3] = CouncilWorld.veto.selector;
        only[4] = CouncilWorld.execute.selector;
        only[5] = CouncilWorld.whole.selector;
        targetSelector(FuzzSelector({addr: address(world), selectors: only}));
    }

    /// forge-config: test.invariant.runs = 24
    /// forge-config: test.invariant.depth = 64
    function invariant_nothing_without_votes_and_notice() public view {
        OperatorCouncil.State memory s = world.state();

        assertFalse(world.broken());
        assertEq(s.generation, world.generations());
        assertTrue(s.k >= 1 && s.k <= s.members.length);
        assertEq(s.vetoesNeeded + s.k, s.members.length + 1);
    }

    /// The handler does bring about what is forbidden to go wrong.
    function test_world_executes() public {
        world.whole(1);
        world.whole(3);
        world.whole(2);
        assertEq(world.executions(), 3);
        assertEq(world.generations(), 2);
        assertFalse(world.broken());
    }
}
