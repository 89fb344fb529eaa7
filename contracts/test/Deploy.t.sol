// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Deploy} from "../script/Deploy.s.sol";
import {CheckIn} from "../src/CheckIn.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {EpochVerifier} from "../src/EpochVerifier.sol";
import {OperatorCouncil} from "../src/OperatorCouncil.sol";
import {RootRegistry} from "../src/RootRegistry.sol";
import {KmsTest} from "./KmsTest.sol";

contract DeployTest is KmsTest {
    /// The file names a KMS that works: owned as asked, and with a factory; and
    /// an anchor of that KMS, which waits as asked.
    function test_deploys_what_it_says() public {
        deploys();
        govern();
    }

    function deploys() private {
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
        CheckIn checkIn = CheckIn(vm.parseJsonAddress(doc, ".checkIn"));
        checkIn.checkIn(COMPOSE);
        assertEq(checkIn.at(COMPOSE), block.timestamp);
        made.deployAndRegisterApp(dev, true, true, false, DEVICE, COMPOSE);
    }

    /// With members, also a council and a registry under it.  One test for both:
    /// the environment is the process's, and tests run side by side.
    function govern() private {
        string memory path = string.concat(vm.projectRoot(), "/cache/test/governed.json");

        assertFalse(
            vm.keyExistsJson(
                vm.readFile(string.concat(vm.projectRoot(), "/cache/test/deployment.json")),
                ".registry"
            )
        );
        vm.setEnv("DEPLOY_OUT", path);
        vm.setEnv("DEPLOY_OWNER", vm.toString(vm.addr(0x5eed)));
        vm.setEnv(
            "DEPLOY_COUNCIL_MEMBERS",
            string.concat(vm.toString(owner), ",", vm.toString(dev), ",", vm.toString(stranger))
        );
        vm.setEnv("DEPLOY_NOTICE", "60");
        vm.setEnv("DEPLOY_VETO_WINDOW", "7200");
        new Deploy().run();

        string memory doc = vm.readFile(path);
        OperatorCouncil council = OperatorCouncil(vm.parseJsonAddress(doc, ".council"));
        RootRegistry registry = RootRegistry(vm.parseJsonAddress(doc, ".registry"));
        assertEq(council.state().members.length, 3);
        assertEq(council.state().k, 2);
        assertEq(council.notice(), 60);
        assertEq(council.life(), 7 days);
        assertEq(registry.authority(), address(council));
        assertEq(address(registry.kms()), vm.parseJsonAddress(doc, ".kms"));
        assertEq(address(registry.anchor()), vm.parseJsonAddress(doc, ".anchor"));
        assertEq(registry.vetoWindow(), 7200);
        assertEq(registry.notice(), 60);
        assertEq(registry.holdersAge(), 3600);
        assertEq(DstackKms(address(registry.kms())).rootRegistry(), address(registry));
        EpochVerifier verifier = EpochVerifier(vm.parseJsonAddress(doc, ".verifier"));
        assertEq(address(verifier.registry()), address(registry));
        vm.setEnv("DEPLOY_COUNCIL_MEMBERS", "");
    }
}
