// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {IAppAuth, IAppAuthBasicManagement} from "./IAppAuth.sol";
import {PolicyLog} from "./PolicyLog.sol";

/// The rules of DstackApp, where each thing that is allowed is allowed from a
/// time on.  What lets more machines in takes effect after `_delay()`; what
/// keeps machines out, at once.  Who may change them is left to the heir.
///
/// There is no proxy and no way to upgrade: code that can be swapped has no
/// notice period.
abstract contract AppRules is ERC165, PolicyLog, IAppAuth, IAppAuthBasicManagement {
    bytes32 private constant COMPOSE_HASH = keccak256("compose-hash");
    bytes32 private constant DEVICE = keccak256("device");
    bytes32 private constant ALLOW_ANY_DEVICE = keccak256("allow-any-device");
    bytes32 private constant REQUIRE_TCB = keccak256("require-tcb-up-to-date");
    bytes32 private constant UP_TO_DATE = keccak256("UpToDate");

    /// Block times; zero: not allowed, and not announced.
    mapping(bytes32 composeHash => uint64) public composeHashFrom;
    mapping(bytes32 deviceId => uint64) public deviceFrom;
    uint64 public anyDeviceFrom;
    uint64 public anyTcbFrom; // from then on platforms need not be fully patched

    /// Beside ComposeHashAdded and PolicyChanged, which say that it was decided.
    event ComposeHashAnnounced(bytes32 indexed composeHash, uint64 from);
    event DeviceAnnounced(bytes32 indexed deviceId, uint64 from);
    event AllowAnyDeviceSet(bool allowAny);
    event AnyDeviceAnnounced(uint64 from);
    event RequireTcbUpToDateSet(bool requireUpToDate);
    event AnyTcbAnnounced(uint64 from);

    modifier onlyManager() {
        _mustBeManager();
        _;
    }

    /// Zero for the device or the compose hash means "none yet".  What an app
    /// starts with has nobody to be announced to.
    constructor(
        bool requireTcbUpToDate_,
        bool allowAnyDevice_,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) {
        uint64 now_ = uint64(block.timestamp);

        if (!requireTcbUpToDate_) {
            _allowAnyTcb(now_);
        }
        if (allowAnyDevice_) {
            _allowAnyDevice(now_);
        }
        if (initialDeviceId != bytes32(0)) {
            _allowDevice(initialDeviceId, now_);
        }
        if (initialComposeHash != bytes32(0)) {
            _allowComposeHash(initialComposeHash, now_);
        }
    }

    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        override
        returns (bool isAllowed, string memory reason)
    {
        if (requireTcbUpToDate() && keccak256(bytes(bootInfo.tcbStatus)) != UP_TO_DATE) {
            return (false, "TCB status is not up to date");
        }
        if (!allowedComposeHashes(bootInfo.composeHash)) {
            return composeHashFrom[bootInfo.composeHash] == 0
                ? (false, "Compose hash not allowed")
                : (false, "Compose hash not allowed yet");
        }
        if (!allowAnyDevice() && !allowedDeviceIds(bootInfo.deviceId)) {
            return (false, "Device not allowed");
        }
        return (true, "");
    }

    function supportsInterface(bytes4 interfaceId)
        public
        view
        virtual
        override(ERC165, IERC165)
        returns (bool)
    {
        return interfaceId == type(IAppAuth).interfaceId
            || interfaceId == type(IAppAuthBasicManagement).interfaceId
            || super.supportsInterface(interfaceId);
    }

    function version() external pure returns (uint256) {
        return 2;
    }

    // As tools know them from DstackApp.

    function allowedComposeHashes(bytes32 composeHash) public view returns (bool) {
        return _begun(composeHashFrom[composeHash]);
    }

    function allowedDeviceIds(bytes32 deviceId) public view returns (bool) {
        return _begun(deviceFrom[deviceId]);
    }

    function allowAnyDevice() public view returns (bool) {
        return _begun(anyDeviceFrom);
    }

    function requireTcbUpToDate() public view returns (bool) {
        return !_begun(anyTcbFrom);
    }

    /// Once more changes nothing: it neither hurries nor puts off.
    function addComposeHash(bytes32 composeHash) external override onlyManager {
        if (composeHashFrom[composeHash] == 0) {
            _allowComposeHash(composeHash, uint64(block.timestamp) + _delay());
        }
    }

    function removeComposeHash(bytes32 composeHash) external override onlyManager {
        composeHashFrom[composeHash] = 0;
        emit ComposeHashRemoved(composeHash);
        _log(COMPOSE_HASH, composeHash, false);
    }

    function addDevice(bytes32 deviceId) external override onlyManager {
        if (deviceFrom[deviceId] == 0) {
            _allowDevice(deviceId, uint64(block.timestamp) + _delay());
        }
    }

    function removeDevice(bytes32 deviceId) external override onlyManager {
        deviceFrom[deviceId] = 0;
        emit DeviceRemoved(deviceId);
        _log(DEVICE, deviceId, false);
    }

    function setAllowAnyDevice(bool allowAny) external onlyManager {
        if (!allowAny) {
            anyDeviceFrom = 0;
            emit AllowAnyDeviceSet(false);
            _log(ALLOW_ANY_DEVICE, bytes32(0), false);
        } else if (anyDeviceFrom == 0) {
            _allowAnyDevice(uint64(block.timestamp) + _delay());
        }
    }

    function setRequireTcbUpToDate(bool requireUpToDate) external onlyManager {
        if (requireUpToDate) {
            anyTcbFrom = 0;
            emit RequireTcbUpToDateSet(true);
            _log(REQUIRE_TCB, bytes32(0), true);
        } else if (anyTcbFrom == 0) {
            _allowAnyTcb(uint64(block.timestamp) + _delay());
        }
    }

    function _mustBeManager() internal view virtual;

    /// Seconds from a decision that lets more in to its effect.
    function _delay() internal view virtual returns (uint64);

    function _begun(uint64 from) private view returns (bool) {
        return from != 0 && block.timestamp >= from;
    }

    function _allowComposeHash(bytes32 composeHash, uint64 from) private {
        composeHashFrom[composeHash] = from;
        emit ComposeHashAdded(composeHash);
        emit ComposeHashAnnounced(composeHash, from);
        _log(COMPOSE_HASH, composeHash, true);
    }

    function _allowDevice(bytes32 deviceId, uint64 from) private {
        deviceFrom[deviceId] = from;
        emit DeviceAdded(deviceId);
        emit DeviceAnnounced(deviceId, from);
        _log(DEVICE, deviceId, true);
    }

    function _allowAnyDevice(uint64 from) private {
        anyDeviceFrom = from;
        emit AllowAnyDeviceSet(true);
        emit AnyDeviceAnnounced(from);
        _log(ALLOW_ANY_DEVICE, bytes32(0), true);
    }

    function _allowAnyTcb(uint64 from) private {
        anyTcbFrom = from;
        emit RequireTcbUpToDateSet(false);
        emit AnyTcbAnnounced(from);
        _log(REQUIRE_TCB, bytes32(0), false);
    }
}
