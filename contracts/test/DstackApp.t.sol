// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {Vm} from "forge-std/Vm.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {IAppAuth} from "../src/IAppAuth.sol";
import {KmsTest} from "./KmsTest.sol";

contract DstackAppTest is KmsTest {
    string private constant SET_UP_5 = "initialize(address,bool,bool,bytes32,bytes32)";
    string private constant SET_UP_6 = "initialize(address,bool,bool,bool,bytes32,bytes32)";

    // Decisions

    /// With everything wrong the first reason is given; each repair shows the next.
    function test_refusals_in_order() public {
        IAppAuth.AppBootInfo memory b = bootOf(address(app));

        b.tcbStatus = "OutOfDate";
        refusedBy(app, b, "TCB status is not up to date");
        b.tcbStatus = "UpToDate";
        refusedBy(app, b, "Compose hash not allowed");
        callAs(dev, address(app), abi.encodeCall(app.addComposeHash, (COMPOSE)));
        refusedBy(app, b, "Device not allowed");
        callAs(dev, address(app), abi.encodeCall(app.addDevice, (DEVICE)));
        allowedBy(app, b);
    }

    /// Taking any one permission back refuses again.
    function test_revocations() public {
        IAppAuth.AppBootInfo memory b = bootOf(address(app));

        vm.startPrank(dev);
        app.addComposeHash(COMPOSE);
        app.addDevice(DEVICE);
        allowedBy(app, b);

        app.removeComposeHash(COMPOSE);
        refusedBy(app, b, "Compose hash not allowed");
        app.addComposeHash(COMPOSE);

        app.removeDevice(DEVICE);
        refusedBy(app, b, "Device not allowed");
        app.setAllowAnyDevice(true);
        allowedBy(app, b);
        app.setAllowAnyDevice(false);
        refusedBy(app, b, "Device not allowed");
        vm.stopPrank();
    }

    /// Only the exact word counts as up to date.
    function test_refuses_near_misses_of_up_to_date() public {
        IAppAuth.AppBootInfo memory b = bootOf(address(app));
        string[7] memory words =
            ["", "uptodate", "UpToDate ", " UpToDate", "UpToDat", "UpToDate\x00", "SWHardeningNeeded"];

        vm.startPrank(dev);
        app.addComposeHash(COMPOSE);
        app.addDevice(DEVICE);
        for (uint256 i = 0; i < words.length; i++) {
            b.tcbStatus = words[i];
            refusedBy(app, b, "TCB status is not up to date");
        }
        // The owner may drop the requirement, and take it up again.
        app.setRequireTcbUpToDate(false);
        allowedBy(app, b);
        app.setRequireTcbUpToDate(true);
        refusedBy(app, b, "TCB status is not up to date");
        vm.stopPrank();
    }

    /// The lists are exact sets, whatever is added and removed.
    function testFuzz_lists(bytes32 a, bytes32 b, bytes32 asked, bool drop, string calldata tcb)
        public
    {
        vm.startPrank(dev);
        app.setRequireTcbUpToDate(false);
        app.addComposeHash(a);
        app.addComposeHash(b);
        app.addDevice(b);
        if (drop) {
            app.removeComposeHash(b);
        }
        vm.stopPrank();

        IAppAuth.AppBootInfo memory info = bootOf(address(app));
        info.composeHash = asked;
        info.deviceId = b;
        info.tcbStatus = tcb;
        bool listed = drop ? asked == a && a != b : asked == a || asked == b;
        if (listed) {
            allowedBy(app, info);
        } else {
            refusedBy(app, info, "Compose hash not allowed");
        }
        info.composeHash = drop ? a : b;
        info.deviceId = asked;
        vm.assume(!drop || a != b);
        if (asked == b) {
            allowedBy(app, info);
        } else {
            refusedBy(app, info, "Device not allowed");
        }
    }

    // Owner

    function test_strangers_change_nothing() public {
        address a = address(app);
        ownersOnly(a, abi.encodeCall(app.addComposeHash, (COMPOSE)));
        ownersOnly(a, abi.encodeCall(app.removeComposeHash, (COMPOSE)));
        ownersOnly(a, abi.encodeCall(app.addDevice, (DEVICE)));
        ownersOnly(a, abi.encodeCall(app.removeDevice, (DEVICE)));
        ownersOnly(a, abi.encodeCall(app.setAllowAnyDevice, (true)));
        ownersOnly(a, abi.encodeCall(app.setRequireTcbUpToDate, (false)));
        ownersOnly(a, abi.encodeCall(app.disableUpgrades, ()));
        ownersOnly(a, abi.encodeCall(app.upgradeToAndCall, (appCode, "")));
        ownersOnly(a, abi.encodeCall(app.transferOwnership, (stranger)));
        ownersOnly(a, abi.encodeCall(app.renounceOwnership, ()));
        ownersOnly(a, abi.encodeCall(app.acceptOwnership, ()));
    }

    /// The KMS owner has no say over an app.
    function test_kms_owner_is_a_stranger_here() public {
        vm.prank(owner);
        vm.expectRevert();
        app.addComposeHash(COMPOSE);
    }

    // Set-up

    function test_set_up_refuses_no_owner() public {
        bytes memory five =
            abi.encodeWithSignature(SET_UP_5, address(0), false, false, DEVICE, COMPOSE);
        bytes memory six =
            abi.encodeWithSignature(SET_UP_6, address(0), false, false, false, DEVICE, COMPOSE);

        vm.expectRevert("invalid owner address");
        new ERC1967Proxy(appCode, five);
        vm.expectRevert("invalid owner address");
        new ERC1967Proxy(appCode, six);
    }

    /// Neither form can be called again, nor on the implementation, which has no owner.
    function test_set_up_happens_once() public {
        address[2] memory targets = [address(app), appCode];

        for (uint256 i = 0; i < targets.length; i++) {
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            DstackApp(targets[i]).initialize(stranger, false, true, DEVICE, COMPOSE);
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            DstackApp(targets[i]).initialize(stranger, false, false, true, DEVICE, COMPOSE);
        }
        assertEq(app.owner(), dev);
        assertEq(DstackApp(appCode).owner(), address(0));
    }

    /// The shorter form leaves the TCB requirement off; zeros list nothing.
    function test_set_up_forms() public {
        DstackApp five = DstackApp(
            address(
                new ERC1967Proxy(
                    appCode,
                    abi.encodeWithSignature(SET_UP_5, dev, true, true, bytes32(0), bytes32(0))
                )
            )
        );
        assertEq(five.owner(), dev);
        assertTrue(five.allowAnyDevice());
        assertFalse(five.requireTcbUpToDate());
        assertFalse(five.allowedDeviceIds(bytes32(0)));
        assertFalse(five.allowedComposeHashes(bytes32(0)));
        assertEq(five.version(), 2);

        vm.recordLogs();
        DstackApp six = DstackApp(
            address(
                new ERC1967Proxy(
                    appCode,
                    abi.encodeWithSignature(SET_UP_6, dev, false, true, false, DEVICE, COMPOSE)
                )
            )
        );
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertFalse(six.allowAnyDevice());
        assertTrue(six.requireTcbUpToDate());
        assertTrue(six.allowedDeviceIds(DEVICE));
        assertTrue(six.allowedComposeHashes(COMPOSE));
        // Upgraded, device (old, new), compose hash (old, new), owner, Initialized.
        assertEq(logs.length, 7);
        assertEq(
            logs[1].topics[0], 0x67fc71ab96fe3fa3c6f78e9a00e635d591b7333ce611c0380bc577aac702243b
        );
        assertPolicy(
            logs[2],
            address(this),
            0x8e7eff7e4a57bd436b18f220111863326b17773a8b4460f9fabd87a334233046,
            DEVICE,
            true
        );
        assertEq(
            logs[3].topics[0], 0xfecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af
        );
        assertPolicy(
            logs[4],
            address(this),
            0x56bdf4352a9ceb1ba8f5c68066725c095e69c1d3f8a437290f0ac1da8fb4e19c,
            COMPOSE,
            true
        );
    }

    // Upgrades

    function test_upgrade_refuses_foreign_code() public {
        vm.startPrank(dev);
        vm.expectRevert(
            abi.encodeWithSelector(
                ERC1967Utils.ERC1967InvalidImplementation.selector, address(this)
            )
        );
        app.upgradeToAndCall(address(this), "");
        // Not through the proxy, the code refuses to upgrade anything.
        vm.expectRevert(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector);
        DstackApp(appCode).upgradeToAndCall(appCode, "");
        vm.stopPrank();
    }

    function test_upgrade_is_logged_and_keeps_state() public {
        address next = address(new DstackApp());

        vm.prank(dev);
        app.addComposeHash(COMPOSE);
        Vm.Log[] memory logs =
            callAs(dev, address(app), abi.encodeCall(app.upgradeToAndCall, (next, "")));
        assertPolicy(
            logs[0],
            dev,
            0xdd3079240d4e002c905dcbcaf6b06d77e782afb127bbb837120b8c7fc6703da3,
            word(next),
            true
        );
        assertEq(
            logs[1].topics[0], 0xbc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b
        );
        assertEq(vm.load(address(app), IMPLEMENTATION_SLOT), word(next));
        assertTrue(app.allowedComposeHashes(COMPOSE));
        assertEq(app.owner(), dev);
    }

    /// Disabled at set-up or later, for this owner and the next.
    function test_disabled_upgrades_stay_disabled() public {
        DstackApp born = DstackApp(
            kms.deployAndRegisterApp(dev, true, true, false, bytes32(0), bytes32(0))
        );

        vm.startPrank(dev);
        vm.expectRevert("Upgrades are permanently disabled");
        born.upgradeToAndCall(appCode, "");

        app.disableUpgrades();
        vm.expectRevert("Upgrades are permanently disabled");
        app.upgradeToAndCall(appCode, "");
        app.transferOwnership(stranger);
        vm.stopPrank();

        vm.startPrank(stranger);
        app.acceptOwnership();
        vm.expectRevert("Upgrades are permanently disabled");
        app.upgradeToAndCall(appCode, "");
        app.disableUpgrades(); // Twice is no error.
        vm.stopPrank();
        assertEq(vm.load(address(app), IMPLEMENTATION_SLOT), word(appCode));
    }

    // Events

    function test_events() public {
        address a = address(app);
        bytes32 compose = 0x56bdf4352a9ceb1ba8f5c68066725c095e69c1d3f8a437290f0ac1da8fb4e19c;
        bytes32 device = 0x8e7eff7e4a57bd436b18f220111863326b17773a8b4460f9fabd87a334233046;
        bytes32 any = 0x560720bbc77afadfad8faeab0a79cf66b13e5433c09dd9182d5d36413084a84e;
        bytes32 tcb = 0xeb206ee4e1c06549322091bfcf2a5ff8658edc40901aa7f3af6f571a159471fb;

        assertLogged(
            callAs(dev, a, abi.encodeCall(app.addComposeHash, (COMPOSE))),
            0xfecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af,
            abi.encode(COMPOSE),
            dev,
            compose,
            COMPOSE,
            true
        );
        assertLogged(
            callAs(dev, a, abi.encodeCall(app.removeComposeHash, (COMPOSE))),
            0x755b79bd4b0eeab344d032284a99003b2ddc018b646752ac72d681593a6e8947,
            abi.encode(COMPOSE),
            dev,
            compose,
            COMPOSE,
            false
        );
        assertLogged(
            callAs(dev, a, abi.encodeCall(app.addDevice, (DEVICE))),
            0x67fc71ab96fe3fa3c6f78e9a00e635d591b7333ce611c0380bc577aac702243b,
            abi.encode(DEVICE),
            dev,
            device,
            DEVICE,
            true
        );
        assertLogged(
            callAs(dev, a, abi.encodeCall(app.removeDevice, (DEVICE))),
            0xe0862975ac517b0478d308012afabc4bc37c23874a18144d7f2dfb852ff95c2c,
            abi.encode(DEVICE),
            dev,
            device,
            DEVICE,
            false
        );
        for (uint256 i = 0; i < 2; i++) {
            bool on = i == 0;
            assertLogged(
                callAs(dev, a, abi.encodeCall(app.setAllowAnyDevice, (on))),
                0xbb2cdb6c7b362202d40373f87bc4788301cca658f91711ac1662e1ad2cba4a20,
                abi.encode(on),
                dev,
                any,
                bytes32(0),
                on
            );
            assertLogged(
                callAs(dev, a, abi.encodeCall(app.setRequireTcbUpToDate, (on))),
                0xafae60561b2481a349b45b3a47357f70eef6ae67e5b6e1749d74de7f19a25aa1,
                abi.encode(on),
                dev,
                tcb,
                bytes32(0),
                on
            );
        }
        assertLogged(
            callAs(dev, a, abi.encodeCall(app.disableUpgrades, ())),
            0x0e5daa943fcd7e7182d0e893d180695c2ea9f6f1b4a1c5432faf14cf17b774e8,
            "",
            dev,
            0xf6943036509aad7f2319e01f7ed528873bcbdaaf6d25921b03e395124e6a46d3,
            bytes32(0),
            true
        );
    }
}
