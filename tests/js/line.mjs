// line.mjs FROM TO: passes on what comes; each is a port of 127.0.0.1, or the
// path of a Unix socket, which leads from one network namespace to another.
// Prints "ready" once it listens.
import { connect, createServer } from 'node:net'

const at = x => /^\d+$/.test(x) ? { host: '127.0.0.1', port: Number(x) } : { path: x }
const [from, to] = process.argv.slice(2)

createServer(a => {
  const b = connect(at(to))
  for (const [x, y] of [[a, b], [b, a]]) {
    x.pipe(y)
    x.on('error', () => y.destroy())
    x.on('close', () => y.destroy())
  }
}).listen(at(from), () => console.log('ready'))
