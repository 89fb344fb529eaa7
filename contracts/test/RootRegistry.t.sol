// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Vm} from "forge-std/Vm.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {RootRegistry} from "../src/RootRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

contract RootRegistryTest is RegistryTest {
    // Who decides.

    function test_constructor_refuses() public {
        address k = address(kms);
        address a = address(anchor);

        vm.expectRevert("No KMS contract");
        new RootRegistry(address(0), a, authority, 2, 1, 1);
        vm.expectRevert("The anchor is of another KMS");
        new RootRegistry(stranger, a, authority, 2, 1, 1);
        vm.expectRevert("The authority is no contract");
        new RootRegistry(k, a, stranger, 2, 1, 1);
        for (uint64 bad = 0; bad <= 365 days + 1; bad += 365 days + 1) {
            vm.expectRevert("Veto window out of range");
            new RootRegistry(k, a, authority, bad, 1, 1);
            vm.expectRevert("Notice out of range");
            new RootRegistry(k, a, authority, 2, bad, 1);
            vm.expectRevert("Holders' age out of range");
            new RootRegistry(k, a, authority, 2, 1, bad);
        }
        // Evidence as old as the publication would do for an activation.
        vm.expectRevert("Holders' age out of range");
        new RootRegistry(k, a, authority, 10, 1, 10);
        assertEq(new RootRegistry(k, a, authority, 10, 1, 9).holdersAge(), 9);
    }

    function test_strangers_decide_nothing() public {
        bytes[] memory calls = new bytes[](9);

        found();
        rotate();
        order(EMERGENCY);
        calls[0] = abi.encodeCall(registry.transferAuthority, (stranger));
        calls[1] = abi.encodeCall(registry.setGuardian, (stranger));
        calls[2] = abi.encodeCall(registry.orderRotation, (ROUTINE, 0, 0));
        calls[3] = abi.encodeCall(registry.withdrawOrder, ());
        calls[4] = abi.encodeCall(registry.confirmRoot, (2, keccak256("his")));
        calls[5] = abi.encodeCall(registry.taint, (0));
        calls[6] = abi.encodeCall(registry.retire, (0, uint64(block.timestamp) + NOTICE));
        calls[7] = abi.encodeCall(registry.destroy, (0));
        calls[8] = abi.encodeCall(registry.orderRotation, (EMERGENCY, 0, 0));
        for (uint256 i = 0; i < calls.length; i++) {
            // Neither does the KMS contract's owner, nor a guardian.
            address who = i % 2 == 0 ? stranger : owner;

            vm.prank(who);
            (bool ok, bytes memory answer) = address(registry).call(calls[i]);
            assertFalse(ok);
            assertEq(
                answer, abi.encodeWithSignature("Error(string)", "Only the authority"), "reason"
            );
        }
    }

    function test_authority_moves_in_two_steps() public {
        address next = makeAddr("next");

        vm.prank(authority);
        vm.expectRevert("The authority is no contract");
        registry.transferAuthority(next);
        vm.etch(next, hex"00");
        vm.prank(authority);
        registry.transferAuthority(next);
        assertEq(registry.authority(), authority);
        assertEq(registry.state().pendingAuthority, next);
        vm.expectRevert("Not named as the authority");
        registry.acceptAuthority();

        // Taken back.
        vm.prank(authority);
        registry.transferAuthority(address(0));
        vm.prank(next);
        vm.expectRevert("Not named as the authority");
        registry.acceptAuthority();

        vm.prank(authority);
        registry.transferAuthority(next);
        Vm.Log[] memory logs =
            callAs(next, address(registry), abi.encodeCall(registry.acceptAuthority, ()));
        assertEq(logs.length, 3);
        assertPolicy(logs[1], next, keccak256("root-authority"), word(authority), false);
        assertPolicy(logs[2], next, keccak256("root-authority"), word(next), true);
        assertEq(registry.authority(), next);
        vm.prank(authority);
        vm.expectRevert("Only the authority");
        registry.setGuardian(authority);
        vm.prank(next);
        vm.expectRevert("Not named as the authority");
        registry.acceptAuthority();
    }

    function test_guardian_is_set_and_replaced() public {
        Vm.Log[] memory logs =
            callAs(authority, address(registry), abi.encodeCall(registry.setGuardian, (guardian)));
        assertEq(logs.length, 2);
        assertPolicy(logs[1], authority, keccak256("root-guardian"), word(guardian), true);
        logs = callAs(
            authority, address(registry), abi.encodeCall(registry.setGuardian, (address(0)))
        );
        assertEq(logs.length, 2);
        assertPolicy(logs[0], authority, keccak256("root-guardian"), word(guardian), false);
        assertEq(registry.guardian(), address(0));
    }

    // Epoch 0.

    function test_genesis_is_what_the_kms_contract_says() public {
        bytes memory key = pub(root(0));
        bytes32 ca = caOf0;

        assertEq(registry.state().epochs.length, 0);
        vm.expectRevert("Only authority or owner");
        registry.registerGenesis(key, ca);
        vm.startPrank(authority);
        vm.expectRevert("The KMS contract has another CA");
        registry.registerGenesis(key, keccak256("another"));
        key[32] ^= 0x01;
        vm.expectRevert("The KMS contract has another key");
        registry.registerGenesis(key, ca);
        vm.expectRevert("No epoch 0 yet");
        registry.orderRotation(ROUTINE, 0, 0);
        vm.stopPrank();

        key = pub(root(0));
        vm.prank(owner);
        registry.registerGenesis(key, ca);
        RootRegistry.Epoch memory e = registry.state().epochs[0];
        assertEq(abi.encodePacked(e.keyPrefix, e.keyX), key);
        assertEq(e.signer, vm.addr(root(0)));
        assertEq(e.caSpkiHash, ca);
        assertStatus(0, RootRegistry.Status.ACTIVE);
        vm.prank(authority);
        vm.expectRevert("Epoch 0 exists already");
        registry.registerGenesis(key, ca);
    }

    /// Uncompressed, off the curve, not a point at all.
    function test_genesis_refuses_what_is_no_key() public {
        bytes[] memory bad = new bytes[](5);

        bad[0] = "";
        bad[1] = bytes.concat(pub(root(0)), hex"00");
        bad[2] = abi.encodePacked(hex"04", uint256(1));
        bad[3] = abi.encodePacked(hex"02", uint256(5)); // 5^3 + 7 is no square
        bad[4] = abi.encodePacked(hex"02", type(uint256).max);
        for (uint256 i = 0; i < bad.length; i++) {
            vm.startPrank(owner);
            kms.setKmsInfo(DstackKms.KmsInfo(bad[i], CA_SPKI, "", ""));
            vm.expectRevert("Not a k256 key");
            registry.registerGenesis(bad[i], caOf0);
            vm.stopPrank();
        }
    }

    function testFuzz_keys_are_decompressed(uint256 key) public {
        key = bound(key, 1, 2 ** 255);
        bytes memory k256 = pub(key);

        vm.startPrank(owner);
        kms.setKmsInfo(DstackKms.KmsInfo(k256, CA_SPKI, "", ""));
        registry.registerGenesis(k256, caOf0);
        vm.stopPrank();
        assertEq(registry.epochOf(0).signer, vm.addr(key));
    }

    // Orders.

    function test_orders() public {
        uint64 far = uint64(block.timestamp) + 365 days;

        found();
        vm.startPrank(authority);
        vm.expectRevert("No rotation is ordered");
        registry.withdrawOrder();
        vm.expectRevert("Too far away");
        registry.orderRotation(ROUTINE, far + 1, 0);
        vm.expectRevert("Retirement out of range");
        registry.orderRotation(ROUTINE, 0, NOTICE - 1);
        vm.expectRevert("Retirement out of range");
        registry.orderRotation(ROUTINE, 0, 3650 days + 1);
        registry.orderRotation(ROUTINE, far, NOTICE);
        assertStatus(1, RootRegistry.Status.ORDERED);
        vm.expectRevert("A rotation is ordered already");
        registry.orderRotation(EMERGENCY, 0, 0);
        registry.withdrawOrder();
        assertStatus(1, RootRegistry.Status.NONE);
        assertEq(registry.state().order.number, 1);
        registry.orderRotation(EMERGENCY, 0, 0);
        vm.stopPrank();
        assertEq(registry.state().order.number, 2);
        assertEq(registry.state().order.epoch, 1);
        assertEq(registry.state().epochs.length, 2);
    }

    function test_a_published_root_falls_with_its_order() public {
        found();
        order(ROUTINE);
        publish(1);
        vm.prank(authority);
        registry.withdrawOrder();
        assertStatus(1, RootRegistry.Status.NONE);
        order(ROUTINE);
        publish(1, root(1), root(0), "This key was published before");
        publish(1, root(7), root(0), "");
    }

    // Publication.

    function test_publish_needs_an_order_for_that_epoch() public {
        publish(1, root(1), root(0), "No rotation to this epoch is ordered");
        found();
        publish(1, root(1), root(0), "No rotation to this epoch is ordered");
        publish(0, root(1), root(0), "No rotation to this epoch is ordered");
        order(ROUTINE);
        publish(0, root(1), root(0), "No rotation to this epoch is ordered");
        publish(2, root(2), root(0), "No rotation to this epoch is ordered");
        publish(1);
        // Nor is one skipped while the first is waiting.
        publish(2, root(2), root(1), "No rotation to this epoch is ordered");
    }

    function test_publish_not_before_its_time() public {
        uint64 at = uint64(block.timestamp) + 3 days;

        found();
        vm.prank(authority);
        registry.orderRotation(ROUTINE, at, 0);
        vm.warp(at - 1);
        publish(1, root(1), root(0), "Too early");
        vm.warp(at);
        publish(1);
    }

    function test_second_root_for_an_epoch() public {
        found();
        order(ROUTINE);
        publish(1);
        publish(1, root(9), root(0), "A root is published already");
        publish(1, root(1), root(0), "A root is published already");
        activate(1);
        publish(1, root(9), root(0), "No rotation to this epoch is ordered");
    }

    function test_routine_needs_the_root_before() public {
        found();
        order(ROUTINE);
        publish(1, root(1), THIEF, "Not signed by the root before it");
        publish(1, root(1), CLUSTER, "Not signed by the root before it");
        publish(1, root(1), root(1), "Not signed by the root before it");
        publish(1);
        activate(1);
        order(ROUTINE);
        publish(2, root(2), root(0), "Not signed by the root before it");
        publish(2);
    }

    /// Each field of the certificate counts.
    function test_certificate_is_for_here_and_this() public {
        bytes memory good;
        bytes memory other;
        bytes memory k256 = pub(root(1));
        RootRegistry.Holders memory h;

        found();
        order(ROUTINE);
        h = held(1, root(1));
        good = certificateOf(1, root(1), ROUTINE);
        assertEq(good, registry.certificate(1, k256, CA, ROUTINE));
        assertEq(good.length, 121);
        for (uint256 i = 0; i < good.length; i++) {
            other = bytes.concat(good);
            other[i] ^= 0x01;
            other = sig65(root(0), other);
            vm.expectRevert("Not signed by the root before it");
            registry.publishRoot(1, k256, CA, other, h);
        }
        other = sig65(root(0), certificateOf(1, root(1), EMERGENCY));
        vm.expectRevert("Not signed by the root before it");
        registry.publishRoot(1, k256, CA, other, h);

        good = sig65(root(0), good);
        vm.expectRevert("No CA");
        registry.publishRoot(1, k256, 0, good, h);
        vm.expectRevert("Not signed by the root before it");
        registry.publishRoot(1, pub(root(2)), CA, good, h);

        // The same on another chain, and at another registry.
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        vm.expectRevert("Not signed by the root before it");
        registry.publishRoot(1, k256, CA, good, h);
        vm.chainId(chain);
        RootRegistry twin =
            new RootRegistry(address(kms), address(anchor), authority, WINDOW, NOTICE, AGE);
        bytes memory zero = pub(root(0));
        vm.startPrank(authority);
        twin.registerGenesis(zero, caOf0);
        twin.orderRotation(ROUTINE, 0, 0);
        vm.stopPrank();
        vm.expectRevert("Not signed by the root before it");
        twin.publishRoot(1, k256, CA, good, h);
        registry.publishRoot(1, k256, CA, good, h);
    }

    function test_signatures_of_other_forms() public {
        bytes memory k256 = pub(root(1));
        RootRegistry.Holders memory h;
        bytes memory sig;

        found();
        order(ROUTINE);
        h = held(1, root(1));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(root(0), keccak256(certificateOf(1, root(1), ROUTINE)));
        bytes[] memory bad = new bytes[](5);
        bad[0] = "";
        bad[1] = abi.encodePacked(r, s);
        bad[2] = abi.encodePacked(r, s, v, v);
        bad[3] = abi.encodePacked(r, s, uint8(2));
        // The other s of the same signature.
        bad[4] = abi.encodePacked(
            r,
            0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s),
            v == 27 ? 28 : 27
        );
        for (uint256 i = 0; i < bad.length; i++) {
            vm.expectRevert("Not signed by the root before it");
            registry.publishRoot(1, k256, CA, bad[i], h);
        }
        sig = abi.encodePacked(r, s, v); // Ethereum's own form
        registry.publishRoot(1, k256, CA, sig, h);
    }

    /// The bytes that kms/keys/keys.c signs, for a C test to assert the same:
    /// the root of epoch 0 and the successor's k256 key are those of
    /// dstack-compat.md 2.6 (c) (`root_k256`, `k256_key`); its CA is that of (a).
    function test_vector_of_the_epoch_certificate() public {
        RootRegistry here = RootRegistry(0x00112233445566778899AABbCCdDeeFf00112233);
        bytes memory k256 = hex"0321bbcbc4354d9df4a5e50c7d727a51b88eacf4a3d8723386c7a7324d68623472";
        bytes32 ca = sha256(
            hex"3059301306072a8648ce3d020106082a8648ce3d0301070342000419b2457dd9b8aa6446d980f136fff7812ecd6c77740eeb0e28b10d56c0c00028a5b6e59dcea307d583bd1f70769e9c116df2bcfb1758a95d8613e7de1c8482c0"
        );

        vm.etch(address(here), address(registry).code);
        vm.chainId(31337);
        bytes memory text = here.certificate(1, k256, ca, ROUTINE);
        assertEq(text, VECTOR_TEXT);
        assertEq(keccak256(text), VECTOR_DIGEST);
        assertEq(
            sig65(0xc622788ad98b75b6ad16b7a2068e7b6fd12eef5aae26cc6778da9b6e0de70be4, text),
            VECTOR_SIG65
        );
        assertEq(keccak256(here.certificate(1, k256, ca, EMERGENCY)), VECTOR_DIGEST_EMERGENCY);
    }

    bytes private constant VECTOR_TEXT =
        hex"64657670726f6f662d6b6d732d65706f63683a0000000000007a6900112233445566778899aabbccddeeff0011223300000000000000010321bbcbc4354d9df4a5e50c7d727a51b88eacf4a3d8723386c7a7324d686234727af8c9f9564fbc3c472767a38de21a51830c7047175cf8ec88bc9b7febc0c8a800";
    bytes32 private constant VECTOR_DIGEST =
        0x8799c44556ef8619307f1e2c8c81f1ddc8538a0467f3252ae5fabac1a44ed6d5;
    bytes32 private constant VECTOR_DIGEST_EMERGENCY =
        0x320da7e3301f73d22e85303e902f42a37dc580472a18a65b967b5f61b25f45d6;
    bytes private constant VECTOR_SIG65 =
        hex"0a00ac59cd7002921a3a168d721dae81c551846f6294d97cce5a102dcef839386564c1a6fd72399d6b04c04ff93a3da5e43d93b0d3860f9bc8bfaa811f608bb501";

    // Holders.

    function publishHeld(RootRegistry.Holders memory h, string memory refusal) private {
        bytes memory sig = sig65(root(0), certificateOf(1, root(1), ROUTINE));
        bytes memory k256 = pub(root(1));

        refusedWith(refusal);
        registry.publishRoot(1, k256, CA, sig, h);
    }

    function test_publish_needs_a_quorum_of_holders() public {
        uint64 now_ = uint64(block.timestamp);

        found();
        order(ROUTINE);
        for (uint256 seats = 0; seats < 8; seats++) {
            if (seats != 3 && seats < 5) {
                publishHeld(heldBy(1, root(1), CLUSTER, seats, now_), "Too few hold it");
            }
        }
        publishHeld(heldBy(1, root(1), CLUSTER, 8 + 3, now_), "No such seat");
        publishHeld(heldBy(1, root(1), CLUSTER, 3, now_), "");
        assertEq(registry.epochOf(1).holders, 3);
    }

    /// More than half, and two thirds, of any number of seats up to 15.
    function test_quorum_of_any_number_of_seats() public {
        uint64 now_ = uint64(block.timestamp);

        found();
        order(ROUTINE);
        for (uint256 n = 3; n <= 15; n++) {
            uint256 enough = (2 * n + 2) / 3;

            if (n > 3) {
                vm.prank(owner);
                anchor.setSeat(bytes32(bytes1(uint8(0x61 + n))), DEVICE);
            }
            publishHeld(
                heldBy(1, root(1), CLUSTER, (1 << (enough - 1)) - 1, now_), "Too few hold it"
            );
            uint256 snapshot = vm.snapshotState();
            publishHeld(heldBy(1, root(1), CLUSTER, (1 << enough) - 1, now_), "");
            vm.revertToState(snapshot);
        }
        vm.startPrank(owner);
        for (uint256 n = 4; n <= 15; n++) {
            anchor.removeSeat(bytes32(bytes1(uint8(0x61 + n))));
        }
        anchor.removeSeat("c");
        vm.stopPrank();
        publishHeld(heldBy(1, root(1), CLUSTER, 1, now_), "Too few hold it");
        vm.prank(owner);
        anchor.removeSeat("b");
        publishHeld(heldBy(1, root(1), CLUSTER, 0, now_), "Too few hold it");
        vm.prank(owner);
        anchor.removeSeat("a");
        publishHeld(heldBy(1, root(1), CLUSTER, 0, now_), "Too few hold it");
    }

    function test_holders_are_attested_by_root_and_cluster() public {
        uint64 now_ = uint64(block.timestamp);
        RootRegistry.Holders memory h;

        found();
        order(ROUTINE);
        publishHeld(heldBy(1, root(1), THIEF, ALL, now_), "Not attested by the cluster");
        // By the cluster, but nobody has the root any more.
        h = held(1, root(1));
        h.byRoot = sig65(root(0), holdersMessage(1, root(1), ALL, now_));
        publishHeld(h, "Not attested by the root");
        h = held(1, root(1));
        h.seats = 3; // not what was signed
        publishHeld(h, "Not attested by the root");
        publishHeld(heldBy(2, root(1), CLUSTER, ALL, now_), "Not attested by the root");
        // Signed for the order before.
        h = held(1, root(1));
        vm.prank(authority);
        registry.withdrawOrder();
        order(ROUTINE);
        publishHeld(h, "Not attested by the root");
        // Signed for other seats.
        h = held(1, root(1));
        vm.prank(owner);
        anchor.setSeat("c", keccak256("another device"));
        publishHeld(h, "Not attested by the root");
        // Signed for another chain or registry.
        h = held(1, root(1));
        bytes memory message = holdersMessage(1, root(1), ALL, now_);
        message[63] ^= 0x01;
        h.byRoot = sig65(root(1), message);
        publishHeld(h, "Not attested by the root");
        message[63] ^= 0x01;
        message[95] ^= 0x01;
        h.byRoot = sig65(root(1), message);
        publishHeld(h, "Not attested by the root");
        publishHeld(held(1, root(1)), "");
    }

    function test_holders_of_what_time() public {
        uint64 now_ = uint64(block.timestamp);

        found();
        order(ROUTINE);
        publishHeld(heldBy(1, root(1), CLUSTER, ALL, now_ + 1), "Holders not attested lately");
        publishHeld(heldBy(1, root(1), CLUSTER, ALL, now_ - 1), "Holders not attested lately");
        publishHeld(
            heldBy(1, root(1), CLUSTER, ALL, type(uint64).max), "Holders not attested lately"
        );
        skip(AGE + 1);
        publishHeld(heldBy(1, root(1), CLUSTER, ALL, now_), "Holders not attested lately");
        publishHeld(heldBy(1, root(1), CLUSTER, ALL, now_ + 1), "");
    }

    /// Without genesis the anchor has no signer, and nobody is zero's.
    function test_holders_need_a_cluster() public {
        ClusterAnchor blank = new ClusterAnchor(owner, address(kms), 1800);
        bytes memory zero = pub(root(0));

        vm.prank(owner);
        blank.setSeat("a", DEVICE);
        anchor = blank;
        registry = new RootRegistry(address(kms), address(blank), authority, WINDOW, NOTICE, AGE);
        vm.startPrank(authority);
        registry.registerGenesis(zero, caOf0);
        registry.orderRotation(ROUTINE, 0, 0);
        vm.stopPrank();
        RootRegistry.Holders memory h = heldBy(1, root(1), CLUSTER, 1, uint64(block.timestamp));
        h.byCluster = "";
        publishHeld(h, "Not attested by the cluster");
        vm.startPrank(authority);
        registry.withdrawOrder();
        registry.orderRotation(EMERGENCY, 0, 0);
        vm.stopPrank();
        bytes memory k256 = pub(root(1));
        vm.expectRevert("Not signed by the cluster");
        registry.publishRoot(1, k256, CA, "", h);
        vm.expectRevert("Not signed by the cluster");
        registry.recordHandovers(0, handovers(0, 1), "");
    }

    // Activation.

    function test_activate_waits_for_the_window() public {
        found();
        vm.expectRevert("No root to activate");
        registry.activate(0);
        order(ROUTINE);
        vm.expectRevert("No root to activate");
        registry.activate(1);
        publish(1);
        skip(WINDOW - 1);
        vm.expectRevert("Too early");
        registry.activate(1);
        skip(1);
        attest(1, "");
        vm.prank(stranger); // anyone
        registry.activate(1);
        assertEq(registry.active(), 1);
        assertStatus(0, RootRegistry.Status.ACTIVE);
        assertStatus(1, RootRegistry.Status.ACTIVE);
        assertEq(registry.state().order.epoch, 0);
        vm.expectRevert("No root to activate");
        registry.activate(1);
    }

    function test_activate_needs_holders_lately() public {
        found();
        order(ROUTINE);
        attest(1, "No root to attest");
        publish(1);
        attest(1, "Attested already");
        skip(WINDOW);
        vm.expectRevert("Holders not attested lately");
        registry.activate(1);
        attest(1, "");
        skip(AGE + 1);
        vm.expectRevert("Holders not attested lately");
        registry.activate(1);
        attest(1, "");
        // A seat has changed hands: whoever sits there may not have the root.
        vm.prank(owner);
        anchor.setSeat("b", keccak256("another device"));
        vm.expectRevert("Seats have changed");
        registry.activate(1);
        skip(1);
        attest(1, "");
        registry.activate(1);
        attest(1, "No root to attest");
    }

    // Veto.

    function test_veto_by_authority_or_guardian_alone() public {
        found();
        order(ROUTINE);
        vm.prank(authority);
        vm.expectRevert("No root to veto");
        registry.vetoRoot(1);
        publish(1);
        vm.prank(address(0)); // while there is no guardian
        vm.expectRevert("Only authority or guardian");
        registry.vetoRoot(1);
        vm.prank(owner);
        vm.expectRevert("Only authority or guardian");
        registry.vetoRoot(1);
        vm.prank(authority);
        registry.setGuardian(guardian);
        vm.prank(guardian);
        registry.vetoRoot(1);
        assertStatus(1, RootRegistry.Status.ORDERED);
        assertEq(registry.epochOf(1).signer, address(0));
        assertEq(registry.state().vetoes, 1);
        skip(WINDOW);
        vm.expectRevert("No root to activate");
        registry.activate(1);

        // Another one may come; the vetoed one never again.
        publish(1, root(1), root(0), "This key was published before");
        publish(1, root(8), root(0), "");
        skip(2 * WINDOW); // late, but not too late
        vm.prank(authority);
        registry.vetoRoot(1);
        publish(1, root(9), root(0), "");
        skip(WINDOW);
        RootRegistry.Holders memory h = held(1, root(9));
        registry.attestHolders(1, h);
        registry.activate(1);
        vm.prank(guardian);
        vm.expectRevert("No root to veto");
        registry.vetoRoot(1);
        vm.prank(guardian);
        vm.expectRevert("Only the authority");
        registry.withdrawOrder();
    }

    function test_no_key_twice() public {
        found();
        order(ROUTINE);
        publish(1, root(0), root(0), "This key was published before");
        bytes memory k256 = pub(root(1));
        k256[0] = 0x04;
        RootRegistry.Holders memory h = held(1, root(1));
        bytes memory sig = sig65(root(0), registry.certificate(1, k256, CA, ROUTINE));
        vm.expectRevert("Not a k256 key");
        registry.publishRoot(1, k256, CA, sig, h);
    }

    // Emergency.

    function confirm(uint64 epoch, bytes32 hash) private {
        vm.prank(authority);
        registry.confirmRoot(epoch, hash);
    }

    function test_emergency_ignores_the_root_before() public {
        bytes32 hash = rootHash(root(2));

        found();
        rotate();
        order(EMERGENCY);
        // Whoever stole the root of epoch 1 signs his own.
        publish(2, THIEF, root(1), "Not signed by the cluster");
        publish(2, THIEF, THIEF, "Not signed by the cluster");
        RootRegistry.Holders memory h = heldBy(2, THIEF, THIEF, ALL, uint64(block.timestamp));
        bytes memory sig = sig65(root(1), certificateOf(2, THIEF, EMERGENCY));
        bytes memory k256 = pub(THIEF);
        vm.expectRevert("Not signed by the cluster");
        registry.publishRoot(2, k256, CA, sig, h);

        publish(2, root(2), CLUSTER, "");
        skip(WINDOW);
        attest(2, "");
        vm.expectRevert("Not confirmed");
        registry.activate(2);
        confirm(2, hash);
        assertEq(registry.state().order.confirmed, hash);
        registry.activate(2);
        assertEq(registry.active(), 2);
        assertEq(registry.state().order.confirmed, 0);
    }

    /// The thief has the cluster's key as well: the vote decides between roots.
    function test_emergency_vote_names_the_root() public {
        bytes32 hash = rootHash(root(1));

        found();
        order(EMERGENCY);
        publish(1, THIEF, CLUSTER, "");
        confirm(1, hash); // which vetoes the other
        assertStatus(1, RootRegistry.Status.ORDERED);
        assertEq(registry.state().vetoes, 1);
        publish(1, root(7), CLUSTER, "The vote was for another root");
        publish(1, root(1), CLUSTER, "");
        confirm(1, hash); // again: nothing happens to it
        activate(1);
        assertEq(registry.epochOf(1).signer, vm.addr(root(1)));
    }

    function test_confirm_refuses() public {
        bytes32 hash = rootHash(root(1));

        found();
        vm.startPrank(authority);
        vm.expectRevert("No rotation to this epoch is ordered");
        registry.confirmRoot(0, hash);
        vm.expectRevert("No rotation to this epoch is ordered");
        registry.confirmRoot(1, hash);
        registry.orderRotation(ROUTINE, 0, 0);
        vm.expectRevert("Only an emergency is confirmed");
        registry.confirmRoot(1, hash);
        registry.withdrawOrder();
        registry.orderRotation(EMERGENCY, 0, 0);
        vm.expectRevert("No root");
        registry.confirmRoot(1, 0);
        registry.confirmRoot(1, hash);
        vm.stopPrank();
        // A veto takes the second vote with it.
        publish(1, root(1), CLUSTER, "");
        vm.prank(authority);
        registry.vetoRoot(1);
        assertEq(registry.state().order.confirmed, 0);
        publish(1, root(5), CLUSTER, "");
        skip(WINDOW);
        RootRegistry.Holders memory h = held(1, root(5));
        registry.attestHolders(1, h);
        vm.expectRevert("Not confirmed");
        registry.activate(1);
    }

    // The end of an epoch.

    function test_taint_retire_destroy() public {
        uint64 at = uint64(block.timestamp) + WINDOW + NOTICE;

        found();
        vm.startPrank(authority);
        vm.expectRevert("The active epoch stays");
        registry.taint(0);
        vm.expectRevert("The active epoch stays");
        registry.retire(0, at);
        vm.expectRevert("The active epoch stays");
        registry.destroy(0);
        vm.expectRevert("Not in use");
        registry.taint(1);
        vm.expectRevert("Not in use");
        registry.retire(1, at);
        vm.expectRevert("Not in use");
        registry.destroy(1);
        vm.stopPrank();
        rotate();

        vm.startPrank(authority);
        vm.expectRevert("Too early");
        registry.destroy(0); // no retirement was set
        registry.taint(0);
        assertStatus(0, RootRegistry.Status.TAINTED);
        vm.expectRevert("Not in use");
        registry.taint(0);
        vm.expectRevert("Retirement out of range");
        registry.retire(0, at - 1);
        vm.expectRevert("Retirement out of range");
        registry.retire(0, at + 3650 days);
        registry.retire(0, at);
        vm.warp(at - 1);
        vm.expectRevert("Too early");
        registry.destroy(0);
        registry.retire(0, 0);
        vm.warp(at);
        vm.expectRevert("Too early");
        registry.destroy(0); // it was called off
        registry.retire(0, at + NOTICE);
        vm.warp(at + NOTICE);
        registry.destroy(0);
        assertStatus(0, RootRegistry.Status.DESTROYED);
        vm.expectRevert("Not in use");
        registry.destroy(0);
        vm.expectRevert("Not in use");
        registry.taint(0);
        vm.expectRevert("Not in use");
        registry.retire(0, at + 2 * NOTICE);
        vm.expectRevert("The active epoch stays");
        registry.destroy(1);
        vm.stopPrank();
    }

    function test_an_order_can_retire_the_epoch_before() public {
        found();
        vm.prank(authority);
        registry.orderRotation(ROUTINE, 0, NOTICE);
        publish(1);
        assertEq(registry.epochOf(0).retireAt, 0);
        activate(1);
        assertEq(registry.epochOf(0).retireAt, block.timestamp + NOTICE);
        skip(NOTICE);
        vm.prank(authority);
        registry.destroy(0); // untainted, but not unannounced
    }

    /// What nodes read in one call always has every epoch that lives.
    function test_state_has_every_epoch_that_lives() public {
        found();
        for (uint64 e = 1; e < 64; e++) {
            rotate();
        }
        assertEq(registry.state().epochs.length, 64);
        vm.startPrank(authority);
        vm.expectRevert("Destroy the oldest epoch first");
        registry.orderRotation(ROUTINE, 0, 0);
        registry.retire(0, uint64(block.timestamp) + NOTICE);
        skip(NOTICE);
        registry.destroy(0);
        vm.stopPrank();
        rotate();
        RootRegistry.State memory s = registry.state();
        assertEq(s.epochs.length, 64);
        assertEq(s.epochs[0].number, 1);
        assertEq(s.epochs[63].number, 64);
        assertEq(s.active, 64);
        uint256 gas = gasleft();
        registry.state();
        emit log_named_uint("gas of state() with 64 epochs", gas - gasleft());
    }

    // Pins.

    function attach() private {
        vm.prank(owner);
        kms.setRootRegistry(address(registry));
    }

    function newApp() private returns (address) {
        return kms.deployAndRegisterApp(dev, false, true, false, bytes32(0), bytes32(0));
    }

    function test_apps_get_the_epoch_of_their_day() public {
        found();
        attach();
        address at0 = newApp();
        rotate();
        address at1 = newApp();
        assertEq(registry.pinOf(address(app)), 0); // from before the registry
        assertEq(registry.pinOf(at0), 0);
        assertEq(registry.pinOf(at1), 1);

        // Registering again is open to everybody, and moves nothing.
        rotate();
        vm.startPrank(stranger);
        kms.registerApp(address(app));
        kms.registerApp(at0);
        kms.registerApp(at1);
        vm.stopPrank();
        assertEq(registry.pinOf(address(app)), 0);
        assertEq(registry.pinOf(at0), 0);
        assertEq(registry.pinOf(at1), 1);

        vm.expectRevert("Only the KMS contract");
        registry.appRegistered(stranger);
        // Nor does the KMS contract, whoever wrote its code.
        vm.prank(address(kms));
        registry.appRegistered(at0);
        assertEq(registry.pinOf(at0), 0);
    }

    function test_pins_are_moved_by_the_app_or_its_owner() public {
        found();
        rotate();
        address[4] memory others = [stranger, owner, authority, address(kms)];
        for (uint256 i = 0; i < others.length; i++) {
            vm.prank(others[i]);
            vm.expectRevert("Only the app or its owner");
            registry.pin(address(app), 1);
        }
        vm.recordLogs();
        vm.prank(dev);
        registry.pin(address(app), 1);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], keccak256("Pinned(address,uint64,uint64,address)"));
        assertEq(logs[0].topics[1], word(address(app)));
        assertEq(logs[0].data, abi.encode(0, dev));
        assertEq(registry.pinOf(address(app)), 1);
        vm.prank(address(app));
        registry.pin(address(app), 0);
        assertEq(registry.pinOf(address(app)), 0);

        // An app that is no contract, or whose owner() is none.
        kms.registerApp(stranger);
        vm.prank(dev);
        vm.expectRevert("Only the app or its owner");
        registry.pin(stranger, 1);
        vm.prank(stranger);
        registry.pin(stranger, 1);
        kms.registerApp(authority); // code that answers nothing
        vm.prank(dev);
        vm.expectRevert("Only the app or its owner");
        registry.pin(authority, 1);
        bytes memory ask = abi.encodeWithSignature("owner()");
        vm.mockCall(authority, ask, abi.encode(type(uint256).max));
        vm.prank(address(type(uint160).max));
        vm.expectRevert("Only the app or its owner");
        registry.pin(authority, 1);
        vm.mockCall(authority, ask, abi.encode(dev, dev));
        vm.prank(dev);
        vm.expectRevert("Only the app or its owner");
        registry.pin(authority, 1);
        vm.clearMockedCalls();

        DstackApp unregistered = new DstackApp();
        vm.prank(address(unregistered));
        vm.expectRevert("App not registered");
        registry.pin(address(unregistered), 1);
    }

    function test_pins_go_to_epochs_that_stay() public {
        found();
        rotate();
        rotate();
        order(ROUTINE);
        publish(3);
        vm.startPrank(authority);
        registry.taint(0);
        registry.retire(1, uint64(block.timestamp) + NOTICE);
        vm.stopPrank();
        for (uint64 e = 0; e < 5; e++) {
            vm.prank(dev);
            refusedWith(e == 2 ? "" : "No epoch to stay at");
            registry.pin(address(app), e);
        }
        skip(NOTICE);
        vm.prank(authority);
        registry.destroy(1);
        vm.prank(dev);
        vm.expectRevert("No epoch to stay at");
        registry.pin(address(app), 1);
        // The end of an epoch moves no pin: that would change keys unasked.
        assertEq(registry.pinOf(address(app)), 2);
    }

    function test_only_the_owner_attaches_a_registry() public {
        ownersOnly(address(kms), abi.encodeCall(kms.setRootRegistry, (stranger)));
        Vm.Log[] memory logs =
            callAs(owner, address(kms), abi.encodeCall(kms.setRootRegistry, (address(registry))));
        assertLogged(
            logs,
            keccak256("RootRegistrySet(address)"),
            abi.encode(registry),
            owner,
            keccak256("root-registry"),
            word(address(registry)),
            true
        );
    }

    // The log of hand-overs.

    function handover(uint64 n) private pure returns (RootRegistry.Handover memory) {
        return
            RootRegistry.Handover(
                10 + n, 0, "a", keccak256(abi.encode("incarnation", n)), DEVICE, MR
            );
    }

    function handovers(uint64 from, uint64 n)
        private
        pure
        returns (RootRegistry.Handover[] memory list)
    {
        list = new RootRegistry.Handover[](n);
        for (uint64 i = 0; i < n; i++) {
            list[i] = handover(from + i);
        }
    }

    function record(
        uint64 from,
        RootRegistry.Handover[] memory list,
        uint256 key,
        string memory refusal
    ) private {
        bytes32 head = registry.state().handoverHead;

        for (uint64 i = 0; i < list.length; i++) {
            head = keccak256(
                bytes.concat(
                    head,
                    bytes32(uint256(from + i)),
                    bytes32(uint256(list[i].audit)),
                    bytes32(uint256(list[i].epoch)),
                    list[i].slot,
                    list[i].incarnation,
                    list[i].deviceId,
                    list[i].mrAggregated
                )
            );
        }
        bytes memory sig = sig65(
            key,
            abi.encode(
                keccak256("devproof-kms/registry/v1"),
                block.chainid,
                address(registry),
                keccak256("handover"),
                from + list.length,
                head
            )
        );
        refusedWith(refusal);
        registry.recordHandovers(from, list, sig);
    }

    function test_handovers_are_recorded_without_gaps() public {
        RootRegistry.Handover[] memory bad = handovers(0, 1);

        found();
        record(1, handovers(1, 1), CLUSTER, "Not the next number"); // one is missing
        record(0, handovers(0, 0), CLUSTER, "Nothing, or too much");
        record(0, handovers(0, 65), CLUSTER, "Nothing, or too much");
        record(0, handovers(0, 1), THIEF, "Not signed by the cluster");
        bad[0].epoch = 2;
        record(0, bad, CLUSTER, "No such epoch");
        bad[0].epoch = 1; // ordered, and in the nodes before it is published
        bad[0].incarnation = 0;
        record(0, bad, CLUSTER, "No incarnation");

        vm.recordLogs();
        record(0, handovers(0, 1), CLUSTER, "");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[1], bytes32(0));
        assertEq(logs[0].topics[2], bytes32("a"));
        assertEq(logs[0].topics[3], handover(0).incarnation);
        assertEq(logs[0].data, abi.encode(10, 0, DEVICE, MR));
        assertEq(registry.state().handovers, 1);
        record(0, handovers(0, 1), CLUSTER, "Not the next number"); // twice
        record(1, handovers(1, 64), CLUSTER, "");
        assertEq(registry.state().handovers, 65);
    }

    /// A signature for one list is for no other, and for no other place.
    function test_handovers_are_signed_as_a_whole() public {
        RootRegistry.Handover[] memory list = handovers(0, 2);
        bytes memory none = "";

        found();
        vm.expectRevert("Not signed by the cluster");
        registry.recordHandovers(0, list, none);
        vm.recordLogs();
        record(0, list, CLUSTER, "");
        bytes32 head = registry.state().handoverHead;
        bytes memory sig = sig65(
            CLUSTER,
            abi.encode(
                keccak256("devproof-kms/registry/v1"),
                block.chainid,
                address(registry),
                keccak256("handover"),
                2,
                head
            )
        );
        vm.expectRevert("Not signed by the cluster");
        registry.recordHandovers(2, list, sig);
        RootRegistry twin =
            new RootRegistry(address(kms), address(anchor), authority, WINDOW, NOTICE, AGE);
        vm.expectRevert("Not signed by the cluster");
        twin.recordHandovers(0, list, sig);
    }
}
