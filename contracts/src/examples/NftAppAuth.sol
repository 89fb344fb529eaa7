// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IAppAuth} from "../IAppAuth.sol";

/// An app whose every instance needs a licence: an NFT of its number, held by
/// anybody.  One version, for good: another is another contract.
///
/// An example of rules that no KMS node knows: it runs them.
contract NftAppAuth is IAppAuth {
    IERC721 public immutable licences;
    bytes32 public immutable composeHash;

    constructor(IERC721 licences_, bytes32 composeHash_) {
        licences = licences_;
        composeHash = composeHash_;
    }

    function isAppAllowed(AppBootInfo calldata bootInfo)
        external
        view
        returns (bool isAllowed, string memory reason)
    {
        if (bootInfo.composeHash != composeHash) {
            return (false, "Compose hash not allowed");
        }
        if (keccak256(bytes(bootInfo.tcbStatus)) != keccak256("UpToDate")) {
            return (false, "TCB status is not up to date");
        }
        // A token that is not there makes ownerOf revert.
        try licences.ownerOf(uint256(uint160(bootInfo.instanceId))) returns (address) {
            return (true, "");
        } catch {
            return (false, "Instance has no licence");
        }
    }

    function supportsInterface(bytes4 id) external pure returns (bool) {
        return id == type(IAppAuth).interfaceId || id == type(IERC165).interfaceId;
    }
}
