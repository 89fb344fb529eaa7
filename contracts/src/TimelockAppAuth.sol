// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {AppRules} from "./AppRules.sol";

/// An app whose users see a new version coming: whatever lets more machines in
/// takes effect a notice period after its owner said so, and can be taken back
/// until then.  What keeps machines out takes effect at once.
///
/// For DstackKms.registerApp.
contract TimelockAppAuth is Ownable2Step, AppRules {
    uint64 public immutable notice; // seconds

    constructor(
        address initialOwner,
        uint64 notice_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    )
        Ownable(initialOwner)
        AppRules(requireTcbUpToDate_, allowAnyDevice_, initialDeviceId, initialComposeHash)
    {
        require(notice_ >= 1 && notice_ <= 365 days, "Notice out of range");
        notice = notice_;
    }

    function _mustBeManager() internal view override onlyOwner {}

    function _delay() internal view override returns (uint64) {
        return notice;
    }
}
