// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AppRules} from "./AppRules.sol";
import {OperatorCouncil} from "./OperatorCouncil.sol";

/// An app of several owners: k of n decide what may run, by the proposals of
/// OperatorCouncil, whose calls are to this contract.  What lets more machines
/// in waits for the notice period; what only keeps machines out needs the votes
/// alone.
///
/// It is its own owner, so that a proposal can also move its pin in the
/// RootRegistry.  For DstackKms.registerApp.
contract QuorumAppAuth is OperatorCouncil, AppRules {
    constructor(
        address[] memory members_,
        uint64 k_,
        uint64 notice_,
        uint64 life_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    )
        OperatorCouncil(members_, k_, notice_, life_, address(0))
        AppRules(requireTcbUpToDate_, allowAnyDevice_, initialDeviceId, initialComposeHash)
    {}

    function owner() external view returns (address) {
        return address(this);
    }

    function _mustBeManager() internal view override onlySelf {}

    /// Its proposals have waited already.
    function _delay() internal pure override returns (uint64) {
        return 0;
    }

    function _waitFor(Call[] calldata calls) internal view override returns (uint64) {
        for (uint256 i = 0; i < calls.length; i++) {
            if (calls[i].target != address(this) || !_keepsOut(calls[i].data)) {
                return notice;
            }
        }
        return 0;
    }

    function _keepsOut(bytes calldata data) private pure returns (bool) {
        bytes4 what = bytes4(data);

        return what == AppRules.removeComposeHash.selector || what == AppRules.removeDevice.selector
            || keccak256(data) == keccak256(abi.encodeCall(AppRules.setAllowAnyDevice, (false)))
            || keccak256(data) == keccak256(abi.encodeCall(AppRules.setRequireTcbUpToDate, (true)));
    }
}
