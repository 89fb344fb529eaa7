// verify.mjs FILE RPC_URL KMS_ADDRESS APP_ID: does the key of ask.mjs come
// from the root that the KMS contract names?
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

const [file, rpc, kms, appId] = process.argv.slice(2)
if (!appId) {
  console.error('usage: verify.mjs FILE RPC_URL KMS_ADDRESS APP_ID')
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
const [onChain] = await client.readContract({
  address: getAddress(kms),
  abi: parseAbi(['function kmsInfo() view returns (bytes, bytes, bytes, bytes)']),
  functionName: 'kmsInfo'
})
if (onChain !== '0x' + bytesToHex(root)) {
  fail(`the chain of signatures ends at ${bytesToHex(root)}, not at ${onChain}`)
}
const address = publicKeyToAddress('0x' + bytesToHex(secp256k1.ProjectivePoint.fromHex(root).toRawBytes(false)))
console.log(JSON.stringify({
  public_key: bytesToHex(pub),
  app_key: bytesToHex(app),
  root: bytesToHex(root),
  root_address: address
}, null, 2))
