// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {K256} from "./K256.sol";
import {RootRegistry} from "./RootRegistry.sol";

/// For contracts that want to know whether an app in a TEE signed something: a
/// key that the agent's GetKey derived was signed by the app's key, which was
/// signed by the root of an epoch, which the registry names.
///
/// The signatures are dstack's; only the number of the epoch is new.
contract EpochVerifier {
    /// What an app gets with its key, and passes on.
    struct Chain {
        address appId;
        uint64 epoch;
        bytes appKey; // compressed, 33 bytes
        bytes rootSignature; // signature_chain[1], by the root
        bytes key; // the derived key, compressed
        string purpose; // that it was derived for
        bytes keySignature; // signature_chain[0], by the app's key
    }

    RootRegistry public immutable registry;

    constructor(RootRegistry registry_) {
        require(address(registry_).code.length > 0, "No registry");
        registry = registry_;
    }

    /// The address of the derived key.  Reverts unless the whole chain holds
    /// and its epoch is in use: a tainted or destroyed one proves nothing about
    /// today.  `pinned`: it is the one that the app has chosen.
    ///
    /// A consumer may keep the address, but then asks `inUse` at each use.
    function addressOf(Chain calldata c) public view returns (address key, bool pinned) {
        address app = K256.addressOf(c.appKey);
        (RootRegistry.Status status, address root) = registry.rootOf(c.epoch);

        key = K256.addressOf(c.key);
        require(app != address(0) && key != address(0), "Not a k256 key");
        require(status == RootRegistry.Status.ACTIVE, "Epoch is not in use");
        require(
            K256.recover(
                keccak256(abi.encodePacked("dstack-kms-issued:", c.appId, c.appKey)),
                c.rootSignature
            ) == root,
            "The root did not sign this app's key"
        );
        require(
            K256.recover(
                    keccak256(abi.encodePacked(c.purpose, ":", K256.text(c.key))), c.keySignature
                ) == app,
            "The app did not sign this key"
        );
        pinned = registry.pinOf(c.appId) == c.epoch;
    }

    /// `sig` (65 bytes) over `digest` is by that derived key.
    function verify(Chain calldata c, bytes32 digest, bytes calldata sig)
        external
        view
        returns (bool pinned)
    {
        address key;

        (key, pinned) = addressOf(c);
        require(K256.recover(digest, sig) == key, "Not signed by this key");
    }

    function inUse(uint64 epoch) external view returns (bool) {
        (RootRegistry.Status status,) = registry.rootOf(epoch);

        return status == RootRegistry.Status.ACTIVE;
    }
}
