// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {DstackKms} from "../src/DstackKms.sol";
import {IKmsInfo, PriceOracle} from "../src/examples/PriceOracle.sol";
import {RegistryTest} from "./RegistryTest.sol";

contract PriceOracleTest is RegistryTest {
    uint256 private constant APP = 0xa99;
    uint256 private constant KEY = 0x6e7;
    uint64 private constant FRESH = 5 minutes;

    PriceOracle private oracle;

    function setUp() public override {
        super.setUp();
        oracle = new PriceOracle(IKmsInfo(address(kms)), address(app), FRESH);
        oracle.ask("ETH-USD");
        oracle.ask("BTC-USD");
    }

    /// A key's text as the agent writes it: without 0x.
    function text(uint256 key) private returns (bytes memory t) {
        bytes memory with = bytes(vm.toString(pub(key)));

        t = new bytes(66);
        for (uint256 i = 0; i < 66; i++) {
            t[i] = with[i + 2];
        }
    }

    function chain(uint256 rootKey, address app_, string memory purpose)
        private
        returns (PriceOracle.Chain memory c)
    {
        c.appKey = pub(APP);
        c.rootSignature =
            sig65(rootKey, bytes.concat("dstack-kms-issued:", bytes20(app_), pub(APP)));
        c.key = pub(KEY);
        c.keySignature = sig65(APP, bytes.concat(bytes(purpose), ":", text(KEY)));
    }

    function good() private returns (PriceOracle.Chain memory) {
        return chain(root(0), address(app), "price-oracle");
    }

    function answer(uint256 request) private view returns (PriceOracle.Answer memory a) {
        a = PriceOracle.Answer(request, "ETH-USD", 3_214_550_000, uint64(block.timestamp));
    }

    function signed(PriceOracle o, PriceOracle.Answer memory a, uint256 key)
        private
        view
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, o.digestOf(a));
        return abi.encodePacked(r, s, v);
    }

    function refuses(
        PriceOracle.Answer memory a,
        PriceOracle.Chain memory c,
        bytes memory sig,
        string memory why
    ) private {
        vm.expectRevert(bytes(why));
        oracle.fulfill(a, c, sig);
    }

    function test_needs_a_root_and_an_app() public {
        DstackKms empty = DstackKms(kmsCode); // names no root
        vm.expectRevert("The KMS has no root");
        new PriceOracle(IKmsInfo(address(empty)), address(app), FRESH);
        vm.expectRevert("No app");
        new PriceOracle(IKmsInfo(address(kms)), address(0), FRESH);
    }

    function test_whose_key_it_is() public {
        PriceOracle.Answer memory a = answer(1);
        bytes memory sig = signed(oracle, a, KEY);

        // Another root, another app, another purpose, no key at all.
        refuses(
            a,
            chain(THIEF, address(app), "price-oracle"),
            sig,
            "The root did not sign this app's key"
        );
        refuses(
            a, chain(root(0), stranger, "price-oracle"), sig, "The root did not sign this app's key"
        );
        refuses(a, chain(root(0), address(app), "wallet"), sig, "The app did not sign this key");
        PriceOracle.Chain memory c = good();
        c.appKey = pub(THIEF);
        refuses(a, c, sig, "The root did not sign this app's key");
        c = good();
        c.key = pub(THIEF);
        refuses(a, c, signed(oracle, a, THIEF), "The app did not sign this key");
        c = good();
        c.key = "";
        refuses(a, c, sig, "Not a k256 key");
        c = good();
        c.rootSignature = "";
        refuses(a, c, sig, "The root did not sign this app's key");
        // The app's own key is not the key derived for this.
        refuses(a, good(), signed(oracle, a, APP), "Not signed by the app's key");
        refuses(a, good(), "", "Not signed by the app's key");
    }

    function test_what_was_signed() public {
        PriceOracle.Answer memory a = answer(1);
        bytes memory sig = signed(oracle, a, KEY);

        a.price++;
        refuses(a, good(), sig, "Not signed by the app's key");
        a.price--;
        a.observedAt--;
        refuses(a, good(), sig, "Not signed by the app's key");
        a = answer(2);
        refuses(a, good(), sig, "Another symbol was asked for");
        a.symbol = "BTC-USD";
        refuses(a, good(), sig, "Not signed by the app's key");
        refuses(answer(0), good(), sig, "No such request");
        refuses(answer(3), good(), sig, "No such request");
        // The same answer for another contract, or on another chain.
        PriceOracle other = new PriceOracle(IKmsInfo(address(kms)), address(app), FRESH);
        refuses(answer(1), good(), signed(other, answer(1), KEY), "Not signed by the app's key");
        vm.chainId(7);
        refuses(answer(1), good(), sig, "Not signed by the app's key");
    }

    function test_when() public {
        PriceOracle.Answer memory a = answer(1);
        bytes memory sig = signed(oracle, a, KEY);

        skip(FRESH + 1);
        refuses(a, good(), sig, "Too old");
        a = answer(1);
        a.observedAt += oracle.SKEW() + 1;
        refuses(a, good(), signed(oracle, a, KEY), "From the future");
        a.observedAt = type(uint64).max;
        refuses(a, good(), signed(oracle, a, KEY), "From the future");
    }

    function test_once() public {
        PriceOracle.Answer memory a = answer(1);
        bytes memory sig = signed(oracle, a, KEY);

        vm.prank(stranger);
        oracle.fulfill(a, good(), sig);
        (uint256 price, uint64 at, uint256 request) = oracle.priceOf(keccak256("ETH-USD"));
        assertEq(price, 3_214_550_000);
        assertEq(at, block.timestamp);
        assertEq(request, 1);
        refuses(a, good(), sig, "Answered already");

        // An answer that comes late does not replace a newer price.
        oracle.ask("ETH-USD");
        a = answer(3);
        a.observedAt -= 10;
        a.price = 1;
        oracle.fulfill(a, good(), signed(oracle, a, KEY));
        (price,,) = oracle.priceOf(keccak256("ETH-USD"));
        assertEq(price, 3_214_550_000);
        assertTrue(oracle.answered(3));
    }
}
