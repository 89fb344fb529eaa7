// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DstackKms} from "../src/DstackKms.sol";
import {EpochVerifier} from "../src/EpochVerifier.sol";
import {RootRegistry} from "../src/RootRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

contract EpochVerifierTest is RegistryTest {
    uint256 private constant APP = 0xa99;
    uint256 private constant KEY = 0x6e7;
    bytes32 private constant DIGEST = keccak256("a price");

    EpochVerifier private verifier;

    function setUp() public override {
        super.setUp();
        verifier = new EpochVerifier(registry);
        found();
    }

    /// What the agent gives to an app, at some epoch, under some root.
    function chain(uint64 epoch, uint256 rootKey) private returns (EpochVerifier.Chain memory c) {
        c.appId = address(app);
        c.epoch = epoch;
        c.appKey = pub(APP);
        c.rootSignature =
            sig65(rootKey, bytes.concat("dstack-kms-issued:", bytes20(address(app)), pub(APP)));
        c.key = pub(KEY);
        c.purpose = "oracle";
        // vm.toString writes it like the agent, after 0x.
        bytes memory text = bytes(vm.toString(pub(KEY)));
        for (uint256 i = 0; i < 66; i++) {
            text[i] = text[i + 2];
        }
        assembly {
            mstore(text, 66)
        }
        c.keySignature = sig65(APP, bytes.concat("oracle:", text));
    }

    function signature(uint256 key) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, DIGEST);
        return abi.encodePacked(r, s, v);
    }

    function refuses(EpochVerifier.Chain memory c, bytes memory sig, string memory why) private {
        vm.expectRevert(bytes(why));
        verifier.verify(c, DIGEST, sig);
    }

    function test_needs_a_registry() public {
        vm.expectRevert("No registry");
        new EpochVerifier(RootRegistry(stranger));
    }

    function test_each_link_counts() public {
        EpochVerifier.Chain memory c = chain(0, root(0));
        bytes memory sig = signature(KEY);

        assertTrue(verifier.verify(c, DIGEST, sig));
        refuses(c, signature(APP), "Not signed by this key");
        refuses(c, "", "Not signed by this key");

        c.appId = stranger;
        refuses(c, sig, "The root did not sign this app's key");
        c = chain(0, THIEF);
        refuses(c, sig, "The root did not sign this app's key");
        c.rootSignature = "";
        refuses(c, sig, "The root did not sign this app's key");
        c = chain(0, root(0));
        c.appKey = pub(THIEF);
        refuses(c, sig, "The root did not sign this app's key");

        c = chain(0, root(0));
        c.purpose = "vault";
        refuses(c, sig, "The app did not sign this key");
        c = chain(0, root(0));
        c.key = pub(THIEF);
        refuses(c, signature(THIEF), "The app did not sign this key");
        c.key = "";
        refuses(c, sig, "Not a k256 key");
        c = chain(0, root(0));
        c.appKey[0] = 0x04;
        refuses(c, sig, "Not a k256 key");
    }

    function test_epochs() public {
        bytes memory sig = signature(KEY);
        EpochVerifier.Chain memory old = chain(0, root(0));
        EpochVerifier.Chain memory c = chain(1, root(1));

        refuses(c, sig, "Epoch is not in use");
        order(ROUTINE);
        publish(1);
        refuses(c, sig, "Epoch is not in use"); // nor before the window is over
        activate(1);
        assertFalse(verifier.verify(c, DIGEST, sig)); // not what it is pinned to
        assertTrue(verifier.verify(old, DIGEST, sig));
        vm.prank(dev);
        registry.pin(address(app), 1);
        assertTrue(verifier.verify(c, DIGEST, sig));
        assertFalse(verifier.verify(old, DIGEST, sig));
        // The root of one epoch is not that of another.
        c.epoch = 0;
        refuses(c, sig, "The root did not sign this app's key");

        (RootRegistry.Status is_, address signer) = registry.rootOf(1);
        assertEq(uint8(is_), uint8(RootRegistry.Status.ACTIVE));
        assertEq(signer, vm.addr(root(1)));
        assertTrue(verifier.inUse(0));
        vm.startPrank(authority);
        registry.taint(0);
        refuses(old, sig, "Epoch is not in use");
        registry.retire(0, uint64(block.timestamp) + NOTICE);
        skip(NOTICE);
        registry.destroy(0);
        vm.stopPrank();
        assertFalse(verifier.inUse(0));
        assertFalse(verifier.inUse(9));
        refuses(old, sig, "Epoch is not in use");
    }

    /// A chain that dstack's own simulator gives out: dstack-compat.md 2.6 (a).
    function test_chain_of_dstack_itself() public {
        bytes memory rootKey =
            hex"02cad3a8bb11c5c0858fb3e402048b5137457039d577986daade678ed4b4ab1b9b";
        EpochVerifier.Chain memory c = EpochVerifier.Chain({
            appId: 0xEA549F02e1a25FaBD1CB788380e033eC5461b2ff,
            epoch: 0,
            appKey: hex"02b85cceca0c02d878f0ebcda72a97469a472416eb6faf3c4807642132f9786810",
            rootSignature: hex"2f431c7956869a4fe3e028c5f9518a935e2d01e81a3628f8b1d178fc2fac7b6d2405ace433624e5568e23c4ed291dbaf60dac79b756837c0fe745154ebfdc0a601",
            key: hex"02f79b023158b235e0787db27c2519caeb48ef6bb63d207d51ec8a1ecfd38c1f82",
            purpose: "ethereum",
            keySignature: hex"3daf33caf576205d75ccac8796ecad7e64f202cd670a8e8edc9347f5d3a6d0e07b1433be598ef7022acdbf06b65f2eb836aad58aa6c7061adc327258881b6c9d01"
        });

        registry = new RootRegistry(address(kms), address(anchor), authority, WINDOW, NOTICE, AGE);
        vm.startPrank(owner);
        kms.setKmsInfo(DstackKms.KmsInfo(rootKey, CA_SPKI, "", ""));
        registry.registerGenesis(rootKey, caOf0);
        vm.stopPrank();
        assertEq(registry.epochOf(0).signer, 0x8f2cF602C9695b23130367ed78d8F557554de7C5);
        verifier = new EpochVerifier(registry);
        (address key, bool pinned) = verifier.addressOf(c);
        assertEq(key, 0xE9bebf5c6beeb5217177266d61321364C866C56D);
        assertTrue(pinned);
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(0x7a7fc23b33327f46bfbd37c7ff2a104c95d13acd81909520fec163942fd7ba15, DIGEST);
        assertTrue(verifier.verify(c, DIGEST, abi.encodePacked(r, s, v)));
    }
}
