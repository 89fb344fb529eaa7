// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {RootRegistry} from "../src/RootRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

/// An authority that may decide anything at any time, two leaders that publish
/// what they made, a thief of every root but not of the cluster's key, and
/// someone who relays again whatever was ever sent.
contract RootWorld is RegistryTest {
    bytes[] private sent;

    // What was seen, for the invariants.
    mapping(uint64 epoch => bytes32) public rootOf; // once it was active
    mapping(uint64 epoch => bool) public destroyed;
    bool public stranded;
    bool public changed; // an epoch that was active got another root, or lived again
    bool public early;
    bool public unheld;
    bool public stolen;
    bool public returned; // a root that was vetoed or withdrawn
    bool public pinMoved;
    bool public gap;
    uint64 public activations;

    mapping(uint64 epoch => uint64) private publishedAt;
    mapping(uint64 epoch => bytes32) private publishedRoot;
    mapping(bytes32 root => bool) private fallen;
    uint64 private pinned;

    constructor() {
        setUp();
        found();
        rootOf[0] = hashOf(registry.epochOf(0));
    }

    function state() external view returns (RootRegistry.State memory) {
        return registry.state();
    }

    function hashOf(RootRegistry.Epoch memory e) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(e.keyPrefix, e.keyX, e.caSpkiHash));
    }

    /// Sends, and looks at what it did.
    function act(address who, bytes memory call) private {
        RootRegistry.State memory was = registry.state();
        vm.prank(who);
        (bool ok,) = address(registry).call(call);
        RootRegistry.State memory s = registry.state();

        if (!ok) {
            return;
        }
        gap = gap || s.handovers < was.handovers;
        pinMoved = pinMoved || registry.pinOf(address(app)) != pinned;
        stranded = stranded || s.epochs[s.active].status != RootRegistry.Status.ACTIVE;
        for (uint64 i = 0; i < s.epochs.length; i++) {
            RootRegistry.Epoch memory e = s.epochs[i];

            stolen = stolen || e.signer == vm.addr(THIEF);
            changed = changed || (i <= was.active && hashOf(e) != rootOf[i])
                || (destroyed[i] && e.status != RootRegistry.Status.DESTROYED);
            if (e.status == RootRegistry.Status.DESTROYED && !destroyed[i]) {
                destroyed[i] = true;
                // It was announced long enough ago.
                early = early || was.epochs[i].retireAt == 0
                    || was.epochs[i].retireAt > block.timestamp;
            }
            if (e.status == RootRegistry.Status.PUBLISHED && publishedRoot[i] != hashOf(e)) {
                publishedRoot[i] = hashOf(e);
                publishedAt[i] = uint64(block.timestamp);
            }
        }
        RootRegistry.Epoch memory p = was.epochs[was.epochs.length - 1];
        if (
            p.status == RootRegistry.Status.PUBLISHED
                && hashOf(p) != hashOf(registry.epochOf(p.number))
        ) {
            fallen[hashOf(p)] = true;
            // Never in one step: it was not vetoed.
            changed = changed || registry.epochOf(p.number).status == RootRegistry.Status.PUBLISHED;
        }
        if (s.active != was.active) {
            RootRegistry.Epoch memory e = s.epochs[s.active];

            activations++;
            returned = returned || fallen[hashOf(e)];
            rootOf[s.active] = hashOf(e);
            changed = changed || s.active != was.active + 1 || publishedRoot[s.active] != hashOf(e);
            early = early || block.timestamp < publishedAt[s.active] + WINDOW;
            unheld = unheld || block.timestamp > e.heldAsOf + AGE || e.heldSeats != seatsHash();
            stolen = stolen || (was.order.mode == EMERGENCY && was.order.confirmed != hashOf(e));
        }
    }

    function actAndKeep(address who, bytes memory call) private {
        sent.push(call);
        act(who, call);
    }

    function time(uint32 seconds_) external {
        skip(seconds_ % (2 * WINDOW));
    }

    function decide(uint8 what, uint8 epoch_, uint32 later) external {
        uint64 epoch = uint64(epoch_ % (registry.active() + 2));
        uint64 at = uint64(block.timestamp) + later % (3 * NOTICE);
        RootRegistry.Mode mode = epoch_ % 3 == 0 ? EMERGENCY : ROUTINE;

        if (what % 8 < 2) {
            act(authority, abi.encodeCall(registry.orderRotation, (mode, at, 0)));
        } else if (what % 8 == 2) {
            act(authority, abi.encodeCall(registry.withdrawOrder, ()));
        } else if (what % 8 == 3) {
            act(authority, abi.encodeCall(registry.vetoRoot, (epoch)));
        } else if (what % 8 == 4) {
            act(authority, abi.encodeCall(registry.taint, (epoch)));
        } else if (what % 8 == 5) {
            act(authority, abi.encodeCall(registry.retire, (epoch, at)));
        } else {
            act(authority, abi.encodeCall(registry.destroy, (epoch)));
        }
    }

    /// `by` makes another root than the other leader.
    function publishBy(uint8 by, uint8 seats, bool thief) external {
        uint64 epoch = registry.active() + 1;
        uint256 key = thief ? THIEF : root(epoch * 1000 + by % 4);
        RootRegistry.Mode mode = registry.state().order.mode;
        // The thief has every root there ever was.
        uint256 signer = mode == ROUTINE || thief ? keyOfActive() : CLUSTER;
        RootRegistry.Holders memory h =
            heldBy(epoch, key, thief ? THIEF : CLUSTER, seats % 8, uint64(block.timestamp));

        actAndKeep(
            stranger,
            abi.encodeCall(
                registry.publishRoot,
                (epoch, pub(key), CA, sig65(signer, certificateOf(epoch, key, mode)), h)
            )
        );
    }

    function keyOfActive() private view returns (uint256) {
        uint64 active = registry.active();
        address signer = registry.epochOf(active).signer;

        for (uint64 by = 0; by < 4; by++) {
            if (vm.addr(root(active * 1000 + by)) == signer) {
                return root(active * 1000 + by);
            }
        }
        return root(active);
    }

    function attestBy(uint8 by, uint8 seats) external {
        uint64 epoch = registry.active() + 1;
        RootRegistry.Holders memory h =
            heldBy(epoch, root(epoch * 1000 + by % 4), CLUSTER, seats % 8, uint64(block.timestamp));

        actAndKeep(stranger, abi.encodeCall(registry.attestHolders, (epoch, h)));
    }

    function confirm(uint8 by) external {
        uint64 epoch = registry.active() + 1;

        act(
            authority,
            abi.encodeCall(registry.confirmRoot, (epoch, rootHash(root(epoch * 1000 + by % 4))))
        );
    }

    function activateNext() external {
        actAndKeep(stranger, abi.encodeCall(registry.activate, (registry.active() + 1)));
    }

    function seat(uint8 device) external {
        vm.prank(owner);
        anchor.setSeat("c", bytes32(uint256(device % 2 + 1)));
    }

    /// What chance seldom brings about: all of it in the right order, and one
    /// step of it wrong if `flaw` says so.
    function whole(uint8 by, bool emergency, uint8 flaw) external {
        uint64 epoch = registry.active() + 1;

        act(authority, abi.encodeCall(registry.withdrawOrder, ()));
        act(
            authority,
            abi.encodeCall(registry.orderRotation, (emergency ? EMERGENCY : ROUTINE, 0, 0))
        );
        this.publishBy(by, 7, false);
        if (emergency && flaw % 8 != 1) {
            this.confirm(by);
        }
        if (flaw % 8 == 2) {
            act(authority, abi.encodeCall(registry.vetoRoot, (epoch)));
            act(stranger, sent[sent.length - 1]);
            this.confirm(by);
        }
        this.publishBy(by ^ 1, 7, flaw % 8 == 3);
        if (flaw % 8 != 4) {
            skip(WINDOW);
        }
        this.attestBy(by, 7);
        if (flaw % 8 == 5) {
            skip(AGE + 1);
        } else if (flaw % 8 == 6) {
            this.seat(uint8(uint256(anchor.state().seats[2].deviceId)));
        }
        this.activateNext();
        if (registry.active() == epoch) {
            act(
                authority,
                abi.encodeCall(registry.retire, (epoch - 1, uint64(block.timestamp) + NOTICE))
            );
        }
    }

    function movePin(uint8 epoch, bool byOwner) external {
        uint64 to = uint64(epoch) % (registry.active() + 2);

        vm.prank(byOwner ? dev : authority);
        (bool ok,) = address(registry).call(abi.encodeCall(registry.pin, (address(app), to)));
        pinMoved = pinMoved || (ok && !byOwner);
        if (ok) {
            pinned = to;
        }
    }

    function replay(uint256 seed) external {
        if (sent.length > 0) {
            act(stranger, sent[seed % sent.length]);
        }
    }
}

contract RootRegistryInvariantsTest is RegistryTest {
    RootWorld private world;

    function setUp() public override {
        super.setUp();
        world = new RootWorld();
        targetContract(address(world));
        bytes4[] memory only = new bytes4[](10);
        only[0] = RootWorld.time.selector;
        only[1] = RootWorld.decide.selector;
        only[2] = RootWorld.publishBy.selector;
        only[3] = RootWorld.attestBy.selector;
        only[4] = RootWorld.confirm.selector;
        only[5] = RootWorld.activateNext.selector;
        only[6] = RootWorld.seat.selector;
        only[7] = RootWorld.whole.selector;
        only[8] = RootWorld.movePin.selector;
        only[9] = RootWorld.replay.selector;
        targetSelector(FuzzSelector({addr: address(world), selectors: only}));
    }

    /// One run of calls for all of it: the calls are what takes time.
    /// forge-config: test.invariant.runs = 16
    /// forge-config: test.invariant.depth = 48
    function invariant_one_root_per_epoch_and_always_one_to_use() public view {
        RootRegistry.State memory s = world.state();

        assertFalse(world.changed(), "one root per epoch, none skipped, none revived");
        assertFalse(world.stranded(), "the active epoch is usable");
        assertFalse(world.early(), "windows and notices pass");
        assertFalse(world.unheld(), "held by a quorum, lately, by who sits there now");
        assertFalse(world.stolen(), "no thief's root, and none that was not voted for");
        assertFalse(world.returned(), "what fell does not come again");
        assertFalse(world.pinMoved(), "pins are the owner's");
        assertFalse(world.gap());
        for (uint64 i = 0; i < s.epochs.length; i++) {
            assertEq(s.epochs[i].number, i);
            if (i <= s.active) {
                assertGe(uint8(s.epochs[i].status), uint8(RootRegistry.Status.ACTIVE));
            } else {
                assertEq(i, s.order.epoch);
                assertEq(i, s.active + 1);
                assertLe(uint8(s.epochs[i].status), uint8(RootRegistry.Status.PUBLISHED));
            }
        }
    }

    /// The handler does bring about what is forbidden to go wrong.
    function test_world_rotates_and_destroys() public {
        world.whole(1, false, 0);
        world.whole(2, true, 0);
        for (uint256 i = 0; i < 8; i++) {
            world.time(uint32(WINDOW));
        }
        world.decide(6, 0, 0);
        world.movePin(2, true);
        world.decide(0, 1, 0);
        world.time(1);
        world.publishBy(0, 7, true);
        world.publishBy(0, 7, false);
        world.decide(3, 3, 0);
        world.replay(3);
        assertEq(world.activations(), 2);
        assertTrue(world.destroyed(0));
        assertEq(world.state().vetoes, 1);
        assertEq(world.state().epochs.length, 4);
        for (uint8 flaw = 1; flaw < 7; flaw++) {
            world.whole(flaw, true, flaw);
            // The thief's publication fails, and the rest goes on.
            assertEq(world.activations(), flaw < 3 ? 2 : 3);
        }
        assertFalse(world.changed() || world.stolen() || world.early() || world.pinMoved());
    }
}
