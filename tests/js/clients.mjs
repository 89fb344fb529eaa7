// Goal of this test: the unmodified SDK of the incumbent, both clients and
// all helpers, works on an agent's sockets: a fixture's, or a cluster's.
//
//   node clients.mjs --dstack SOCKET [--tappd SOCKET] [--root 0xADDRESS]
//       [--appkeys FILE] [--certs 3] [--events measured|ignored|refused]
//       [--simulated]
//
// --appkeys: the folder's file, so that keys are compared with dstack.mjs;
// --certs: how long a certificate chain is; --events: what EmitEvent does.
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';

import { ed25519 } from '@noble/curves/ed25519';
import { secp256k1 } from '@noble/curves/secp256k1';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2';
import * as sha3 from '@noble/hashes/sha3';
import { DstackClient, TappdClient } from '@phala/dstack-sdk';
import { toKeypair, toKeypairSecure } from '@phala/dstack-sdk/solana';
import { toViemAccount, toViemAccountSecure } from '@phala/dstack-sdk/viem';
import { recoverMessageAddress } from 'viem';

import { equal, must, options, raw, refused, run, skip, test }
	from './check.mjs';
import * as dstack from './dstack.mjs';

const { hex, bytes } = dstack;
const o = options(['simulated']);
if (!o.dstack) {
	console.error('usage: clients.mjs --dstack SOCKET ...');
	process.exit(2);
}
const certs = Number(o.certs ?? 3);
const root = o.root?.toLowerCase();
const files = o.appkeys && JSON.parse(fs.readFileSync(o.appkeys));
const app = files && bytes(files.k256_key);
const events = o.events ?? 'measured';

// The SDK warns about every use of what is old.
console.warn = () => {};
const client = new DstackClient(o.dstack);
const old = o.tappd && new TappdClient(o.tappd);
const info = await client.info();

/* ---- keys ---- */

const verifyKey = (k, path, purpose, algorithm) => {
	const alg = algorithm === 'ed25519' ? 'ed25519' : 'secp256k1';
	const pub = alg === 'ed25519' ? ed25519.getPublicKey(k.key) :
		secp256k1.getPublicKey(k.key, true);
	const from = dstack.issuer(k.signature_chain, pub, purpose ?? '',
		info.app_id);
	if (root !== undefined)
		equal(from.root, root, 'root');
	if (app !== undefined) {
		const want = dstack.getKey(app, path ?? '', purpose ?? '', alg);
		equal(hex(k.key), hex(want.key), 'key');
		equal(hex(k.signature_chain[0]), hex(want.link), 'link');
		equal(hex(k.signature_chain[1]), files.k256_signature,
			'link 1');
	}
	return { ...k, app: hex(from.app) };
};

const checkKey = async (c, ...args) => verifyKey(await c.getKey(...args), ...args);

test('getKey: defaults, purposes, algorithms, and one app key for all', async () => {
	const apps = new Set();
	for (const args of [[], ['/a'], ['/a', 'p'], ['/a', 'p', 'secp256k1'],
		['/a', 'p', 'k256'], ['/a', 'p', 'ed25519'],
		['a/b/c', ':', 'ed25519'], [' ', '\t"\\']])
		apps.add((await checkKey(client, ...args)).app);
	equal(apps.size, 1, 'app keys');
});

test('getKey: the path decides the key, nothing else does', async () => {
	const [a, b, c, d] = await Promise.all([client.getKey('/a'),
		client.getKey('/a', 'x'), client.getKey('/a', '', 'ed25519'),
		client.getKey('/b')]);
	equal(hex(a.key), hex(b.key), 'purpose');
	equal(hex(a.key), hex(c.key), 'algorithm');
	must(hex(a.key) !== hex(d.key), 'paths must separate');
});

test('getKey: what is no algorithm is refused', async () => {
	for (const alg of ['rsa', 'secp256k1_prehashed', 'ED25519', ' '])
		await refused(alg, () => client.getKey('/', '', alg));
});

test('getKey: 4096 bytes of path are taken, 4097 are not', async () => {
	await checkKey(client, 'p'.repeat(4096), 'q'.repeat(4096));
	await refused('a long path', () => client.getKey('p'.repeat(4097)));
	await refused('a long purpose',
		() => client.getKey('', 'p'.repeat(4097)));
	await refused('a megabyte', () => client.getKey('p'.repeat(1 << 20)));
	await refused('eleven megabytes',
		() => client.getKey('p'.repeat(11 << 20)));
});

test('200 calls at once, all right', async () => {
	const all = Array.from({ length: 200 }, (_, i) => [`/n/${i}`,
		`p${i % 7}`, i % 3 ? 'secp256k1' : 'ed25519']);
	// Verified afterwards: that takes a while, and a client that connects
	// and then says nothing for so long is hung up on.
	const got = await Promise.all(all.map((args) => client.getKey(...args)));
	got.forEach((k, i) => verifyKey(k, ...all[i]));
});

test('a path beyond ASCII: the right key or a quick no, never a hang', async () => {
	const start = Date.now();
	try {
		const k = await client.getKey('/cl\u00e9/\u{1f511}');
		if (app !== undefined)
			equal(hex(k.key), hex(dstack.getKey(app,
				'/cl\u00e9/\u{1f511}', '', 'secp256k1').key), 'key');
	} catch (e) {
		must(!/not Buffer|abort|timeout/i.test(e.message), e.message);
	}
	must(Date.now() - start < 5000, 'it took too long');
});

test('sign and verify: three algorithms, and what does not verify', async () => {
	const data = 'Test message for signing';
	const digest = sha256(Buffer.from(data));
	for (const [alg, message] of [['secp256k1', data], ['ed25519', data],
		['k256', data], ['secp256k1_prehashed', digest],
		['secp256k1', ''], ['ed25519', ''],
		['secp256k1', Buffer.alloc(100_000, 7)]]) {
		const s = await client.sign(alg, message);
		const data_ = Buffer.from(message);
		equal(s.signature_chain.length, 3, 'chain');
		equal(hex(s.signature_chain[0]), hex(s.signature), 'chain[0]');
		const from = dstack.issuer(s.signature_chain.slice(1),
			s.public_key, 'signing', info.app_id);
		if (root !== undefined)
			equal(from.root, root, 'root');
		if (app !== undefined)
			equal(hex(s.signature), hex(dstack.sign(app, alg,
				new Uint8Array(data_)).sig), alg);
		must((await client.verify(alg, message, s.signature,
			s.public_key)).valid === true, `${alg} verifies`);
		const other = alg === 'secp256k1_prehashed' ?
			sha256(digest) : 'other';
		must((await client.verify(alg, other, s.signature,
			s.public_key)).valid === false, `${alg} of another`);
		const bad = Uint8Array.from(s.signature);
		bad[40] ^= 1;
		must((await client.verify(alg, message, bad,
			s.public_key)).valid === false, `${alg} flipped`);
	}
	await refused('rsa', () => client.sign('rsa', data));
	await refused('no algorithm', () => client.sign('', data));
	for (const n of [0, 31, 33])
		await refused(`${n} bytes`, () => client.sign(
			'secp256k1_prehashed', Buffer.alloc(n)));
});

/* ---- helpers ---- */

test('viem: the key is an account, and it signs', async () => {
	const k = await client.getKey('/wallet', 'ethereum');
	const account = toViemAccount(k);
	equal(account.address.toLowerCase(), dstack.address(
		secp256k1.getPublicKey(k.key, true)), 'address');
	equal(toViemAccountSecure(k).address, account.address, 'secure');
	const signature = await account.signMessage({ message: 'hello' });
	equal(await recoverMessageAddress({ message: 'hello', signature }),
		account.address, 'recovered');
	const tls = await client.getTlsKey();
	must(/^0x[0-9a-fA-F]{40}$/.test(toViemAccountSecure(tls).address),
		'an account of a TLS key');
});

test('solana: the key is the seed of a keypair', async () => {
	const k = await client.getKey('/wallet', 'solana', 'ed25519');
	for (const to of [toKeypair, toKeypairSecure]) {
		const pair = to(k);
		equal(hex(pair.publicKey.toBytes()),
			hex(ed25519.getPublicKey(k.key)), 'public key');
	}
	const tls = await client.getTlsKey();
	equal(toKeypairSecure(tls).publicKey.toBytes().length, 32, 'TLS key');
});

/* ---- certificates ---- */

// DER of extension <arc>.n, which all have the same length.
const extension = (n) => Buffer.from(`060a2b0601040183e73d010${n}`, 'hex');

const checkTls = async (want) => {
	const t = await client.getTlsKey(want);
	equal(t.certificate_chain.length, certs, 'certificates');
	const chain = t.certificate_chain.map(
		(c) => new crypto.X509Certificate(c));
	const leaf = chain[0], top = chain[chain.length - 1];
	must(leaf.checkPrivateKey(crypto.createPrivateKey(t.key)),
		'leaf is for the key');
	// Not checkIssued: a published CA lacks the right to sign certificates.
	for (let i = 0; i + 1 < chain.length; i++)
		must(chain[i].verify(chain[i + 1].publicKey) &&
			chain[i].issuer === chain[i + 1].subject, `issuer ${i}`);
	must(top.verify(top.publicKey), 'a root');
	must(/CN=Dstack KMS CA/.test(top.subject), top.subject);
	must(!leaf.ca, 'a leaf');
	equal(hex(top.publicKey.export({ type: 'spki', format: 'der' })),
		JSON.parse(info.key_provider_info).id, 'key provider');
	must(leaf.raw.includes(extension(3)), 'app id');
	must(leaf.raw.includes(Buffer.from(info.app_id, 'hex')), 'app id');
	must(leaf.raw.includes(extension(4)), 'usage');
	equal(leaf.raw.includes(extension(8)), want?.usageRaTls === true,
		'attestation');
	equal(leaf.raw.includes(extension(9)), want?.withAppInfo === true,
		'app info');
	return { t, leaf };
};

test('getTlsKey: defaults', async () => {
	const { t, leaf } = await checkTls();
	equal(leaf.keyUsage?.join(), '1.3.6.1.5.5.7.3.1', 'server');
	must(new Date(leaf.validFrom).getTime() < Date.now() - 86400e3,
		'it began long ago');
	must(new Date(leaf.validTo).getTime() > Date.now() + 360 * 86400e3,
		'it holds');
	must(t.asUint8Array(32).length === 32, 'as bytes');
	must(t.asUint8Array().length > 32, 'as all bytes');
	must((await client.getTlsKey()).key !== t.key, 'keys are fresh');
});

test('getTlsKey: subject, names, usages, times, app info', async () => {
	const now = Math.floor(Date.now() / 1000);
	const { leaf } = await checkTls({ subject: 'app.example',
		altNames: ['localhost', '127.0.0.1', '*.app.example', '::1'],
		usageServerAuth: true, usageClientAuth: true,
		notBefore: now - 3600, notAfter: now + 7200,
		withAppInfo: true });
	equal(leaf.subject, 'CN=app.example', 'subject');
	for (const name of ['DNS:localhost', 'IP Address:127.0.0.1',
		'DNS:*.app.example'])
		must(leaf.subjectAltName.includes(name), name);
	equal(leaf.keyUsage.join(), '1.3.6.1.5.5.7.3.1,1.3.6.1.5.5.7.3.2',
		'both');
	equal(Date.parse(leaf.validFrom) / 1000, now - 3600, 'from');
	equal(Date.parse(leaf.validTo) / 1000, now + 7200, 'until');
	const none = await checkTls({ usageServerAuth: false });
	equal(none.leaf.keyUsage, undefined, 'no usage');
});

test('getTlsKey: RA-TLS binds the quote to the key', async () => {
	const { leaf } = await checkTls({ usageRaTls: true });
	const spki = leaf.publicKey.export({ type: 'spki', format: 'der' });
	const rd = sha512(dstack.join(dstack.text('ratls-cert:'), spki));
	must(leaf.raw.includes(Buffer.from(rd)), 'report data');
});

test('getTlsKey: what no certificate can say is refused', async () => {
	// This method of the SDK gives the error's object back.
	for (const [what, want] of [
		['an empty validity', { notBefore: 20, notAfter: 10 }],
		['equal times', { notBefore: 10, notAfter: 10 }],
		['a long subject', { subject: 's'.repeat(5000) }],
		['40 names', { altNames: Array(40).fill('a.example') }],
		['a bad name', { altNames: ['a b'] }]]) {
		const t = await client.getTlsKey(want);
		must(t.key === undefined && typeof t.error === 'string',
			`${what}: ${JSON.stringify(t).slice(0, 200)}`);
	}
});

/* ---- evidence ---- */

const quoted = (q) => q.quote.slice(2 * 568, 2 * 632);
const padded = (b) => hex(Buffer.concat([b, Buffer.alloc(64 - b.length)]));

const checkReplay = (q) => {
	const rtmrs = q.replayRtmrs();
	for (let i = 0; i < 4; i++)
		equal(rtmrs[i], q.quote.slice(2 * (376 + 48 * i),
			2 * (424 + 48 * i)), `RTMR${i}`);
};

test('getQuote: report data, event log, registers', async () => {
	for (const data of ['', 'hello', Buffer.alloc(64, 9),
		new Uint8Array([1, 2, 3]), '0'.repeat(64)]) {
		const q = await client.getQuote(data);
		const want = padded(Buffer.from(data));
		equal(quoted(q), want, 'quoted');
		equal(q.report_data, want, 'echoed');
		checkReplay(q);
		must(typeof q.vm_config === 'string', 'vm_config');
		for (const e of JSON.parse(q.event_log))
			must([0, 1, 2, 3].includes(e.imr) &&
				typeof e.event === 'string' &&
				typeof e.event_payload === 'string' &&
				typeof e.digest === 'string', 'an event');
	}
	await refused('65 bytes', () => client.getQuote(Buffer.alloc(65)));
	const plain = await client.tdxQuote('hello', 'raw');
	equal(quoted(plain), padded(Buffer.from('hello')), 'tdxQuote');
	await refused('a hash', () => client.tdxQuote('x', 'sha256'));
});

test('attest: an attestation of version 0 with this report data', async () => {
	const a = bytes((await client.attest('hello')).attestation);
	equal(a[0], 0, 'version');
	must(Buffer.from(a).includes(Buffer.from(padded(Buffer.from('hello')),
		'hex')), 'report data');
	await refused('65 bytes', () => client.attest(Buffer.alloc(65)));
});

test('emitEvent', async () => {
	const before = (await client.getQuote('')).replayRtmrs()[3];
	if (events === 'refused') {
		// This SDK does not look.
		const r = await raw(o.dstack, 'POST', '/EmitEvent',
			'{"event":"e","payload":"00"}');
		equal(r.status, 400, 'status');
		must(r.json.error.includes('simulator mode'), r.json.error);
	}
	await client.emitEvent('clients-test', 'payload');
	await client.emitEvent('clients-test', Buffer.from([0, 255]));
	await refused('no name', () => client.emitEvent('', 'x'));
	const q = await client.getQuote('');
	checkReplay(q);
	equal(q.replayRtmrs()[3] !== before, events === 'measured', 'moved');
});

/* ---- the rest ---- */

test('info: all members, tcb_info as the quote says', async () => {
	for (const key of ['app_id', 'instance_id', 'app_cert', 'app_name',
		'device_id', 'mr_aggregated', 'os_image_hash',
		'key_provider_info', 'compose_hash', 'vm_config',
		'cloud_vendor', 'cloud_product'])
		must(typeof info[key] === 'string', `info.${key}`);
	const tcb = info.tcb_info;
	for (const key of ['mr_aggregated', 'os_image_hash', 'compose_hash',
		'device_id'])
		equal(tcb[key], info[key], key);
	const now = (await client.info()).tcb_info;
	const q = await client.getQuote('');
	equal(now.mrtd, q.quote.slice(2 * 184, 2 * 232), 'mrtd');
	for (let i = 0; i < 4; i++)
		equal(now[`rtmr${i}`], q.quote.slice(2 * (376 + 48 * i),
			2 * (424 + 48 * i)), `rtmr${i}`);
	equal(JSON.stringify(now.event_log), q.event_log, 'event log');
	must(typeof JSON.parse(tcb.app_compose) === 'object', 'app_compose');
});

test('version, and whether this is only simulated', async () => {
	const v = await client.version();
	must(/^0\.5\.\d+$/.test(v.version), v.version);
	equal(/simulated/.test(v.rev), o.simulated === true, 'rev');
	equal(info.simulated === true, o.simulated === true, 'info');
});

test('isReachable: true here, false where nobody is', async () => {
	must(await client.isReachable(), 'dstack');
	must(!old || await old.isReachable(), 'tappd');
	const dead = `${o.dstack}.dead`;
	const s = net.createServer().listen(dead);
	await new Promise((r) => s.on('listening', r));
	const nobody = new DstackClient(dead);
	s.close();
	must(!await nobody.isReachable(), 'nobody');
	await refused('no file', async () => new DstackClient('/no/such.sock'));
});

test('http:// endpoint: everything, and beyond ASCII, too', async () => {
	// What a container's port forward does; connections are kept alive.
	const s = net.createServer({ allowHalfOpen: true }, (c) => {
		const to = net.connect({ path: o.dstack, allowHalfOpen: true });
		c.on('error', () => to.destroy());
		to.on('error', () => c.destroy());
		c.pipe(to).pipe(c);
	}).listen(0, '127.0.0.1');
	await new Promise((r) => s.on('listening', r));
	const http = new DstackClient(`http://127.0.0.1:${s.address().port}`);
	must(await http.isReachable(), 'reachable');
	for (const path of ['/a', '/cl\u00e9/\u{1f511}', 'p'.repeat(4096)])
		await checkKey(http, path, 'p\u00e4', 'ed25519');
	equal(quoted(await http.getQuote('x')), padded(Buffer.from('x')),
		'quote');
	equal((await http.info()).app_id, info.app_id, 'info');
	s.close();
});

/* ---- tappd ---- */

const testOld = old ? test : (what) => skip(what, 'no such socket here');

testOld('tappd: deriveKey is stable, by path', async () => {
	const [a, b, c] = [await old.deriveKey('/tappd', 'test'),
		await old.deriveKey('/tappd', 'other', ['localhost']),
		await old.deriveKey('/other')];
	equal(a.key, b.key, 'key');
	must(a.key !== c.key, 'paths must separate');
	equal(a.certificate_chain.length, certs, 'certificates');
	const leaf = new crypto.X509Certificate(b.certificate_chain[0]);
	must(leaf.checkPrivateKey(crypto.createPrivateKey(a.key)), 'leaf');
	equal(leaf.subject, 'CN=other', 'subject');
	equal(leaf.subjectAltName, 'DNS:localhost', 'names');
	if (app !== undefined)
		equal(hex(dstack.p256Scalar(a.key)),
			hex(dstack.kdf(app, dstack.text('/tappd'))), 'scalar');
});

testOld('tappd: tdxQuote with every hash', async () => {
	const hashes = { sha256, sha384, sha512, 'sha3-256': sha3.sha3_256,
		'sha3-384': sha3.sha3_384, 'sha3-512': sha3.sha3_512,
		keccak256: sha3.keccak_256, keccak384: sha3.keccak_384,
		keccak512: sha3.keccak_512, undefined: sha512 };
	for (const [name, h] of Object.entries(hashes)) {
		const q = await old.tdxQuote('hello',
			name === 'undefined' ? undefined : name);
		equal(quoted(q), padded(Buffer.from(
			h(dstack.text('app-data:hello')))), name);
		checkReplay(q);
	}
	const q = await old.tdxQuote('hello', 'raw');
	equal(quoted(q), hex(dstack.text('hello')).padStart(128, '0'), 'raw');
	await refused('65 bytes',
		() => old.tdxQuote(Buffer.alloc(65), 'raw'));
	await refused('md5', () => old.tdxQuote('x', 'md5'));
});

testOld('tappd: DeriveK256Key is GetKey, Info is Info, with and without prefix', async () => {
	for (const prefix of ['/prpc/Tappd.', '/prpc/']) {
		const k = await raw(o.tappd, 'POST', `${prefix}DeriveK256Key`,
			'{"path":"/a","purpose":"p"}');
		equal(k.status, 200, 'status');
		equal(k.json.k256_key, hex((await client.getKey('/a', 'p')).key),
			'key');
		equal(k.json.k256_signature_chain.length, 2, 'chain');
		const i = await raw(o.tappd, 'POST', `${prefix}Info`, '{}');
		equal(i.json.app_id, info.app_id, 'app id');
		const q = await raw(o.tappd, 'POST', `${prefix}RawQuote`,
			`{"report_data":"${'ab'.repeat(64)}"}`);
		equal(quoted(q.json), 'ab'.repeat(64), 'raw quote');
	}
});

await run();
