// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {IAppAuth} from "../src/IAppAuth.sol";
import {LicenceToken} from "../src/examples/LicenceToken.sol";
import {NftAppAuth} from "../src/examples/NftAppAuth.sol";

contract NftAppAuthTest is Test {
    bytes32 private constant COMPOSE = keccak256("a compose file");
    address private constant INSTANCE = address(0x1111);

    LicenceToken private licences = new LicenceToken(address(this));
    NftAppAuth private app = new NftAppAuth(licences, COMPOSE);

    function boot() private view returns (IAppAuth.AppBootInfo memory b) {
        b.appId = address(app);
        b.composeHash = COMPOSE;
        b.instanceId = INSTANCE;
        b.tcbStatus = "UpToDate";
        b.advisoryIds = new string[](0);
    }

    function check(IAppAuth.AppBootInfo memory b, string memory why) private view {
        (bool yes, string memory reason) = app.isAppAllowed(b);

        assertEq(yes, bytes(why).length == 0);
        assertEq(reason, why);
    }

    function test_only_with_a_licence() public {
        check(boot(), "Instance has no licence");
        licences.mint(address(0xbeef), uint256(uint160(INSTANCE)) + 1);
        check(boot(), "Instance has no licence");
        licences.mint(address(0xbeef), uint256(uint160(INSTANCE)));
        check(boot(), "");
        licences.burn(uint256(uint160(INSTANCE)));
        check(boot(), "Instance has no licence");
    }

    function test_a_licence_is_not_all() public {
        IAppAuth.AppBootInfo memory b = boot();

        licences.mint(address(0xbeef), uint256(uint160(INSTANCE)));
        b.composeHash = keccak256("another");
        check(b, "Compose hash not allowed");
        b = boot();
        b.tcbStatus = "OutOfDate";
        check(b, "TCB status is not up to date");
    }

    function test_only_the_publisher_licenses() public {
        vm.prank(address(0xbeef));
        vm.expectRevert();
        licences.mint(address(0xbeef), 1);
    }

    function test_says_what_it_is() public view {
        assertTrue(app.supportsInterface(0x1e079198));
        assertTrue(app.supportsInterface(0x01ffc9a7));
        assertFalse(app.supportsInterface(0xffffffff));
        assertFalse(app.supportsInterface(0x8fd37527));
    }
}
