// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {CheckIn} from "../src/CheckIn.sol";

contract CheckInTest is Test {
    bytes32 internal constant BATCH = keccak256("numbers of this minute");
    bytes32 internal constant OTHER = keccak256("numbers of the next");

    address internal immutable cluster = makeAddr("cluster");
    address internal immutable stranger = makeAddr("stranger");

    CheckIn internal c;

    function setUp() public {
        vm.warp(1_800_000_000);
        c = new CheckIn();
    }

    // ---- refused

    function test_nothing_is_no_batch() public {
        vm.expectRevert(CheckIn.NoBatch.selector);
        c.checkIn(0);
        assertEq(c.at(0), 0);
    }

    function test_what_was_not_brought_is_not_there() public {
        c.checkIn(OTHER);
        assertEq(c.at(BATCH), 0);
    }

    /// An old batch that comes again does not become a new one.
    function test_a_batch_does_not_get_younger() public {
        c.checkIn(BATCH);
        vm.warp(block.timestamp + 1 hours);
        vm.prank(stranger);
        vm.recordLogs();
        c.checkIn(BATCH);
        assertEq(c.at(BATCH), 1_800_000_000);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_it_takes_no_money_and_has_no_other_function() public {
        vm.deal(address(this), 1 ether);
        (bool ok,) = address(c).call{value: 1}(abi.encodeCall(CheckIn.checkIn, (BATCH)));
        assertFalse(ok);
        (ok,) = address(c).call{value: 1}("");
        assertFalse(ok);
        (ok,) = address(c).call(abi.encodeWithSignature("owner()"));
        assertFalse(ok);
        (ok,) = address(c).call(abi.encodeWithSignature("upgradeToAndCall(address,bytes)", c, ""));
        assertFalse(ok);
        assertEq(c.at(BATCH), 0);
    }

    // ---- accepted

    function test_anyone_may_bring_it() public {
        vm.expectEmit(true, true, true, true);
        emit CheckIn.CheckedIn(BATCH, stranger);
        vm.prank(stranger);
        c.checkIn(BATCH);
        assertEq(c.at(BATCH), block.timestamp);
    }

    function test_batches_do_not_displace_each_other() public {
        vm.prank(cluster);
        c.checkIn(BATCH);
        vm.warp(block.timestamp + 60);
        vm.prank(stranger);
        c.checkIn(OTHER);
        assertEq(c.at(BATCH), 1_800_000_000);
        assertEq(c.at(OTHER), 1_800_000_060);
    }

    /// Where nodes look for it in a storage proof.
    function testFuzz_its_slot(bytes32 batch) public {
        vm.assume(batch != 0);
        c.checkIn(batch);
        bytes32 slot = keccak256(abi.encode(batch, uint256(0)));
        assertEq(uint256(vm.load(address(c), slot)), block.timestamp);
    }
}
