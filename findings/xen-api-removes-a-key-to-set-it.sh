#!/usr/bin/env bash
# xen-api (npm, the client of Xen Orchestra): update_other_config removes the key and adds it, also with the same value.
#
# Guess: `vm.update_other_config('pci', value)` sends nothing where the cached record has that value; else it adds the
#        key, and only where xapi says MAP_DUPLICATE_KEY removes the old one first.
# Seen:  two calls each time, VM.remove_from_other_config and VM.add_to_other_config. Between them every other client,
#        a hook or xapi itself sees the VM without the key; where the second call fails it stays so, although the caller
#        wanted no change.
# Why it matters: for xapi `pci` in VM.other_config is what a VM gets passed through, each change of a running VM's is
#        pushed to xenopsd, and a watcher of events sees a device taken away and given back.
# Source: xen-api index.mjs, setFieldEntry(). Its comment says why: MAP_DUPLICATE_KEY filled xapi's log.
#
# Needs bash and Node.js (18 or newer) with npm.
set -euo pipefail

VERSION=4.7.6
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{ "private": true }' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "xen-api@$VERSION" >/dev/null 2>&1 ||
    { echo "xen-api $VERSION is not to be had here: nothing was tried." >&2; exit 2; }
echo "xen-api $VERSION, Node.js $(node --version)"

cat >try.mjs <<'END'
import { createServer } from 'node:http'
import { createClient } from 'xen-api'

const PCI = '0/0000:03:10.0'
const config = { pci: PCI }
const asked = []
let hangUp = false

// What xapi answers, as far as this client asks.
const xapi = {
  'session.login_with_password': () => 'OpaqueRef:session',
  'system.listMethods': () => ['VM.get_all_records', 'pool.get_all_records'],
  'pool.get_all_records': () => ({ 'OpaqueRef:pool': { uuid: 'pool', other_config: {}, master: 'OpaqueRef:host' } }),
  'VM.get_record': () => ({ uuid: 'vm', other_config: { ...config } }),
  'VM.remove_from_other_config': (_session, _vm, key) => (delete config[key], ''),
  'VM.add_to_other_config': (_session, _vm, key, value) => ((config[key] = value), ''),
}
const server = createServer(async (request, response) => {
  let body = ''
  for await (const part of request) body += part
  const { id, method, params } = JSON.parse(body)
  if (hangUp && method === 'VM.add_to_other_config') return request.socket.destroy()
  const result = xapi[method](...params)
  asked.push(`${method}; pci is now ${config.pci ?? 'not there'}`)
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
})
await new Promise(listening => server.listen(0, '127.0.0.1', listening))

const url = `http://127.0.0.1:${server.address().port}`
const client = createClient({ url, auth: { user: 'root', password: 'password' }, watchEvents: false })
await client.connect()
const vm = await client.getRecord('VM', 'OpaqueRef:vm')
console.log(`the record says ${vm.other_config.pci}`)

asked.length = 0
await vm.update_other_config('pci', PCI)
console.log(`sent for the same value:\n  ${asked.join('\n  ')}`)

hangUp = true
const error = await vm.update_other_config('pci', PCI).catch(error => error)
console.log(`the second call is lost: ${error instanceof Error ? 'an error' : 'no error'}; pci is ${config.pci ?? 'gone'}`)
process.exit()
END
node try.mjs | tee said

diff - said <<'END'
the record says 0/0000:03:10.0
sent for the same value:
  VM.remove_from_other_config; pci is now not there
  VM.add_to_other_config; pci is now 0/0000:03:10.0
the second call is lost: an error; pci is gone
END
echo "As described: to set what is set already takes it away for a moment, or for good."
