// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {
    GovernorCountingSimple
} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {
    GovernorTimelockControl
} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {OperatorCouncil} from "../src/OperatorCouncil.sol";
import {RootRegistry} from "../src/RootRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

/// One vote per holder, given out at the start.
contract Ballots is Votes {
    mapping(address => uint256) private units;

    constructor(address[] memory holders) EIP712("Ballots", "1") {
        for (uint256 i = 0; i < holders.length; i++) {
            units[holders[i]] = 1;
            _transferVotingUnits(address(0), holders[i], 1);
            _delegate(holders[i], holders[i]);
        }
    }

    function _getVotingUnits(address who) internal view override returns (uint256) {
        return units[who];
    }
}

/// OpenZeppelin's, as anybody would put it together.
contract Dao is Governor, GovernorCountingSimple, GovernorVotes, GovernorTimelockControl {
    constructor(IVotes votes, TimelockController timelock)
        Governor("DAO")
        GovernorVotes(votes)
        GovernorTimelockControl(timelock)
    {}

    function votingDelay() public pure override returns (uint256) {
        return 1;
    }

    function votingPeriod() public pure override returns (uint256) {
        return 100;
    }

    function quorum(uint256) public pure override returns (uint256) {
        return 3;
    }

    function state(uint256 id)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (ProposalState)
    {
        return super.state(id);
    }

    function proposalNeedsQueuing(uint256 id)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(id);
    }

    function _queueOperations(
        uint256 id,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory data,
        bytes32 hash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(id, targets, values, data, hash);
    }

    function _executeOperations(
        uint256 id,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory data,
        bytes32 hash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(id, targets, values, data, hash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory data,
        bytes32 hash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, data, hash);
    }

    function _executor()
        internal
        view
        override(Governor, GovernorTimelockControl)
        returns (address)
    {
        return super._executor();
    }
}

/// The registry under what it is meant for: the same decisions, taken by a
/// council, and by a DAO behind a timelock.
abstract contract GovernanceTest is RegistryTest {
    uint64 internal constant DELAY = 2 days;

    function voters() internal pure returns (address[] memory list) {
        list = new address[](5);
        for (uint256 i = 0; i < 5; i++) {
            list[i] = address(uint160(0x1000 + i));
        }
    }

    function makeAuthority() internal virtual returns (address);

    /// Votes, waits, and tries before its time at each step.
    function decide(address target, bytes memory data) internal virtual;

    function setUp() public override {
        super.setUp();
        registry =
            new RootRegistry(address(kms), address(anchor), makeAuthority(), WINDOW, NOTICE, AGE);
        vm.startPrank(owner);
        registry.registerGenesis(pub(root(0)), caOf0);
        vm.stopPrank();
    }

    function decide(bytes memory data) internal {
        decide(address(registry), data);
    }

    function test_the_whole_life_of_an_epoch() public {
        uint256 start = block.timestamp;

        decide(abi.encodeCall(registry.orderRotation, (ROUTINE, 0, 0)));
        assertGe(block.timestamp, start + DELAY);
        publish(1);
        activate(1);

        decide(abi.encodeCall(registry.orderRotation, (EMERGENCY, 0, 0)));
        publish(2, THIEF, root(1), "Not signed by the cluster");
        publish(2, root(2), CLUSTER, "");
        decide(abi.encodeCall(registry.confirmRoot, (2, rootHash(root(2)))));
        skip(WINDOW);
        attest(2, "");
        registry.activate(2);

        decide(abi.encodeCall(registry.taint, (1)));
        decide(abi.encodeCall(registry.retire, (1, uint64(block.timestamp) + 2 * NOTICE)));
        skip(2 * NOTICE);
        decide(abi.encodeCall(registry.destroy, (1)));
        assertStatus(1, RootRegistry.Status.DESTROYED);

        decide(abi.encodeCall(registry.setGuardian, (guardian)));
        decide(abi.encodeCall(registry.orderRotation, (ROUTINE, 0, 0)));
        publish(3, root(3), root(2), "");
        vm.prank(guardian);
        registry.vetoRoot(3);
        decide(abi.encodeCall(registry.withdrawOrder, ()));
        assertEq(registry.active(), 2);
    }

    /// From one kind of authority to the other.
    function test_authority_is_handed_over() public {
        address[] memory one = new address[](1);
        one[0] = stranger;
        OperatorCouncil next = new OperatorCouncil(one, 1, 1, 1 days, address(0));
        OperatorCouncil.Call[] memory calls = new OperatorCouncil.Call[](1);

        decide(abi.encodeCall(registry.transferAuthority, (address(next))));
        calls[0] =
            OperatorCouncil.Call(address(registry), abi.encodeCall(registry.acceptAuthority, ()));
        vm.prank(stranger);
        bytes32 id = next.propose(calls, 0);
        skip(1);
        next.execute(id);
        assertEq(registry.authority(), address(next));
    }

    /// It can be taken by this kind of authority.
    function test_authority_is_accepted() public {
        address mine = registry.authority();

        registry = new RootRegistry(address(kms), address(anchor), authority, WINDOW, NOTICE, AGE);
        vm.prank(authority);
        registry.transferAuthority(mine);
        decide(abi.encodeCall(registry.acceptAuthority, ()));
        assertEq(registry.authority(), mine);
    }
}

contract CouncilGovernanceTest is GovernanceTest {
    OperatorCouncil private council;
    uint256 private salt;

    function makeAuthority() internal override returns (address) {
        council = new OperatorCouncil(voters(), 3, DELAY, 7 days, address(0));
        return address(council);
    }

    function decide(address target, bytes memory data) internal override {
        OperatorCouncil.Call[] memory calls = new OperatorCouncil.Call[](1);

        calls[0] = OperatorCouncil.Call(target, data);
        vm.prank(voters()[0]);
        bytes32 id = council.propose(calls, bytes32(salt++));
        for (uint256 i = 1; i < 3; i++) {
            vm.expectRevert("Not ready");
            council.execute(id);
            vm.prank(voters()[i]);
            council.vote(id);
        }
        skip(DELAY - 1);
        vm.expectRevert("Not ready");
        council.execute(id);
        skip(1);
        council.execute(id);
    }
}

contract DaoGovernanceTest is GovernanceTest {
    Dao private dao;
    uint256 private salt;

    function makeAuthority() internal override returns (address) {
        address[] memory nobody = new address[](0);
        address[] memory anyone = new address[](1);
        TimelockController timelock = new TimelockController(DELAY, nobody, anyone, address(this));

        dao = new Dao(new Ballots(voters()), timelock);
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(dao));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(dao));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        vm.roll(block.number + 1);
        return address(timelock);
    }

    function decide(address target, bytes memory data) internal override {
        address[] memory targets = new address[](1);
        uint256[] memory values = new uint256[](1);
        bytes[] memory calls = new bytes[](1);
        string memory text = vm.toString(salt++);

        targets[0] = target;
        calls[0] = data;
        vm.prank(voters()[0]);
        uint256 id = dao.propose(targets, values, calls, text);
        vm.roll(block.number + 2);
        for (uint256 i = 0; i < 3; i++) {
            vm.prank(voters()[i]);
            dao.castVote(id, 1);
        }
        vm.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        dao.queue(targets, values, calls, keccak256(bytes(text)));
        vm.roll(block.number + 101);
        dao.queue(targets, values, calls, keccak256(bytes(text)));
        skip(DELAY - 1);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        dao.execute(targets, values, calls, keccak256(bytes(text)));
        skip(1);
        dao.execute(targets, values, calls, keccak256(bytes(text)));
    }
}
