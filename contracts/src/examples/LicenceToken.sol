// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// A licence is a token; its number is the instance that it lets run.
contract LicenceToken is ERC721, Ownable {
    constructor(address publisher) ERC721("Licence", "LIC") Ownable(publisher) {}

    function mint(address to, uint256 instance) external onlyOwner {
        _mint(to, instance);
    }

    function burn(uint256 instance) external onlyOwner {
        _burn(instance);
    }
}
