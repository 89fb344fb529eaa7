// compose.mjs NAME FILE [KEY=VALUE]...: prints an app-compose.json for an
// example.  FILE is the app's code: as an image would be, it is named by its
// hash, so whoever changes it has another app.  KEY=VALUE goes into the app's
// environment, and into the compose hash with it; =@F takes it from a file.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const [name, file, ...rest] = process.argv.slice(2)
if (!file) {
  console.error('usage: compose.mjs NAME FILE [KEY=VALUE]...')
  process.exit(2)
}
const environment = {}
for (const word of rest) {
  const at = word.indexOf('=')
  const value = word.slice(at + 1)
  environment[word.slice(0, at)] =
    value.startsWith('@') ? readFileSync(value.slice(1), 'utf8') : value
}
const code = createHash('sha256').update(readFileSync(file)).digest('hex')
// JSON is YAML, so this is a compose file that the app can read itself.
const compose = {
  services: {
    app: {
      image: `example/${name}@sha256:${code}`,
      environment,
      volumes: ['/var/run/dstack.sock:/var/run/dstack.sock']
    }
  }
}
console.log(JSON.stringify({
  manifest_version: 2,
  name,
  runner: 'docker-compose',
  docker_compose_file: JSON.stringify(compose, null, 2),
  kms_enabled: true,
  key_provider: 'kms',
  public_logs: true,
  public_sysinfo: true
}, null, 2))
