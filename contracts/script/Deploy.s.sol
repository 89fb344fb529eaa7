// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {Vm} from "forge-std/Vm.sol";
import {CheckIn} from "../src/CheckIn.sol";
import {ClusterAnchor} from "../src/ClusterAnchor.sol";
import {DstackApp} from "../src/DstackApp.sol";
import {DstackKms} from "../src/DstackKms.sol";
import {EpochVerifier} from "../src/EpochVerifier.sol";
import {OperatorCouncil} from "../src/OperatorCouncil.sol";
import {RootRegistry} from "../src/RootRegistry.sol";

/// Puts a new KMS, its cluster's anchor and where its nodes check in on a
/// chain, and says where; with members for a council also that, and a registry
/// of roots under it.  tools/deploy runs it.
///
///   DEPLOY_KEY          private key that pays for it
///   DEPLOY_OWNER        who shall own both contracts (default: the payer)
///   DEPLOY_ANCHOR_WAIT  seconds from the announcement of a recovery to its
///                       opening (default: 3600)
///   DEPLOY_OUT          the JSON file to write, an absolute path
///
///   DEPLOY_COUNCIL_MEMBERS  addresses, separated by commas (default: none, and
///                           neither council nor registry)
///   DEPLOY_COUNCIL_K        votes that decide (default: more than half)
///   DEPLOY_COUNCIL_LIFE     seconds that a proposal may gather votes, and be
///                           executed (default: 7 days)
///   DEPLOY_NOTICE           seconds between its votes and its execution, and
///                           before an epoch is destroyed (default: 2 days)
///   DEPLOY_VETO_WINDOW      seconds between a root's publication and its use
///                           (default: 1 day)
///   DEPLOY_HOLDERS_AGE      seconds that evidence of its holders is good for;
///                           longer than blocks take to be final (default: 3600)
contract Deploy {
    // forge-std's Script would bring 20 files to compile for this one name.
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run() external {
        uint256 key = vm.envUint("DEPLOY_KEY");
        address payer = vm.addr(key);
        address owner = vm.envOr("DEPLOY_OWNER", payer);
        uint64 wait = _number("DEPLOY_ANCHOR_WAIT", 3600);
        string memory out = vm.envString("DEPLOY_OUT");

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
        ClusterAnchor anchor = new ClusterAnchor(owner, address(kms), wait);
        CheckIn checkIn = new CheckIn();
        _govern(kms, anchor, payer == owner);
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
        vm.serializeAddress(doc, "checkIn", address(checkIn));
        vm.writeJson(vm.serializeAddress(doc, "kms", address(kms)), out);
    }

    /// The KMS contract is told of the registry if the payer may do that; its
    /// owner has to, otherwise, before the first rotation.
    function _govern(DstackKms kms, ClusterAnchor anchor, bool mayAttach) private {
        address[] memory nobody = new address[](0);
        address[] memory members = vm.envOr("DEPLOY_COUNCIL_MEMBERS", ",", nobody);
        string memory doc = "deployment";

        if (members.length == 0) {
            return;
        }
        uint64 notice = _number("DEPLOY_NOTICE", 2 days);
        OperatorCouncil council = new OperatorCouncil(
            members,
            _number("DEPLOY_COUNCIL_K", members.length / 2 + 1),
            notice,
            _number("DEPLOY_COUNCIL_LIFE", 7 days),
            address(0)
        );
        RootRegistry registry = new RootRegistry(
            address(kms),
            address(anchor),
            address(council),
            _number("DEPLOY_VETO_WINDOW", 1 days),
            notice,
            _number("DEPLOY_HOLDERS_AGE", 3600)
        );
        EpochVerifier verifier = new EpochVerifier(registry);
        if (mayAttach) {
            kms.setRootRegistry(address(registry));
        }
        vm.serializeAddress(doc, "council", address(council));
        vm.serializeAddress(doc, "registry", address(registry));
        vm.serializeAddress(doc, "verifier", address(verifier));
    }

    function _number(string memory name, uint256 otherwise) private view returns (uint64) {
        uint256 n = vm.envOr(name, otherwise);

        require(n <= type(uint64).max, string.concat(name, " is out of range"));
        return uint64(n);
    }
}
