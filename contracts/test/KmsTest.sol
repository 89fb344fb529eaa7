// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {
    OwnableUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {Test} from "forge-std/Test.sol";
import {Vm} from "forge-std/Vm.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {IAppAuth} from "../src/IAppAuth.sol";

/// A KMS contract with one app, and the words the tests below share.
abstract contract KmsTest is Test {
    bytes32 internal constant COMPOSE = keccak256("a compose file");
    bytes32 internal constant DEVICE = keccak256("a device");
    bytes32 internal constant IMAGE = keccak256("an OS image");
    bytes32 internal constant MR = keccak256("a KMS measurement");

    bytes32 internal constant IMPLEMENTATION_SLOT =
        0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    address internal immutable owner = makeAddr("KMS owner");
    address internal immutable dev = makeAddr("app developer");
    address internal immutable stranger = makeAddr("stranger");

    DstackKms internal kms;
    DstackApp internal app;
    address internal kmsCode;
    address internal appCode;

    function setUp() public virtual {
        appCode = address(new DstackApp());
        kmsCode = address(new DstackKms());
        kms = DstackKms(
            address(
                new ERC1967Proxy(
                    kmsCode, abi.encodeCall(DstackKms.initialize, (owner, appCode))
                )
            )
        );
        // Nothing allowed yet: each test opens only what it is about.
        app = DstackApp(
            kms.deployAndRegisterApp(dev, false, true, false, bytes32(0), bytes32(0))
        );
    }

    /// What a well-behaved, fully patched machine of `app_` would report.
    function bootOf(address app_) internal pure returns (IAppAuth.AppBootInfo memory b) {
        b.appId = app_;
        b.composeHash = COMPOSE;
        b.instanceId = address(0x1111);
        b.deviceId = DEVICE;
        b.mrAggregated = MR;
        b.mrSystem = keccak256("a system");
        b.osImageHash = IMAGE;
        b.tcbStatus = "UpToDate";
        b.advisoryIds = new string[](0);
    }

    function refusedBy(IAppAuth auth, IAppAuth.AppBootInfo memory b, string memory why)
        internal
        view
    {
        (bool ok, string memory reason) = auth.isAppAllowed(b);
        assertFalse(ok, why);
        assertEq(reason, why);
    }

    function allowedBy(IAppAuth auth, IAppAuth.AppBootInfo memory b) internal view {
        (bool ok, string memory reason) = auth.isAppAllowed(b);
        assertTrue(ok, reason);
        assertEq(reason, "");
    }

    /// `call` on `target` is the owner's alone: a stranger is refused by name,
    /// and leaves no trace in the log.
    function ownersOnly(address target, bytes memory call) internal {
        vm.recordLogs();
        vm.expectRevert(
            abi.encodeWithSelector(
                OwnableUpgradeable.OwnableUnauthorizedAccount.selector, stranger
            )
        );
        vm.prank(stranger);
        // expectRevert turns the outcome round: the call is seen to succeed.
        (bool ok,) = target.call(call);
        assertTrue(ok);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function callAs(address who, address target, bytes memory call)
        internal
        returns (Vm.Log[] memory logs)
    {
        vm.recordLogs();
        vm.prank(who);
        (bool ok, bytes memory answer) = target.call(call);
        if (!ok) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return vm.getRecordedLogs();
    }

    /// The older event `topic`(`data`), then PolicyChanged by `who`.
    function assertLogged(
        Vm.Log[] memory logs,
        bytes32 topic,
        bytes memory data,
        address who,
        bytes32 policy,
        bytes32 value,
        bool enabled
    ) internal pure {
        assertEq(logs.length, 2, "two events");
        assertEq(logs[0].topics.length, 1, "nothing indexed in the older event");
        assertEq(logs[0].topics[0], topic, "topic");
        assertEq(logs[0].data, data, "data");
        assertPolicy(logs[1], who, policy, value, enabled);
    }

    function assertPolicy(
        Vm.Log memory log,
        address who,
        bytes32 policy,
        bytes32 value,
        bool enabled
    ) internal pure {
        assertEq(log.topics.length, 4, "PolicyChanged: indexed");
        assertEq(
            log.topics[0],
            0x341d3bc64e32172fc5bcf27b0f7f69dc5adc19af64b7aa1dee361e5883c32375,
            "PolicyChanged"
        );
        assertEq(log.topics[1], word(who), "PolicyChanged: actor");
        assertEq(log.topics[2], policy, "PolicyChanged: policy");
        assertEq(log.topics[3], value, "PolicyChanged: value");
        assertEq(log.data, abi.encode(enabled), "PolicyChanged: enabled");
    }

    function word(address a) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(a)));
    }

    function mapSlot(bytes32 key, uint256 slot) internal pure returns (bytes32) {
        return keccak256(bytes.concat(key, bytes32(slot)));
    }
}
