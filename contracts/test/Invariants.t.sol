// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {IAppAuth} from "../src/IAppAuth.sol";
import {KmsTest} from "./KmsTest.sol";

/// Two owners who do anything they may, with few enough values to collide.
contract Owners is Test {
    DstackKms private immutable kms;
    DstackApp private immutable app;
    address private immutable otherCode;

    bool public upgradesDisabled;
    address public codeWhenDisabled;

    constructor(DstackKms kms_, DstackApp app_) {
        kms = kms_;
        app = app_;
        otherCode = address(new DstackApp());
    }

    function value(uint256 seed) public pure returns (bytes32) {
        return keccak256(abi.encode("value", seed % 3));
    }

    function image(uint256 seed, bool add) external {
        vm.prank(kms.owner());
        add ? kms.addOsImageHash(value(seed)) : kms.removeOsImageHash(value(seed));
    }

    function compose(uint256 seed, bool add) external {
        vm.prank(app.owner());
        add ? app.addComposeHash(value(seed)) : app.removeComposeHash(value(seed));
    }

    function device(uint256 seed, bool add) external {
        vm.prank(app.owner());
        add ? app.addDevice(value(seed)) : app.removeDevice(value(seed));
    }

    function anyDevice(bool on) external {
        vm.prank(app.owner());
        app.setAllowAnyDevice(on);
    }

    function requireTcb(bool on) external {
        vm.prank(app.owner());
        app.setRequireTcbUpToDate(on);
    }

    function register(uint160 id) external {
        if (id != 0) {
            kms.registerApp(address(id));
        }
    }

    /// Whether or not it is refused: the invariant looks at the result.
    function upgrade() external {
        vm.prank(app.owner());
        try app.upgradeToAndCall(otherCode, "") {} catch {}
    }

    /// Seldom, or the other invariants would see little else.
    function disable(uint8 dice) external {
        if (dice < 16 && !upgradesDisabled) {
            upgradesDisabled = true;
            codeWhenDisabled = codeOf(app);
            vm.prank(app.owner());
            app.disableUpgrades();
        }
    }

    function codeOf(DstackApp a) public view returns (address) {
        return address(
            uint160(
                uint256(
                    vm.load(
                        address(a),
                        0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc
                    )
                )
            )
        );
    }
}

contract InvariantsTest is KmsTest {
    Owners private owners;

    function setUp() public override {
        super.setUp();
        owners = new Owners(kms, app);
        targetContract(address(owners));
        bytes4[] memory only = new bytes4[](8);
        only[0] = Owners.image.selector;
        only[1] = Owners.compose.selector;
        only[2] = Owners.device.selector;
        only[3] = Owners.anyDevice.selector;
        only[4] = Owners.requireTcb.selector;
        only[5] = Owners.register.selector;
        only[6] = Owners.upgrade.selector;
        only[7] = Owners.disable.selector;
        targetSelector(FuzzSelector({addr: address(owners), selectors: only}));
    }

    function set(address target, bytes32 slot, uint256 mask) private view returns (bool) {
        return uint256(vm.load(target, slot)) & mask != 0;
    }

    /// The decision that a node makes from seven proven slots is the one that
    /// the contracts make, in every state that owners can bring about.
    function invariant_slots_decide_as_calls_do() public view {
        address a = address(app);
        IAppAuth.AppBootInfo memory b = bootOf(a);

        for (uint256 i = 0; i < 16; i++) {
            b.osImageHash = owners.value(i & 1);
            b.composeHash = owners.value((i >> 1) & 1);
            b.deviceId = owners.value((i >> 2) & 1);
            b.tcbStatus = i & 8 == 0 ? "UpToDate" : "OutOfDate";

            bool bySlots = set(address(kms), mapSlot(word(a), 5), 0xff)
                && set(address(kms), mapSlot(b.osImageHash, 8), 0xff)
                && (i & 8 == 0 || !set(a, bytes32(uint256(3)), 0xff))
                && set(a, mapSlot(b.composeHash, 0), 0xff)
                && (set(a, bytes32(uint256(1)), 0xff00)
                    || set(a, mapSlot(b.deviceId, 2), 0xff));
            (bool byCall, string memory reason) = kms.isAppAllowed(b);
            assertEq(byCall, bySlots, reason);
            assertEq(bytes(reason).length == 0, byCall, "a reason exactly when refused");
        }
    }

    function invariant_apps_stay_registered_and_owned() public view {
        assertTrue(kms.registeredApps(address(app)));
        assertFalse(kms.registeredApps(address(0)));
        assertEq(kms.owner(), owner);
        assertEq(app.owner(), dev);
    }

    function invariant_no_upgrade_once_disabled() public view {
        if (owners.upgradesDisabled()) {
            assertEq(owners.codeOf(app), owners.codeWhenDisabled());
        }
    }
}
