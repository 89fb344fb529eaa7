// verify.mjs FILE RPC_URL KMS_ADDRESS APP_ID [REGISTRY]: does the key of
// ask.mjs come from the root that the KMS contract names?  With a registry of
// roots: from the root of an epoch that was ever in use, which is told; and do
// the certificates in FILE ("epochs", if there are any) lead there?
//
// Independent of the C code: noble's curves, viem's chain client, and the
// formulas of the dstack documents.  Exit 0 only if the chain holds.
import { readFileSync } from 'node:fs'
import { secp256k1 } from '@noble/curves/secp256k1'
import { ed25519 } from '@noble/curves/ed25519'
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils'
import { keccak_256 } from '@noble/hashes/sha3'
import { createPublicClient, getAddress, http, parseAbi } from 'viem'
import { publicKeyToAddress } from 'viem/accounts'

const [file, rpc, kms, appId, registry] = process.argv.slice(2)
if (!appId) {
  console.error('usage: verify.mjs FILE RPC_URL KMS_ADDRESS APP_ID [REGISTRY]')
  process.exit(2)
}
const claim = JSON.parse(readFileSync(file, 'utf8'))
const fail = why => {
  console.error(`verify.mjs: ${why}`)
  process.exit(1)
}

// Who signed keccak256(message)?  High S is refused: one signature, one form.
const signer = (hex, message) => {
  const bytes = hexToBytes(hex)
  if (bytes.length !== 65 || bytes[64] > 1) fail('not a signature')
  const sig = secp256k1.Signature.fromCompact(bytes.slice(0, 64)).addRecoveryBit(bytes[64])
  if (sig.hasHighS()) fail('high S')
  return sig.recoverPublicKey(keccak_256(message)).toRawBytes(true)
}

const secret = hexToBytes(claim.key)
const pub = claim.algorithm === 'ed25519'
  ? ed25519.getPublicKey(secret)
  : secp256k1.getPublicKey(secret, true)
const app = signer(claim.signature_chain[0],
  utf8ToBytes(`${claim.purpose}:${bytesToHex(pub)}`))
const root = signer(claim.signature_chain[1],
  concatBytes(utf8ToBytes('dstack-kms-issued:'), hexToBytes(appId.replace(/^0x/, '')), app))

const client = createPublicClient({ transport: http(rpc) })
const addressOf = key => publicKeyToAddress('0x' +
  bytesToHex(secp256k1.ProjectivePoint.fromHex(key).toRawBytes(false)))
const ask = (address, abi, functionName) =>
  client.readContract({ address: getAddress(address), abi: parseAbi(abi), functionName })

const [onChain] = await ask(kms,
  ['function kmsInfo() view returns (bytes, bytes, bytes, bytes)'], 'kmsInfo')
const STATUS = ['none', 'ordered', 'published', 'active', 'tainted', 'destroyed']
const told = {}
if (!registry) {
  if (onChain !== '0x' + bytesToHex(root)) {
    fail(`the chain of signatures ends at ${bytesToHex(root)}, not at ${onChain}`)
  }
} else {
  const state = await ask(registry, [
    'struct Order { uint64 number; uint64 epoch; uint8 mode; uint64 orderedAt; uint64 notBefore; uint64 retireAfter; bytes32 confirmed; }',
    'struct Epoch { uint64 number; uint8 status; uint8 mode; uint8 keyPrefix; bytes32 keyX; address signer; bytes32 caSpkiHash; uint64 order; uint64 publishedAt; uint64 activatedAt; uint64 taintedAt; uint64 retireAt; uint64 destroyedAt; uint64 heldAsOf; uint256 holders; bytes32 heldSeats; }',
    'struct State { address kms; address anchor; address authority; address pendingAuthority; address guardian; uint64 vetoWindow; uint64 notice; uint64 holdersAge; bytes32 seatsHash; uint64 active; uint64 vetoes; uint64 handovers; bytes32 handoverHead; Order order; Epoch[] epochs; }',
    'function state() view returns (State)'
  ], 'state')
  if (getAddress(state.kms) !== getAddress(kms)) fail('the registry is of another KMS')
  const keyOf = e => '0' + e.keyPrefix + e.keyX.slice(2)
  const at = state.epochs.find(e => e.status >= 3 && keyOf(e) === bytesToHex(root))
  if (!at) fail(`the chain of signatures ends at ${bytesToHex(root)}, which the registry never had in use`)
  told.epoch = Number(at.number)
  told.epoch_state = STATUS[at.status]

  // The certificates of the release, each against the root before it; that of an
  // emergency is signed by the anchor's signer of that day, and the registry's
  // word is what counts.
  const chainId = await client.getChainId()
  const u64 = n => hexToBytes(BigInt(n).toString(16).padStart(16, '0'))
  const bare = h => hexToBytes(h.replace(/^0x/, ''))
  let before = bare(onChain)
  for (const e of (claim.epochs ?? []).filter(e => e.number > 0)) {
    const text = concatBytes(utf8ToBytes('devproof-kms-epoch:'), u64(chainId), bare(registry),
      u64(e.number), bare(e.k256_pub), bare(e.ca_spki_sha256), new Uint8Array([e.mode === 'emergency' ? 1 : 0]))
    const by = signer(e.certificate.replace(/^0x/, ''), text)
    const want = state.epochs.find(x => Number(x.number) === e.number)
    if (!want || keyOf(want) !== e.k256_pub.replace(/^0x/, '')) fail(`epoch ${e.number}: not the registry's root`)
    if (e.mode !== 'emergency' && bytesToHex(by) !== bytesToHex(before)) {
      fail(`epoch ${e.number}: not signed by the root before it`)
    }
    before = bare(e.k256_pub)
    told.certificates = (told.certificates ?? 0) + 1
  }
}
console.log(JSON.stringify({
  public_key: bytesToHex(pub),
  app_key: bytesToHex(app),
  root: bytesToHex(root),
  root_address: addressOf(root),
  ...told
}, null, 2))
