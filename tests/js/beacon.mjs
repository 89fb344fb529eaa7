// beacon.mjs EXECUTION: a synthetic beacon chain over an anvil of chain id 1, for
// a light client that knows mainnet's rules and our checkpoint; and an
// execution endpoint for it, which is that anvil until it is told to lie.
//
// A sync committee of 512 keys of our own signs all (fork Fulu, containers of
// Electra).  The same committee is the next one, so that a run may cross the
// border of a period.  A look at the finality in a new slot makes one more
// block, which calls the head before it final.  GET on the first port:
//   /lie/NAME     signature: not the committee's; state: another state root
//                 than the one that is signed; few: a third of the committee
//                 signs; frozen: the final block stays; none
// and on the second:
//   /rpclie/NAME  value: storage is 1 where it is 0, and 0 elsewhere; code: it
//                 allows all; old: the state of block 1; drop: proofs without
//                 their ends; account: another balance; none
// Prints both ports, then the checkpoint's root.
import { createServer } from 'node:http'
import { createHash } from 'node:crypto'
import { ssz } from '@lodestar/types'
import { bls12_381 as bls } from '@noble/curves/bls12-381'

const [execution] = process.argv.slice(2)

// Mainnet, as a light client has it built in.
const GENESIS_TIME = 1606824023
const GENESIS_ROOT = bytes('4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95')
const FULU = bytes('06000000')
const SYNC_COMMITTEE = bytes('07000000')
const DST = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_'
// Generalised indices of Electra's state.
const FINALIZED_ROOT = 169
const CURRENT_COMMITTEE = 86
const NEXT_COMMITTEE = 87

function bytes(hex) { return Uint8Array.from(Buffer.from(hex.replace(/^0x/, ''), 'hex')) }
const hex = b => '0x' + Buffer.from(b).toString('hex')
const sha = (...parts) => {
  const h = createHash('sha256')
  for (const p of parts) h.update(p)
  return Uint8Array.from(h.digest())
}

async function rpc(method, params) {
  const r = await fetch(execution, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  })
  const a = await r.json()
  if (a.error) throw new Error(`${method}: ${a.error.message}`)
  return a.result
}

// A tree of which only these leaves {index: value} matter; the rest is zero.
class Tree {
  constructor(leaves) {
    this.nodes = new Map(Object.entries(leaves).map(([i, v]) => [Number(i), v]))
    for (let depth = 7; depth > 0; depth--) {
      const level = [...this.nodes.keys()].filter(i => i >> depth === 1)
      for (const i of level) {
        const up = i >> 1
        this.nodes.set(up, sha(this.at(2 * up), this.at(2 * up + 1)))
      }
    }
  }

  at(i) { return this.nodes.get(i) ?? new Uint8Array(32) }
  get root() { return this.at(1) }
  branch(i) {
    const out = []
    for (; i > 1; i >>= 1) out.push(this.at(i ^ 1))
    return out
  }
}

// Secrets 1000, 1001, ...: each public key is the one before it plus one.
const G1 = bls.G1.ProjectivePoint
const G2 = bls.G2.ProjectivePoint
const FIRST = 1000n
const points = [G1.BASE.multiply(FIRST)]
while (points.length < 512) points.push(points.at(-1).add(G1.BASE))
const committee = {
  pubkeys: points.map(p => p.toRawBytes(true)),
  aggregatePubkey: points.reduce((a, b) => a.add(b)).toRawBytes(true)
}
const committeeRoot = ssz.electra.SyncCommittee.hashTreeRoot(committee)

// All sign the same, so that the sum of signatures is one by the sum of keys.
function sign(root, who) {
  const domain = new Uint8Array(32)
  domain.set(SYNC_COMMITTEE)
  const fork = ssz.phase0.ForkData.hashTreeRoot(
    { currentVersion: FULU, genesisValidatorsRoot: GENESIS_ROOT })
  domain.set(fork.slice(0, 28), 4)
  const message = ssz.phase0.SigningData.hashTreeRoot({ objectRoot: root, domain })
  let key = 0n
  for (let i = 0; i < who; i++) key += FIRST + BigInt(i)
  const point = G2.fromAffine(bls.G2.hashToCurve(message, { DST }).toAffine()).multiply(key)
  const bits = ssz.electra.SyncAggregate.fields.syncCommitteeBits.defaultValue()
  for (let i = 0; i < who; i++) bits.set(i, true)
  return { syncCommitteeBits: bits, syncCommitteeSignature: point.toRawBytes(true) }
}

async function payload(tag) {
  const b = await rpc('eth_getBlockByNumber', [tag, false])
  if (b.transactions.length > 0) throw new Error('only empty blocks are served')
  return {
    parentHash: bytes(b.parentHash),
    feeRecipient: bytes(b.miner),
    stateRoot: bytes(b.stateRoot),
    receiptsRoot: bytes(b.receiptsRoot),
    logsBloom: bytes(b.logsBloom),
    prevRandao: bytes(b.mixHash),
    blockNumber: Number(b.number),
    gasLimit: Number(b.gasLimit),
    gasUsed: Number(b.gasUsed),
    timestamp: Number(b.timestamp),
    extraData: bytes(b.extraData),
    baseFeePerGas: BigInt(b.baseFeePerGas),
    blockHash: bytes(b.hash),
    transactions: [],
    withdrawals: [],
    blobGasUsed: BigInt(b.blobGasUsed),
    excessBlobGas: BigInt(b.excessBlobGas)
  }
}

const now = () => Math.floor((Date.now() / 1000 - GENESIS_TIME) / 12)
const chain = [] // blocks, the checkpoint's first

// One more beacon block, which says that `final` is final.
async function grow(slot, final) {
  await rpc('evm_mine', [])
  const executionPayload = await payload('latest')
  const Body = ssz.electra.BeaconBlockBody
  const body = Body.defaultValue()
  body.executionPayload = executionPayload
  const state = new Tree({
    [FINALIZED_ROOT]: final?.root ?? new Uint8Array(32),
    [CURRENT_COMMITTEE]: committeeRoot,
    [NEXT_COMMITTEE]: committeeRoot
  })
  const block = {
    slot,
    proposerIndex: 0,
    parentRoot: chain.at(-1)?.root ?? new Uint8Array(32),
    stateRoot: state.root,
    body
  }
  const { transactions, withdrawals, ...common } = executionPayload
  const P = ssz.electra.ExecutionPayload.fields
  // The branch of the payload among the 13 fields of the body.
  const leaves = Object.entries(Body.fields).map(([k, t]) => t.hashTreeRoot(body[k]))
  while (leaves.length < 16) leaves.push(new Uint8Array(32))
  const bodyTree = new Tree(Object.fromEntries(leaves.map((v, i) => [16 + i, v])))
  const header = {
    beacon: { ...block, bodyRoot: bodyTree.root },
    execution: {
      ...common,
      transactionsRoot: P.transactions.hashTreeRoot(transactions),
      withdrawalsRoot: P.withdrawals.hashTreeRoot(withdrawals)
    },
    executionBranch: bodyTree.branch(25)
  }
  delete header.beacon.body
  const root = ssz.phase0.BeaconBlockHeader.hashTreeRoot(header.beacon)
  const made = { slot, block, header, root, state, final }
  chain.push(made)
  return made
}

// What a committee says of `attested`, whose final block is another.
let lie = 'none'
function update(attested, signatureSlot) {
  const who = lie === 'few' ? 170 : 512
  const header = structuredClone(attested.header)
  let root = attested.root
  if (lie === 'signature') root = sha(root)
  if (lie === 'state') header.beacon.stateRoot = sha(root)
  return {
    attestedHeader: header,
    finalizedHeader: attested.final.header,
    finalityBranch: attested.state.branch(FINALIZED_ROOT),
    syncAggregate: sign(root, who),
    signatureSlot
  }
}

// The checkpoint, and a block behind it which calls it final: the update of
// the period that a client begins with.
const start = now() - 40
const checkpoint = await grow(start, null)
let head = await grow(start + 1, checkpoint)
const first = {
  ...update(head, start + 2),
  nextSyncCommittee: committee,
  nextSyncCommitteeBranch: head.state.branch(NEXT_COMMITTEE)
}

let growing = Promise.resolve()
function finality() {
  growing = growing.then(async () => {
    const slot = now() - 1
    if (slot > head.slot) head = await grow(slot, lie === 'frozen' ? head.final : head)
  })
  return growing.then(() => update(head, head.slot + 1))
}

const LC = 'electra'
const json = (type, v) => type.toJson(v)
async function beacon(path) {
  const url = new URL(path, 'http://localhost')
  const [, what, name] = url.pathname.match(/^\/(lie)\/(\w+)$/) ?? []
  if (what) {
    lie = name
    return {}
  }
  if (url.pathname.startsWith('/eth/v1/beacon/light_client/bootstrap/')) {
    return {
      version: LC,
      data: json(ssz.electra.LightClientBootstrap, {
        header: checkpoint.header,
        currentSyncCommittee: committee,
        currentSyncCommitteeBranch: checkpoint.state.branch(CURRENT_COMMITTEE)
      })
    }
  }
  if (url.pathname === '/eth/v1/beacon/light_client/updates') {
    const period = Math.floor(start / 8192)
    if (Number(url.searchParams.get('start_period')) > period) return []
    return [{ version: LC, data: json(ssz.electra.LightClientUpdate, first) }]
  }
  if (url.pathname === '/eth/v1/beacon/light_client/finality_update') {
    return { version: LC, data: json(ssz.electra.LightClientFinalityUpdate, await finality()) }
  }
  const [, slot] = url.pathname.match(/^\/eth\/v2\/beacon\/blocks\/(\d+)$/) ?? []
  const made = chain.find(b => b.slot === Number(slot))
  if (!made) return null
  return {
    version: LC,
    execution_optimistic: false,
    finalized: true,
    data: { message: json(ssz.electra.BeaconBlock, made.block), signature: hex(new Uint8Array(96)) }
  }
}

let rpcLie = 'none'
const OLD = '0x1'
async function executes(body) {
  const rq = JSON.parse(body)
  const one = async q => {
    const params = [...(q.params ?? [])]
    if (rpcLie === 'old' && q.method === 'eth_getProof') params[2] = OLD
    try {
      const result = await rpc(q.method, params)
      if (q.method === 'eth_getProof' && rpcLie === 'value') {
        for (const s of result.storageProof) s.value = BigInt(s.value) === 0n ? '0x1' : '0x0'
      }
      if (q.method === 'eth_getProof' && rpcLie === 'account') result.balance = '0x5'
      if (q.method === 'eth_getProof' && rpcLie === 'drop') {
        for (const s of result.storageProof) s.proof.pop()
      }
      const yes = '0x6001600052604060205260406000f3'
      return { jsonrpc: '2.0', id: q.id, result: q.method === 'eth_getCode' && rpcLie === 'code' ? yes : result }
    } catch (e) {
      return { jsonrpc: '2.0', id: q.id, error: { code: -32000, message: e.message } }
    }
  }
  return Array.isArray(rq) ? Promise.all(rq.map(one)) : one(rq)
}

async function text(rq) {
  const parts = []
  for await (const part of rq) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}
const listen = handle => new Promise(done => {
  const server = createServer(async (rq, rp) => {
    try {
      const v = await handle(rq)
      rp.writeHead(v === null ? 404 : 200, { 'content-type': 'application/json' })
      rp.end(JSON.stringify(v))
    } catch (e) {
      console.error(e.message)
      rp.writeHead(500)
      rp.end('{}')
    }
  }).listen(0, '127.0.0.1', () => done(server.address().port))
})

console.log(`beacon ${await listen(rq => beacon(rq.url))}`)
console.log(`rpc ${await listen(async rq => {
  const body = await text(rq)
  const [, name] = rq.url.match(/^\/rpclie\/(\w+)$/) ?? []
  if (!name) return executes(body)
  rpcLie = name
  return {}
})}`)
console.log(`checkpoint ${hex(checkpoint.root)}`)
