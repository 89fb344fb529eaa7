// qvl_bench.mjs QUOTE COLLATERAL ROOT NOW: how long does another verifier
// (@phala/dcap-qvl, pure JS) take for the quote that our bench verifies?
// ROOT is a DER file or "intel", NOW unix seconds: tests/bench/quote.sh.
// One JSON line; the floor is ten P-256 verifications by node's OpenSSL.
import { readFileSync } from 'node:fs'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import qvl from '@phala/dcap-qvl'

const [quoteFile, collateralFile, root, nowText] = process.argv.slice(2)
const now = Number(nowText)
if (!Number.isInteger(now)) {
  console.error('usage: qvl_bench.mjs QUOTE COLLATERAL ROOT NOW')
  process.exit(2)
}
const quote = readFileSync(quoteFile)
const collateral = JSON.parse(readFileSync(collateralFile, 'utf8'))
const verifier = root === 'intel'
  ? qvl.QuoteVerifier.newProd()
  : qvl.QuoteVerifier.newWithRootCa(readFileSync(root))

const once = async () => {
  const start = process.hrtime.bigint()
  await verifier.verify(quote, collateral, now) // throws on a refusal
  return Number(process.hrtime.bigint() - start) / 1000
}
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const text = Buffer.alloc(632, 7)
const signature = sign('sha256', text, key.privateKey)
const ten = () => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < 10; i++) verify('sha256', text, key.publicKey, signature)
  return Number(process.hrtime.bigint() - start) / 1000
}
for (let i = 0; i < 20; i++) await once(), ten()
let best = Infinity
let floor = Infinity
for (let i = 0; i < 100; i++) {
  best = Math.min(best, await once())
  floor = Math.min(floor, ten())
}
console.log(JSON.stringify({
  name: 'quote_verify_same_quote_npm_dcap_qvl',
  value: +best.toFixed(1),
  unit: 'us',
  floor: +floor.toFixed(1),
  ratio: +(floor / best).toFixed(3)
}))
