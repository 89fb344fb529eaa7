// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";

/// An anchor, the cluster's key, and the messages that it signs, written down
/// a second time: the contract's own encoding must agree.
abstract contract AnchorTest is Test {
    uint256 internal constant KEY = 0xc1a57e4;
    uint64 internal constant WAIT = 1800;
    uint256 internal constant ORDER_OF_K256 =
        0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    bytes32 internal constant H1 = keccak256("the log at its first index");
    bytes32 internal constant NODE = keccak256("an incarnation");
    bytes32 internal constant OTHER = keccak256("another incarnation");
    bytes32 internal constant DEVICE = keccak256("a device");

    address internal immutable owner = makeAddr("operators");
    address internal immutable stranger = makeAddr("stranger");
    address internal immutable kms = makeAddr("KMS contract");
    address internal immutable cluster = vm.addr(KEY);

    ClusterAnchor internal anchor;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        anchor = new ClusterAnchor(owner, kms, WAIT);
    }

    function found() internal {
        vm.prank(owner);
        anchor.genesis(5, H1, cluster, NODE);
    }

    function order(bytes32 incarnation) internal {
        vm.prank(owner);
        anchor.nameRecovery(incarnation, false);
    }

    function point() internal view returns (ClusterAnchor.Point memory) {
        return anchor.state().point;
    }

    function at(uint64 generation, uint64 index, bytes32 hash)
        internal
        pure
        returns (ClusterAnchor.Point memory)
    {
        return ClusterAnchor.Point(generation, index, hash);
    }

    function signed(uint256 key, bytes memory what) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(what));
        return abi.encodePacked(r, s, v);
    }

    function head(uint256 chain, address where, string memory action)
        internal
        pure
        returns (bytes memory)
    {
        return
            abi.encode(keccak256("devproof-kms/anchor/v1"), chain, where, keccak256(bytes(action)));
    }

    function head(string memory action) internal view returns (bytes memory) {
        return head(block.chainid, address(anchor), action);
    }

    function advanceMessage(ClusterAnchor.Point memory from, uint64 index, bytes32 hash)
        internal
        view
        returns (bytes memory)
    {
        return bytes.concat(head("advance"), abi.encode(from), abi.encode(index, hash));
    }

    function recoveryMessage(
        string memory action,
        ClusterAnchor.Point memory from,
        uint64 index,
        bytes32 hash,
        bytes32 incarnation
    ) internal view returns (bytes memory) {
        return bytes.concat(
            head(action),
            abi.encode(from),
            abi.encode(index, hash, incarnation, anchor.state().order.number)
        );
    }

    function vetoMessage(uint64 generation) internal view returns (bytes memory) {
        return bytes.concat(head("veto"), abi.encode(generation, anchor.state().order.number));
    }

    function rotateMessage(address to) internal view returns (bytes memory) {
        return bytes.concat(head("rotate"), abi.encode(to, anchor.state().rotations));
    }

    // Each takes what is to come of it by vm.expectRevert, so that everything
    // else that is called happens before.

    function advance(
        ClusterAnchor.Point memory from,
        uint64 index,
        bytes32 hash,
        string memory refusal
    ) internal {
        bytes memory sig = signed(KEY, advanceMessage(from, index, hash));
        refusedWith(refusal);
        anchor.advance(from, index, hash, sig);
    }

    function announce(
        ClusterAnchor.Point memory from,
        uint64 index,
        bytes32 hash,
        bytes32 incarnation,
        string memory refusal
    ) internal {
        bytes memory sig = signed(KEY, recoveryMessage("announce", from, index, hash, incarnation));
        refusedWith(refusal);
        anchor.announce(from, index, hash, incarnation, sig);
    }

    function open(
        ClusterAnchor.Point memory from,
        uint64 index,
        bytes32 hash,
        bytes32 incarnation,
        string memory refusal
    ) internal {
        bytes memory sig = signed(KEY, recoveryMessage("open", from, index, hash, incarnation));
        refusedWith(refusal);
        anchor.open(from, index, hash, incarnation, sig);
    }

    function veto(uint64 generation, string memory refusal) internal {
        bytes memory sig = signed(KEY, vetoMessage(generation));
        refusedWith(refusal);
        anchor.veto(generation, sig);
    }

    function refusedWith(string memory refusal) internal {
        if (bytes(refusal).length > 0) {
            vm.expectRevert(bytes(refusal));
        }
    }

    function slot(string memory name) internal pure returns (bytes32) {
        return bytes32(bytes(name));
    }
}
