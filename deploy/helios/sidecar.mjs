// sidecar.mjs: the Helios light client as a JSON-RPC endpoint on loopback.
//
// kmsd takes it for one more endpoint.  It answers at final blocks alone, and
// only while the newest of them is young; what Helios serves has been verified
// against the sync committee's signature.  Settings are environment variables:
//   NETWORK            mainnet, sepolia, holesky
//   CHECKPOINT         0x.., the root of a final beacon block; measured, as all
//                      trust starts there
//   CONSENSUS_RPC      a beacon node's light client API
//   EXECUTION_RPC      an execution node with eth_getProof
//   PORT               on 127.0.0.1; 0 takes a free one, which is printed
//   MAX_FINALIZED_AGE  seconds, 1800; finality is 13 to 19 minutes behind
import { createServer } from 'node:http'
import { createHeliosProvider } from '@a16z/helios'

const BODY_MAX = 64 * 1024
const BLOCK_MAX = 1024 * 1024
const BUSY_MAX = 64
const TIMEOUT_MS = 20_000
const FINAL_KEPT_MS = 1000

const setting = (name, otherwise) => {
  const v = process.env[name] ?? otherwise
  if (v === undefined || v === '') {
    console.error(`sidecar: ${name} is not set`)
    process.exit(2)
  }
  return v
}
const maxAge = Number(setting('MAX_FINALIZED_AGE', '1800'))
if (!(maxAge > 0)) {
  console.error('sidecar: MAX_FINALIZED_AGE must be a number of seconds')
  process.exit(2)
}

// What may be asked, and which parameter names the block; -1: none that
// matters.  Nonces and balances are asked to write, and decide nothing.
const METHODS = {
  eth_chainId: -1,
  eth_blockNumber: -1,
  eth_getBlockByNumber: 0,
  eth_getBlockByHash: 0,
  eth_call: 1,
  eth_createAccessList: 1,
  eth_getCode: 1,
  eth_getStorageAt: 2,
  eth_getProof: 2,
  eth_estimateGas: -1,
  eth_getBalance: -1,
  eth_getTransactionCount: -1,
  eth_getTransactionReceipt: -1,
  eth_maxPriorityFeePerGas: -1,
  eth_sendRawTransaction: -1
}

// An error of a light client can carry the whole wasm module as a data: URL.
const short = e => String(e?.message ?? e).replace(/data:\S*/g, 'data:..')
  .replace(/[^\x20-\x7e]+/g, ' ').slice(0, 300)
const say = text => console.log(`sidecar: ${text}`)
class Refusal extends Error {
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

const within = (ms, promise) => {
  let timer
  return Promise.race([promise, new Promise((_, no) => {
    timer = setTimeout(() => no(new Refusal(-32000, 'timed out')), ms)
  })]).finally(() => clearTimeout(timer))
}

// Helios says "evm error" of a proof that does not hold as well; kmsd would take
// that for the contract's failure.  Only a revert is the contract's.
const REVERTED = /^(Error: )*(execution reverted|revert: )/
const explain = e => {
  const text = short(e)
  if (e instanceof Refusal) return { code: e.code, message: text }
  if (REVERTED.test(text)) return { code: 3, message: text }
  return { code: -32000, message: `no verified answer: ${text.replace(/evm error/gi, 'failed')}` }
}

let helios
let synced = false
const ask = (method, params) => within(TIMEOUT_MS, helios.request({ method, params }))

// The newest final block, not older than it may be.
let final = { at: 0 }
async function finalBlock() {
  if (!synced) throw new Refusal(-32000, 'not in sync yet')
  if (Date.now() - final.at > FINAL_KEPT_MS) {
    const b = await ask('eth_getBlockByNumber', ['finalized', false])
    if (!b) throw new Refusal(-32000, 'no final block')
    final = { at: Date.now(), number: BigInt(b.number), timestamp: Number(BigInt(b.timestamp)) }
  }
  const age = Math.floor(Date.now() / 1000) - final.timestamp
  if (age > maxAge) throw new Refusal(-32000, `the final block is ${age} s old`)
  return final
}

const isHash = v => typeof v === 'string' && /^0x[0-9a-f]{64}$/i.test(v)
const isNumber = v => typeof v === 'string' && /^0x(0|[1-9a-f][0-9a-f]{0,15})$/i.test(v)

// A block that is asked for by its hash must be a final one.
async function finalHash(hash, last) {
  const b = await ask('eth_getBlockByHash', [hash, false])
  if (!b || BigInt(b.number) > last) throw new Refusal(-32001, 'not a final block')
  const same = await ask('eth_getBlockByNumber', [b.number, false])
  if (same?.hash !== b.hash) throw new Refusal(-32001, 'not a final block')
  return b.number
}

// The parameter that names a block, as something final.
async function finalParam(v, last) {
  if (v === undefined || v === null) return 'finalized'
  if (['finalized', 'latest', 'safe', 'pending'].includes(v)) return 'finalized'
  if (isHash(v)) return finalHash(v, last)
  if (typeof v === 'object' && isHash(v.blockHash)) return finalHash(v.blockHash, last)
  const number = typeof v === 'object' ? v.blockNumber : v
  if (!isNumber(number)) throw new Refusal(-32602, 'no such block parameter')
  if (BigInt(number) > last) throw new Refusal(-32001, 'not final yet')
  return number
}

async function answer(rq) {
  const at = Object.hasOwn(METHODS, rq.method) ? METHODS[rq.method] : undefined
  if (at === undefined) throw new Refusal(-32601, 'method is not served here')
  const params = rq.params ?? []
  if (!Array.isArray(params) || params.length > 3) throw new Refusal(-32602, 'bad parameters')
  const { number } = await finalBlock()
  if (rq.method === 'eth_blockNumber') return `0x${number.toString(16)}`
  if (rq.method === 'eth_getBlockByHash') {
    if (!isHash(params[0])) throw new Refusal(-32602, 'bad parameters')
    await finalHash(params[0], number)
  } else if (at >= 0) {
    while (params.length < at) params.push(null)
    params[at] = await finalParam(params[at], number)
  }
  if (rq.method.startsWith('eth_getBlockBy')) return whole(await ask(rq.method, params))
  const v = await ask(rq.method, params.map(p => p === 'pending' ? 'latest' : p))
  return typeof v === 'number' ? `0x${v.toString(16)}` : v ?? null
}

// Helios leaves out two fields of a header, and fills in a bloom that is not the
// block's.  These three are the execution node's word: whoever needs them makes
// the block's hash of all fields, and sees.
async function whole(b) {
  if (!b) return null
  const r = await within(TIMEOUT_MS, fetch(setting('EXECUTION_RPC'), {
    method: 'POST',
    redirect: 'error',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_getBlockByHash', params: [b.hash, false] })
  }))
  const parts = []
  let n = 0
  for await (const part of r.body) {
    n += part.length
    if (n > BLOCK_MAX) throw new Refusal(-32000, 'a block that is too long')
    parts.push(part)
  }
  const { result } = JSON.parse(Buffer.concat(parts).toString('utf8'))
  for (const field of ['parentBeaconBlockRoot', 'requestsHash']) {
    if (isHash(result?.[field])) b[field] ??= result[field]
  }
  if (/^0x[0-9a-f]{512}$/i.test(result?.logsBloom)) b.logsBloom = result.logsBloom
  return b
}

async function bodyOf(rq) {
  const parts = []
  let n = 0
  for await (const part of rq) {
    n += part.length
    if (n > BODY_MAX) throw new Refusal(-32600, 'too long')
    parts.push(part)
  }
  let v
  try {
    v = JSON.parse(Buffer.concat(parts).toString('utf8'))
  } catch {
    throw new Refusal(-32700, 'not JSON')
  }
  if (v === null || typeof v !== 'object' || typeof v.method !== 'string' ||
      !['number', 'string'].includes(typeof v.id)) throw new Refusal(-32600, 'not one request')
  return v
}

const big = (_, v) => typeof v === 'bigint' ? `0x${v.toString(16)}`
  : v instanceof Map ? Object.fromEntries(v) : v
let busy = 0

async function serve(rq, rp) {
  const reply = (status, v) => {
    rp.writeHead(status, { 'content-type': 'application/json' })
    rp.end(JSON.stringify(v, big))
  }
  if (rq.method !== 'POST') return reply(405, {})
  if (busy >= BUSY_MAX) return reply(503, {})
  busy++
  let id = null
  try {
    const one = await bodyOf(rq)
    id = one.id
    reply(200, { jsonrpc: '2.0', id, result: await answer(one) })
  } catch (e) {
    const error = explain(e)
    reply(200, { jsonrpc: '2.0', id, error })
    if (error.code === -32600) rq.destroy()
  } finally {
    busy--
  }
}

const die = e => {
  say(short(e))
  process.exit(1)
}
process.on('unhandledRejection', die)
process.on('uncaughtException', die)
for (const name of ['log', 'warn', 'error', 'info', 'debug']) {
  const was = console[name]
  console[name] = (...a) => was(a.map(short).join(' '))
}

helios = await createHeliosProvider({
  network: setting('NETWORK'),
  checkpoint: setting('CHECKPOINT'),
  consensusRpc: setting('CONSENSUS_RPC'),
  executionRpc: setting('EXECUTION_RPC'),
  dbType: 'config'
}, 'ethereum')
const server = createServer(serve)
server.requestTimeout = TIMEOUT_MS
server.headersTimeout = 5000
server.maxConnections = 2 * BUSY_MAX
server.listen(Number(setting('PORT')), '127.0.0.1', () =>
  say(`listens on 127.0.0.1:${server.address().port}`))
await helios.waitSynced()
synced = true
say('in sync')
