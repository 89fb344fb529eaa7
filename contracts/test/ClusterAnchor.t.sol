// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Vm} from "forge-std/Vm.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {AnchorTest} from "./AnchorTest.sol";

contract ClusterAnchorTest is AnchorTest {
    string private constant UNSIGNED = "Not signed by the cluster";
    string private constant ELSEWHERE = "The anchor is elsewhere";

    function ownersOnly(bytes memory call) private {
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger)
        );
        vm.prank(stranger);
        (bool ok,) = address(anchor).call(call);
        assertTrue(ok);
    }

    // ---- made ----

    function test_not_without_owner_kms_or_wait() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new ClusterAnchor(address(0), kms, WAIT);
        vm.expectRevert("No KMS contract");
        new ClusterAnchor(owner, address(0), WAIT);
        vm.expectRevert("Wait out of range");
        new ClusterAnchor(owner, kms, 0);
        vm.expectRevert("Wait out of range");
        new ClusterAnchor(owner, kms, 365 days + 1);
    }

    /// It never loses its owner, and changes him in two steps.
    function test_ownership() public {
        ownersOnly(abi.encodeCall(Ownable.renounceOwnership, ()));
        vm.expectRevert("An anchor needs an owner");
        vm.prank(owner);
        anchor.renounceOwnership();
        vm.prank(owner);
        anchor.transferOwnership(stranger);
        assertEq(anchor.state().owner, owner);
        vm.prank(stranger);
        anchor.acceptOwnership();
        assertEq(anchor.state().owner, stranger);
    }

    function test_empty_at_first() public view {
        ClusterAnchor.State memory s = anchor.state();
        assertEq(s.kms, kms);
        assertEq(s.wait, WAIT);
        assertEq(s.signer, address(0));
        assertEq(s.point.generation, 0);
        assertEq(s.opener, 0);
        assertEq(s.order.number, 0);
        assertEq(s.announced.generation, 0);
        assertEq(s.seats.length, 0);
    }

    /// The storage is this contract's own: no slot of a proxy is set.
    function test_no_way_to_upgrade() public {
        (bool ok,) = address(anchor)
            .call(abi.encodeWithSignature("upgradeToAndCall(address,bytes)", stranger, ""));
        assertFalse(ok);
    }

    // ---- genesis ----

    function test_genesis_refused() public {
        ownersOnly(abi.encodeCall(anchor.genesis, (5, H1, cluster, NODE)));
        vm.startPrank(owner);
        vm.expectRevert("No index");
        anchor.genesis(0, H1, cluster, NODE);
        vm.expectRevert("No hash");
        anchor.genesis(5, 0, cluster, NODE);
        vm.expectRevert("No signer");
        anchor.genesis(5, H1, address(0), NODE);
        vm.expectRevert("No incarnation");
        anchor.genesis(5, H1, cluster, 0);
    }

    function test_genesis_once() public {
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.Genesis(5, H1, cluster, NODE);
        found();
        assertEq(abi.encode(point()), abi.encode(at(1, 5, H1)));
        assertEq(anchor.state().signer, cluster);
        assertEq(anchor.state().opener, NODE);
        vm.expectRevert("Cluster exists already");
        vm.prank(owner);
        anchor.genesis(5, H1, cluster, NODE);
    }

    function test_genesis_not_again_in_a_later_generation() public {
        found();
        order(OTHER);
        announce(at(1, 5, H1), 9, "h9", OTHER, "");
        skip(WAIT);
        open(at(1, 5, H1), 9, "h9", OTHER, "");
        vm.expectRevert("Cluster exists already");
        vm.prank(owner);
        anchor.genesis(10, H1, cluster, NODE);
    }

    function test_nothing_before_genesis() public {
        advance(at(0, 0, 0), 1, H1, "No cluster yet");
        announce(at(0, 0, 0), 1, H1, NODE, "No cluster yet");
        open(at(0, 0, 0), 1, H1, NODE, "No cluster yet");
        veto(1, "Nothing is announced");
        bytes memory sig = signed(KEY, rotateMessage(stranger));
        vm.expectRevert(bytes(UNSIGNED));
        anchor.rotateSigner(stranger, sig);
        vm.expectRevert("No cluster yet");
        vm.prank(owner);
        anchor.nameRecovery(NODE, false);
    }

    // ---- advance ----

    function test_advance_refused() public {
        found();
        advance(at(2, 5, H1), 6, "h6", ELSEWHERE);
        advance(at(1, 4, H1), 6, "h6", ELSEWHERE);
        advance(at(1, 5, "h5"), 6, "h6", ELSEWHERE);
        advance(at(1, 5, H1), 5, "h6", "Index does not grow");
        advance(at(1, 5, H1), 4, "h4", "Index does not grow");
        advance(at(1, 5, H1), 6, 0, "No hash");
        assertEq(abi.encode(point()), abi.encode(at(1, 5, H1)));
    }

    function test_advance_one_winner() public {
        found();
        bytes memory lost = signed(KEY, advanceMessage(at(1, 5, H1), 7, "h7"));
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.Advanced(1, 6, "h6");
        vm.prank(stranger); // anyone may relay
        advance(at(1, 5, H1), 6, "h6", "");
        assertEq(abi.encode(point()), abi.encode(at(1, 6, "h6")));
        vm.expectRevert(bytes(ELSEWHERE));
        anchor.advance(at(1, 5, H1), 7, "h7", lost);
    }

    /// Whoever advances holds the key and is ahead: what was announced against
    /// the older point must not open, or the point could go back.
    function test_advance_clears_what_was_announced() public {
        found();
        order(OTHER);
        announce(at(1, 5, H1), 6, "h6", OTHER, "");
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.AnnouncementCleared(2, OTHER);
        advance(at(1, 5, H1), 8, "h8", "");
        skip(WAIT);
        open(at(1, 8, "h8"), 6, "h6", OTHER, "Nothing is announced");
        announce(at(1, 8, "h8"), 6, "h6", OTHER, "Index goes back");
        announce(at(1, 8, "h8"), 8, "h8", OTHER, "");
    }

    // ---- signatures ----

    function refuseSignature(bytes memory sig) private {
        vm.expectRevert(bytes(UNSIGNED));
        anchor.advance(at(1, 5, H1), 6, "h6", sig);
    }

    function test_signature_of_another_key_or_message() public {
        found();
        bytes memory good = advanceMessage(at(1, 5, H1), 6, "h6");
        refuseSignature(signed(KEY + 1, good));
        refuseSignature(signed(KEY, advanceMessage(at(1, 5, H1), 7, "h6")));
        refuseSignature(signed(KEY, advanceMessage(at(1, 5, H1), 6, "h7")));
        // another action over the same words
        refuseSignature(
            signed(
                KEY,
                bytes.concat(head("open"), abi.encode(at(1, 5, H1)), abi.encode(uint64(6), "h6"))
            )
        );
        vm.prank(owner); // being the owner signs nothing
        refuseSignature(signed(KEY + 1, good));
    }

    function test_signature_form() public {
        found();
        bytes memory good = signed(KEY, advanceMessage(at(1, 5, H1), 6, "h6"));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(KEY, keccak256(advanceMessage(at(1, 5, H1), 6, "h6")));

        refuseSignature("");
        refuseSignature(new bytes(65));
        refuseSignature(bytes.concat(good, hex"00"));
        refuseSignature(abi.encodePacked(r, s));
        refuseSignature(abi.encodePacked(r, s, v - 27));
        // the same signature with the high s
        refuseSignature(abi.encodePacked(r, bytes32(ORDER_OF_K256 - uint256(s)), uint8(55 - v)));
        anchor.advance(at(1, 5, H1), 6, "h6", good);
    }

    function test_not_on_another_chain() public {
        found();
        bytes memory sig = signed(KEY, advanceMessage(at(1, 5, H1), 6, "h6"));
        vm.chainId(block.chainid + 1);
        refuseSignature(sig);
    }

    function test_not_on_another_contract() public {
        found();
        bytes memory sig = signed(KEY, advanceMessage(at(1, 5, H1), 6, "h6"));
        anchor = new ClusterAnchor(owner, kms, WAIT);
        found();
        refuseSignature(sig);
    }

    /// Every bit of the signature counts.
    function testFuzz_signature_bit(uint16 bit) public {
        found();
        bytes memory sig = signed(KEY, advanceMessage(at(1, 5, H1), 6, "h6"));
        bit = uint16(bound(bit, 0, 65 * 8 - 1));
        sig[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        refuseSignature(sig);
    }

    function test_rotate_signer() public {
        found();
        address next = vm.addr(KEY + 1);
        bytes memory there = signed(KEY, rotateMessage(next));
        bytes memory sig = signed(KEY, rotateMessage(address(0)));
        vm.expectRevert("No signer");
        anchor.rotateSigner(address(0), sig);
        sig = signed(KEY, rotateMessage(cluster));
        vm.expectRevert("Signer does not change");
        anchor.rotateSigner(cluster, sig);
        vm.expectRevert(bytes(UNSIGNED));
        anchor.rotateSigner(stranger, there);

        vm.expectEmit(address(anchor));
        emit ClusterAnchor.SignerRotated(cluster, next);
        anchor.rotateSigner(next, there);
        assertEq(anchor.state().signer, next);
        advance(at(1, 5, H1), 6, "h6", UNSIGNED);
        // back, and then the first message does not count again
        anchor.rotateSigner(cluster, signed(KEY + 1, rotateMessage(cluster)));
        vm.expectRevert(bytes(UNSIGNED));
        anchor.rotateSigner(next, there);
        advance(at(1, 5, H1), 6, "h6", "");
    }

    // ---- recovery: the order ----

    function test_name_recovery() public {
        found();
        ownersOnly(abi.encodeCall(anchor.nameRecovery, (NODE, false)));
        vm.expectRevert("No incarnation");
        vm.prank(owner);
        anchor.nameRecovery(0, true);

        vm.expectEmit(address(anchor));
        emit ClusterAnchor.RecoveryNamed(1, NODE, true);
        vm.prank(owner);
        anchor.nameRecovery(NODE, true);
        ClusterAnchor.Order memory o = anchor.state().order;
        assertEq(abi.encode(o), abi.encode(ClusterAnchor.Order(1, NODE, true)));
        order(0);
        o = anchor.state().order;
        assertEq(abi.encode(o), abi.encode(ClusterAnchor.Order(2, 0, false)));
    }

    /// Another name, none, or a stricter order clears what is announced; the
    /// same one, or a laxer one, leaves it.
    function test_name_recovery_and_announcement() public {
        found();
        order(NODE);
        announce(at(1, 5, H1), 5, H1, NODE, "");
        order(NODE);
        vm.prank(owner);
        anchor.nameRecovery(NODE, true);
        assertEq(anchor.state().announced.generation, 2);
        order(NODE);
        assertEq(anchor.state().announced.generation, 0);

        announce(at(1, 5, H1), 5, H1, NODE, "");
        order(OTHER);
        assertEq(anchor.state().announced.generation, 0);
        announce(at(1, 5, H1), 5, H1, NODE, "No order names it");
        announce(at(1, 5, H1), 5, H1, OTHER, "");
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.AnnouncementCleared(2, OTHER);
        order(0);
        assertEq(anchor.state().announced.generation, 0);
        skip(WAIT);
        open(at(1, 5, H1), 5, H1, OTHER, "Nothing is announced");
    }

    // ---- recovery: the announcement ----

    function test_announce_refused() public {
        found();
        announce(at(1, 5, H1), 6, "h6", NODE, "No order names it");
        announce(at(1, 5, H1), 6, "h6", 0, "No order names it");
        order(NODE);
        announce(at(1, 5, H1), 6, "h6", OTHER, "No order names it");
        announce(at(2, 5, H1), 6, "h6", NODE, ELSEWHERE);
        announce(at(1, 6, H1), 6, "h6", NODE, ELSEWHERE);
        announce(at(1, 5, "h5"), 6, "h6", NODE, ELSEWHERE);
        announce(at(1, 5, H1), 4, "h4", NODE, "Index goes back");
        announce(at(1, 5, H1), 5, "h5", NODE, "Another hash at the anchor");
        announce(at(1, 5, H1), 6, 0, NODE, "No hash");
        bytes memory sig = signed(KEY + 1, recoveryMessage("announce", at(1, 5, H1), 6, "h6", NODE));
        vm.expectRevert(bytes(UNSIGNED));
        anchor.announce(at(1, 5, H1), 6, "h6", NODE, sig);
        assertEq(anchor.state().announced.generation, 0);
    }

    function test_announce() public {
        found();
        order(NODE);
        uint64 then = uint64(block.timestamp) + WAIT;
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.Announced(2, 6, "h6", NODE, then);
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        assertEq(
            abi.encode(anchor.state().announced),
            abi.encode(ClusterAnchor.Announcement(2, 6, "h6", NODE, then))
        );
        assertEq(abi.encode(point()), abi.encode(at(1, 5, H1)));
    }

    /// Relaying what was said before never pushes the opening back.
    function test_announce_again_only_further_on() public {
        found();
        order(NODE);
        bytes memory first = signed(KEY, recoveryMessage("announce", at(1, 5, H1), 6, "h6", NODE));
        anchor.announce(at(1, 5, H1), 6, "h6", NODE, first);
        skip(100);
        vm.expectRevert("Announced already");
        anchor.announce(at(1, 5, H1), 6, "h6", NODE, first);
        announce(at(1, 5, H1), 5, H1, NODE, "Announced already");
        announce(at(1, 5, H1), 7, "h7", NODE, "");
        assertEq(anchor.state().announced.openAt, block.timestamp + WAIT);
        vm.expectRevert("Announced already");
        anchor.announce(at(1, 5, H1), 6, "h6", NODE, first);
    }

    // ---- recovery: the veto ----

    function test_veto_refused() public {
        found();
        veto(2, "Nothing is announced");
        order(NODE);
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        veto(1, "Another generation is announced");
        veto(3, "Another generation is announced");
        veto(0, "Another generation is announced");
        bytes memory sig = signed(KEY + 1, vetoMessage(2));
        vm.expectRevert(bytes(UNSIGNED));
        anchor.veto(2, sig);
        assertEq(anchor.state().vetoes, 0);
    }

    function test_veto_ends_it_and_counts_once() public {
        found();
        order(NODE);
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        bytes memory sig = signed(KEY, vetoMessage(2));
        bytes memory again = signed(KEY, recoveryMessage("announce", at(1, 5, H1), 6, "h6", NODE));
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.Vetoed(2, NODE, 1);
        vm.prank(stranger);
        anchor.veto(2, sig);

        ClusterAnchor.State memory s = anchor.state();
        assertEq(s.announced.generation, 0);
        assertEq(s.order.incarnation, 0);
        assertEq(s.vetoes, 1);
        skip(WAIT);
        open(at(1, 5, H1), 6, "h6", NODE, "Nothing is announced");
        announce(at(1, 5, H1), 6, "h6", NODE, "No order names it");
        // after another order, neither old message counts
        order(NODE);
        vm.expectRevert(bytes(UNSIGNED));
        anchor.announce(at(1, 5, H1), 6, "h6", NODE, again);
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        vm.expectRevert(bytes(UNSIGNED));
        anchor.veto(2, sig);
    }

    /// Up to the last second, and even after it as long as nobody has opened.
    function test_veto_wins_before_it_opens() public {
        found();
        order(NODE);
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        skip(WAIT - 1);
        veto(2, "");
        order(NODE);
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        skip(WAIT + 100);
        veto(2, "");
        open(at(1, 5, H1), 6, "h6", NODE, "Nothing is announced");
    }

    // ---- recovery: the opening ----

    function test_open_refused() public {
        found();
        open(at(1, 5, H1), 6, "h6", NODE, "Nothing is announced");
        order(NODE);
        open(at(1, 5, H1), 6, "h6", NODE, "Nothing is announced");
        announce(at(1, 5, H1), 6, "h6", NODE, "");
        open(at(1, 5, H1), 6, "h6", NODE, "Too early");
        skip(WAIT - 1);
        open(at(1, 5, H1), 6, "h6", NODE, "Too early");
        skip(1);
        open(at(2, 5, H1), 6, "h6", NODE, ELSEWHERE);
        open(at(1, 6, H1), 6, "h6", NODE, ELSEWHERE);
        open(at(1, 5, "h5"), 6, "h6", NODE, ELSEWHERE);
        open(at(1, 5, H1), 7, "h6", NODE, "Something else is announced");
        open(at(1, 5, H1), 6, "h7", NODE, "Something else is announced");
        open(at(1, 5, H1), 6, "h6", OTHER, "Something else is announced");
        bytes memory sig = signed(KEY, recoveryMessage("announce", at(1, 5, H1), 6, "h6", NODE));
        vm.expectRevert(bytes(UNSIGNED));
        anchor.open(at(1, 5, H1), 6, "h6", NODE, sig);
        assertEq(abi.encode(point()), abi.encode(at(1, 5, H1)));
    }

    function test_open() public {
        found();
        order(OTHER);
        announce(at(1, 5, H1), 6, "h6", OTHER, "");
        skip(WAIT);
        bytes memory sig = signed(KEY, recoveryMessage("open", at(1, 5, H1), 6, "h6", OTHER));
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.Opened(2, 6, "h6", OTHER);
        vm.prank(stranger);
        anchor.open(at(1, 5, H1), 6, "h6", OTHER, sig);

        ClusterAnchor.State memory s = anchor.state();
        assertEq(abi.encode(s.point), abi.encode(at(2, 6, "h6")));
        assertEq(s.opener, OTHER);
        assertEq(s.announced.generation, 0);
        assertEq(s.order.incarnation, 0);
        // of two that race, the second finds another anchor
        vm.expectRevert(bytes(ELSEWHERE));
        anchor.open(at(1, 5, H1), 6, "h6", OTHER, sig);
        advance(at(1, 5, H1), 7, "h7", ELSEWHERE);
        advance(at(2, 6, "h6"), 7, "h7", "");
        assertEq(abi.encode(point()), abi.encode(at(2, 7, "h7")));
    }

    /// With nothing beyond the anchor the point keeps its index and hash.
    function test_open_at_the_anchor() public {
        found();
        order(NODE);
        announce(at(1, 5, H1), 5, H1, NODE, "");
        skip(WAIT);
        open(at(1, 5, H1), 5, H1, NODE, "");
        assertEq(abi.encode(point()), abi.encode(at(2, 5, H1)));
    }

    // ---- seats ----

    function refuseName(bytes32 name) private {
        vm.expectRevert("Slot is not a name");
        vm.prank(owner);
        anchor.setSeat(name, DEVICE);
    }

    function test_seat_refused() public {
        ownersOnly(abi.encodeCall(anchor.setSeat, (slot("kms0"), DEVICE)));
        ownersOnly(abi.encodeCall(anchor.removeSeat, (slot("kms0"))));
        refuseName(0);
        refuseName(slot("a b"));
        refuseName(slot("a/b"));
        refuseName(slot("a#b"));
        refuseName(hex"616263007a"); // something behind the padding
        refuseName(hex"0061");
        refuseName(hex"611f62");
        refuseName(hex"617f");
        refuseName(hex"6180");
        refuseName(slot("12345678901234567890123456789012")); // 32 characters
        vm.startPrank(owner);
        vm.expectRevert("No device");
        anchor.setSeat(slot("kms0"), 0);
        vm.expectRevert("No such seat");
        anchor.removeSeat(slot("kms0"));
    }

    function test_seats() public {
        vm.startPrank(owner);
        vm.expectEmit(address(anchor));
        emit ClusterAnchor.SeatSet(slot("kms0"), DEVICE);
        anchor.setSeat(slot("kms0"), DEVICE);
        anchor.setSeat(slot("!1234567890123456789012345678~"), "d1");
        anchor.setSeat(slot("1234567890123456789012345678901"), "d2"); // 31
        anchor.setSeat(slot("kms0"), "new");
        ClusterAnchor.Seat[] memory s = anchor.state().seats;
        assertEq(s.length, 3);
        assertEq(s[0].slot, slot("kms0"));
        assertEq(s[0].deviceId, "new");

        vm.expectEmit(address(anchor));
        emit ClusterAnchor.SeatRemoved(slot("kms0"));
        anchor.removeSeat(slot("kms0"));
        s = anchor.state().seats;
        assertEq(s.length, 2);
        assertEq(s[0].deviceId, "d2");
        assertEq(s[1].deviceId, "d1");
    }

    function test_seats_have_a_limit() public {
        vm.startPrank(owner);
        for (uint8 i = 0; i < 15; i++) {
            anchor.setSeat(bytes32(bytes1(0x41 + i)), DEVICE);
        }
        vm.expectRevert("No seat is left");
        anchor.setSeat(slot("z"), DEVICE);
        anchor.setSeat(slot("A"), "another device");
        anchor.removeSeat(slot("B"));
        anchor.setSeat(slot("z"), DEVICE);
        assertEq(anchor.state().seats.length, 15);
    }

    /// The owner's decisions are in the log that auditors read.
    function test_policy_log() public {
        vm.recordLogs();
        found();
        order(NODE);
        vm.prank(owner);
        anchor.setSeat(slot("kms0"), DEVICE);
        anchor.rotateSigner(stranger, signed(KEY, rotateMessage(stranger)));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes32 topic = keccak256("PolicyChanged(address,bytes32,bytes32,bool)");
        uint256 n = 0;
        for (uint256 i = 0; i < logs.length; i++) {
            n += logs[i].topics[0] == topic ? 1 : 0;
        }
        // genesis: 2, order, seat, rotation: 2
        assertEq(n, 6);
    }
}
