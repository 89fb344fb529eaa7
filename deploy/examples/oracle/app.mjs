// The price oracle: an app in a TEE.  Asked for a price, it fetches it over
// HTTPS from a server whose CA is in the app's own compose file, and signs the
// answer with a key that only this app gets.
//
//   node app.mjs      listens on a free port, and prints "listening on PORT"
//   POST /answer      {chainId, contract, request, symbol}
//
// It needs no chain and no gas: whoever asked brings the answer there.  What it
// signs is bound to the contract and the request, so it signs for anybody.
//
// DSTACK_SOCKET: the agent (default: /var/run/dstack.sock)
// PRICE_PORT: where the price server listens on this machine.  The host may set
// it: who answers there is judged by its certificate.
import http from 'node:http'
import https from 'node:https'
import { DstackClient } from '@phala/dstack-sdk'
import { bytesToHex, isAddress } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { measured } from '../measured.mjs'
import { chainOf } from './chain.mjs'

const PURPOSE = 'price-oracle'
const client = new DstackClient(process.env.DSTACK_SOCKET)
const { PRICE_CA, PRICE_HOST } = measured(await client.info())
const issued = await client.getKey('oracle/prices', PURPOSE)
const account = privateKeyToAccount(bytesToHex(issued.key))
const chain = await chainOf(issued, PURPOSE)

// fetchPrice answers {price, at}; whoever cannot show a certificate of the
// pinned CA for the pinned name is no price server.
const fetchPrice = symbol => new Promise((resolve, reject) => {
  const rq = https.get({
    host: '127.0.0.1',
    port: Number(process.env.PRICE_PORT),
    path: `/price/${encodeURIComponent(symbol)}`,
    servername: PRICE_HOST,
    headers: { host: PRICE_HOST },
    ca: PRICE_CA,
    minVersion: 'TLSv1.3',
    timeout: 5000
  }, rp => {
    let text = ''
    rp.setEncoding('utf8')
    rp.on('data', d => {
      text += d
      if (text.length > 4096) rq.destroy(new Error('the price server says too much'))
    })
    rp.on('end', () => {
      if (rp.statusCode !== 200) return reject(new Error(`price server: ${rp.statusCode}`))
      try {
        resolve(JSON.parse(text))
      } catch {
        reject(new Error('price server: not JSON'))
      }
    })
  })
  rq.on('timeout', () => rq.destroy(new Error('price server: no answer')))
  rq.on('error', reject)
})

// "3214.55" in millionths, exactly.
const millionths = text => {
  const m = /^(\d{1,30})(?:\.(\d{1,6}))?$/.exec(text)
  if (!m) throw new Error('price server: not a price')
  return BigInt(m[1]) * 1000000n + BigInt((m[2] ?? '').padEnd(6, '0'))
}

const answer = async rq => {
  if (!Number.isSafeInteger(rq.chainId) || !isAddress(rq.contract) ||
      !/^\d{1,70}$/.test(rq.request) || !/^[A-Z]{2,10}-[A-Z]{2,10}$/.test(rq.symbol)) {
    throw new Error('a request is {chainId, contract, request, symbol}')
  }
  const { price, at } = await fetchPrice(rq.symbol)
  const message = {
    request: BigInt(rq.request),
    symbol: rq.symbol,
    price: millionths(price),
    observedAt: BigInt(at)
  }
  const signature = await account.signTypedData({
    domain: { name: 'PriceOracle', version: '1', chainId: rq.chainId, verifyingContract: rq.contract },
    types: {
      Answer: [
        { name: 'request', type: 'uint256' },
        { name: 'symbol', type: 'string' },
        { name: 'price', type: 'uint256' },
        { name: 'observedAt', type: 'uint64' }
      ]
    },
    primaryType: 'Answer',
    message
  })
  return {
    answer: Object.fromEntries(Object.entries(message).map(([k, v]) => [k, String(v)])),
    chain,
    signature
  }
}

const server = http.createServer((rq, rp) => {
  let text = ''
  const end = (status, value) => {
    rp.writeHead(status, { 'content-type': 'application/json' })
    rp.end(JSON.stringify(value) + '\n')
  }
  rq.setEncoding('utf8')
  rq.on('data', d => {
    text += d
    if (text.length > 4096) rq.destroy()
  })
  rq.on('end', async () => {
    if (rq.method !== 'POST' || rq.url !== '/answer') return end(404, { error: 'POST /answer' })
    try {
      end(200, await answer(JSON.parse(text)))
    } catch (e) {
      console.log(`refused: ${e.message}`)
      end(502, { error: e.message })
    }
  })
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
