// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// When a batch of random numbers was first seen on this chain.
///
/// A KMS node that is shown an old chain does not see that it was removed.
/// So each node draws a random number, has it put here (many in one batch, as
/// one hash), and gives out keys only while it finds, in a final block, one
/// that it drew lately: a chain that contains it is not older than it.
///
/// Nobody owns this, nothing can be changed or taken back, and anyone may call:
/// what is not the hash of a node's own number means nothing to it, and to
/// bring in a node's number a second time changes nothing.
contract CheckIn {
    /// Block time at which the batch came, 0: it did not.  Slot 0: nodes can
    /// decide from its storage proof.
    mapping(bytes32 batch => uint64 time) public at;

    event CheckedIn(bytes32 indexed batch, address indexed by);

    error NoBatch();

    /// The first time counts.
    function checkIn(bytes32 batch) external {
        if (batch == 0) {
            revert NoBatch();
        }
        if (at[batch] != 0) {
            return;
        }
        at[batch] = uint64(block.timestamp);
        emit CheckedIn(batch, msg.sender);
    }
}
