// plain.mjs CERTIFICATES KEY: a TLS server with whatever certificate it is given:
// what somebody who wants to be taken for the app can put up.
import { readFileSync } from 'node:fs'
import https from 'node:https'

const [cert, key] = process.argv.slice(2).map(f => readFileSync(f))
const server = https.createServer({ cert, key, minVersion: 'TLSv1.3' }, (rq, rp) => rp.end('{"hello":"from outside"}\n'))
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
