// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// secp256k1 as the nodes use it: 33-byte compressed keys, and signatures of
/// 65 bytes r || s || v with low s, where v is 0 or 1 (dstack's form) or 27 or
/// 28 (Ethereum's).
library K256 {
    uint256 private constant P = 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f;
    uint256 private constant SQRT = (P + 1) / 4; // since P = 3 mod 4
    address private constant MODEXP = address(5);

    /// Zero for anything but a compressed point of the curve.
    function addressOf(bytes memory key) internal view returns (address) {
        uint256 x;
        uint8 prefix;

        if (key.length != 33) {
            return address(0);
        }
        assembly {
            prefix := byte(0, mload(add(key, 32)))
            x := mload(add(key, 33))
        }
        if ((prefix != 2 && prefix != 3) || x >= P) {
            return address(0);
        }
        uint256 square = addmod(mulmod(mulmod(x, x, P), x, P), 7, P);
        uint256 y = _power(square, SQRT);
        if (mulmod(y, y, P) != square) {
            return address(0);
        }
        // No point has y = 0: the order of the group is odd.
        if (y % 2 != prefix % 2) {
            y = P - y;
        }
        return address(uint160(uint256(keccak256(abi.encode(x, y)))));
    }

    /// Who signed; zero if that is no signature.
    function recover(bytes32 digest, bytes calldata sig) internal pure returns (address) {
        if (sig.length != 65) {
            return address(0);
        }
        uint8 v = uint8(sig[64]);
        (address by, ECDSA.RecoverError e,) =
            ECDSA.tryRecover(digest, v < 27 ? v + 27 : v, bytes32(sig[0:32]), bytes32(sig[32:64]));
        return e == ECDSA.RecoverError.NoError ? by : address(0);
    }

    /// A key as text, lower case: how the agent writes it into what an app's key
    /// signs.
    function text(bytes calldata key) internal pure returns (bytes memory hex_) {
        bytes16 digits = "0123456789abcdef";

        hex_ = new bytes(2 * key.length);
        for (uint256 i = 0; i < key.length; i++) {
            hex_[2 * i] = digits[uint8(key[i]) >> 4];
            hex_[2 * i + 1] = digits[uint8(key[i]) & 15];
        }
    }

    function _power(uint256 base, uint256 exponent) private view returns (uint256 result) {
        (bool ok, bytes memory answer) =
            MODEXP.staticcall(abi.encode(uint256(32), uint256(32), uint256(32), base, exponent, P));

        require(ok && answer.length == 32, "No modular exponentiation here");
        return abi.decode(answer, (uint256));
    }
}
