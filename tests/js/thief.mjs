// thief.mjs RPC_URL REGISTRY DISCLOSED: whoever stole the root of the active
// epoch tries to bring in a successor of his own, with all that he has.
//
// DISCLOSED is what a kmsd of the tests told (tests/disclose).  Prints why each
// attempt was refused; exit 0 only if all were, 1 if one would have worked.
import { readFileSync } from 'node:fs'
import { secp256k1 } from '@noble/curves/secp256k1'
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils'
import { keccak_256 } from '@noble/hashes/sha3'
import { createPublicClient, encodeAbiParameters, getAddress, http, parseAbi } from 'viem'
import { publicKeyToAddress } from 'viem/accounts'

const [rpc, registry, disclosed] = process.argv.slice(2)
if (!disclosed) {
  console.error('usage: thief.mjs RPC_URL REGISTRY DISCLOSED')
  process.exit(2)
}
const abi = parseAbi([
  'struct Order { uint64 number; uint64 epoch; uint8 mode; uint64 orderedAt; uint64 notBefore; uint64 retireAfter; bytes32 confirmed; }',
  'struct Epoch { uint64 number; uint8 status; uint8 mode; uint8 keyPrefix; bytes32 keyX; address signer; bytes32 caSpkiHash; uint64 order; uint64 publishedAt; uint64 activatedAt; uint64 taintedAt; uint64 retireAt; uint64 destroyedAt; uint64 heldAsOf; uint256 holders; bytes32 heldSeats; }',
  'struct State { address kms; address anchor; address authority; address pendingAuthority; address guardian; uint64 vetoWindow; uint64 notice; uint64 holdersAge; bytes32 seatsHash; uint64 active; uint64 vetoes; uint64 handovers; bytes32 handoverHead; Order order; Epoch[] epochs; }',
  'struct Holders { uint256 seats; uint64 asOf; bytes byRoot; bytes byCluster; }',
  'function state() view returns (State)',
  'function publishRoot(uint64 epoch, bytes k256, bytes32 caSpkiHash, bytes sig, Holders holders)'
])
const address = getAddress(registry)
const client = createPublicClient({ transport: http(rpc) })
const state = await client.readContract({ address, abi, functionName: 'state' })
const chainId = await client.getChainId()
const now = (await client.getBlock()).timestamp

const addressOf = secret => publicKeyToAddress(
  '0x' + bytesToHex(secp256k1.getPublicKey(secret, false)))
const active = state.epochs.find(e => e.number === state.active)
const stolen = readFileSync(disclosed, 'utf8').split('\n')
  .filter(l => l.startsWith('root_k256 ')).map(l => hexToBytes(l.slice(10)))
  .find(s => addressOf(s) === active.signer)
if (!stolen) {
  console.error('thief.mjs: the root of the active epoch was not disclosed')
  process.exit(2)
}

const own = secp256k1.utils.randomPrivateKey()
const k256 = secp256k1.getPublicKey(own, true)
const ca = keccak_256(utf8ToBytes('his own CA'))
const u64 = n => hexToBytes(BigInt(n).toString(16).padStart(16, '0'))
const sign = (secret, digest) => {
  const s = secp256k1.sign(digest, secret)
  return '0x' + s.toCompactHex() + '0' + s.recovery
}
const word = text => '0x' + bytesToHex(keccak_256(utf8ToBytes(text)))
const epoch = state.active + 1n

let worked = false
// Every mode that he may claim, with every key that he has in every place.
for (const mode of [0, 1]) {
  const text = concatBytes(utf8ToBytes('devproof-kms-epoch:'), u64(chainId),
    hexToBytes(registry.slice(2)), u64(epoch), k256, ca, new Uint8Array([mode]))
  const rootHash = '0x' + bytesToHex(keccak_256(concatBytes(k256, ca)))
  const digest = keccak_256(hexToBytes(encodeAbiParameters(
    ['bytes32', 'uint256', 'address', 'bytes32', 'uint64', 'uint64', 'bytes32', 'bytes32', 'uint256', 'uint64']
      .map(type => ({ type })),
    [word('devproof-kms/registry/v1'), BigInt(chainId), address, word('holders'),
      state.order.number, epoch, rootHash, state.seatsHash, 7n, now]).slice(2)))
  for (const cluster of [stolen, own]) {
    for (const signer of [stolen, own]) {
      try {
        await client.simulateContract({
          address, abi, functionName: 'publishRoot',
          args: [epoch, '0x' + bytesToHex(k256), '0x' + bytesToHex(ca),
            sign(signer, keccak_256(text)),
            { seats: 7n, asOf: now, byRoot: sign(own, digest), byCluster: sign(cluster, digest) }]
        })
        worked = true
        console.log('accepted')
      } catch (e) {
        console.log(e.cause?.reason ?? e.shortMessage)
      }
    }
  }
}
process.exit(worked ? 1 : 0)
