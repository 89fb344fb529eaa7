// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {IAppAuth, IAppAuthBasicManagement, IKmsAuth} from "../src/IAppAuth.sol";
import {KmsTest} from "./KmsTest.sol";

/// The wire, held to literal values: dstack's tools carry these constants.
contract InterfaceTest is KmsTest {
    function test_interface_ids() public view {
        assertEq(type(IAppAuth).interfaceId, bytes4(0x1e079198));
        assertEq(type(IKmsAuth).interfaceId, bytes4(0xe067ec9d));
        assertEq(type(IAppAuthBasicManagement).interfaceId, bytes4(0x8fd37527));

        bytes4[4] memory ids =
            [bytes4(0x01ffc9a7), bytes4(0x1e079198), bytes4(0x8fd37527), bytes4(0xffffffff)];
        bool[4] memory ofApp = [true, true, true, false];
        bool[4] memory ofKms = [true, true, false, false];
        for (uint256 i = 0; i < ids.length; i++) {
            assertEq(app.supportsInterface(ids[i]), ofApp[i]);
            assertEq(kms.supportsInterface(ids[i]), ofKms[i]);
        }
    }

    function test_selectors_of_kms() public view {
        assertEq(kms.isAppAllowed.selector, bytes4(0x1e079198));
        assertEq(kms.isKmsAllowed.selector, bytes4(0xe067ec9d));
        assertEq(kms.supportsInterface.selector, bytes4(0x01ffc9a7));
        assertEq(kms.initialize.selector, bytes4(0x485cc955));
        assertEq(kms.kmsInfo.selector, bytes4(0x09177063));
        assertEq(kms.gatewayAppId.selector, bytes4(0x95f51931));
        assertEq(kms.registeredApps.selector, bytes4(0xa6c4cce9));
        assertEq(kms.kmsAllowedAggregatedMrs.selector, bytes4(0xf6fe4f40));
        assertEq(kms.kmsAllowedDeviceIds.selector, bytes4(0x13eb9770));
        assertEq(kms.allowedOsImages.selector, bytes4(0x9a4e1d18));
        assertEq(kms.appImplementation.selector, bytes4(0x25a992da));
        assertEq(kms.setKmsInfo.selector, bytes4(0x7d025352));
        assertEq(kms.setKmsQuote.selector, bytes4(0x18c1ecb2));
        assertEq(kms.setKmsEventlog.selector, bytes4(0x736ede7a));
        assertEq(kms.setGatewayAppId.selector, bytes4(0x3971db27));
        assertEq(kms.registerApp.selector, bytes4(0x17a1d80f));
        assertEq(kms.setAppImplementation.selector, bytes4(0x3ceaaa11));
        assertEq(kms.addKmsAggregatedMr.selector, bytes4(0x3e32d346));
        assertEq(kms.removeKmsAggregatedMr.selector, bytes4(0x2adee48d));
        assertEq(kms.addKmsDevice.selector, bytes4(0x4d5922a1));
        assertEq(kms.removeKmsDevice.selector, bytes4(0x9e6f3114));
        assertEq(kms.addOsImageHash.selector, bytes4(0x06a3ae96));
        assertEq(kms.removeOsImageHash.selector, bytes4(0x9425bac6));
        assertEq(kms.owner.selector, bytes4(0x8da5cb5b));
        assertEq(kms.pendingOwner.selector, bytes4(0xe30c3978));
        assertEq(kms.transferOwnership.selector, bytes4(0xf2fde38b));
        assertEq(kms.acceptOwnership.selector, bytes4(0x79ba5097));
        assertEq(kms.renounceOwnership.selector, bytes4(0x715018a6));
        assertEq(kms.upgradeToAndCall.selector, bytes4(0x4f1ef286));
        assertEq(kms.proxiableUUID.selector, bytes4(0x52d1902d));
        assertEq(kms.UPGRADE_INTERFACE_VERSION.selector, bytes4(0xad3cb1cc));
    }

    function test_selectors_of_app() public view {
        assertEq(app.isAppAllowed.selector, bytes4(0x1e079198));
        assertEq(app.supportsInterface.selector, bytes4(0x01ffc9a7));
        assertEq(app.version.selector, bytes4(0x54fd4d50));
        assertEq(app.allowedComposeHashes.selector, bytes4(0x2f6622e5));
        assertEq(app.allowAnyDevice.selector, bytes4(0x3440a16a));
        assertEq(app.allowedDeviceIds.selector, bytes4(0xbf8b211b));
        assertEq(app.requireTcbUpToDate.selector, bytes4(0x0aa58c83));
        assertEq(app.addComposeHash.selector, bytes4(0xdfc77223));
        assertEq(app.removeComposeHash.selector, bytes4(0x67b3f22c));
        assertEq(app.addDevice.selector, bytes4(0x2a819728));
        assertEq(app.removeDevice.selector, bytes4(0x1d266200));
        assertEq(app.setAllowAnyDevice.selector, bytes4(0x7c4beeb8));
        assertEq(app.setRequireTcbUpToDate.selector, bytes4(0x6e4c7422));
        assertEq(app.disableUpgrades.selector, bytes4(0xec669036));
        assertEq(app.owner.selector, bytes4(0x8da5cb5b));
        assertEq(app.upgradeToAndCall.selector, bytes4(0x4f1ef286));
    }

    /// Overloads have no single `.selector`; calling them by number shows both exist.
    function test_selectors_of_overloads() public {
        bytes memory answer;

        answer = callByNumber(
            address(kms), 0x8618169d, abi.encode(dev, false, true, DEVICE, COMPOSE)
        );
        DstackApp five = DstackApp(abi.decode(answer, (address)));
        assertTrue(five.allowAnyDevice());
        answer = callByNumber(
            address(kms), 0x9cb9c31f, abi.encode(dev, false, true, false, DEVICE, COMPOSE)
        );
        DstackApp six = DstackApp(abi.decode(answer, (address)));
        assertTrue(six.requireTcbUpToDate());

        // Locked on the implementation; on a blank proxy each sets up.
        for (uint256 i = 0; i < 2; i++) {
            address blank = makeAddr("blank");
            vm.etch(blank, address(app).code);
            vm.store(blank, IMPLEMENTATION_SLOT, word(appCode));
            vm.store(
                blank,
                0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00,
                bytes32(0)
            );
            if (i == 0) {
                callByNumber(blank, 0x187515ca, abi.encode(dev, false, true, DEVICE, COMPOSE));
            } else {
                callByNumber(
                    blank, 0x9ed28193, abi.encode(dev, false, true, true, DEVICE, COMPOSE)
                );
            }
            assertEq(DstackApp(blank).requireTcbUpToDate(), i == 1);
        }
    }

    function callByNumber(address to, bytes4 selector, bytes memory args)
        private
        returns (bytes memory)
    {
        (bool ok, bytes memory answer) = to.call(bytes.concat(selector, args));
        assertTrue(ok);
        return answer;
    }

    /// Each policy identifier is the hash of a plain name.
    function test_policy_ids() public pure {
        assertEq(
            keccak256("compose-hash"),
            0x56bdf4352a9ceb1ba8f5c68066725c095e69c1d3f8a437290f0ac1da8fb4e19c
        );
        assertEq(
            keccak256("implementation-upgrade"),
            0xdd3079240d4e002c905dcbcaf6b06d77e782afb127bbb837120b8c7fc6703da3
        );
        assertEq(
            keccak256("kms-aggregated-mr"),
            0x22cfb8b3fc209be958082ecee5badccf8f7ab55e79ec93f5ac413a164feb98ea
        );
    }
}
