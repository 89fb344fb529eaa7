// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Deploy} from "../script/Deploy.s.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {KmsTest} from "./KmsTest.sol";

contract DeployTest is KmsTest {
    /// The file names a KMS that works: owned as asked, and with a factory; and
    /// an anchor of that KMS, which waits as asked.
    function test_deploys_what_it_says() public {
        string memory path = string.concat(vm.projectRoot(), "/cache/test/deployment.json");

        vm.setEnv("DEPLOY_KEY", "0x5eed");
        vm.setEnv("DEPLOY_OWNER", vm.toString(owner));
        vm.setEnv("DEPLOY_ANCHOR_WAIT", "77");
        vm.setEnv("DEPLOY_OUT", path);
        vm.deal(vm.addr(0x5eed), 1 ether);
        new Deploy().run();

        string memory doc = vm.readFile(path);
        DstackKms made = DstackKms(vm.parseJsonAddress(doc, ".kms"));
        address code = vm.parseJsonAddress(doc, ".kmsImplementation");
        assertEq(vm.parseJsonUint(doc, ".chainId"), block.chainid);
        assertEq(vm.parseJsonAddress(doc, ".owner"), owner);
        assertEq(made.owner(), owner);
        assertEq(vm.load(address(made), IMPLEMENTATION_SLOT), word(code));
        assertEq(made.appImplementation(), vm.parseJsonAddress(doc, ".appImplementation"));
        ClusterAnchor anchor = ClusterAnchor(vm.parseJsonAddress(doc, ".anchor"));
        assertEq(anchor.owner(), owner);
        assertEq(anchor.kms(), address(made));
        assertEq(anchor.wait(), 77);
        assertEq(anchor.state().point.generation, 0);
        made.deployAndRegisterApp(dev, true, true, false, DEVICE, COMPOSE);
    }
}
