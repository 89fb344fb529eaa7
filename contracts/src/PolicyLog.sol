// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// One event for every change of policy, beside the older, specific ones: an
/// auditor can rebuild the state of any contract here from this topic alone.
///
/// `value` is the hash or address concerned, the keccak256 of public data that
/// does not fit, or zero for a switch.  Holds no storage, so inheriting it
/// moves no slot.
abstract contract PolicyLog {
    event PolicyChanged(
        address indexed actor, bytes32 indexed policy, bytes32 indexed value, bool enabled
    );

    function _log(bytes32 policy, bytes32 value, bool enabled) internal {
        emit PolicyChanged(msg.sender, policy, value, enabled);
    }

    function _log(bytes32 policy, address value, bool enabled) internal {
        _log(policy, bytes32(uint256(uint160(value))), enabled);
    }
}
