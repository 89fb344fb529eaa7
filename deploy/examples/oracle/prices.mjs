// prices.mjs CERT KEY: a price server, as one would find it on the Internet.
// Prints "listening on PORT".  GET /price/ETH-USD
import { readFileSync } from 'node:fs'
import https from 'node:https'

const [cert, key] = process.argv.slice(2).map(f => readFileSync(f))
const prices = { 'ETH-USD': '3214.55', 'BTC-USD': '97310.2' }
const server = https.createServer({ cert, key, minVersion: 'TLSv1.3' }, (rq, rp) => {
  const price = prices[decodeURIComponent(rq.url).replace(/^\/price\//, '')]
  rp.writeHead(price ? 200 : 404, { 'content-type': 'application/json' })
  rp.end(JSON.stringify(price ? { price, at: Math.floor(Date.now() / 1000) } : {}) + '\n')
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
