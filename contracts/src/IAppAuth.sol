// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// What a KMS asks a chain: may this machine have these keys?
///
/// Every name, type and position here is dstack's wire format; the selectors
/// depend on all of them.  test/Interface.t.sol holds them to literal values.
interface IAppAuth is IERC165 {
    /// What an attested machine was measured to be.  The KMS fills this from
    /// verified evidence only; nothing in it is the machine's own claim.
    struct AppBootInfo {
        address appId;
        bytes32 composeHash;
        address instanceId;
        bytes32 deviceId;
        bytes32 mrAggregated;
        bytes32 mrSystem;
        bytes32 osImageHash;
        string tcbStatus;
        string[] advisoryIds;
    }

    /// Selector and ERC-165 id 0x1e079198.
    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        returns (bool isAllowed, string memory reason);
}

/// The same question for a KMS node that wants to join its peers.
interface IKmsAuth {
    /// Selector 0xe067ec9d.
    function isKmsAllowed(IAppAuth.AppBootInfo calldata bootInfo)
        external
        view
        returns (bool isAllowed, string memory reason);
}

/// The allow-lists that tools may edit on any app contract that claims
/// ERC-165 id 0x8fd37527.
interface IAppAuthBasicManagement is IERC165 {
    event ComposeHashAdded(bytes32 composeHash);
    event ComposeHashRemoved(bytes32 composeHash);
    event DeviceAdded(bytes32 deviceId);
    event DeviceRemoved(bytes32 deviceId);

    function addComposeHash(bytes32 composeHash) external;
    function removeComposeHash(bytes32 composeHash) external;
    function addDevice(bytes32 deviceId) external;
    function removeDevice(bytes32 deviceId) external;
}
