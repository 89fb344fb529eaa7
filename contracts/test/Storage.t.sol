// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DstackKms} from "../src/DstackKms.sol";
import {KmsTest} from "./KmsTest.sol";

/// The storage map of README.md, slot by slot.  KMS nodes decide from storage
/// proofs of these slots, so a test that fails here means keys given wrongly.
contract StorageTest is KmsTest {
    bytes32 private constant OWNER =
        0x9016d09d72d40fdae2fd8ceac6b6234c7706214fd39c1cd1e609a0528c199300;
    bytes32 private constant PENDING_OWNER =
        0x237e158222e3e6968b72b9db0d8043aacf074ad9f650f0d1606b4d82ee432c00;
    bytes32 private constant INITIALIZED =
        0xf0c57e16840df040f15088dc2f81fe391c3923bec73e23a9662efc9c229c6a00;

    function named(address target, bytes32 slot) private view returns (bytes32) {
        return vm.load(target, slot);
    }

    function number(address target, uint256 slot) private view returns (uint256) {
        return uint256(vm.load(target, bytes32(slot)));
    }

    function test_proxies() public {
        assertEq(named(address(kms), IMPLEMENTATION_SLOT), word(kmsCode));
        assertEq(named(address(app), IMPLEMENTATION_SLOT), word(appCode));
        assertEq(named(address(kms), OWNER), word(owner));
        assertEq(named(address(app), OWNER), word(dev));
        assertEq(named(address(kms), INITIALIZED), bytes32(uint256(1)));
        assertEq(named(address(app), INITIALIZED), bytes32(uint256(1)));
        // Implementations are locked at the highest version there is.
        assertEq(named(kmsCode, INITIALIZED), bytes32(uint256(type(uint64).max)));
        assertEq(named(appCode, INITIALIZED), bytes32(uint256(type(uint64).max)));

        assertEq(named(address(kms), PENDING_OWNER), bytes32(0));
        vm.prank(owner);
        kms.transferOwnership(stranger);
        assertEq(named(address(kms), PENDING_OWNER), word(stranger));
    }

    function test_kms_values() public {
        address k = address(kms);

        assertEq(address(uint160(number(k, 9))), appCode);
        vm.startPrank(owner);
        // Under 32 bytes: left-aligned, twice the length in the last byte.
        kms.setKmsInfo(DstackKms.KmsInfo(hex"aa", hex"bbbb", hex"cccccc", hex"dddddddd"));
        kms.setGatewayAppId("any");
        kms.setRootRegistry(stranger);
        assertEq(bytes32(number(k, 0)), bytes32(hex"aa") | bytes32(uint256(2)));
        assertEq(bytes32(number(k, 1)), bytes32(hex"bbbb") | bytes32(uint256(4)));
        assertEq(bytes32(number(k, 2)), bytes32(hex"cccccc") | bytes32(uint256(6)));
        assertEq(bytes32(number(k, 3)), bytes32(hex"dddddddd") | bytes32(uint256(8)));
        assertEq(bytes32(number(k, 4)), bytes32("any") | bytes32(uint256(6)));
        // From 32 bytes on: twice the length plus one, data from keccak256(slot).
        kms.setKmsQuote(bytes.concat(MR, hex"77"));
        assertEq(number(k, 2), 2 * 33 + 1);
        assertEq(named(k, keccak256(abi.encode(2))), MR);
        vm.stopPrank();
        for (uint256 slot = 5; slot < 60; slot++) {
            assertEq(
                number(k, slot), slot == 9 ? uint160(appCode) : slot == 10 ? uint160(stranger) : 0
            );
        }
    }

    /// Each list is the mapping at its number, and touches no other.
    function testFuzz_kms_lists(bytes32 x, address id) public {
        vm.assume(id != address(0) && id != address(app));
        address k = address(kms);

        for (uint256 slot = 5; slot < 9; slot++) {
            assertEq(named(k, mapSlot(slot == 5 ? word(id) : x, slot)), bytes32(0));
        }
        kms.registerApp(id);
        assertEq(named(k, mapSlot(word(id), 5)), bytes32(uint256(1)));
        vm.startPrank(owner);
        kms.addKmsAggregatedMr(x);
        assertEq(named(k, mapSlot(x, 6)), bytes32(uint256(1)));
        assertEq(named(k, mapSlot(x, 7)), bytes32(0));
        kms.addKmsDevice(x);
        assertEq(named(k, mapSlot(x, 7)), bytes32(uint256(1)));
        assertEq(named(k, mapSlot(x, 8)), bytes32(0));
        kms.addOsImageHash(x);
        assertEq(named(k, mapSlot(x, 8)), bytes32(uint256(1)));

        kms.removeKmsAggregatedMr(x);
        kms.removeKmsDevice(x);
        kms.removeOsImageHash(x);
        vm.stopPrank();
        for (uint256 slot = 6; slot < 9; slot++) {
            assertEq(named(k, mapSlot(x, slot)), bytes32(0));
        }
    }

    function testFuzz_app(bytes32 compose, bytes32 device) public {
        address a = address(app);

        vm.startPrank(dev);
        app.addComposeHash(compose);
        assertEq(named(a, mapSlot(compose, 0)), bytes32(uint256(1)));
        app.addDevice(device);
        assertEq(named(a, mapSlot(device, 2)), bytes32(uint256(1)));

        // Slot 1 packs two switches: upgrades disabled, any device.
        assertEq(number(a, 1), 0);
        app.setAllowAnyDevice(true);
        assertEq(number(a, 1), 0x100);
        app.disableUpgrades();
        assertEq(number(a, 1), 0x101);
        app.setAllowAnyDevice(false);
        assertEq(number(a, 1), 0x001);

        assertEq(number(a, 3), 1);
        app.setRequireTcbUpToDate(false);
        assertEq(number(a, 3), 0);
        vm.stopPrank();
        for (uint256 slot = 4; slot < 60; slot++) {
            assertEq(number(a, slot), 0);
        }
    }

    /// The formula itself, against values worked out elsewhere.
    function test_mapping_formula() public pure {
        bytes32 hash = 0xea549f02e1a25fabd1cb788380e033ec5461b2ffe4328d753642cf035452e48b;

        assertEq(
            mapSlot(word(0xEA549F02e1a25FaBD1CB788380e033eC5461b2ff), 5),
            0x2946b013142fb23e97930cf7592f2a09d9fac102ec41bb2e388f167bc51a0a59
        );
        assertEq(
            mapSlot(bytes32(0), 6),
            0x54cdd369e4e8a8515e52ca72ec816c2101831ad1f18bf44102ed171459c9b4f8
        );
        assertEq(
            mapSlot(hash, 8), 0x6ca2deadf1e6ae2d9e98b88ee6b41161529234aab0354b2fa5a6e17aaba6317d
        );
        assertEq(
            mapSlot(hash, 0), 0xf448e562c5d52f552e4f9f1c80d229e89927cf59dbbf896c9af588055c555686
        );
        assertEq(
            mapSlot(bytes32(0), 2),
            0xac33ff75c19e70fe83507db0d683fd3465c996598dc972688b7ace676c89077b
        );
    }
}
