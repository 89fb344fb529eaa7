// qvl_bench.mjs QUOTE COLLATERAL ROOT_DER: how long does another verifier
// (@phala/dcap-qvl, pure JS) take for the quote that our bench verifies?
// One JSON line; the floor is ten P-256 verifications by node's OpenSSL.
import { readFileSync } from 'node:fs'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import qvl from '@phala/dcap-qvl'

const [quoteFile, collateralFile, rootFile] = process.argv.slice(2)
if (!rootFile) {
  console.error('usage: qvl_bench.mjs QUOTE COLLATERAL ROOT_DER')
  process.exit(2)
}
const quote = readFileSync(quoteFile)
const collateral = JSON.parse(readFileSync(collateralFile, 'utf8'))
const verifier = qvl.QuoteVerifier.newWithRootCa(readFileSync(rootFile))
const now = Math.floor(Date.now() / 1000)

const once = async () => {
  const start = process.hrtime.bigint()
  const { status } = await verifier.verify(quote, collateral, now)
  if (status !== 'UpToDate') throw new Error(`status ${status}`)
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
  name: 'quote_verify_cold_npm_dcap_qvl',
  value: +best.toFixed(1),
  unit: 'us',
  floor: +floor.toFixed(1),
  ratio: +(floor / best).toFixed(3)
}))
