// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {Vm} from "forge-std/Vm.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";

/// Puts a new KMS and its cluster's anchor on a chain, and says where.
/// tools/deploy runs it.
///
///   DEPLOY_KEY          private key that pays for it
///   DEPLOY_OWNER        who shall own both contracts (default: the payer)
///   DEPLOY_ANCHOR_WAIT  seconds from the announcement of a recovery to its
///                       opening (default: 3600)
///   DEPLOY_OUT          the JSON file to write, an absolute path
contract Deploy {
    // forge-std's Script would bring 20 files to compile for this one name.
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run() external {
        uint256 key = vm.envUint("DEPLOY_KEY");
        address payer = vm.addr(key);
        address owner = vm.envOr("DEPLOY_OWNER", payer);
        uint256 wait = vm.envOr("DEPLOY_ANCHOR_WAIT", uint256(3600));
        string memory out = vm.envString("DEPLOY_OUT");

        require(wait <= type(uint64).max, "DEPLOY_ANCHOR_WAIT is out of range");
        vm.startBroadcast(key);
        address appImplementation = address(new DstackApp());
        address kmsImplementation = address(new DstackKms());
        DstackKms kms = DstackKms(
            address(
                new ERC1967Proxy(
                    kmsImplementation,
                    abi.encodeCall(DstackKms.initialize, (owner, appImplementation))
                )
            )
        );
        ClusterAnchor anchor = new ClusterAnchor(owner, address(kms), uint64(wait));
        vm.stopBroadcast();

        // These fail in the simulation that precedes the first transaction.
        require(kms.owner() == owner, "owner is not in place");
        require(kms.appImplementation() == appImplementation, "factory is not in place");
        require(anchor.owner() == owner, "owner of the anchor is not in place");
        require(anchor.kms() == address(kms), "the anchor is of another KMS");

        string memory doc = "deployment";
        vm.serializeUint(doc, "chainId", block.chainid);
        vm.serializeAddress(doc, "owner", owner);
        vm.serializeAddress(doc, "kmsImplementation", kmsImplementation);
        vm.serializeAddress(doc, "appImplementation", appImplementation);
        vm.serializeAddress(doc, "anchor", address(anchor));
        vm.writeJson(vm.serializeAddress(doc, "kms", address(kms)), out);
    }
}
