// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Vm} from "forge-std/Vm.sol";
import {AppRules} from "../src/AppRules.sol";
import {OperatorCouncil} from "../src/OperatorCouncil.sol";
import {QuorumAppAuth} from "../src/QuorumAppAuth.sol";
import {TimelockAppAuth} from "../src/TimelockAppAuth.sol";
import {KmsTest} from "./KmsTest.sol";

abstract contract AppRulesTest is KmsTest {
    uint64 internal constant NOTICE = 3 days;
    bytes32 internal constant NEXT = keccak256("the next compose file");
    bytes32 internal constant OTHER = keccak256("another device");

    AppRules internal rules;

    function setUp() public virtual override {
        super.setUp();
        vm.warp(1_800_000_000);
        rules = made(true, false, DEVICE, COMPOSE);
        kms.registerApp(address(rules));
        vm.prank(owner);
        kms.addOsImageHash(IMAGE);
    }

    function made(bool requireTcb, bool anyDevice, bytes32 device, bytes32 compose)
        internal
        virtual
        returns (AppRules);

    /// What the manager decides; its effect may still be to wait for.
    function decide(bytes memory call) internal virtual;

    function test_starts_as_asked() public {
        allowedBy(kms, bootOf(address(rules)));
        assertTrue(rules.requireTcbUpToDate());
        assertFalse(rules.allowAnyDevice());
        assertEq(rules.version(), 2);
        rules = made(false, true, 0, 0);
        assertFalse(rules.requireTcbUpToDate());
        assertTrue(rules.allowAnyDevice());
        assertFalse(rules.allowedComposeHashes(0));
        assertFalse(rules.allowedDeviceIds(0));
        refusedBy(rules, bootOf(address(rules)), "Compose hash not allowed");
    }

    function test_interfaces() public view {
        assertTrue(rules.supportsInterface(0x1e079198));
        assertTrue(rules.supportsInterface(0x8fd37527));
        assertTrue(rules.supportsInterface(0x01ffc9a7));
        assertFalse(rules.supportsInterface(0xffffffff));
        assertEq(rules.isAppAllowed.selector, bytes4(0x1e079198));
        assertEq(rules.allowedComposeHashes.selector, app.allowedComposeHashes.selector);
        assertEq(rules.allowedDeviceIds.selector, app.allowedDeviceIds.selector);
        assertEq(rules.setAllowAnyDevice.selector, app.setAllowAnyDevice.selector);
        assertEq(rules.setRequireTcbUpToDate.selector, app.setRequireTcbUpToDate.selector);
    }

    function test_refuses_what_DstackApp_refuses() public view {
        AppRules.AppBootInfo memory b;

        b = bootOf(address(rules));
        b.tcbStatus = "OutOfDate";
        refusedBy(rules, b, "TCB status is not up to date");
        b = bootOf(address(rules));
        b.composeHash = NEXT;
        refusedBy(rules, b, "Compose hash not allowed");
        b = bootOf(address(rules));
        b.deviceId = OTHER;
        refusedBy(rules, b, "Device not allowed");
    }

    /// Each of what lets more in: not before the notice has passed.
    function test_more_is_let_in_after_the_notice() public {
        AppRules.AppBootInfo[4] memory b;
        bytes[4] memory calls;

        for (uint256 i = 0; i < 4; i++) {
            b[i] = bootOf(address(rules));
        }
        b[0].composeHash = NEXT;
        calls[0] = abi.encodeCall(rules.addComposeHash, (NEXT));
        b[1].deviceId = OTHER;
        calls[1] = abi.encodeCall(rules.addDevice, (OTHER));
        b[2].deviceId = keccak256("any");
        calls[2] = abi.encodeCall(rules.setAllowAnyDevice, (true));
        b[3].tcbStatus = "OutOfDate";
        calls[3] = abi.encodeCall(rules.setRequireTcbUpToDate, (false));
        for (uint256 i = 0; i < 4; i++) {
            uint256 snapshot = vm.snapshotState();
            begin(calls[i]);
            skip(NOTICE - 1);
            (bool ok,) = rules.isAppAllowed(b[i]);
            assertFalse(ok, "not yet");
            skip(1);
            finish();
            allowedBy(rules, b[i]);
            vm.revertToState(snapshot);
        }
    }

    function begin(bytes memory call) internal virtual;
    function finish() internal virtual;

    /// Each of what keeps machines out: at once.
    function test_machines_are_kept_out_at_once() public {
        begin(abi.encodeCall(rules.setAllowAnyDevice, (true)));
        skip(NOTICE);
        finish();
        begin(abi.encodeCall(rules.setRequireTcbUpToDate, (false)));
        skip(NOTICE);
        finish();
        AppRules.AppBootInfo memory b = bootOf(address(rules));
        b.deviceId = OTHER;
        b.tcbStatus = "OutOfDate";
        allowedBy(rules, b);
        decide(abi.encodeCall(rules.setRequireTcbUpToDate, (true)));
        refusedBy(rules, b, "TCB status is not up to date");
        b.tcbStatus = "UpToDate";
        decide(abi.encodeCall(rules.setAllowAnyDevice, (false)));
        refusedBy(rules, b, "Device not allowed");
        b.deviceId = DEVICE;
        allowedBy(rules, b);
        decide(abi.encodeCall(rules.removeDevice, (DEVICE)));
        refusedBy(rules, b, "Device not allowed");
        decide(abi.encodeCall(rules.removeComposeHash, (COMPOSE)));
        refusedBy(rules, b, "Compose hash not allowed");
    }
}

contract TimelockAppAuthTest is AppRulesTest {
    function made(bool requireTcb, bool anyDevice, bytes32 device, bytes32 compose)
        internal
        override
        returns (AppRules)
    {
        return new TimelockAppAuth(dev, NOTICE, requireTcb, anyDevice, device, compose);
    }

    function decide(bytes memory call) internal override {
        callAs(dev, address(rules), call);
    }

    function begin(bytes memory call) internal override {
        decide(call);
    }

    function finish() internal override {}

    function test_notice_in_range() public {
        vm.expectRevert("Notice out of range");
        new TimelockAppAuth(dev, 0, true, true, 0, 0);
        vm.expectRevert("Notice out of range");
        new TimelockAppAuth(dev, 365 days + 1, true, true, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new TimelockAppAuth(address(0), 1, true, true, 0, 0);
    }

    function test_only_its_owner() public {
        ownersOnly(address(rules), abi.encodeCall(rules.addComposeHash, (NEXT)));
        ownersOnly(address(rules), abi.encodeCall(rules.removeComposeHash, (COMPOSE)));
        ownersOnly(address(rules), abi.encodeCall(rules.addDevice, (OTHER)));
        ownersOnly(address(rules), abi.encodeCall(rules.removeDevice, (DEVICE)));
        ownersOnly(address(rules), abi.encodeCall(rules.setAllowAnyDevice, (true)));
        ownersOnly(address(rules), abi.encodeCall(rules.setRequireTcbUpToDate, (false)));
    }

    function test_announced_is_not_allowed_yet() public {
        AppRules.AppBootInfo memory b = bootOf(address(rules));
        uint64 at = uint64(block.timestamp) + NOTICE;

        b.composeHash = NEXT;
        Vm.Log[] memory logs =
            callAs(dev, address(rules), abi.encodeCall(rules.addComposeHash, (NEXT)));
        assertEq(logs.length, 3);
        assertEq(logs[0].topics[0], keccak256("ComposeHashAdded(bytes32)"));
        assertEq(logs[1].topics[0], keccak256("ComposeHashAnnounced(bytes32,uint64)"));
        assertEq(logs[1].data, abi.encode(at));
        assertPolicy(logs[2], dev, keccak256("compose-hash"), NEXT, true);
        refusedBy(rules, b, "Compose hash not allowed yet");
        assertEq(rules.composeHashFrom(NEXT), at);

        // Again: neither sooner nor later, and nothing to log.
        skip(NOTICE / 2);
        logs = callAs(dev, address(rules), abi.encodeCall(rules.addComposeHash, (NEXT)));
        assertEq(logs.length, 0);
        assertEq(rules.composeHashFrom(NEXT), at);
        // What is allowed is not announced again either.
        decide(abi.encodeCall(rules.addComposeHash, (COMPOSE)));
        decide(abi.encodeCall(rules.addDevice, (DEVICE)));
        allowedBy(rules, bootOf(address(rules)));

        // Taken back, it starts over.
        decide(abi.encodeCall(rules.removeComposeHash, (NEXT)));
        vm.warp(at);
        refusedBy(rules, b, "Compose hash not allowed");
        decide(abi.encodeCall(rules.addComposeHash, (NEXT)));
        refusedBy(rules, b, "Compose hash not allowed yet");
        skip(NOTICE);
        allowedBy(rules, b);
    }

    /// Whatever happens: nothing is let in that was not announced a notice
    /// period ago and stood all the time.
    function testFuzz_nothing_unannounced(uint256 seed) public {
        AppRules.AppBootInfo memory b = bootOf(address(rules));
        uint256 since = 0;

        b.composeHash = NEXT;
        for (uint256 i = 0; i < 24; i++) {
            uint256 r = uint256(keccak256(abi.encode(seed, i)));

            if (r % 4 == 0) {
                decide(abi.encodeCall(rules.removeComposeHash, (NEXT)));
                since = 0;
            } else if (r % 4 == 1) {
                decide(abi.encodeCall(rules.addComposeHash, (NEXT)));
                since = since == 0 ? block.timestamp : since;
            } else {
                skip((r >> 8) % NOTICE);
            }
            (bool ok,) = rules.isAppAllowed(b);
            assertEq(ok, since != 0 && block.timestamp >= since + NOTICE);
        }
    }
}

contract QuorumAppAuthTest is AppRulesTest {
    uint64 private constant LIFE = 7 days;

    bytes32 private pending;
    uint256 private salt;

    function members() private pure returns (address[] memory list) {
        list = new address[](3);
        for (uint256 i = 0; i < 3; i++) {
            list[i] = address(uint160(0x1000 + i));
        }
    }

    function quorum() private view returns (QuorumAppAuth) {
        return QuorumAppAuth(address(rules));
    }

    function made(bool requireTcb, bool anyDevice, bytes32 device, bytes32 compose)
        internal
        override
        returns (AppRules)
    {
        return new QuorumAppAuth(members(), 2, NOTICE, LIFE, requireTcb, anyDevice, device, compose);
    }

    function propose(OperatorCouncil.Call[] memory calls) private {
        vm.prank(members()[0]);
        pending = quorum().propose(calls, bytes32(salt++));
        vm.prank(members()[2]);
        quorum().vote(pending);
    }

    function begin(bytes memory call) internal override {
        OperatorCouncil.Call[] memory calls = new OperatorCouncil.Call[](1);

        calls[0] = OperatorCouncil.Call(address(rules), call);
        propose(calls);
    }

    function finish() internal override {
        quorum().execute(pending);
    }

    function decide(bytes memory call) internal override {
        begin(call);
        finish();
    }

    function test_only_by_its_proposals() public {
        bytes[6] memory calls;

        calls[0] = abi.encodeCall(rules.addComposeHash, (NEXT));
        calls[1] = abi.encodeCall(rules.removeComposeHash, (COMPOSE));
        calls[2] = abi.encodeCall(rules.addDevice, (OTHER));
        calls[3] = abi.encodeCall(rules.removeDevice, (DEVICE));
        calls[4] = abi.encodeCall(rules.setAllowAnyDevice, (true));
        calls[5] = abi.encodeCall(rules.setRequireTcbUpToDate, (false));
        for (uint256 i = 0; i < calls.length; i++) {
            vm.prank(members()[0]);
            (bool ok, bytes memory answer) = address(rules).call(calls[i]);
            assertFalse(ok);
            assertEq(
                answer, abi.encodeWithSignature("Error(string)", "Only by a proposal of its own")
            );
        }
        assertEq(quorum().owner(), address(rules));
    }

    /// Nothing that lets in goes along with what keeps out; nor do the members
    /// change, or another contract get called, without notice.
    function test_no_notice_is_skipped() public {
        bytes[5] memory data;
        OperatorCouncil.Call[] memory calls = new OperatorCouncil.Call[](2);

        data[0] = abi.encodeCall(rules.addComposeHash, (NEXT));
        data[1] = abi.encodeCall(rules.setAllowAnyDevice, (true));
        data[2] = abi.encodeCall(rules.setRequireTcbUpToDate, (false));
        data[3] = abi.encodeCall(OperatorCouncil.setMembers, (members(), 1));
        data[4] = hex"";
        calls[0] =
            OperatorCouncil.Call(address(rules), abi.encodeCall(rules.removeDevice, (DEVICE)));
        for (uint256 i = 0; i < data.length; i++) {
            calls[1] = OperatorCouncil.Call(address(rules), data[i]);
            propose(calls);
            vm.expectRevert("Not ready");
            quorum().execute(pending);
        }
        // The same words, but to another contract.
        calls[1] = OperatorCouncil.Call(address(app), calls[0].data);
        propose(calls);
        vm.expectRevert("Not ready");
        quorum().execute(pending);
        calls[1] = OperatorCouncil.Call(
            address(rules), abi.encodeCall(rules.removeComposeHash, (COMPOSE))
        );
        propose(calls);
        quorum().execute(pending);
        assertFalse(rules.allowedDeviceIds(DEVICE));
    }
}
