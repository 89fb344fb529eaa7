// Goal of this test: the unmodified dstack SDK works on an agent's socket.
//
//   node sdk.mjs SOCKET [--root 0xADDRESS] [--no-replay]
//
// Calls every method of @phala/dstack-sdk's DstackClient and checks what
// comes back: keys and both links of their chain (--root: the KMS root that
// the second must recover to), signatures, certificates, and that the event
// log replays to RTMR3 (not with --no-replay, for a backend without a TEE).
// Prints "ok N" and ends with 0, or prints what failed and ends with 1.
import crypto from 'node:crypto';
import http from 'node:http';

import { ed25519 } from '@noble/curves/ed25519';
import { secp256k1 } from '@noble/curves/secp256k1';
import { sha256 } from '@noble/hashes/sha2';
import { keccak_256 } from '@noble/hashes/sha3';
import { DstackClient } from '@phala/dstack-sdk';

const [socket, ...rest] = process.argv.slice(2);
const option = (name) => {
	const i = rest.indexOf(name);
	return i < 0 ? undefined : rest[i + 1];
};
const root = option('--root')?.toLowerCase();
const replay = !rest.includes('--no-replay');
if (!socket) {
	console.error('usage: sdk.mjs SOCKET [--root 0xADDRESS] [--no-replay]');
	process.exit(2);
}

let done = 0;
const check = (what, ok) => {
	if (!ok)
		throw new Error(`check failed: ${what}`);
	done++;
};
const refused = async (what, run) => {
	let said;
	try {
		said = await run();
	} catch {
		done++;
		return;
	}
	throw new Error(`not refused: ${what}: ${JSON.stringify(said)}`);
};

const hex = (b) => Buffer.from(b).toString('hex');
const bytes = (s) => new Uint8Array(Buffer.from(s, 'hex'));
const same = (a, b) => hex(a) === hex(b);

// SIG65 = r32 || s32 || v over keccak256 of the message.
const recover = (sig, message) => {
	check('signature has 65 bytes', sig.length === 65);
	return secp256k1.Signature.fromCompact(sig.slice(0, 64))
		.addRecoveryBit(sig[64])
		.recoverPublicKey(keccak_256(message));
};
const address = (point) =>
	`0x${hex(keccak_256(point.toRawBytes(false).slice(1)).slice(-20))}`;

// Link 0 names the app key, link 1 the root that issued it.
const checkChain = (chain, pub, purpose, appId) => {
	const app = recover(chain[0],
		Buffer.from(`${purpose}:${hex(pub)}`)).toRawBytes(true);
	const issuer = recover(chain[1], Buffer.concat([
		Buffer.from('dstack-kms-issued:'), bytes(appId), app]));
	if (root !== undefined)
		check('chain ends in the root', address(issuer) === root);
	return hex(app);
};

// A request that the SDK would not send.
const raw = (method, path, body) => new Promise((resolve, reject) => {
	const rq = http.request({ socketPath: socket, method, path,
		headers: body === undefined ? {} : {
			'Content-Type': 'application/json',
			'Content-Length': Buffer.byteLength(body),
		} }, (rp) => {
		let text = '';
		rp.setEncoding('utf8');
		rp.on('data', (d) => { text += d; });
		rp.on('end', () => resolve({ status: rp.statusCode,
			json: JSON.parse(text) }));
	});
	rq.on('error', reject);
	rq.end(body);
});

const testBasics = async (client) => {
	check('reachable', await client.isReachable());
	const version = await client.version();
	check('version', /^\d+\.\d+\.\d+/.test(version.version));
	const info = await client.info();
	for (const key of ['app_id', 'instance_id', 'app_cert', 'app_name',
		'device_id', 'key_provider_info', 'compose_hash', 'vm_config'])
		check(`info.${key}`, typeof info[key] === 'string');
	for (const key of ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'])
		check(`tcb_info.${key}`, info.tcb_info[key].length === 96);
	check('app_compose is there', info.tcb_info.app_compose.length > 0);
	check('key provider is a KMS',
		JSON.parse(info.key_provider_info).name === 'kms');
	return info;
};

const testKeys = async (client, appId) => {
	const a = await client.getKey('/oracle', 'ethereum');
	const pub = secp256k1.getPublicKey(a.key, true);
	const app = checkChain(a.signature_chain, pub, 'ethereum', appId);
	check('key has 32 bytes', a.key.length === 32);
	check('key is stable',
		same((await client.getKey('/oracle', 'ethereum')).key, a.key));
	check('path separates keys',
		!same((await client.getKey('/other', 'ethereum')).key, a.key));
	const e = await client.getKey('/oracle', 'ethereum', 'ed25519');
	check('same app key signs ed25519', app === checkChain(
		e.signature_chain, ed25519.getPublicKey(e.key), 'ethereum',
		appId));
	const none = await client.getKey();
	checkChain(none.signature_chain, secp256k1.getPublicKey(none.key, true),
		'', appId);
	await refused('an unknown algorithm',
		() => client.getKey('/', '', 'rsa'));
	await refused('prehashed keys',
		() => client.getKey('/', '', 'secp256k1_prehashed'));
	return app;
};

const testSign = async (client, appId, app) => {
	const data = 'a message';
	const digest = sha256(Buffer.from(data));
	for (const [alg, message] of [['secp256k1', data], ['ed25519', data],
		['secp256k1_prehashed', digest]]) {
		const s = await client.sign(alg, message);
		const ok = alg === 'ed25519' ?
			ed25519.verify(s.signature, Buffer.from(data),
				s.public_key) :
			secp256k1.verify(s.signature, digest, s.public_key);
		check(`${alg} signature`, ok);
		check(`${alg} chain`, s.signature_chain.length === 3 &&
			same(s.signature_chain[0], s.signature));
		check(`${alg} is the app's`, app === checkChain(
			s.signature_chain.slice(1), s.public_key, 'signing',
			appId));
		check(`${alg} verifies`, (await client.verify(alg, message,
			s.signature, s.public_key)).valid === true);
		const other = alg === 'secp256k1_prehashed' ?
			sha256(digest) : `${data}!`;
		check(`${alg} of another message`, (await client.verify(alg,
			other, s.signature, s.public_key)).valid === false);
	}
	await refused('a digest of 31 bytes', () =>
		client.sign('secp256k1_prehashed', Buffer.alloc(31)));
};

const testTls = async (client) => {
	const options = { subject: 'app.example',
		altNames: ['localhost', '127.0.0.1'], usageServerAuth: true,
		usageClientAuth: true };
	const now = Math.floor(Date.now() / 1000);
	for (const o of [{}, options, { ...options, usageRaTls: true,
		notBefore: now - 60, notAfter: now + 3600,
		withAppInfo: true }]) {
		const t = await client.getTlsKey(o);
		check('private key', t.key?.startsWith(
			'-----BEGIN PRIVATE KEY-----'));
		check('three certificates', t.certificate_chain.length === 3);
		const [leaf, ca, top] = t.certificate_chain.map(
			(c) => new crypto.X509Certificate(c));
		check('leaf is for the key', leaf.checkPrivateKey(
			crypto.createPrivateKey(t.key)));
		check('leaf is issued by the app CA',
			leaf.verify(ca.publicKey));
		check('app CA is issued by the root', ca.verify(top.publicKey));
	}
	check('keys are fresh', (await client.getTlsKey()).key !==
		(await client.getTlsKey()).key);
	const bad = await raw('POST', '/GetTlsKey',
		'{"not_before":2,"not_after":1}');
	check('an empty validity', bad.status === 400 &&
		bad.json.error === 'not_before must be earlier than not_after');
};

const testQuotes = async (client) => {
	for (const data of ['hello', Buffer.alloc(64, 7), '']) {
		const q = await client.getQuote(data);
		const log = JSON.parse(q.event_log);
		check('a quote', /^([0-9a-f]{2})+$/.test(q.quote));
		check('an event log', log.length > 0 && log.every((e) =>
			typeof e.event_payload === 'string'));
		if (!replay)
			continue;
		// Absolute offset of report_data in a v4 TDX quote: 568.
		const rd = Buffer.alloc(64);
		Buffer.from(data).copy(rd);
		check('quote has the report data', q.quote.slice(2 * 568,
			2 * 632) === hex(rd));
		const rtmrs = q.replayRtmrs();
		for (let i = 0; i < 4; i++)
			check(`log replays to RTMR${i}`, q.quote.slice(
				2 * (376 + 48 * i), 2 * (424 + 48 * i)) ===
				rtmrs[i]);
		const tcb = (await client.info()).tcb_info;
		check('info tells the same RTMR3', tcb.rtmr3 === rtmrs[3]);
	}
	check('an attestation',
		(await client.attest('hello')).attestation.length > 0);
	await refused('65 bytes of report data',
		() => client.getQuote(Buffer.alloc(65)));
	const long = await raw('POST', '/GetQuote',
		JSON.stringify({ report_data: 'ab'.repeat(65) }));
	check('the agent refuses them too', long.status === 400 &&
		long.json.error === 'Report data is too long');
};

const testEvents = async (client) => {
	await client.emitEvent('sdk-test', 'payload');
	check('an event', (await raw('POST', '/EmitEvent',
		'{"event":"sdk-test-2","payload":"00"}')).json === null);
	for (const name of ['app-id', 'system-ready', '']) {
		const r = await raw('POST', '/EmitEvent',
			JSON.stringify({ event: name, payload: '' }));
		check(`event '${name}' is refused`, r.status === 400 &&
			typeof r.json.error === 'string');
	}
	if (!replay)
		return;
	const names = JSON.parse((await client.getQuote('x')).event_log)
		.filter((e) => e.imr === 3).map((e) => e.event);
	check('events are measured', names.slice(-2).join() ===
		'sdk-test,sdk-test-2');
	check('boot events come first', names.slice(0, 5).join() ===
		'system-preparing,app-id,compose-hash,instance-id,' +
		'boot-mr-done');
};

const testWire = async (client) => {
	// The SDK counts UTF-16 units: a body that arrives whole is read
	// whole, one whose last bytes come later is refused at once.
	const beyond = await client.getKey('/cl\u00e9').catch(() => null);
	const escaped = await raw('POST', '/GetKey', '{"path":"/cl\\u00e9"}');
	check('a path beyond ASCII', beyond === null ||
		hex(beyond.key) === escaped.json.key);
	const get = await raw('GET', '/GetQuote?report_data=0x1234');
	check('GET with a query', get.status === 200);
	const nope = await raw('POST', '/Nope', '{}');
	check('an unknown method', nope.status === 400 &&
		nope.json.error === 'Service not found: Nope');
	const none = await raw('POST', '/GetKey', '{"path":null}');
	check('null is refused', none.status === 400);
	const epoch = await raw('POST', '/GetKey', '{}');
	check('the key epoch is told', Number.isInteger(epoch.json.epoch));
};

try {
	const client = new DstackClient(socket);
	const info = await testBasics(client);
	const app = await testKeys(client, info.app_id);
	await testSign(client, info.app_id, app);
	await testTls(client);
	await testQuotes(client);
	await testEvents(client);
	await testWire(client);
	console.log(`ok ${done}`);
} catch (e) {
	console.error(`after ${done} checks: ${e.stack}`);
	process.exit(1);
}
