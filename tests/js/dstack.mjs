// dstack's derivations and signatures once more, over @noble alone: what an
// agent answers is compared with this (dstack-compat.md 2.1, 2.2, 3.6).
import crypto from 'node:crypto';

import { ed25519 } from '@noble/curves/ed25519';
import { secp256k1 } from '@noble/curves/secp256k1';
import { hkdf } from '@noble/hashes/hkdf';
import { sha256 } from '@noble/hashes/sha2';
import { keccak_256 } from '@noble/hashes/sha3';

export const hex = (b) => Buffer.from(b).toString('hex');
export const bytes = (s) => new Uint8Array(Buffer.from(s, 'hex'));
export const text = (s) => new Uint8Array(Buffer.from(s, 'utf8'));
export const join = (...parts) => new Uint8Array(Buffer.concat(
	parts.map((p) => Buffer.from(p))));

// KDF(ikm, info): HKDF-SHA256, salt "RATLS".
export const kdf = (ikm, ...info) =>
	hkdf(sha256, ikm, text('RATLS'), join(...info), 32);

// SIG65(key, msg) = r32 || s32 || v over keccak256(msg).
export const sign65 = (key, ...msg) => {
	const s = secp256k1.sign(keccak_256(join(...msg)), key);
	return join(s.toCompactRawBytes(), [s.recovery]);
};

export const recover65 = (sig, ...msg) => secp256k1.Signature
	.fromCompact(sig.slice(0, 64)).addRecoveryBit(sig[64])
	.recoverPublicKey(keccak_256(join(...msg))).toRawBytes(true);

export const address = (pub) => '0x' + hex(keccak_256(secp256k1.ProjectivePoint
	.fromHex(hex(pub)).toRawBytes(false).slice(1)).slice(-20));

const publicKey = (key, algorithm) => algorithm === 'ed25519' ?
	ed25519.getPublicKey(key) : secp256k1.getPublicKey(key, true);

// GetKey: the path alone decides the key; purpose and public key are signed.
export const getKey = (app, path, purpose, algorithm) => {
	const key = kdf(app, text(path));
	const pub = publicKey(key, algorithm);
	return { key, pub, link: sign65(app, text(`${purpose}:${hex(pub)}`)) };
};

// Sign: always the key of ("vms", "signing").
export const sign = (app, algorithm, data) => {
	const alg = algorithm === 'ed25519' ? 'ed25519' : 'secp256k1';
	const k = getKey(app, 'vms', 'signing', alg);
	const sig = alg === 'ed25519' ? ed25519.sign(data, k.key) :
		secp256k1.sign(algorithm === 'secp256k1_prehashed' ? data :
			sha256(data), k.key).toCompactRawBytes();
	return { ...k, sig };
};

const lp = (b) => {
	const n = Buffer.alloc(4);
	n.writeUInt32BE(b.length);
	return join(n, b);
};

// GetKey of the guest API v1.
export const getKeyV1 = (app, domain, algorithm) => {
	const key = hkdf(sha256, app, text('dstack-guest-v1'), join(
		lp(text('dstack-guest-v1-key')), lp(text(algorithm)),
		lp(text(domain))), 32);
	const pub = publicKey(key, algorithm);
	return { key, pub, link: sign65(app,
		lp(text('dstack-guest-v1-key-claim')), lp(text(algorithm)),
		lp(text(domain)), lp(pub)) };
};

// Both links: who issued this key?  The app's key, and the root's address.
export const issuer = (chain, pub, purpose, appId) => {
	const app = recover65(chain[0], text(`${purpose}:${hex(pub)}`));
	const root = recover65(chain[1], text('dstack-kms-issued:'),
		bytes(appId), app);
	return { app, root: address(root) };
};

// The scalar of a P-256 key in PKCS#8 PEM.
export const p256Scalar = (pem) => new Uint8Array(Buffer.from(
	crypto.createPrivateKey(pem).export({ format: 'jwk' }).d, 'base64url'));
