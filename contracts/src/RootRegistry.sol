// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ClusterAnchor} from "./ClusterAnchor.sol";
import {K256} from "./K256.sol";
import {PolicyLog} from "./PolicyLog.sol";

/// What the registry asks of its KMS contract: any that is dstack's will do.
interface IKmsRoots {
    function kmsInfo()
        external
        view
        returns (bytes memory k256Pubkey, bytes memory caPubkey, bytes memory, bytes memory);
    function owner() external view returns (address);
    function registeredApps(address appId) external view returns (bool);
}

interface IOwned {
    function owner() external view returns (address);
}

/// Which roots a KMS has, by epoch, and which of them each app uses.  KMS nodes
/// make and destroy roots as this contract says, and hand out nothing else.
///
/// Roots are made inside TEEs, so that a rotation takes two steps: the authority
/// orders it, the nodes publish what they made; and then there is time to veto.
/// There is no proxy and no way to upgrade: relying parties pin this address
/// instead of a root, and a registry that someone can swap is a root that
/// someone can swap.
contract RootRegistry is PolicyLog {
    enum Mode {
        ROUTINE, // the root before it signs the new one
        EMERGENCY // it may be stolen: the cluster signs, and the authority votes again
    }

    enum Status {
        NONE,
        ORDERED,
        PUBLISHED,
        ACTIVE, // in use; the newest of them is `active`, and what new apps get
        TAINTED, // for old data alone, and only by number
        DESTROYED
    }

    struct Epoch {
        uint64 number;
        Status status;
        Mode mode;
        uint8 keyPrefix; // 2 or 3: the root's k256 key is keyPrefix || keyX
        bytes32 keyX;
        address signer; // the same key, as an address
        bytes32 caSpkiHash; // SHA-256 of the root CA's SubjectPublicKeyInfo
        uint64 order; // that it was published under
        uint64 publishedAt;
        uint64 activatedAt;
        uint64 taintedAt;
        uint64 retireAt; // from then on it may be destroyed; 0: it may not
        uint64 destroyedAt;
        uint64 heldAsOf; // block time that the holders were last attested for
        uint256 holders; // bit i: the anchor's seat i, at heldSeats
        bytes32 heldSeats;
    }

    struct Order {
        uint64 number; // counts the orders ever given
        uint64 epoch; // 0: nothing is ordered
        Mode mode;
        uint64 orderedAt;
        uint64 notBefore;
        uint64 retireAfter; // seconds that the epoch before it lives on; 0: no end is set
        bytes32 confirmed; // EMERGENCY: the root that the second vote is for
    }

    /// Evidence that nodes hold a root.
    struct Holders {
        uint256 seats; // bit i: the holder of the anchor's seat i
        uint64 asOf; // time of the block that the signers had seen
        bytes byRoot; // signed with the root itself
        bytes byCluster; // and by the anchor's signer
    }

    struct Handover {
        uint64 audit; // number of its entry in the nodes' audit log
        uint64 epoch; // the highest that was handed over
        bytes32 slot;
        bytes32 incarnation;
        bytes32 deviceId;
        bytes32 mrAggregated;
    }

    struct State {
        address kms;
        address anchor;
        address authority;
        address pendingAuthority;
        address guardian;
        uint64 vetoWindow;
        uint64 notice;
        uint64 holdersAge;
        bytes32 seatsHash; // of the anchor's seats now
        uint64 active;
        uint64 vetoes;
        uint64 handovers;
        bytes32 handoverHead;
        Order order;
        Epoch[] epochs; // ascending; those before the first of them are destroyed
    }

    struct Pin {
        bool known;
        uint64 epoch;
    }

    uint256 public constant MAX_EPOCHS = 64; // that state() returns
    uint256 public constant MAX_HANDOVERS = 64; // in one call
    uint64 public constant MAX_WAIT = 365 days;

    /// Signatures of the cluster and of new roots are over keccak256(abi.encode(
    /// DOMAIN, chain id, this contract, action, arguments)).
    bytes32 public constant DOMAIN = keccak256("devproof-kms/registry/v1");
    bytes32 private constant HOLDERS = keccak256("holders");
    bytes32 private constant HANDOVER = keccak256("handover");
    /// What a root says of its successor: kms/keys/keys.c, epoch_certificate.
    string private constant CERTIFICATE = "devproof-kms-epoch:";

    bytes32 private constant AUTHORITY = keccak256("root-authority");
    bytes32 private constant GUARDIAN = keccak256("root-guardian");
    bytes32 private constant ROOT_ORDER = keccak256("root-order");
    bytes32 private constant ROOT = keccak256("root");

    IKmsRoots public immutable kms;
    ClusterAnchor public immutable anchor;
    uint64 public immutable vetoWindow; // seconds between publication and activation
    uint64 public immutable notice; // least seconds before a destruction
    uint64 public immutable holdersAge; // seconds that evidence of holders is good for

    address public authority;
    address public pendingAuthority;
    address public guardian; // may veto, and nothing else
    uint64 public active;
    uint64 private _vetoes;
    uint64 private _handovers;
    bytes32 private _handoverHead;
    Order private _order;
    mapping(uint64 number => Epoch) private _epochs;
    mapping(address signer => bool) private _used; // no root is published twice, ever
    mapping(address app => Pin) private _pins;

    event AuthorityNamed(address indexed current, address indexed next);
    event AuthorityChanged(address indexed previous, address indexed current);
    event GuardianSet(address indexed guardian);
    event GenesisRegistered(bytes k256, bytes32 caSpkiHash);
    event RotationOrdered(
        uint64 indexed number, uint64 indexed epoch, Mode mode, uint64 notBefore, uint64 retireAfter
    );
    event OrderWithdrawn(uint64 indexed number, uint64 indexed epoch);
    event RootPublished(
        uint64 indexed epoch,
        uint64 indexed order,
        Mode mode,
        bytes k256,
        bytes32 caSpkiHash,
        bytes sig
    );
    event HoldersAttested(
        uint64 indexed epoch, bytes32 indexed seatsHash, uint256 seats, uint64 asOf
    );
    event RootConfirmed(uint64 indexed epoch, bytes32 indexed rootHash);
    event RootVetoed(uint64 indexed epoch, bytes32 indexed rootHash, address indexed by);
    event EpochActivated(uint64 indexed epoch, bytes32 indexed rootHash);
    event EpochTainted(uint64 indexed epoch);
    event RetirementSet(uint64 indexed epoch, uint64 at);
    event EpochDestroyed(uint64 indexed epoch, bytes32 indexed rootHash);
    event Pinned(address indexed app, uint64 indexed epoch, uint64 previous, address by);
    event HandoverRecorded(
        uint64 indexed number,
        bytes32 indexed slot,
        bytes32 indexed incarnation,
        uint64 audit,
        uint64 epoch,
        bytes32 deviceId,
        bytes32 mrAggregated
    );

    modifier onlyAuthority() {
        require(msg.sender == authority, "Only the authority");
        _;
    }

    constructor(
        address kms_,
        address anchor_,
        address authority_,
        uint64 vetoWindow_,
        uint64 notice_,
        uint64 holdersAge_
    ) {
        require(kms_ != address(0), "No KMS contract");
        require(ClusterAnchor(anchor_).kms() == kms_, "The anchor is of another KMS");
        require(authority_.code.length > 0, "The authority is no contract");
        require(vetoWindow_ >= 1 && vetoWindow_ <= MAX_WAIT, "Veto window out of range");
        require(notice_ >= 1 && notice_ <= MAX_WAIT, "Notice out of range");
        // Shorter than the window: what has come of age was held since.
        require(holdersAge_ >= 1 && holdersAge_ < vetoWindow_, "Holders' age out of range");
        kms = IKmsRoots(kms_);
        anchor = ClusterAnchor(anchor_);
        authority = authority_;
        vetoWindow = vetoWindow_;
        notice = notice_;
        holdersAge = holdersAge_;
        emit AuthorityChanged(address(0), authority_);
        _log(AUTHORITY, authority_, true);
    }

    // What nodes and auditors read.

    /// Everything at once, so that a reader needs one call at one block.
    function state() external view returns (State memory s) {
        s.kms = address(kms);
        s.anchor = address(anchor);
        s.authority = authority;
        s.pendingAuthority = pendingAuthority;
        s.guardian = guardian;
        s.vetoWindow = vetoWindow;
        s.notice = notice;
        s.holdersAge = holdersAge;
        s.seatsHash = keccak256(abi.encode(anchor.state().seats));
        s.active = active;
        s.vetoes = _vetoes;
        s.handovers = _handovers;
        s.handoverHead = _handoverHead;
        s.order = _order;

        uint256 end = _order.epoch != 0 ? _order.epoch + 1 : active + 1;
        uint256 n = _epochs[0].status == Status.NONE ? 0 : end;
        uint256 first = n > MAX_EPOCHS ? n - MAX_EPOCHS : 0;
        s.epochs = new Epoch[](n - first);
        for (uint256 i = first; i < n; i++) {
            s.epochs[i - first] = _epochs[uint64(i)];
        }
    }

    function epochOf(uint64 number) external view returns (Epoch memory) {
        return _epochs[number];
    }

    /// The little of it that a verifier on chain needs.
    function rootOf(uint64 number) external view returns (Status status, address signer) {
        return (_epochs[number].status, _epochs[number].signer);
    }

    /// The epoch whose keys an app gets unless it asks for an older one.  An app
    /// that was registered before there was a registry has been using epoch 0.
    function pinOf(address app) external view returns (uint64) {
        return _pins[app].epoch;
    }

    /// What a root has to sign so that `epoch` follows it: DESIGN.md 7.
    function certificate(uint64 epoch, bytes memory k256, bytes32 caSpkiHash, Mode mode)
        public
        view
        returns (bytes memory)
    {
        return abi.encodePacked(
            CERTIFICATE, uint64(block.chainid), address(this), epoch, k256, caSpkiHash, uint8(mode)
        );
    }

    // Who decides.

    /// Zero takes it back.  The next one has to accept: nobody can hand the
    /// registry to an address that cannot act.
    function transferAuthority(address next) external onlyAuthority {
        require(next == address(0) || next.code.length > 0, "The authority is no contract");
        pendingAuthority = next;
        emit AuthorityNamed(authority, next);
    }

    function acceptAuthority() external {
        address was = authority;

        require(msg.sender == pendingAuthority, "Not named as the authority");
        authority = msg.sender;
        pendingAuthority = address(0);
        emit AuthorityChanged(was, msg.sender);
        _log(AUTHORITY, was, false);
        _log(AUTHORITY, msg.sender, true);
    }

    /// Zero for nobody.
    function setGuardian(address guardian_) external onlyAuthority {
        if (guardian != address(0)) {
            _log(GUARDIAN, guardian, false);
        }
        guardian = guardian_;
        emit GuardianSet(guardian_);
        if (guardian_ != address(0)) {
            _log(GUARDIAN, guardian_, true);
        }
    }

    // The life of an epoch.

    /// Epoch 0 is the KMS as it was before: what its contract says.  Naming the
    /// root again makes sure that it is the one that was decided upon.
    function registerGenesis(bytes calldata k256, bytes32 caSpkiHash) external {
        require(msg.sender == authority || msg.sender == kms.owner(), "Only authority or owner");
        require(_epochs[0].status == Status.NONE, "Epoch 0 exists already");
        (bytes memory key, bytes memory ca,,) = kms.kmsInfo();
        require(keccak256(key) == keccak256(k256), "The KMS contract has another key");
        require(sha256(ca) == caSpkiHash, "The KMS contract has another CA");

        Epoch storage e = _epochs[0];
        _setRoot(e, k256, caSpkiHash);
        e.status = Status.ACTIVE;
        e.activatedAt = uint64(block.timestamp);
        emit GenesisRegistered(k256, caSpkiHash);
        emit EpochActivated(0, _rootHash(k256, caSpkiHash));
        _log(ROOT, _rootHash(k256, caSpkiHash), true);
    }

    function orderRotation(Mode mode, uint64 notBefore, uint64 retireAfter) external onlyAuthority {
        uint64 epoch = active + 1;

        require(_epochs[0].status != Status.NONE, "No epoch 0 yet");
        require(_order.epoch == 0, "A rotation is ordered already");
        require(notBefore <= block.timestamp + MAX_WAIT, "Too far away");
        require(
            retireAfter == 0 || (retireAfter >= notice && retireAfter <= 10 * MAX_WAIT),
            "Retirement out of range"
        );
        require(
            epoch < MAX_EPOCHS || _epochs[epoch - uint64(MAX_EPOCHS)].status == Status.DESTROYED,
            "Destroy the oldest epoch first"
        );
        _order = Order(
            _order.number + 1, epoch, mode, uint64(block.timestamp), notBefore, retireAfter, 0
        );
        _epochs[epoch].number = epoch;
        _epochs[epoch].status = Status.ORDERED;
        _epochs[epoch].mode = mode;
        emit RotationOrdered(_order.number, epoch, mode, notBefore, retireAfter);
        _log(ROOT_ORDER, bytes32(uint256(epoch)), true);
    }

    /// Also when a root is published already, as long as it is not active.
    function withdrawOrder() external onlyAuthority {
        uint64 epoch = _order.epoch;

        require(epoch != 0, "No rotation is ordered");
        emit OrderWithdrawn(_order.number, epoch);
        delete _epochs[epoch];
        _clearOrder();
        _log(ROOT_ORDER, bytes32(uint256(epoch)), false);
    }

    /// By anyone: what counts is who signed.  `sig` is over certificate(), by
    /// the root before it (ROUTINE) or by the anchor's signer (EMERGENCY).
    function publishRoot(
        uint64 epoch,
        bytes calldata k256,
        bytes32 caSpkiHash,
        bytes calldata sig,
        Holders calldata holders
    ) external {
        Epoch storage e = _epochs[epoch];
        ClusterAnchor.State memory cluster = anchor.state();

        require(epoch != 0 && epoch == _order.epoch, "No rotation to this epoch is ordered");
        require(e.status == Status.ORDERED, "A root is published already");
        require(block.timestamp >= _order.notBefore, "Too early");
        require(caSpkiHash != 0, "No CA");
        require(
            _order.confirmed == 0 || _order.confirmed == _rootHash(k256, caSpkiHash),
            "The vote was for another root"
        );
        address by = K256.recover(keccak256(certificate(epoch, k256, caSpkiHash, _order.mode)), sig);
        if (_order.mode == Mode.ROUTINE) {
            require(by == _epochs[active].signer, "Not signed by the root before it");
        } else {
            require(by != address(0) && by == cluster.signer, "Not signed by the cluster");
        }
        _setRoot(e, k256, caSpkiHash);
        e.status = Status.PUBLISHED;
        e.order = _order.number;
        e.publishedAt = uint64(block.timestamp);
        emit RootPublished(epoch, _order.number, _order.mode, k256, caSpkiHash, sig);
        _attest(e, cluster, holders);
    }

    /// Evidence ages, so that a root whose holders were lost meanwhile does not
    /// become active; this renews it.
    function attestHolders(uint64 epoch, Holders calldata holders) external {
        require(_epochs[epoch].status == Status.PUBLISHED, "No root to attest");
        require(holders.asOf > _epochs[epoch].heldAsOf, "Attested already");
        _attest(_epochs[epoch], anchor.state(), holders);
    }

    /// The second vote of an emergency: for this root and no other, after its
    /// nodes' attestations were looked at.  It may come before the publication;
    /// after another root's, it vetoes that.
    function confirmRoot(uint64 epoch, bytes32 rootHash) external onlyAuthority {
        Epoch storage e = _epochs[epoch];

        require(epoch != 0 && epoch == _order.epoch, "No rotation to this epoch is ordered");
        require(_order.mode == Mode.EMERGENCY, "Only an emergency is confirmed");
        require(rootHash != 0, "No root");
        if (e.status == Status.PUBLISHED && _rootHash(e) != rootHash) {
            _veto(e);
        }
        _order.confirmed = rootHash;
        emit RootConfirmed(epoch, rootHash);
    }

    /// As long as it is not active.  The order stands: the nodes may publish
    /// another root, but never this one again.
    function vetoRoot(uint64 epoch) external {
        require(
            msg.sender == authority || (msg.sender == guardian && guardian != address(0)),
            "Only authority or guardian"
        );
        require(_epochs[epoch].status == Status.PUBLISHED, "No root to veto");
        _veto(_epochs[epoch]);
    }

    function activate(uint64 epoch) external {
        Epoch storage e = _epochs[epoch];
        bytes32 rootHash = _rootHash(e);

        require(e.status == Status.PUBLISHED, "No root to activate");
        require(block.timestamp >= e.publishedAt + vetoWindow, "Too early");
        require(_order.mode == Mode.ROUTINE || _order.confirmed == rootHash, "Not confirmed");
        require(block.timestamp <= e.heldAsOf + holdersAge, "Holders not attested lately");
        require(e.heldSeats == keccak256(abi.encode(anchor.state().seats)), "Seats have changed");
        if (_order.retireAfter != 0) {
            _setRetirement(active, uint64(block.timestamp) + _order.retireAfter);
        }
        e.status = Status.ACTIVE;
        e.activatedAt = uint64(block.timestamp);
        active = epoch;
        _clearOrder();
        emit EpochActivated(epoch, rootHash);
        _log(ROOT, rootHash, true);
    }

    /// No new apps, and keys only for who asks by number.  The active epoch is
    /// never tainted: rotate first, so that there is always one to use.
    function taint(uint64 epoch) external onlyAuthority {
        Epoch storage e = _epochs[epoch];

        require(epoch != active, "The active epoch stays");
        require(e.status == Status.ACTIVE, "Not in use");
        e.status = Status.TAINTED;
        e.taintedAt = uint64(block.timestamp);
        emit EpochTainted(epoch);
    }

    /// From `at` on the epoch may be destroyed; zero: it may not.
    function retire(uint64 epoch, uint64 at) external onlyAuthority {
        require(epoch != active, "The active epoch stays");
        require(_lives(_epochs[epoch]), "Not in use");
        require(
            at == 0 || (at >= block.timestamp + notice && at <= block.timestamp + 10 * MAX_WAIT),
            "Retirement out of range"
        );
        _setRetirement(epoch, at);
    }

    /// For good: the nodes drop what its root is wrapped with.
    function destroy(uint64 epoch) external onlyAuthority {
        Epoch storage e = _epochs[epoch];

        require(epoch != active, "The active epoch stays");
        require(_lives(e), "Not in use");
        require(e.retireAt != 0 && block.timestamp >= e.retireAt, "Too early");
        e.status = Status.DESTROYED;
        e.destroyedAt = uint64(block.timestamp);
        emit EpochDestroyed(epoch, _rootHash(e));
        _log(ROOT, _rootHash(e), false);
    }

    // Which epoch an app uses.

    /// The KMS contract, when an app is registered for the first time.
    function appRegistered(address app) external {
        require(msg.sender == address(kms), "Only the KMS contract");
        if (!_pins[app].known) {
            _pin(app, active);
        }
    }

    /// Nobody but the app moves its keys: not the KMS, not the authority.
    function pin(address app, uint64 epoch) external {
        Epoch storage e = _epochs[epoch];

        require(msg.sender == app || msg.sender == _ownerOf(app), "Only the app or its owner");
        require(kms.registeredApps(app), "App not registered");
        require(e.status == Status.ACTIVE && e.retireAt == 0, "No epoch to stay at");
        _pin(app, epoch);
    }

    // Which nodes were given the roots.

    /// `from` numbers the first one; signed is what the log comes to with them.
    /// So none is left out or comes twice, and whoever kept the list can check
    /// it against two words.
    function recordHandovers(uint64 from, Handover[] calldata list, bytes calldata sig) external {
        bytes32 head = _handoverHead;
        address by;

        require(from == _handovers, "Not the next number");
        require(list.length >= 1 && list.length <= MAX_HANDOVERS, "Nothing, or too much");
        for (uint64 i = 0; i < list.length; i++) {
            Handover calldata h = list[i];

            require(h.epoch <= active + 1, "No such epoch");
            require(h.incarnation != 0, "No incarnation");
            head = keccak256(abi.encode(head, from + i, h));
            emit HandoverRecorded(
                from + i, h.slot, h.incarnation, h.audit, h.epoch, h.deviceId, h.mrAggregated
            );
        }
        by = K256.recover(
            keccak256(
                abi.encode(
                    DOMAIN, block.chainid, address(this), HANDOVER, from + uint64(list.length), head
                )
            ),
            sig
        );
        require(by != address(0) && by == anchor.state().signer, "Not signed by the cluster");
        _handovers = from + uint64(list.length);
        _handoverHead = head;
    }

    function _setRoot(Epoch storage e, bytes calldata k256, bytes32 caSpkiHash) private {
        address signer = K256.addressOf(k256);

        require(signer != address(0), "Not a k256 key");
        require(!_used[signer], "This key was published before");
        _used[signer] = true;
        e.keyPrefix = uint8(k256[0]);
        e.keyX = bytes32(k256[1:33]);
        e.signer = signer;
        e.caSpkiHash = caSpkiHash;
    }

    /// The code that signs runs in a TEE and says what it knows of the nodes;
    /// with the root, so that who signs has it; and with the cluster's key, so
    /// that a stolen root alone cannot bring in its successor.
    function _attest(Epoch storage e, ClusterAnchor.State memory cluster, Holders calldata holders)
        private
    {
        uint256 n = cluster.seats.length;
        bytes32 seatsHash = keccak256(abi.encode(cluster.seats));
        uint256 count = 0;
        bytes32 digest;

        require(
            holders.asOf <= block.timestamp && holders.asOf >= _order.orderedAt
                && block.timestamp <= holders.asOf + holdersAge,
            "Holders not attested lately"
        );
        require(holders.seats >> n == 0, "No such seat");
        for (uint256 i = 0; i < n; i++) {
            count += (holders.seats >> i) & 1;
        }
        require(2 * count > n && 3 * count >= 2 * n, "Too few hold it");
        digest = keccak256(
            abi.encode(
                DOMAIN,
                block.chainid,
                address(this),
                HOLDERS,
                _order.number,
                e.number,
                _rootHash(e),
                seatsHash,
                holders.seats,
                holders.asOf
            )
        );
        require(K256.recover(digest, holders.byRoot) == e.signer, "Not attested by the root");
        require(
            cluster.signer != address(0)
                && K256.recover(digest, holders.byCluster) == cluster.signer,
            "Not attested by the cluster"
        );
        e.heldAsOf = holders.asOf;
        e.holders = holders.seats;
        e.heldSeats = seatsHash;
        emit HoldersAttested(e.number, seatsHash, holders.seats, holders.asOf);
    }

    function _veto(Epoch storage e) private {
        uint64 epoch = e.number;
        Mode mode = e.mode;

        emit RootVetoed(epoch, _rootHash(e), msg.sender);
        _vetoes++;
        _order.confirmed = 0;
        delete _epochs[epoch];
        e.number = epoch;
        e.mode = mode;
        e.status = Status.ORDERED;
    }

    function _clearOrder() private {
        uint64 number = _order.number;

        delete _order;
        _order.number = number;
    }

    function _setRetirement(uint64 epoch, uint64 at) private {
        _epochs[epoch].retireAt = at;
        emit RetirementSet(epoch, at);
    }

    function _pin(address app, uint64 epoch) private {
        emit Pinned(app, epoch, _pins[app].epoch, msg.sender);
        _pins[app] = Pin(true, epoch);
    }

    function _lives(Epoch storage e) private view returns (bool) {
        return e.status == Status.ACTIVE || e.status == Status.TAINTED;
    }

    /// Zero if it has none.  An app may lie, but only about itself.
    function _ownerOf(address app) private view returns (address) {
        (bool ok, bytes memory answer) = app.staticcall(abi.encodeCall(IOwned.owner, ()));

        if (!ok || answer.length != 32 || uint256(bytes32(answer)) > type(uint160).max) {
            return address(0);
        }
        return address(uint160(uint256(bytes32(answer))));
    }

    function _rootHash(bytes memory k256, bytes32 caSpkiHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(k256, caSpkiHash));
    }

    function _rootHash(Epoch storage e) private view returns (bytes32) {
        return keccak256(abi.encodePacked(e.keyPrefix, e.keyX, e.caSpkiHash));
    }
}
