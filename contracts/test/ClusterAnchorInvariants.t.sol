// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {AnchorTest} from "./AnchorTest.sol";

/// Owners, a living cluster and two recoveries that race, all of which may do
/// anything at any time; and someone who relays again whatever was ever sent.
contract World is AnchorTest {
    bytes[] private sent;

    // What was seen, for the invariants.
    bool public wentBack;
    bool public openedEarly;
    bool public openedVetoed;
    bool public openedOther;
    mapping(uint64 generation => uint256) public winners;
    uint64 public generations;
    uint256 public vetoes;

    uint256 private ordersAtVeto;

    constructor() {
        setUp();
        found();
        winners[1] = 1;
        generations = 1;
    }

    function state() external view returns (ClusterAnchor.State memory) {
        return anchor.state();
    }

    function node(uint256 seed) private pure returns (bytes32) {
        return seed % 2 == 0 ? NODE : OTHER;
    }

    /// Sends, and looks at what it did.
    function act(bytes memory call) private {
        ClusterAnchor.State memory was = anchor.state();
        (bool ok,) = address(anchor).call(call);
        ClusterAnchor.State memory s = anchor.state();

        wentBack = wentBack || s.point.generation < was.point.generation
            || s.point.index < was.point.index
            || (s.point.index == was.point.index && s.point.hash != was.point.hash);
        if (!ok || s.point.generation == was.point.generation) {
            return;
        }
        winners[s.point.generation]++;
        generations = s.point.generation;
        openedEarly = openedEarly || was.announced.generation != s.point.generation
            || block.timestamp < was.announced.openAt;
        openedOther = openedOther || was.announced.index != s.point.index
            || was.announced.hash != s.point.hash
            || was.announced.incarnation != was.order.incarnation;
        openedVetoed = openedVetoed || was.order.number <= ordersAtVeto;
    }

    function actAndKeep(bytes memory call) private {
        sent.push(call);
        act(call);
    }

    function time(uint16 seconds_) external {
        skip(seconds_ % (WAIT * 2));
    }

    function name(uint8 seed, bool lossy) external {
        vm.prank(owner);
        anchor.nameRecovery(seed % 3 == 0 ? bytes32(0) : node(seed), lossy && seed % 3 != 0);
    }

    function genesisAgain() external {
        vm.prank(owner);
        (bool ok,) = address(anchor).call(abi.encodeCall(anchor.genesis, (1, H1, cluster, NODE)));
        wentBack = wentBack || ok;
    }

    function advance(uint8 by, bool stale) external {
        ClusterAnchor.Point memory from = point();
        uint64 index = from.index + by % 4;

        if (stale && from.index > 0) {
            from.index--;
        }
        actAndKeep(
            abi.encodeCall(
                anchor.advance,
                (
                    from,
                    index,
                    keccak256(abi.encode(index)),
                    signed(KEY, advanceMessage(from, index, keccak256(abi.encode(index))))
                )
            )
        );
    }

    function announce(uint8 who, uint8 by) external {
        uint64 index = point().index + by % 3;
        bytes32 hash = by % 3 == 0 ? point().hash : keccak256(abi.encode(index, who % 2));

        recover("announce", index, hash, node(who));
    }

    function open(uint8 who, bool asAnnounced, uint8 by) external {
        ClusterAnchor.Announcement memory a = anchor.state().announced;
        uint64 index = point().index + by % 3;

        if (asAnnounced) {
            recover("open", a.index, a.hash, a.incarnation);
        } else {
            recover("open", index, keccak256(abi.encode(index, who % 2)), node(who));
        }
    }

    function recover(string memory action, uint64 index, bytes32 hash, bytes32 incarnation)
        private
    {
        ClusterAnchor.Point memory from = point();
        bytes memory sig = signed(KEY, recoveryMessage(action, from, index, hash, incarnation));
        bytes memory args = abi.encode(from, index, hash, incarnation, sig);
        bytes4 what = bytes(action).length == 4 ? anchor.open.selector : anchor.announce.selector;

        actAndKeep(bytes.concat(what, args));
    }

    /// What chance seldom brings about: all of it in the right order, then by
    /// two at once.
    function race(uint8 who, uint8 by) external {
        ClusterAnchor.Point memory from = point();
        uint64 index = from.index + by % 3;
        bytes32 hash = by % 3 == 0 ? from.hash : keccak256(abi.encode(index, who % 2));
        uint64 was = generations;

        // Whoever has announced further on stands in the way otherwise.
        order(0);
        order(node(who));
        recover("announce", index, hash, node(who));
        skip(WAIT);
        recover("open", index, hash, node(who));
        assertEq(generations, was + 1);
        act(sent[sent.length - 1]);
    }

    function veto() external {
        ClusterAnchor.State memory s = anchor.state();
        uint64 generation = s.announced.generation;

        actAndKeep(abi.encodeCall(anchor.veto, (generation, signed(KEY, vetoMessage(generation)))));
        if (generation != 0) {
            ordersAtVeto = s.order.number;
            vetoes++;
            // It always counts, whatever the time.
            openedVetoed = openedVetoed || anchor.state().announced.generation != 0
                || anchor.state().vetoes != vetoes;
        }
    }

    /// Without the key.
    function replay(uint256 seed) external {
        uint64 was = anchor.state().vetoes;

        if (sent.length > 0) {
            act(sent[seed % sent.length]);
        }
        // A veto counts once.
        openedVetoed = openedVetoed || anchor.state().vetoes != was;
    }
}

contract ClusterAnchorInvariantsTest is AnchorTest {
    World private world;

    function setUp() public override {
        super.setUp();
        world = new World();
        targetContract(address(world));
        bytes4[] memory only = new bytes4[](9);
        only[0] = World.time.selector;
        only[1] = World.name.selector;
        only[2] = World.advance.selector;
        only[3] = World.announce.selector;
        only[4] = World.open.selector;
        only[5] = World.veto.selector;
        only[6] = World.replay.selector;
        only[7] = World.genesisAgain.selector;
        only[8] = World.race.selector;
        targetSelector(FuzzSelector({addr: address(world), selectors: only}));
    }

    function invariant_generation_and_index_never_go_back() public view {
        assertFalse(world.wentBack());
    }

    function invariant_one_winner_of_each_generation() public view {
        for (uint64 g = 1; g <= world.generations(); g++) {
            assertEq(world.winners(g), 1);
        }
        assertEq(world.state().point.generation, world.generations());
    }

    function invariant_opened_as_announced_and_not_early() public view {
        assertFalse(world.openedEarly());
        assertFalse(world.openedOther());
    }

    function invariant_vetoed_is_vetoed() public view {
        assertFalse(world.openedVetoed());
        assertEq(world.state().vetoes, world.vetoes());
    }

    /// What is announced can still be opened: it follows from the order and
    /// from the point.
    function invariant_announcement_fits() public view {
        ClusterAnchor.State memory s = world.state();

        if (s.announced.generation != 0) {
            assertEq(s.announced.generation, s.point.generation + 1);
            assertEq(s.announced.incarnation, s.order.incarnation);
            assertGe(s.announced.index, s.point.index);
            assertTrue(s.announced.index > s.point.index || s.announced.hash == s.point.hash);
            assertLe(s.announced.openAt, block.timestamp + s.wait);
        } else {
            assertEq(s.announced.incarnation, 0);
        }
    }

    /// The handler does bring about what is forbidden to go wrong.
    function test_world_opens_and_vetoes() public {
        for (uint8 i = 1; i < 6; i++) {
            world.name(1, false);
            world.announce(1, i);
            if (i % 2 == 0) {
                world.veto();
            }
            world.time(uint16(WAIT));
            world.open(1, true, 0);
            world.replay(i);
            world.advance(1, false);
        }
        assertEq(world.generations(), 4);
        assertEq(world.vetoes(), 2);
    }
}
