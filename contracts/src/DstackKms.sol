// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    Ownable2StepUpgradeable
} from "@openzeppelin/contracts-upgradeable/access/Ownable2StepUpgradeable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";
import {
    ERC165Upgradeable
} from "@openzeppelin/contracts-upgradeable/utils/introspection/ERC165Upgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IAppAuth, IKmsAuth} from "./IAppAuth.sol";
import {PolicyLog} from "./PolicyLog.sol";

interface IRootRegistry {
    function appRegistered(address appId) external;
}

interface IDstackAppSetUp {
    function initialize(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external;
}

/// The KMS as the chain knows it: which nodes may hold its roots, which OS
/// images it serves, and which apps are registered with it.
///
/// Lives behind an ERC-1967 proxy.  KMS nodes read the state below by storage
/// proof as well as by call, so declarations must not be moved or reordered.
contract DstackKms is
    Ownable2StepUpgradeable,
    UUPSUpgradeable,
    ERC165Upgradeable,
    PolicyLog,
    IAppAuth,
    IKmsAuth
{
    /// What the first node publishes about the roots it made.
    struct KmsInfo {
        bytes k256Pubkey;
        bytes caPubkey;
        bytes quote;
        bytes eventlog;
    }

    bytes32 private constant KMS_INFO = keccak256("kms-info");
    bytes32 private constant GATEWAY_APP_ID = keccak256("gateway-app-id");
    bytes32 private constant REGISTERED_APP = keccak256("registered-app");
    bytes32 private constant APP_IMPLEMENTATION = keccak256("app-implementation");
    bytes32 private constant AGGREGATED_MR = keccak256("kms-aggregated-mr");
    bytes32 private constant KMS_DEVICE = keccak256("kms-device");
    bytes32 private constant OS_IMAGE = keccak256("os-image");
    bytes32 private constant ROOT_REGISTRY = keccak256("root-registry");
    bytes32 private constant UPGRADE = keccak256("implementation-upgrade");
    bytes32 private constant UP_TO_DATE = keccak256("UpToDate");

    KmsInfo public kmsInfo; // slots 0-3
    string public gatewayAppId; // slot 4
    mapping(address appId => bool) public registeredApps; // slot 5
    mapping(bytes32 mrAggregated => bool) public kmsAllowedAggregatedMrs; // slot 6
    mapping(bytes32 deviceId => bool) public kmsAllowedDeviceIds; // slot 7
    mapping(bytes32 osImageHash => bool) public allowedOsImages; // slot 8
    address public appImplementation; // slot 9
    /// Is told of new apps, so that each gets the epoch of its day; or zero.
    address public rootRegistry; // slot 10
    uint256[49] private __gap; // slots 11-59

    /// Not indexed, unlike what one would write today: deployed indexers read
    /// the address from the data.
    event AppRegistered(address appId);
    event AppImplementationSet(address implementation);
    event AppDeployedViaFactory(address indexed appId, address indexed deployer);
    event KmsInfoSet(bytes k256Pubkey);
    event GatewayAppIdSet(string gatewayAppId);
    event RootRegistrySet(address rootRegistry);
    event KmsAggregatedMrAdded(bytes32 mrAggregated);
    event KmsAggregatedMrRemoved(bytes32 mrAggregated);
    event KmsDeviceAdded(bytes32 deviceId);
    event KmsDeviceRemoved(bytes32 deviceId);
    event OsImageHashAdded(bytes32 osImageHash);
    event OsImageHashRemoved(bytes32 osImageHash);

    /// The implementation itself can never be initialised, hence never owned.
    constructor() {
        _disableInitializers();
    }

    /// Zero for the app implementation means "no factory yet".
    function initialize(address initialOwner, address appImplementation_) external initializer {
        __Ownable_init(initialOwner);
        if (appImplementation_ != address(0)) {
            _setAppImplementation(appImplementation_);
        }
    }

    // The two questions.

    function isKmsAllowed(AppBootInfo calldata bootInfo)
        external
        view
        override
        returns (bool isAllowed, string memory reason)
    {
        if (keccak256(bytes(bootInfo.tcbStatus)) != UP_TO_DATE) {
            return (false, "TCB status is not up to date");
        }
        if (!allowedOsImages[bootInfo.osImageHash]) {
            return (false, "OS image is not allowed");
        }
        if (!kmsAllowedAggregatedMrs[bootInfo.mrAggregated]) {
            return (false, "Aggregated MR not allowed");
        }
        if (!kmsAllowedDeviceIds[bootInfo.deviceId]) {
            return (false, "KMS is not allowed to boot on this device");
        }
        return (true, "");
    }

    /// The last word is the app's own, and anyone can register an app: it may
    /// revert, burn all gas, or return megabytes.  Callers cap the gas and take
    /// anything but a clean `true` as a refusal.
    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        override
        returns (bool isAllowed, string memory reason)
    {
        if (!registeredApps[bootInfo.appId]) {
            return (false, "App not registered");
        }
        if (!allowedOsImages[bootInfo.osImageHash]) {
            return (false, "OS image is not allowed");
        }
        if (bootInfo.appId.code.length == 0) {
            return (false, "App not deployed or invalid address");
        }
        return IAppAuth(bootInfo.appId).isAppAllowed(bootInfo);
    }

    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(ERC165Upgradeable, IERC165)
        returns (bool)
    {
        return interfaceId == type(IAppAuth).interfaceId || super.supportsInterface(interfaceId);
    }

    // Apps: open to everyone, and for good.

    /// Registration grants nothing by itself: keys still need an OS image that
    /// the owner allows, and the app contract's own consent.
    function registerApp(address appId) external {
        require(appId != address(0), "Invalid app ID");
        _registerApp(appId);
    }

    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external returns (address appId) {
        return _deployApp(
            initialOwner,
            disableUpgrades,
            requireTcbUpToDate,
            allowAnyDevice,
            initialDeviceId,
            initialComposeHash
        );
    }

    /// The form of older tools: requireTcbUpToDate is false.
    function deployAndRegisterApp(
        address initialOwner,
        bool disableUpgrades,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) external returns (address appId) {
        return _deployApp(
            initialOwner,
            disableUpgrades,
            false,
            allowAnyDevice,
            initialDeviceId,
            initialComposeHash
        );
    }

    // The owner's lists.

    function setKmsInfo(KmsInfo calldata info) external onlyOwner {
        kmsInfo = info;
        emit KmsInfoSet(info.k256Pubkey);
        _log(KMS_INFO, keccak256(info.k256Pubkey), true);
    }

    /// Evidence may be renewed; no event, as the key it speaks for stays.
    function setKmsQuote(bytes calldata quote) external onlyOwner {
        kmsInfo.quote = quote;
    }

    function setKmsEventlog(bytes calldata eventlog) external onlyOwner {
        kmsInfo.eventlog = eventlog;
    }

    function setGatewayAppId(string calldata appId) external onlyOwner {
        gatewayAppId = appId;
        emit GatewayAppIdSet(appId);
        _log(GATEWAY_APP_ID, keccak256(bytes(appId)), true);
    }

    function setAppImplementation(address implementation) external onlyOwner {
        require(implementation != address(0), "Invalid implementation address");
        _setAppImplementation(implementation);
    }

    function setRootRegistry(address registry) external onlyOwner {
        rootRegistry = registry;
        emit RootRegistrySet(registry);
        _log(ROOT_REGISTRY, registry, registry != address(0));
    }

    function addKmsAggregatedMr(bytes32 mrAggregated) external onlyOwner {
        kmsAllowedAggregatedMrs[mrAggregated] = true;
        emit KmsAggregatedMrAdded(mrAggregated);
        _log(AGGREGATED_MR, mrAggregated, true);
    }

    function removeKmsAggregatedMr(bytes32 mrAggregated) external onlyOwner {
        kmsAllowedAggregatedMrs[mrAggregated] = false;
        emit KmsAggregatedMrRemoved(mrAggregated);
        _log(AGGREGATED_MR, mrAggregated, false);
    }

    function addKmsDevice(bytes32 deviceId) external onlyOwner {
        kmsAllowedDeviceIds[deviceId] = true;
        emit KmsDeviceAdded(deviceId);
        _log(KMS_DEVICE, deviceId, true);
    }

    function removeKmsDevice(bytes32 deviceId) external onlyOwner {
        kmsAllowedDeviceIds[deviceId] = false;
        emit KmsDeviceRemoved(deviceId);
        _log(KMS_DEVICE, deviceId, false);
    }

    function addOsImageHash(bytes32 osImageHash) external onlyOwner {
        allowedOsImages[osImageHash] = true;
        emit OsImageHashAdded(osImageHash);
        _log(OS_IMAGE, osImageHash, true);
    }

    function removeOsImageHash(bytes32 osImageHash) external onlyOwner {
        allowedOsImages[osImageHash] = false;
        emit OsImageHashRemoved(osImageHash);
        _log(OS_IMAGE, osImageHash, false);
    }

    function _authorizeUpgrade(address newImplementation) internal override onlyOwner {
        _log(UPGRADE, newImplementation, true);
    }

    /// Registering again says so again, but does not make an app new.
    function _registerApp(address appId) private {
        bool isNew = !registeredApps[appId];

        registeredApps[appId] = true;
        emit AppRegistered(appId);
        _log(REGISTERED_APP, appId, true);
        if (isNew && rootRegistry != address(0)) {
            IRootRegistry(rootRegistry).appRegistered(appId);
        }
    }

    function _setAppImplementation(address implementation) private {
        appImplementation = implementation;
        emit AppImplementationSet(implementation);
        _log(APP_IMPLEMENTATION, implementation, true);
    }

    /// Initialises in the proxy's constructor: there is no moment at which
    /// somebody else could.  The app id is the CREATE address of this proxy.
    function _deployApp(
        address initialOwner,
        bool disableUpgrades,
        bool requireTcbUpToDate,
        bool allowAnyDevice,
        bytes32 initialDeviceId,
        bytes32 initialComposeHash
    ) private returns (address appId) {
        require(appImplementation != address(0), "DstackApp implementation not set");
        require(initialOwner != address(0), "Invalid owner address");

        bytes memory setUp = abi.encodeCall(
            IDstackAppSetUp.initialize,
            (
                initialOwner,
                disableUpgrades,
                requireTcbUpToDate,
                allowAnyDevice,
                initialDeviceId,
                initialComposeHash
            )
        );
        appId = address(new ERC1967Proxy(appImplementation, setUp));
        _registerApp(appId);
        emit AppDeployedViaFactory(appId, msg.sender);
    }
}
