// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {PolicyLog} from "./PolicyLog.sol";

/// What the chain keeps for one cluster of KMS nodes, whose hosts can restore
/// old disks: how far its log was confirmed, who may sit where, and, when no
/// quorum is left, who may open it again.
///
/// There is no proxy and no way to upgrade: an anchor that someone can swap is
/// no anchor.  Owners decide who recovers; they can neither move the point nor
/// shorten the wait.  The cluster signs, anyone may relay.
contract ClusterAnchor is Ownable2Step, PolicyLog {
    /// A place in the replicated log.  (generation, index) only grows.
    struct Point {
        uint64 generation; // 0: no cluster was ever opened
        uint64 index;
        bytes32 hash;
    }

    struct Order {
        uint64 number; // counts the orders ever given; signatures name it
        bytes32 incarnation; // zero: nobody shall recover
        bool lossy; // with fewer disks than the rule asks for
    }

    struct Announcement {
        uint64 generation; // 0: nothing is announced
        uint64 index;
        bytes32 hash;
        bytes32 incarnation;
        uint64 openAt; // block time
    }

    struct Seat {
        bytes32 slot; // ASCII, padded with zeros on the right
        bytes32 deviceId;
    }

    struct State {
        address kms;
        address owner;
        uint64 wait;
        address signer;
        uint64 rotations;
        Point point;
        bytes32 opener; // who opened its generation; of two nodes with one head, only one
        Order order;
        Announcement announced;
        uint64 vetoes;
        Seat[] seats;
    }

    uint256 public constant MAX_SEATS = 15;
    uint256 public constant MAX_WAIT = 365 days;

    /// Signatures are over keccak256(abi.encode(DOMAIN, chain id, this
    /// contract, action, arguments)), where an action is the hash of its name.
    bytes32 public constant DOMAIN = keccak256("devproof-kms/anchor/v1");
    bytes32 private constant ADVANCE = keccak256("advance");
    bytes32 private constant ANNOUNCE = keccak256("announce");
    bytes32 private constant VETO = keccak256("veto");
    bytes32 private constant OPEN = keccak256("open");
    bytes32 private constant ROTATE = keccak256("rotate");

    bytes32 private constant ANCHOR_GENESIS = keccak256("anchor-genesis");
    bytes32 private constant ANCHOR_RECOVERY = keccak256("anchor-recovery");
    bytes32 private constant ANCHOR_SEAT = keccak256("anchor-seat");
    bytes32 private constant ANCHOR_SIGNER = keccak256("anchor-signer");

    address public immutable kms;
    /// Seconds between announcement and opening.  Nodes that cannot read this
    /// contract for a shorter time stop serving, so generations never overlap.
    uint64 public immutable wait;

    Point private _point;
    bytes32 private _opener;
    Order private _order;
    Announcement private _announced;
    address private _signer; // derived from the cluster's first root
    uint64 private _vetoes;
    uint64 private _rotations;
    Seat[] private _seats;

    event Genesis(uint64 index, bytes32 hash, address signer, bytes32 incarnation);
    event Advanced(uint64 indexed generation, uint64 index, bytes32 hash);
    event RecoveryNamed(uint64 number, bytes32 indexed incarnation, bool lossy);
    event Announced(
        uint64 indexed generation,
        uint64 index,
        bytes32 hash,
        bytes32 indexed incarnation,
        uint64 openAt
    );
    /// It was neither vetoed nor opened: overtaken by the cluster or the owner.
    event AnnouncementCleared(uint64 indexed generation, bytes32 indexed incarnation);
    event Vetoed(uint64 indexed generation, bytes32 indexed incarnation, uint64 vetoes);
    event Opened(
        uint64 indexed generation, uint64 index, bytes32 hash, bytes32 indexed incarnation
    );
    event SeatSet(bytes32 indexed slot, bytes32 deviceId);
    event SeatRemoved(bytes32 indexed slot);
    event SignerRotated(address indexed oldSigner, address indexed newSigner);

    constructor(address owner_, address kms_, uint64 wait_) Ownable(owner_) {
        require(kms_ != address(0), "No KMS contract");
        require(wait_ >= 1 && wait_ <= MAX_WAIT, "Wait out of range");
        kms = kms_;
        wait = wait_;
    }

    /// Everything at once, so that a reader needs one call at one block.
    function state() external view returns (State memory s) {
        s.kms = kms;
        s.owner = owner();
        s.wait = wait;
        s.signer = _signer;
        s.rotations = _rotations;
        s.point = _point;
        s.opener = _opener;
        s.order = _order;
        s.announced = _announced;
        s.vetoes = _vetoes;
        s.seats = _seats;
    }

    // The cluster's beginning, which there is once.

    function genesis(uint64 index, bytes32 hash, address signer, bytes32 incarnation)
        external
        onlyOwner
    {
        require(_point.generation == 0, "Cluster exists already");
        require(index > 0, "No index");
        require(hash != 0, "No hash");
        require(signer != address(0), "No signer");
        require(incarnation != 0, "No incarnation");
        _point = Point(1, index, hash);
        _opener = incarnation;
        _signer = signer;
        emit Genesis(index, hash, signer, incarnation);
        _log(ANCHOR_GENESIS, hash, true);
        _log(ANCHOR_SIGNER, signer, true);
    }

    // What the cluster says of itself.

    /// The point moves within its generation.  Whoever moves it is alive and
    /// ahead of what was announced, which therefore falls.
    function advance(Point calldata from, uint64 toIndex, bytes32 toHash, bytes calldata sig)
        external
    {
        _mustBeAt(from);
        require(toIndex > from.index, "Index does not grow");
        require(toHash != 0, "No hash");
        _mustBeSigned(
            abi.encode(
                DOMAIN,
                block.chainid,
                address(this),
                ADVANCE,
                from.generation,
                from.index,
                from.hash,
                toIndex,
                toHash
            ),
            sig
        );
        _point.index = toIndex;
        _point.hash = toHash;
        emit Advanced(from.generation, toIndex, toHash);
        _clearAnnouncement();
    }

    /// The order falls with the announcement: owners have to decide again.
    function veto(uint64 generation, bytes calldata sig) external {
        bytes32 incarnation = _announced.incarnation;

        require(_announced.generation != 0, "Nothing is announced");
        require(_announced.generation == generation, "Another generation is announced");
        _mustBeSigned(
            abi.encode(DOMAIN, block.chainid, address(this), VETO, generation, _order.number), sig
        );
        delete _announced;
        _order.incarnation = 0;
        _order.lossy = false;
        _vetoes++;
        emit Vetoed(generation, incarnation, _vetoes);
    }

    /// For the rotation of the root.
    function rotateSigner(address newSigner, bytes calldata sig) external {
        address old = _signer;

        require(newSigner != address(0), "No signer");
        require(newSigner != old, "Signer does not change");
        _mustBeSigned(
            abi.encode(DOMAIN, block.chainid, address(this), ROTATE, newSigner, _rotations), sig
        );
        _rotations++;
        _signer = newSigner;
        emit SignerRotated(old, newSigner);
        _log(ANCHOR_SIGNER, old, false);
        _log(ANCHOR_SIGNER, newSigner, true);
    }

    // Recovery, when no quorum is left: named, announced, waited for, opened.

    /// Zero for the incarnation withdraws the order.  What was announced under
    /// another order, or a laxer one, falls.
    function nameRecovery(bytes32 incarnation, bool lossy) external onlyOwner {
        require(_point.generation != 0, "No cluster yet");
        require(incarnation != 0 || !lossy, "No incarnation");
        if (_announced.incarnation != incarnation || (_order.lossy && !lossy)) {
            _clearAnnouncement();
        }
        _order = Order(_order.number + 1, incarnation, lossy);
        emit RecoveryNamed(_order.number, incarnation, lossy);
        _log(ANCHOR_RECOVERY, incarnation, incarnation != 0);
    }

    /// The same incarnation may announce again only further on, so that nobody
    /// can push back the opening by relaying what was said before.
    function announce(
        Point calldata from,
        uint64 toIndex,
        bytes32 toHash,
        bytes32 incarnation,
        bytes calldata sig
    ) external {
        _mustBeAt(from);
        require(incarnation != 0 && incarnation == _order.incarnation, "No order names it");
        require(toIndex >= from.index, "Index goes back");
        require(toIndex > from.index || toHash == from.hash, "Another hash at the anchor");
        require(toHash != 0, "No hash");
        require(_announced.generation == 0 || toIndex > _announced.index, "Announced already");
        _mustBeSigned(_recovery(ANNOUNCE, from, toIndex, toHash, incarnation), sig);
        _announced = Announcement(
            from.generation + 1, toIndex, toHash, incarnation, uint64(block.timestamp) + wait
        );
        emit Announced(from.generation + 1, toIndex, toHash, incarnation, _announced.openAt);
    }

    function open(
        Point calldata from,
        uint64 toIndex,
        bytes32 toHash,
        bytes32 incarnation,
        bytes calldata sig
    ) external {
        _mustBeAt(from);
        require(_announced.generation != 0, "Nothing is announced");
        // advance, nameRecovery and veto have cleared what no longer follows.
        require(
            _announced.index == toIndex && _announced.hash == toHash
                && _announced.incarnation == incarnation,
            "Something else is announced"
        );
        require(block.timestamp >= _announced.openAt, "Too early");
        _mustBeSigned(_recovery(OPEN, from, toIndex, toHash, incarnation), sig);
        _point = Point(from.generation + 1, toIndex, toHash);
        _opener = incarnation;
        delete _announced;
        _order.incarnation = 0;
        _order.lossy = false;
        emit Opened(from.generation + 1, toIndex, toHash, incarnation);
    }

    // Which device may hold which slot.

    function setSeat(bytes32 slot, bytes32 deviceId) external onlyOwner {
        uint256 i = _find(slot);

        require(_isName(slot), "Slot is not a name");
        require(deviceId != 0, "No device");
        if (i < _seats.length) {
            _log(ANCHOR_SEAT, _seatHash(_seats[i]), false);
            _seats[i].deviceId = deviceId;
        } else {
            require(i < MAX_SEATS, "No seat is left");
            _seats.push(Seat(slot, deviceId));
        }
        emit SeatSet(slot, deviceId);
        _log(ANCHOR_SEAT, _seatHash(_seats[i]), true);
    }

    function removeSeat(bytes32 slot) external onlyOwner {
        uint256 i = _find(slot);

        require(i < _seats.length, "No such seat");
        _log(ANCHOR_SEAT, _seatHash(_seats[i]), false);
        _seats[i] = _seats[_seats.length - 1];
        _seats.pop();
        emit SeatRemoved(slot);
    }

    /// Without an owner nobody could name a recovery, ever.
    function renounceOwnership() public view override onlyOwner {
        revert("An anchor needs an owner");
    }

    function _mustBeAt(Point calldata from) private view {
        require(_point.generation != 0, "No cluster yet");
        require(
            _point.generation == from.generation && _point.index == from.index
                && _point.hash == from.hash,
            "The anchor is elsewhere"
        );
    }

    function _mustBeSigned(bytes memory message, bytes calldata sig) private view {
        (address by, ECDSA.RecoverError e,) = ECDSA.tryRecover(keccak256(message), sig);

        require(e == ECDSA.RecoverError.NoError && by == _signer, "Not signed by the cluster");
    }

    function _recovery(
        bytes32 action,
        Point calldata from,
        uint64 toIndex,
        bytes32 toHash,
        bytes32 incarnation
    ) private view returns (bytes memory) {
        return abi.encode(
            DOMAIN,
            block.chainid,
            address(this),
            action,
            from.generation,
            from.index,
            from.hash,
            toIndex,
            toHash,
            incarnation,
            _order.number
        );
    }

    function _clearAnnouncement() private {
        if (_announced.generation != 0) {
            emit AnnouncementCleared(_announced.generation, _announced.incarnation);
            delete _announced;
        }
    }

    /// The number of seats if there is none of that name.
    function _find(bytes32 slot) private view returns (uint256 i) {
        while (i < _seats.length && _seats[i].slot != slot) {
            i++;
        }
    }

    function _seatHash(Seat memory s) private pure returns (bytes32) {
        return keccak256(abi.encode(s.slot, s.deviceId));
    }

    /// 1 to 31 printable characters without space, '/' or '#', then zeros.
    function _isName(bytes32 slot) private pure returns (bool) {
        uint256 n = 0;

        while (n < 32 && slot[n] != 0) {
            bytes1 c = slot[n];

            if (c < 0x21 || c > 0x7e || c == "/" || c == "#") {
                return false;
            }
            n++;
        }
        return n >= 1 && n <= 31 && uint256(slot) << (8 * n) == 0;
    }
}
