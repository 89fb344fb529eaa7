// What a contract needs besides a signature: both links from a key that GetKey
// gave, to the root.  The app's key is in none of the agent's answers: it is
// whoever signed the derived key.
import { bytesToHex, keccak256, recoverPublicKey, toBytes } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'

// "0x04 x y" to "0x02 x" or "0x03 x"
const compressed = key =>
  (BigInt('0x' + key.slice(-64)) % 2n === 0n ? '0x02' : '0x03') + key.slice(4, 68)

export const chainOf = async (issued, purpose) => {
  const key = compressed(privateKeyToAccount(bytesToHex(issued.key)).publicKey)
  const [keySignature, rootSignature] = issued.signature_chain.map(s => bytesToHex(s))
  const v = Number('0x' + keySignature.slice(130))
  const appKey = compressed(await recoverPublicKey({
    hash: keccak256(toBytes(`${purpose}:${key.slice(2)}`)),
    signature: keySignature.slice(0, 130) + (v < 27 ? v + 27 : v).toString(16)
  }))
  return { appKey, rootSignature, key, keySignature }
}
