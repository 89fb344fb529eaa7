// forge.mjs FILE APP_ID ORACLE CHAIN_ID: the answer in FILE with whatever price
// one likes, signed by a key with a chain to a root that one has made oneself:
// all that who runs a KMS of his own can do.
import { readFileSync } from 'node:fs'
import { bytesToHex, concat, keccak256, toBytes } from 'viem'
import { generatePrivateKey, privateKeyToAccount, sign } from 'viem/accounts'
import { chainOf } from './chain.mjs'

const [file, appId, contract, chainId] = process.argv.slice(2)
const { answer } = JSON.parse(readFileSync(file, 'utf8'))
const [root, app, key] = [1, 2, 3].map(() => generatePrivateKey())
const point = k => {
  const { publicKey: p } = privateKeyToAccount(k)
  return (BigInt('0x' + p.slice(-64)) % 2n === 0n ? '0x02' : '0x03') + p.slice(4, 68)
}
const by = async (k, hash) => toBytes(await sign({ hash, privateKey: k, to: 'hex' }))
const issued = {
  key: toBytes(key),
  signature_chain: [
    await by(app, keccak256(toBytes(`price-oracle:${point(key).slice(2)}`))),
    await by(root, keccak256(concat([bytesToHex(toBytes('dstack-kms-issued:')), appId, point(app)])))
  ]
}
answer.price = '1'
const signature = await privateKeyToAccount(key).signTypedData({
  domain: { name: 'PriceOracle', version: '1', chainId: Number(chainId), verifyingContract: contract },
  types: {
    Answer: [
      { name: 'request', type: 'uint256' },
      { name: 'symbol', type: 'string' },
      { name: 'price', type: 'uint256' },
      { name: 'observedAt', type: 'uint64' }
    ]
  },
  primaryType: 'Answer',
  message: { ...answer, request: BigInt(answer.request), price: 1n, observedAt: BigInt(answer.observedAt) }
})
console.log(JSON.stringify({ answer, chain: await chainOf(issued, 'price-oracle'), signature }))
