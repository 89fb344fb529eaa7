// liar.mjs UPSTREAM PORT...: JSON-RPC endpoints that pass on what UPSTREAM
// says, until told to lie.  GET /lie/NAME on one's port sets what it does:
//   none          the truth
//   index/N       the anchor's index is N higher than it is
//   generation/N  so is its generation
//   old           the chain ends at the block that is final now
//   past          so it does, but that block looks as if it had just come, and
//                 transactions go nowhere: to who looks here, time stands still
//   proof         the last node of each proof of a slot has another digit
//   code          contracts have a byte more
// Prints "ready" once all listen.
import { createServer } from 'node:http'

const STATE = '0xc19d93fb' // ClusterAnchor.state(), kms/gate/anchorabi.c
const WORD = { generation: 6, index: 7 } // of its answer
const [upstream, ...ports] = process.argv.slice(2)

async function pass(body) {
  const r = await fetch(upstream, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })
  return r.json()
}

const isState = rq => rq.method === 'eth_call' &&
  (rq.params[0].data ?? rq.params[0].input ?? '').startsWith(STATE)

// One word of the answer, N higher.
function raise(hex, word, n) {
  const at = 2 + 64 * word
  const v = BigInt('0x' + hex.slice(at, at + 64)) + BigInt(n)
  return hex.slice(0, at) + v.toString(16).padStart(64, '0') + hex.slice(at + 64)
}

// The block that is final for ever, a second old.
async function frozen(lie, rq) {
  const asked = rq.params[0]
  const early = asked.startsWith('0x') && BigInt(asked) < BigInt(lie.block)
  const a = await pass({ ...rq, params: [early ? asked : lie.block, false] })
  if (!early) a.result.timestamp = '0x' + (Math.floor(Date.now() / 1000) - 1).toString(16)
  return a
}

const flip = hex => hex.slice(0, -1) + (hex.endsWith('1') ? '0' : '1')

async function answer(lie, rq) {
  if (lie.kind === 'past' && rq.method === 'eth_getBlockByNumber') return frozen(lie, rq)
  if (lie.kind === 'past' && rq.method === 'eth_sendRawTransaction') {
    return { jsonrpc: '2.0', id: rq.id, error: { code: -32000, message: 'not now' } }
  }
  if (lie.kind === 'old' && rq.method === 'eth_blockNumber') {
    return { jsonrpc: '2.0', id: rq.id, result: lie.block }
  }
  if (lie.kind === 'old' && rq.method === 'eth_getBlockByNumber' &&
      (!rq.params[0].startsWith('0x') || BigInt(rq.params[0]) > BigInt(lie.block))) {
    return pass({ ...rq, params: [lie.block, ...rq.params.slice(1)] })
  }
  const a = await pass(rq)
  if (lie.kind === 'code' && rq.method === 'eth_getCode') a.result += '00'
  if (lie.kind === 'proof' && rq.method === 'eth_getProof' && a.result) {
    for (const { proof } of a.result.storageProof) {
      if (proof.length > 0) proof.push(flip(proof.pop()))
    }
  }
  if (lie.kind in WORD && isState(rq) && a.result) {
    a.result = raise(a.result, WORD[lie.kind], lie.n)
  }
  return a
}

async function newLie(path) {
  const [kind, n] = path.split('/').slice(2)
  if (kind !== 'old' && kind !== 'past') return { kind, n }
  const a = await pass({ jsonrpc: '2.0', id: 1, method: 'eth_getBlockByNumber', params: ['finalized', false] })
  return { kind, block: a.result.number }
}

let left = ports.length
for (const port of ports) {
  let lie = { kind: 'none' }
  createServer(async (rq, rp) => {
    try {
      if (rq.method === 'GET') {
        lie = await newLie(rq.url)
        rp.end(JSON.stringify(lie) + '\n')
        return
      }
      const parts = []
      for await (const p of rq) parts.push(p)
      const body = JSON.parse(Buffer.concat(parts))
      const said = Array.isArray(body)
        ? await Promise.all(body.map(b => answer(lie, b)))
        : await answer(lie, body)
      rp.setHeader('content-type', 'application/json')
      rp.end(JSON.stringify(said))
    } catch {
      rp.statusCode = 502
      rp.end()
    }
  }).listen(Number(port), '127.0.0.1', () => {
    if (--left === 0) console.log('ready')
  })
}
