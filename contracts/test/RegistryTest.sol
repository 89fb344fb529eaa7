// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Vm} from "forge-std/Vm.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {RootRegistry} from "../src/RootRegistry.sol";
import {KmsTest} from "./KmsTest.sol";

/// A KMS with its cluster's anchor, three seats and a registry; and the messages
/// that roots and the cluster sign, written down a second time.
abstract contract RegistryTest is KmsTest {
    uint256 internal constant CLUSTER = 0xc1a57e4;
    uint256 internal constant THIEF = 0x7417ef;
    uint64 internal constant WINDOW = 1 days;
    uint64 internal constant NOTICE = 7 days;
    uint64 internal constant AGE = 1 hours;
    uint256 internal constant ALL = 7; // three seats of three

    bytes internal constant CA_SPKI = hex"3059301306072a8648ce3d0201";
    bytes32 internal constant CA = keccak256("the SPKI of a CA, hashed");

    RootRegistry.Mode internal constant ROUTINE = RootRegistry.Mode.ROUTINE;
    RootRegistry.Mode internal constant EMERGENCY = RootRegistry.Mode.EMERGENCY;

    address internal immutable authority = makeAddr("authority");
    address internal immutable guardian = makeAddr("guardian");

    // A call to sha256 between vm.prank and what it is for would take its place.
    bytes32 internal immutable caOf0 = sha256(CA_SPKI);

    ClusterAnchor internal anchor;
    RootRegistry internal registry;

    function setUp() public virtual override {
        super.setUp();
        vm.warp(1_800_000_000);
        vm.etch(authority, hex"00"); // an authority is a contract
        anchor = new ClusterAnchor(owner, address(kms), 1800);
        vm.startPrank(owner);
        anchor.genesis(1, keccak256("a log"), vm.addr(CLUSTER), keccak256("an incarnation"));
        anchor.setSeat("a", DEVICE);
        anchor.setSeat("b", DEVICE);
        anchor.setSeat("c", DEVICE);
        kms.setKmsInfo(DstackKms.KmsInfo(pub(root(0)), CA_SPKI, "", ""));
        vm.stopPrank();
        registry = new RootRegistry(address(kms), address(anchor), authority, WINDOW, NOTICE, AGE);
    }

    /// The root that honest nodes make for an epoch.
    function root(uint64 epoch) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("root", epoch))) >> 1;
    }

    function pub(uint256 key) internal returns (bytes memory) {
        Vm.Wallet memory w = vm.createWallet(key);

        return abi.encodePacked(uint8(2 + w.publicKeyY % 2), w.publicKeyX);
    }

    function rootHash(uint256 key) internal returns (bytes32) {
        return keccak256(bytes.concat(pub(key), CA));
    }

    function status(uint64 epoch) internal view returns (RootRegistry.Status) {
        return registry.epochOf(epoch).status;
    }

    function assertStatus(uint64 epoch, RootRegistry.Status s) internal view {
        assertEq(uint8(status(epoch)), uint8(s), "status");
    }

    /// dstack's form: v is 0 or 1.
    function sig65(uint256 key, bytes memory what) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(what));
        return abi.encodePacked(r, s, v - 27);
    }

    function certificateOf(uint64 epoch, uint256 key, RootRegistry.Mode mode)
        internal
        returns (bytes memory)
    {
        return bytes.concat(
            "devproof-kms-epoch:",
            bytes8(uint64(block.chainid)),
            bytes20(address(registry)),
            bytes8(epoch),
            pub(key),
            CA,
            bytes1(uint8(mode))
        );
    }

    function seatsHash() internal view returns (bytes32) {
        return keccak256(abi.encode(anchor.state().seats));
    }

    function holdersMessage(uint64 epoch, uint256 key, uint256 seats, uint64 asOf)
        internal
        returns (bytes memory)
    {
        return bytes.concat(
            abi.encode(
                keccak256("devproof-kms/registry/v1"),
                block.chainid,
                address(registry),
                keccak256("holders")
            ),
            abi.encode(registry.state().order.number, epoch, rootHash(key), seatsHash()),
            abi.encode(seats, asOf)
        );
    }

    function heldBy(uint64 epoch, uint256 key, uint256 cluster, uint256 seats, uint64 asOf)
        internal
        returns (RootRegistry.Holders memory)
    {
        bytes memory message = holdersMessage(epoch, key, seats, asOf);

        return RootRegistry.Holders(seats, asOf, sig65(key, message), sig65(cluster, message));
    }

    /// All seats hold it now.
    function held(uint64 epoch, uint256 key) internal returns (RootRegistry.Holders memory) {
        return heldBy(epoch, key, CLUSTER, ALL, uint64(block.timestamp));
    }

    function found() internal {
        bytes memory k256 = pub(root(0));

        vm.prank(authority);
        registry.registerGenesis(k256, caOf0);
    }

    function order(RootRegistry.Mode mode) internal {
        vm.prank(authority);
        registry.orderRotation(mode, 0, 0);
    }

    function refusedWith(string memory refusal) internal {
        if (bytes(refusal).length > 0) {
            vm.expectRevert(bytes(refusal));
        }
    }

    /// `key` as the root of `epoch`, which `signer` speaks for.
    function publish(uint64 epoch, uint256 key, uint256 signer, string memory refusal) internal {
        RootRegistry.Mode mode = registry.state().order.mode;
        bytes memory sig = sig65(signer, certificateOf(epoch, key, mode));
        bytes memory k256 = pub(key);
        RootRegistry.Holders memory h = held(epoch, key);

        refusedWith(refusal);
        registry.publishRoot(epoch, k256, CA, sig, h);
    }

    function publish(uint64 epoch) internal {
        publish(epoch, root(epoch), root(epoch - 1), "");
    }

    function attest(uint64 epoch, string memory refusal) internal {
        RootRegistry.Holders memory h = held(epoch, root(epoch));

        refusedWith(refusal);
        registry.attestHolders(epoch, h);
    }

    /// Waits until the window is over, and has the nodes say that they are there.
    function activate(uint64 epoch) internal {
        skip(WINDOW);
        attest(epoch, "");
        registry.activate(epoch);
    }

    function rotate() internal returns (uint64 epoch) {
        epoch = registry.active() + 1;
        order(ROUTINE);
        publish(epoch);
        activate(epoch);
    }
}
