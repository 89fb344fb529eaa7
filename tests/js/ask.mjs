// ask.mjs SOCKET PATH [PURPOSE] [ALGORITHM]: ask an agent for a key through
// the unmodified dstack SDK.  Prints JSON with the secret key in it: keep the
// output in a file that nobody else may read.
import { DstackClient } from '@phala/dstack-sdk'
import { bytesToHex } from '@noble/hashes/utils'

const [socket, path, purpose = '', algorithm = 'secp256k1'] = process.argv.slice(2)
if (!socket || path === undefined) {
  console.error('usage: ask.mjs SOCKET PATH [PURPOSE] [ALGORITHM]')
  process.exit(2)
}

const client = new DstackClient(socket)
if (!(await client.isReachable())) {
  console.error(`ask.mjs: no agent at ${socket}`)
  process.exit(3)
}
const answer = await client.getKey(path, purpose, algorithm)
const info = await client.info()
console.log(JSON.stringify({
  app_id: info.app_id,
  compose_hash: info.compose_hash,
  path,
  purpose,
  algorithm,
  key: bytesToHex(answer.key),
  signature_chain: answer.signature_chain.map(bytesToHex)
}, null, 2))
