// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    OwnableUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/OwnableUpgradeable.sol";
import {Initializable} from "@openzeppelin/contracts-upgradeable/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {Vm} from "forge-std/Vm.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {IAppAuth} from "../src/IAppAuth.sol";
import {KmsTest} from "./KmsTest.sol";

/// Says whatever an app contract might: yes, a revert, or an echo.
contract AnyApp {
    enum Mood {
        Yes,
        Revert,
        Spin,
        Echo
    }

    Mood private immutable mood;

    constructor(Mood mood_) {
        mood = mood_;
    }

    function isAppAllowed(IAppAuth.AppBootInfo calldata b)
        external
        view
        returns (bool, string memory)
    {
        if (mood == Mood.Revert) {
            revert("in a bad mood");
        }
        while (mood == Mood.Spin) {}
        if (mood == Mood.Echo) {
            return (false, string(abi.encode(b)));
        }
        return (true, "");
    }
}

contract DstackKmsTest is KmsTest {
    // Decisions about KMS nodes

    function kmsRefused(IAppAuth.AppBootInfo memory b, string memory why) private view {
        (bool ok, string memory reason) = kms.isKmsAllowed(b);
        assertFalse(ok, why);
        assertEq(reason, why);
    }

    /// With everything wrong the first reason is given; each repair shows the next.
    function test_kms_refusals_in_order() public {
        IAppAuth.AppBootInfo memory b = bootOf(address(0));

        vm.startPrank(owner);
        b.tcbStatus = "";
        kmsRefused(b, "TCB status is not up to date");
        b.tcbStatus = "UpToDate";
        kmsRefused(b, "OS image is not allowed");
        kms.addOsImageHash(IMAGE);
        kmsRefused(b, "Aggregated MR not allowed");
        kms.addKmsAggregatedMr(MR);
        kmsRefused(b, "KMS is not allowed to boot on this device");
        kms.addKmsDevice(DEVICE);
        (bool ok, string memory reason) = kms.isKmsAllowed(b);
        assertTrue(ok);
        assertEq(reason, "");

        // And each permission can be taken back.
        kms.removeOsImageHash(IMAGE);
        kmsRefused(b, "OS image is not allowed");
        kms.addOsImageHash(IMAGE);
        kms.removeKmsAggregatedMr(MR);
        kmsRefused(b, "Aggregated MR not allowed");
        kms.addKmsAggregatedMr(MR);
        kms.removeKmsDevice(DEVICE);
        kmsRefused(b, "KMS is not allowed to boot on this device");
        vm.stopPrank();
    }

    /// No KMS node runs on a platform that is not fully patched; no setting changes that.
    function testFuzz_kms_needs_up_to_date(string calldata tcb) public {
        vm.assume(keccak256(bytes(tcb)) != keccak256("UpToDate"));
        IAppAuth.AppBootInfo memory b = bootOf(address(0));

        vm.startPrank(owner);
        kms.addOsImageHash(IMAGE);
        kms.addKmsAggregatedMr(MR);
        kms.addKmsDevice(DEVICE);
        b.tcbStatus = tcb;
        kmsRefused(b, "TCB status is not up to date");
    }

    /// Being allowed under one heading says nothing about another.
    function testFuzz_kms_lists_are_separate(bytes32 x, bytes32 y) public {
        vm.assume(x != y);
        IAppAuth.AppBootInfo memory b = bootOf(address(0));
        b.osImageHash = x;
        b.mrAggregated = y;
        b.deviceId = x;

        vm.startPrank(owner);
        kms.addKmsAggregatedMr(x);
        kms.addKmsDevice(x);
        kmsRefused(b, "OS image is not allowed");
        kms.addOsImageHash(x);
        kmsRefused(b, "Aggregated MR not allowed");
        kms.addKmsAggregatedMr(y);
        kms.removeKmsDevice(x);
        kms.addKmsDevice(y);
        kmsRefused(b, "KMS is not allowed to boot on this device");
    }

    // Decisions about apps

    function test_app_refusals_in_order() public {
        address nobody = makeAddr("no code here");
        IAppAuth.AppBootInfo memory b = bootOf(nobody);

        refusedBy(kms, b, "App not registered");
        kms.registerApp(nobody);
        refusedBy(kms, b, "OS image is not allowed");
        vm.prank(owner);
        kms.addOsImageHash(IMAGE);
        refusedBy(kms, b, "App not deployed or invalid address");

        // From here on it is the app's own answer, word for word.
        b.appId = address(app);
        b.tcbStatus = "Revoked";
        refusedBy(kms, b, "TCB status is not up to date");
        b.tcbStatus = "UpToDate";
        refusedBy(kms, b, "Compose hash not allowed");
        vm.startPrank(dev);
        app.addComposeHash(COMPOSE);
        refusedBy(kms, b, "Device not allowed");
        app.addDevice(DEVICE);
        vm.stopPrank();
        allowedBy(kms, b);

        vm.prank(owner);
        kms.removeOsImageHash(IMAGE);
        refusedBy(kms, b, "OS image is not allowed");
    }

    /// An app that says yes to all still needs registration and an allowed image.
    function test_eager_app_is_not_enough() public {
        IAppAuth.AppBootInfo memory b = bootOf(address(new AnyApp(AnyApp.Mood.Yes)));

        refusedBy(kms, b, "App not registered");
        kms.registerApp(b.appId);
        refusedBy(kms, b, "OS image is not allowed");
        vm.prank(owner);
        kms.addOsImageHash(IMAGE);
        allowedBy(kms, b);
    }

    /// What an app sees is what the KMS was asked, to the last byte.
    function test_app_sees_the_whole_question() public {
        IAppAuth.AppBootInfo memory b = bootOf(address(new AnyApp(AnyApp.Mood.Echo)));
        b.advisoryIds = new string[](2);
        b.advisoryIds[0] = "INTEL-SA-00837";
        b.advisoryIds[1] = "a somewhat longer advisory, beyond one word";

        kms.registerApp(b.appId);
        vm.prank(owner);
        kms.addOsImageHash(IMAGE);
        (, string memory seen) = kms.isAppAllowed(b);
        assertEq(bytes(seen), abi.encode(b));
    }

    /// Hostile apps can fail their own caller, never obtain a yes.
    function test_hostile_apps_do_not_get_a_yes() public {
        address[4] memory apps = [
            address(new AnyApp(AnyApp.Mood.Revert)),
            address(new AnyApp(AnyApp.Mood.Spin)),
            address(kms), // asks itself, until the gas is gone
            address(vm) // answers, but not to this
        ];

        vm.prank(owner);
        kms.addOsImageHash(IMAGE);
        for (uint256 i = 0; i < apps.length; i++) {
            kms.registerApp(apps[i]);
            (bool ok,) = address(kms).staticcall{gas: 2_000_000}(
                abi.encodeCall(IAppAuth.isAppAllowed, (bootOf(apps[i])))
            );
            assertFalse(ok);
        }
    }

    /// A question that is not a whole tuple gets no answer.
    function test_cut_questions_revert() public {
        bytes memory q = abi.encodeCall(IAppAuth.isAppAllowed, (bootOf(address(app))));

        vm.prank(owner);
        kms.addOsImageHash(IMAGE);
        for (uint256 n = 4; n < q.length; n += 32) {
            bytes memory cut = new bytes(n);
            for (uint256 i = 0; i < n; i++) {
                cut[i] = q[i];
            }
            (bool ok,) = address(kms).staticcall(cut);
            assertFalse(ok);
        }
    }

    // Owner

    function test_strangers_change_nothing() public {
        address k = address(kms);
        DstackKms.KmsInfo memory info = DstackKms.KmsInfo("k", "c", "q", "e");
        ownersOnly(k, abi.encodeCall(kms.setKmsInfo, (info)));
        ownersOnly(k, abi.encodeCall(kms.setKmsQuote, ("q")));
        ownersOnly(k, abi.encodeCall(kms.setKmsEventlog, ("e")));
        ownersOnly(k, abi.encodeCall(kms.setGatewayAppId, ("g")));
        ownersOnly(k, abi.encodeCall(kms.setAppImplementation, (stranger)));
        ownersOnly(k, abi.encodeCall(kms.addKmsAggregatedMr, (MR)));
        ownersOnly(k, abi.encodeCall(kms.removeKmsAggregatedMr, (MR)));
        ownersOnly(k, abi.encodeCall(kms.addKmsDevice, (DEVICE)));
        ownersOnly(k, abi.encodeCall(kms.removeKmsDevice, (DEVICE)));
        ownersOnly(k, abi.encodeCall(kms.addOsImageHash, (IMAGE)));
        ownersOnly(k, abi.encodeCall(kms.removeOsImageHash, (IMAGE)));
        ownersOnly(k, abi.encodeCall(kms.upgradeToAndCall, (kmsCode, "")));
        ownersOnly(k, abi.encodeCall(kms.transferOwnership, (stranger)));
        ownersOnly(k, abi.encodeCall(kms.renounceOwnership, ()));
        ownersOnly(k, abi.encodeCall(kms.acceptOwnership, ()));
    }

    /// The heir has no power before accepting, the old owner none after.
    function test_ownership_moves_in_two_steps() public {
        address heir = makeAddr("heir");

        vm.prank(owner);
        kms.transferOwnership(stranger);
        vm.prank(owner);
        kms.transferOwnership(heir); // A second thought replaces the first.
        assertEq(kms.owner(), owner);
        assertEq(kms.pendingOwner(), heir);
        ownersOnly(address(kms), abi.encodeCall(kms.acceptOwnership, ()));

        vm.startPrank(heir);
        vm.expectRevert();
        kms.addOsImageHash(IMAGE);
        kms.acceptOwnership();
        kms.addOsImageHash(IMAGE);
        vm.stopPrank();
        assertEq(kms.owner(), heir);
        assertEq(kms.pendingOwner(), address(0));

        vm.prank(owner);
        vm.expectRevert();
        kms.removeOsImageHash(IMAGE);
    }

    /// After renouncing, the lists are frozen and no offer is left to accept.
    function test_renounced_is_frozen() public {
        vm.startPrank(owner);
        kms.transferOwnership(stranger);
        kms.renounceOwnership();
        vm.expectRevert();
        kms.addOsImageHash(IMAGE);
        vm.stopPrank();
        ownersOnly(address(kms), abi.encodeCall(kms.acceptOwnership, ()));
        assertEq(kms.owner(), address(0));
    }

    // Set-up and upgrades

    function test_set_up_refuses_no_owner() public {
        vm.expectRevert(
            abi.encodeWithSelector(OwnableUpgradeable.OwnableInvalidOwner.selector, address(0))
        );
        new ERC1967Proxy(kmsCode, abi.encodeCall(DstackKms.initialize, (address(0), appCode)));
    }

    function test_set_up_happens_once() public {
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        kms.initialize(stranger, appCode);
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        DstackKms(kmsCode).initialize(stranger, appCode);
        assertEq(kms.owner(), owner);
        assertEq(DstackKms(kmsCode).owner(), address(0));
    }

    function test_upgrades() public {
        address next = address(new DstackKms());

        vm.expectRevert(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector);
        DstackKms(kmsCode).upgradeToAndCall(next, "");
        vm.prank(owner);
        vm.expectRevert(); // An app is UUPS too, but must name a contract with code.
        kms.upgradeToAndCall(stranger, "");

        Vm.Log[] memory logs =
            callAs(owner, address(kms), abi.encodeCall(kms.upgradeToAndCall, (next, "")));
        assertPolicy(
            logs[0],
            owner,
            0xdd3079240d4e002c905dcbcaf6b06d77e782afb127bbb837120b8c7fc6703da3,
            word(next),
            true
        );
        assertEq(vm.load(address(kms), IMPLEMENTATION_SLOT), word(next));
        assertTrue(kms.registeredApps(address(app)));
    }

    // Apps

    function test_register_refuses_zero() public {
        vm.expectRevert("Invalid app ID");
        kms.registerApp(address(0));
        assertFalse(kms.registeredApps(address(0)));
    }

    function test_set_app_implementation_refuses_zero() public {
        vm.prank(owner);
        vm.expectRevert("Invalid implementation address");
        kms.setAppImplementation(address(0));
    }

    function test_factory_refusals_in_order() public {
        DstackKms bare = DstackKms(
            address(
                new ERC1967Proxy(
                    kmsCode, abi.encodeCall(DstackKms.initialize, (owner, address(0)))
                )
            )
        );
        vm.expectRevert("DstackApp implementation not set");
        bare.deployAndRegisterApp(address(0), false, false, false, DEVICE, COMPOSE);
        vm.expectRevert("DstackApp implementation not set");
        bare.deployAndRegisterApp(address(0), false, false, DEVICE, COMPOSE);

        vm.prank(owner);
        bare.setAppImplementation(appCode);
        vm.expectRevert("Invalid owner address");
        bare.deployAndRegisterApp(address(0), false, false, false, DEVICE, COMPOSE);
        vm.expectRevert("Invalid owner address");
        bare.deployAndRegisterApp(address(0), false, false, DEVICE, COMPOSE);
        bare.deployAndRegisterApp(dev, false, false, DEVICE, COMPOSE);
    }

    /// An app id is the proxy's CREATE address: keccak256(rlp([kms, nonce]))[12:].
    function test_app_id_is_the_create_address() public {
        // setUp deployed the first app, with nonce 1.
        bytes32 h = keccak256(abi.encodePacked(hex"d694", address(kms), uint8(1)));
        assertEq(address(app), address(uint160(uint256(h))));

        uint64 nonce = vm.getNonce(address(kms));
        address want = vm.computeCreateAddress(address(kms), nonce);
        vm.prank(stranger); // Anyone may deploy, for any owner.
        assertEq(kms.deployAndRegisterApp(dev, false, false, DEVICE, COMPOSE), want);

        // As seen on a real chain with this proxy address.
        address kmsThere = 0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0;
        vm.etch(kmsThere, address(kms).code);
        vm.store(kmsThere, IMPLEMENTATION_SLOT, word(kmsCode));
        vm.setNonce(kmsThere, 1);
        DstackKms(kmsThere).initialize(owner, appCode);
        assertEq(
            DstackKms(kmsThere).deployAndRegisterApp(dev, false, false, true, DEVICE, COMPOSE),
            0x75537828f2ce51be7289709686A69CbFDbB714F1
        );
    }

    /// Every argument of both forms lands where it belongs.
    function testFuzz_factory(bool off, bool tcb, bool any, bytes32 device, bytes32 compose)
        public
    {
        DstackApp six = DstackApp(kms.deployAndRegisterApp(dev, off, tcb, any, device, compose));
        DstackApp five = DstackApp(kms.deployAndRegisterApp(dev, off, any, device, compose));

        assertEq(six.requireTcbUpToDate(), tcb);
        assertEq(five.requireTcbUpToDate(), false);
        DstackApp[2] memory both = [six, five];
        for (uint256 i = 0; i < 2; i++) {
            DstackApp a = both[i];
            assertTrue(kms.registeredApps(address(a)));
            assertEq(a.owner(), dev);
            assertEq(a.allowAnyDevice(), any);
            assertEq(a.allowedDeviceIds(device), device != 0);
            assertEq(a.allowedComposeHashes(compose), compose != 0);
            assertEq(vm.load(address(a), IMPLEMENTATION_SLOT), word(appCode));
            assertEq(uint256(vm.load(address(a), bytes32(uint256(1)))) & 0xff, off ? 1 : 0);
        }
    }

    // Published information

    function test_kms_info() public {
        bytes memory long = new bytes(5000);
        long[4999] = 0x7f;

        vm.startPrank(owner);
        kms.setKmsInfo(DstackKms.KmsInfo("k256", "ca", "quote", "log"));
        kms.setKmsQuote(long);
        kms.setKmsEventlog("");
        kms.setGatewayAppId("any");
        vm.stopPrank();
        (bytes memory k256, bytes memory ca, bytes memory quote, bytes memory log) = kms.kmsInfo();
        assertEq(k256, "k256");
        assertEq(ca, "ca");
        assertEq(quote, long);
        assertEq(log, "");
        assertEq(kms.gatewayAppId(), "any");
    }

    // Events

    function test_events_of_lists() public {
        bytes32 mr = 0x22cfb8b3fc209be958082ecee5badccf8f7ab55e79ec93f5ac413a164feb98ea;
        bytes32 device = 0x1a2d46e254225ae2e84638f6fcb742191317930982ce206e0917877506edc3a0;
        bytes32 image = 0xbc0346dd2a1caffcfdf89515e8a3ad921515d32b39d8e28334b87bd5a1bdb6aa;

        listed(
            abi.encodeCall(kms.addKmsAggregatedMr, (MR)),
            0x68615a0b92795750b3d180ff73429e1291d225e449eee954a567b91104fd9837,
            mr,
            MR,
            true
        );
        listed(
            abi.encodeCall(kms.removeKmsAggregatedMr, (MR)),
            0x54cd662e41eec7ddf0f32f034b2533e481b471dd3ea978222d609ec8fffb1bb0,
            mr,
            MR,
            false
        );
        listed(
            abi.encodeCall(kms.addKmsDevice, (DEVICE)),
            0xf2b290637b1193e12eb38ab32b986303639b1687cc2cd1e25f993e6eae2f4041,
            device,
            DEVICE,
            true
        );
        listed(
            abi.encodeCall(kms.removeKmsDevice, (DEVICE)),
            0x1a9888a45e3df8b7e6bb3090747d598d2a0d78e61388161a90799f54df8f4434,
            device,
            DEVICE,
            false
        );
        listed(
            abi.encodeCall(kms.addOsImageHash, (IMAGE)),
            0x4911843506849c85a5ca6e6e2c01eed2d3ab86baba619517a2aad9d5ab2aeff2,
            image,
            IMAGE,
            true
        );
        listed(
            abi.encodeCall(kms.removeOsImageHash, (IMAGE)),
            0x99b3cee95daf3138d0c982299cd0264f5b7a61aa629b42b92f3ec8966aa7f6fe,
            image,
            IMAGE,
            false
        );
    }

    function listed(bytes memory call, bytes32 topic, bytes32 policy, bytes32 value, bool on)
        private
    {
        assertLogged(
            callAs(owner, address(kms), call), topic, abi.encode(value), owner, policy, value, on
        );
    }

    function test_events_of_settings() public {
        address k = address(kms);

        assertLogged(
            callAs(
                owner,
                k,
                abi.encodeCall(kms.setKmsInfo, (DstackKms.KmsInfo("k256", "c", "q", "e")))
            ),
            0x77cdad119a452bbd96c45635758fc4af8a6bde3deaccf3fada634ddf9a162706,
            abi.encode("k256"),
            owner,
            0xadc23d82fa8b20f02103a2405c452d2446e5a589f0182bd71f6d87e3357fbe65,
            keccak256("k256"),
            true
        );
        assertLogged(
            callAs(owner, k, abi.encodeCall(kms.setGatewayAppId, ("gate"))),
            0x5b2b64f770ea5266055ebd3ebf205ef06cbfa738e62684edf0e28356e34acf06,
            abi.encode("gate"),
            owner,
            0x6061a738ec69c97ed6ae96633751763d1291f32a6ef6515845ad8ddefda35ec6,
            keccak256("gate"),
            true
        );
        assertLogged(
            callAs(owner, k, abi.encodeCall(kms.setAppImplementation, (appCode))),
            0x08bb433f12b5fd81d2d5e0deeb3b4d28371781ddbd80e9d053e7468d2b1aa82d,
            abi.encode(appCode),
            owner,
            0xeec6b85dea30e3cb63f324855a4722f1bf23ddd4c142a551610e18744a193734,
            word(appCode),
            true
        );
        assertLogged(
            callAs(stranger, k, abi.encodeCall(kms.registerApp, (dev))),
            0x0d540ad8f39e07d19909687352b9fa017405d93c91a6760981fbae9cf28bfef7,
            abi.encode(dev),
            stranger,
            0x1a61f88f2e67632c1bf4321c88aec40bbf788e2b1a14b69f1186e6a3a31d9028,
            word(dev),
            true
        );
    }

    /// Last of a deployment's events: who made which app, both indexed.
    function test_events_of_factory() public {
        vm.recordLogs();
        vm.prank(stranger);
        address made = kms.deployAndRegisterApp(dev, false, false, DEVICE, COMPOSE);
        Vm.Log[] memory logs = vm.getRecordedLogs();

        Vm.Log memory last = logs[logs.length - 1];
        assertEq(last.emitter, address(kms));
        assertEq(
            last.topics[0], 0xfd86d7f6962eba3b7a3bf9129c06c0b2f885e1c61ef2c9f0dbb856be0deefdee
        );
        assertEq(last.topics[1], word(made));
        assertEq(last.topics[2], word(stranger));
        assertEq(last.data.length, 0);
        assertEq(
            logs[logs.length - 3].topics[0],
            0x0d540ad8f39e07d19909687352b9fa017405d93c91a6760981fbae9cf28bfef7
        );
    }

    /// The two steps of a change of owner, as OpenZeppelin announces them.
    function test_events_of_ownership() public {
        Vm.Log[] memory logs =
            callAs(owner, address(kms), abi.encodeCall(kms.transferOwnership, (dev)));
        assertEq(
            logs[0].topics[0], 0x38d16b8cac22d99fc7c124b9cd0de2d3fa1faef420bfe791d8c362d765e22700
        );
        logs = callAs(dev, address(kms), abi.encodeCall(kms.acceptOwnership, ()));
        assertEq(
            logs[0].topics[0], 0x8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0
        );
        assertEq(logs[0].topics[1], word(owner));
        assertEq(logs[0].topics[2], word(dev));
    }
}
