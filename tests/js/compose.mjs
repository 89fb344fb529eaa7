// compose.mjs KMSCTL FOLDER [N] [SEED]: N random app-compose.json, written to
// FOLDER, whose hashes by kmsctl must be those of @phala/dstack-sdk.  Prints the
// seed, and "ok N".
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { getComposeHash } from '@phala/dstack-sdk/get-compose-hash'

const [kmsctl, folder, n = '150', seed = String(Date.now() % 1e9)] = process.argv.slice(2)
let state = createHash('sha256').update(seed).digest(), used = 0
const byte = () => {
  if (used === state.length) {
    state = createHash('sha256').update(state).digest()
    used = 0
  }
  return state[used++]
}
const below = k => (byte() * 256 + byte()) % k
const pick = list => list[below(list.length)]

const odd = ['', 'a', 'B', 'é', '～', '😀', '\u2028', '"\\/\b\f\n\r\t', '\u0001', '\u007f', '0', '1', '01', '10', '4294967294', '4294967295', 'constructor', '__proto__', 'toString']
const known = ['name', 'runner', 'docker_compose_file', 'bash_script', 'pre_launch_script', 'manifest_version', 'kms_enabled', 'requirements']
const text = () => Array.from({ length: below(4) }, () => pick(odd)).join('')
const numbers = ['0', '-0', '1.0', '1e21', '1e-7', '0.000001', '5e-324', '1.7976931348623157e308', '-1.5', '100', '1e2', '9007199254740993', '0.1', '1e23', '12345678901234567890', '123456789012345680000', '2.2250738585072014e-308']
const number = () => below(2) ? pick(numbers)
  : `${below(2) ? '-' : ''}${below(1000)}.${below(65536)}e${below(40) - 20}`
const value = depth => {
  switch (below(depth > 3 ? 4 : 6)) {
    case 0: return number()
    case 1: return JSON.stringify(text())
    case 2: return pick(['true', 'false', 'null', '""', '0'])
    case 3: return JSON.stringify(pick(['bash', 'docker-compose', 'x\ny']))
    case 4: return `[${Array.from({ length: below(4) }, () => value(depth + 1)).join(' , ')}]`
    default: return object(depth + 1, odd)
  }
}
const object = (depth, names) => {
  const keys = new Set(Array.from({ length: below(7) }, () => pick(names)))
  return `{${[...keys].map(k => ` ${JSON.stringify(k)} : ${value(depth)}`).join(',\n')} }`
}

console.log(`seed ${seed}`)
for (let i = 0; i < Number(n); i++) {
  const file = `${folder}/compose.json`, json = object(0, [...known, ...known, ...odd])
  writeFileSync(file, json)
  for (const [option, normalize] of [['--canonical', false], ['--normalize', true]]) {
    const ours = execFileSync(kmsctl, ['compose-hash', file, option], { encoding: 'utf8' }).trim()
    if (ours !== getComposeHash(JSON.parse(json), normalize)) {
      console.error(`${option}: ${ours} is not the SDK's hash of ${json}`)
      process.exit(1)
    }
  }
}
console.log(`ok ${n}`)
