// A TLS server in a TEE: its private key is made by the agent at each start, its
// certificate is issued by the KMS, under the root CA that the KMS contract
// names, with the app's id and its attestation inside.
//
//   node app.mjs HOST    listens on a free port, and prints "listening on PORT"
//
// DSTACK_SOCKET: the agent (default: /var/run/dstack.sock)
import https from 'node:https'
import { DstackClient } from '@phala/dstack-sdk'

const [host] = process.argv.slice(2)
const client = new DstackClient(process.env.DSTACK_SOCKET)
const info = await client.info()
const { key, certificate_chain: chain } = await client.getTlsKey({
  subject: host,
  altNames: [host],
  usageServerAuth: true,
  usageRaTls: true // the attestation: who looks for it finds it
})
// The chain goes out whole, with the root, so that a client which knows the
// root's public key alone can check it.
const server = https.createServer({ key, cert: chain.join('\n'), minVersion: 'TLSv1.3' }, (rq, rp) => {
  rp.writeHead(200, { 'content-type': 'application/json' })
  rp.end(JSON.stringify({ hello: 'from inside', app_id: info.app_id }) + '\n')
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
