// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    Ownable2StepUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {
    ERC165Upgradeable
} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IAppAuth, IAppAuthBasicManagement} from "./IAppAuth.sol";
import {PolicyLog} from "./PolicyLog.sol";

/// One app's policy: which compose files may run, on which devices, and
/// whether the platform must be fully patched.  Its address is the app id.
///
/// Lives behind an ERC-1967 proxy.  KMS nodes read the state below by storage
/// proof as well as by call, so declarations must not be moved or reordered.
contract DstackApp is
    Ownable2StepUpgradeable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    PolicyLog,
    IAppAuth,
    IAppAuthBasicManagement
{
    bytes32 private constant COMPOSE_HASH = keccak256("compose-hash");
    bytes32 private constant DEVICE = keccak256("device");
    bytes32 private constant ALLOW_ANY_DEVICE = keccak256("allow-any-device");
    bytes32 private constant REQUIRE_TCB = keccak256("require-tcb-up-to-date");
    bytes32 private constant UPGRADES_DISABLED = keccak256("upgrades-disabled");
    bytes32 private constant UPGRADE = keccak256("implementation-upgrade");
    bytes32 private constant UP_TO_DATE = keccak256("UpToDate");

    mapping(bytes32 composeHash => bool) public allowedComposeHashes; // slot 0
    bool private _upgradesDisabled; // slot 1, byte 0
    bool public allowAnyDevice; // slot 1, byte 1
    mapping(bytes32 deviceId => bool) public allowedDeviceIds; // slot 2
    bool public requireTcbUpToDate; // slot 3
    uint256[49] private __gap; // slots 4-52

    event UpgradesDisabled();
    event AllowAnyDeviceSet(bool allowAny);
    event RequireTcbUpToDateSet(bool requireUpToDate);

    /// The implementation itself can never be initialised, hence never owned.
    constructor() {
        _disableInitializers();
    }

    /// The form of older tools: any TCB status is accepted until the owner
    /// calls setRequireTcbUpToDate.
    function initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external initializer {
        _setUp(
            initialOwner,
            disableUpgrades_,
            false,
            allowAnyDevice_,
            initialDeviceId,
            initialComposeHash
        );
    }

    /// Zero for the device or the compose hash means "none yet".
    function initialize(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external initializer {
        _setUp(
            initialOwner,
            disableUpgrades_,
            requireTcbUpToDate_,
            allowAnyDevice_,
            initialDeviceId,
            initialComposeHash
        );
    }

    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        override
        returns (bool isAllowed, string memory reason)
    {
        if (requireTcbUpToDate && keccak256(bytes(bootInfo.tcbStatus)) != UP_TO_DATE) {
            return (false, "TCB status is not up to date");
        }
        if (!allowedComposeHashes[bootInfo.composeHash]) {
            return (false, "Compose hash not allowed");
        }
        if (!allowAnyDevice && !allowedDeviceIds[bootInfo.deviceId]) {
            return (false, "Device not allowed");
        }
        return (true, "");
    }

    /// Interface version: 2 since requireTcbUpToDate exists.
    function version() external pure returns (uint256) {
        return 2;
    }

    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(ERC165Upgradeable, IERC165)
        returns (bool)
    {
        return interfaceId == type(IAppAuth).interfaceId
            || interfaceId == type(IAppAuthBasicManagement).interfaceId
            || super.supportsInterface(interfaceId);
    }

    function addComposeHash(bytes32 composeHash) external override onlyOwner {
        _allowComposeHash(composeHash);
    }

    function removeComposeHash(bytes32 composeHash) external override onlyOwner {
        allowedComposeHashes[composeHash] = false;
        emit ComposeHashRemoved(composeHash);
        _log(COMPOSE_HASH, composeHash, false);
    }

    function addDevice(bytes32 deviceId) external override onlyOwner {
        _allowDevice(deviceId);
    }

    function removeDevice(bytes32 deviceId) external override onlyOwner {
        allowedDeviceIds[deviceId] = false;
        emit DeviceRemoved(deviceId);
        _log(DEVICE, deviceId, false);
    }

    function setAllowAnyDevice(bool allowAny) external onlyOwner {
        allowAnyDevice = allowAny;
        emit AllowAnyDeviceSet(allowAny);
        _log(ALLOW_ANY_DEVICE, bytes32(0), allowAny);
    }

    function setRequireTcbUpToDate(bool requireUpToDate) external onlyOwner {
        requireTcbUpToDate = requireUpToDate;
        emit RequireTcbUpToDateSet(requireUpToDate);
        _log(REQUIRE_TCB, bytes32(0), requireUpToDate);
    }

    /// For good: nothing in this implementation clears the flag, and without
    /// upgrades no other implementation can.
    function disableUpgrades() external onlyOwner {
        _upgradesDisabled = true;
        emit UpgradesDisabled();
        _log(UPGRADES_DISABLED, bytes32(0), true);
    }

    function _authorizeUpgrade(address newImplementation) internal override onlyOwner {
        require(!_upgradesDisabled, "Upgrades are permanently disabled");
        _log(UPGRADE, newImplementation, true);
    }

    function _setUp(
        address initialOwner,
        bool disableUpgrades_,
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) private onlyInitializing {
        require(initialOwner != address(0), "invalid owner address");

        _upgradesDisabled = disableUpgrades_;
        requireTcbUpToDate = requireTcbUpToDate_;
        allowAnyDevice = allowAnyDevice_;
        if (initialDeviceId != bytes32(0)) {
            _allowDevice(initialDeviceId);
        }
        if (initialComposeHash != bytes32(0)) {
            _allowComposeHash(initialComposeHash);
        }
        __Ownable_init(initialOwner);
    }

    function _allowComposeHash(bytes32 composeHash) private {
        allowedComposeHashes[composeHash] = true;
        emit ComposeHashAdded(composeHash);
        _log(COMPOSE_HASH, composeHash, true);
    }

    function _allowDevice(bytes32 deviceId) private {
        allowedDeviceIds[deviceId] = true;
        emit DeviceAdded(deviceId);
        _log(DEVICE, deviceId, true);
    }
}
