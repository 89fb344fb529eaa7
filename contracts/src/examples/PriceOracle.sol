// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {K256} from "../K256.sol";

interface IKmsInfo {
    function kmsInfo()
        external
        view
        returns (
            bytes memory k256Pubkey,
            bytes memory caPubkey,
            bytes memory quote,
            bytes memory eventlog
        );
}

/// An example: prices that one app in a TEE has fetched.  Somebody asks, the
/// app signs an answer with a key of its own, and anyone brings it here, where
/// only signatures count: the key's by the app's key, the app's key's by the
/// root of the KMS.  No list of keys, no owner, no way to change the app.
///
/// The root is the one that the KMS contract named when this was deployed.
/// Where roots are rotated, ask EpochVerifier instead.
contract PriceOracle is EIP712 {
    /// From the agent's GetKey, beside the key: what makes it this app's.
    struct Chain {
        bytes appKey; // compressed, 33 bytes
        bytes rootSignature; // signature_chain[1], by the root
        bytes key; // the derived key, compressed
        bytes keySignature; // signature_chain[0], by the app's key
    }

    struct Answer {
        uint256 request;
        string symbol;
        uint256 price; // in millionths
        uint64 observedAt;
    }

    struct Price {
        uint256 price;
        uint64 observedAt;
        uint256 request;
    }

    bytes32 private constant ANSWER =
        keccak256("Answer(uint256 request,string symbol,uint256 price,uint64 observedAt)");
    /// What the key was derived for: no other key of the app counts here.
    string public constant PURPOSE = "price-oracle";
    /// How far the app's clock may be ahead.
    uint64 public constant SKEW = 60;

    address public immutable root;
    address public immutable appId;
    uint64 public immutable maxAge; // seconds that a price is good for

    uint256 public requests; // the number of the newest one
    mapping(uint256 request => bytes32 symbolHash) public symbolOf;
    mapping(uint256 request => bool) public answered;
    mapping(bytes32 symbolHash => Price) public priceOf;

    event Requested(uint256 indexed request, string symbol);
    event Answered(uint256 indexed request, string symbol, uint256 price, uint64 observedAt);

    constructor(IKmsInfo kms, address appId_, uint64 maxAge_) EIP712("PriceOracle", "1") {
        (bytes memory key,,,) = kms.kmsInfo();

        root = K256.addressOf(key);
        require(root != address(0), "The KMS has no root");
        require(appId_ != address(0), "No app");
        appId = appId_;
        maxAge = maxAge_;
    }

    function ask(string calldata symbol) external returns (uint256 request) {
        request = ++requests;
        symbolOf[request] = keccak256(bytes(symbol));
        emit Requested(request, symbol);
    }

    /// By anyone.  Each request is answered once, so a signed answer is of use
    /// once; it names this contract and this chain, so nowhere else.
    function fulfill(Answer calldata a, Chain calldata c, bytes calldata signature) external {
        bytes32 symbol = keccak256(bytes(a.symbol));

        require(a.request != 0 && a.request <= requests, "No such request");
        require(!answered[a.request], "Answered already");
        require(symbolOf[a.request] == symbol, "Another symbol was asked for");
        require(a.observedAt <= block.timestamp + SKEW, "From the future");
        require(block.timestamp <= uint256(a.observedAt) + maxAge, "Too old");
        require(K256.recover(digestOf(a), signature) == signerOf(c), "Not signed by the app's key");

        answered[a.request] = true;
        if (a.observedAt >= priceOf[symbol].observedAt) {
            priceOf[symbol] = Price(a.price, a.observedAt, a.request);
        }
        emit Answered(a.request, a.symbol, a.price, a.observedAt);
    }

    function digestOf(Answer calldata a) public view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(ANSWER, a.request, keccak256(bytes(a.symbol)), a.price, a.observedAt)
            )
        );
    }

    /// The address of the derived key; reverts unless both links hold.
    function signerOf(Chain calldata c) public view returns (address key) {
        address app = K256.addressOf(c.appKey);

        key = K256.addressOf(c.key);
        require(app != address(0) && key != address(0), "Not a k256 key");
        require(
            K256.recover(
                keccak256(abi.encodePacked("dstack-kms-issued:", appId, c.appKey)), c.rootSignature
            ) == root,
            "The root did not sign this app's key"
        );
        require(
            K256.recover(
                    keccak256(abi.encodePacked(PURPOSE, ":", K256.text(c.key))), c.keySignature
                ) == app,
            "The app did not sign this key"
        );
    }
}
