// reroot.mjs FOLDER ROOT_HEX: gives a simulator's folder of our own an app key
// and a signature from a root that the caller knows (dstack-compat.md 2.2), so
// that others who know it can be asked the same.  Prints the app id and the
// root's address.
import fs from 'node:fs';

import { secp256k1 } from '@noble/curves/secp256k1';

import * as dstack from './dstack.mjs';

const [folder, rootHex] = process.argv.slice(2);
const root = dstack.bytes(rootHex);
const log = JSON.parse(fs.readFileSync(`${folder}/eventlog.json`));
const appId = log.find((e) => e.event === 'app-id').event_payload;
const file = `${folder}/appkeys.json`;
const keys = JSON.parse(fs.readFileSync(file));
const app = dstack.kdf(root, dstack.bytes(appId), dstack.text('app-key'));
const pub = secp256k1.getPublicKey(app, true);
keys.k256_key = dstack.hex(app);
keys.k256_signature = dstack.hex(dstack.sign65(root,
	dstack.text('dstack-kms-issued:'), dstack.bytes(appId), pub));
fs.writeFileSync(file, JSON.stringify(keys));
console.log(appId, dstack.address(secp256k1.getPublicKey(root, true)));
