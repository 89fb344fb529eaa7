// Goal of this test: derivations and signatures agree with another
// implementation, over random inputs.
//
//   node differ.mjs --dstack SOCKET --appkeys FILE [--n 300] [--seed TEXT]
//       [--mock FILE --root HEX]
//
// Asks the agent for keys and signatures with random paths, purposes,
// algorithms and data, and compares every byte: with dstack.mjs, or, with
// --mock, with that program's answers on a socket of its own.  The mock knows
// only a root: then the agent's app key must be the one that this root gives
// (kmsctl sim agent prints no root's key; tests/e2e/clients.sh makes such a
// folder).  Prints the seed; the same seed asks the same.
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';

import { sha256 } from '@noble/hashes/sha2';

import { options, raw } from './check.mjs';
import * as dstack from './dstack.mjs';

const { hex, bytes } = dstack;
const o = options([]);
const n = Number(o.n ?? 300);
const seed = o.seed ?? crypto.randomBytes(8).toString('hex');
const files = JSON.parse(fs.readFileSync(o.appkeys));
const app = bytes(files.k256_key);

// A stream of random numbers that a seed decides.
let drawn = 0;
const draw = (below) => {
	const h = sha256(dstack.text(`${seed}/${drawn++}`));
	return Buffer.from(h).readUIntBE(0, 6) % below;
};
const pick = (list) => list[draw(list.length)];
const drawBytes = (len) => {
	const out = [];
	while (out.length < len)
		out.push(...sha256(dstack.text(`${seed}/${drawn++}`)));
	return Uint8Array.from(out.slice(0, len));
};

// Text of any kind that JSON can carry: mostly plain, some of it strange.
const alphabets = ['abcdefghijklmnopqrstuvwxyz0123456789/-_.',
	' !"#$%&\'()*+,:;<=>?@[\\]^`{|}~\t\n\r\x01\x1f\x7f',
	'\u00e4\u00e9\u03b1\u4e2d\u2028\uffff',
	'\u{1f511}\u{10ffff}\u{10000}'];
const drawText = () => {
	const long = draw(40) === 0;
	const chars = [...(draw(3) ? alphabets[0] : pick(alphabets))];
	let len = pick([0, 1, 2, 8, 20, 64]), s = '';
	if (long)
		len = draw(1000);
	while (len-- > 0)
		s += pick(chars);
	return s;
};

const drawCall = () => {
	if (draw(3) > 0)
		return ['GetKey', { path: drawText(), purpose: drawText(),
			algorithm: pick(['', 'secp256k1', 'k256',
				'ed25519', 'secp256k1', 'ed25519']) }];
	const algorithm = pick(['secp256k1', 'k256', 'ed25519',
		'secp256k1_prehashed']);
	const len = algorithm === 'secp256k1_prehashed' ? 32 :
		pick([0, 1, 31, 32, 33, 64, 200, 5000]);
	// Digests at the edges of the field, too.
	const data = algorithm === 'secp256k1_prehashed' && draw(8) === 0 ?
		new Uint8Array(32).fill(pick([0, 255])) : drawBytes(len);
	return ['Sign', { algorithm, data: hex(data) }];
};

const kind = (algorithm) =>
	algorithm === 'ed25519' ? 'ed25519' : 'secp256k1';
const byFormula = async (method, rq) => {
	if (method === 'GetKey') {
		const k = dstack.getKey(app, rq.path, rq.purpose,
			kind(rq.algorithm));
		return { key: hex(k.key), signature_chain: [hex(k.link),
			files.k256_signature] };
	}
	const s = dstack.sign(app, rq.algorithm, bytes(rq.data));
	return { signature: hex(s.sig), public_key: hex(s.pub),
		signature_chain: [hex(s.sig), hex(s.link),
			files.k256_signature] };
};

const startMock = async () => {
	const socket = `${o.dstack}.mock`;
	const child = spawn(process.execPath, [o.mock, socket], {
		env: { ...process.env, ROOT: o.root, APPID: o.appid },
		stdio: ['ignore', 'pipe', 'inherit'] });
	await new Promise((resolve, reject) => {
		child.stdout.once('data', resolve);
		child.once('exit', () => reject(new Error('the mock ended')));
	});
	child.removeAllListeners('exit');
	return { child, ask: async (method, rq) => (await raw(socket, 'POST',
		`/${method}`, JSON.stringify(rq))).json };
};

const mock = o.mock ? await startMock() : undefined;
const expected = mock?.ask ?? byFormula;
const against = mock ? 'the mock' : 'the formulas';
let failed = 0;
const start = Date.now();
for (let i = 0; i < n && failed < 5; i++) {
	const [method, rq] = drawCall();
	const [got, want] = await Promise.all([raw(o.dstack, 'POST',
		`/${method}`, JSON.stringify(rq)), expected(method, rq)]);
	for (const key of Object.keys(want))
		if (JSON.stringify(got.json?.[key]) !==
			JSON.stringify(want[key])) {
			failed++;
			console.log(`# ${method} ${JSON.stringify(rq)} ${key}:`);
			console.log(`# ${JSON.stringify(got.json)}`);
			console.log(`# not ${JSON.stringify(want[key])}`);
			break;
		}
}
mock?.child.kill();
console.log(`${failed ? 'not ok' : 'ok'} - ${n} random calls agree with ` +
	`${against}, seed ${seed} (${Date.now() - start} ms)`);
process.exit(failed ? 1 : 0);
