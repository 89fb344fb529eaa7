// client.mjs HOST PORT APP_ID KMS RPC: get https://HOST/ from a server that must
// be this app, under the KMS of this contract.  All that is trusted: the
// contract's address and the app's id.  Prints the answer; exit status 1 and the
// reason if the server is not it.
//
// HOST is what the certificate must be for; PORT is one of this machine.
import { X509Certificate, createHash } from 'node:crypto'
import https from 'node:https'
import tls from 'node:tls'
import { createPublicClient, hexToBytes, http, parseAbi } from 'viem'

const [host, port, appId, kms, rpc] = process.argv.slice(2)
if (!rpc) {
  console.error('usage: client.mjs HOST PORT APP_ID KMS RPC')
  process.exit(2)
}
const fail = why => {
  console.error(`client: ${why}`)
  process.exit(1)
}

// Node looks for PEM first, even in DER; and in a certificate that carries an
// attestation there is some: that of the platform's certificates.
const x509 = der => new X509Certificate(
  `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`)

// dstack's extensions: an OCTET STRING with the value, in an OCTET STRING.
const APP_ID = Buffer.from('060a2b0601040183e73d0103', 'hex')
const appIdOf = cert => {
  const der = cert.raw
  const at = der.indexOf(APP_ID)
  // One only, and of 20 bytes.
  if (at < 0 || der.indexOf(APP_ID, at + 1) >= 0) return ''
  const value = der.subarray(at + APP_ID.length, at + APP_ID.length + 24)
  return value.subarray(0, 4).toString('hex') === '04160414' ? value.subarray(4).toString('hex') : ''
}

// The root CA's public key, as the contract names it.
const chain = createPublicClient({ transport: http(rpc) })
const [, caKey] = await chain.readContract({
  address: kms,
  abi: parseAbi(['function kmsInfo() view returns (bytes, bytes, bytes, bytes)']),
  functionName: 'kmsInfo'
}).catch(e => fail(`the chain: ${e.shortMessage ?? e.message}`))

// Which certificate is that?  The server shows it; its key must be the one above.
// Nothing else is believed of this connection.
const shown = await new Promise((resolve, reject) => {
  const s = tls.connect({ host: '127.0.0.1', port, servername: host, rejectUnauthorized: false, timeout: 5000 }, () => {
    const list = []
    for (let c = s.getPeerCertificate(true); c?.raw && list.length < 8; c = c.issuerCertificate) {
      list.push(x509(c.raw))
      if (c.issuerCertificate === c) break
    }
    s.destroy()
    resolve(list)
  })
  s.on('timeout', () => s.destroy(new Error('no answer')))
  s.on('error', reject)
}).catch(e => fail(e.message))
const root = shown.find(c =>
  c.publicKey.export({ type: 'spki', format: 'der' }).equals(Buffer.from(hexToBytes(caKey))))
if (!root) fail('no certificate of the root CA that the contract names')

// The connection that counts: OpenSSL checks signatures, times, CA flags and the
// name, under that root alone; then it must be the app.
const rq = https.get({
  host: '127.0.0.1',
  port,
  path: '/',
  servername: host,
  headers: { host },
  ca: root.toString(),
  minVersion: 'TLSv1.3',
  agent: false,
  timeout: 5000,
  checkServerIdentity: (name, cert) => {
    const wrong = tls.checkServerIdentity(host, cert)
    if (wrong) return wrong
    // Leaf and app CA name the app; the root, which has issued the CA, vouches.
    const leaf = x509(cert.raw)
    const ca = x509(cert.issuerCertificate.raw)
    const want = appId.replace(/^0x/, '').toLowerCase()
    for (const c of [leaf, ca]) {
      if (appIdOf(c) !== want) return new Error(`another app: ${appIdOf(c) || 'none is named'}`)
    }
    if (!leaf.checkIssued(ca) || !ca.checkIssued(root) || !ca.ca) return new Error('not issued by the app\'s CA')
  }
}, rp => {
  const leaf = x509(rp.socket.getPeerCertificate().raw)
  let text = ''
  rp.setEncoding('utf8')
  rp.on('data', d => { text += d })
  rp.on('end', () => console.log(JSON.stringify({
    answer: JSON.parse(text),
    root_spki_sha256: createHash('sha256').update(hexToBytes(caKey)).digest('hex'),
    app_id: appIdOf(leaf),
    subject: leaf.subject,
    valid_to: leaf.validTo
  }, null, 2)))
})
rq.on('timeout', () => rq.destroy(new Error('no answer')))
rq.on('error', e => fail(e.message))
