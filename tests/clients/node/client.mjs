// A farm's client with @grpc/grpc-js alone: it learns the API through server reflection, lists the services, submits a sweep file,
// watches it to its end, and reads the leaderboard. Writes one JSON document on stdout.
//
//     node client.mjs HOST:PORT SWEEP.yaml

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const require = createRequire(import.meta.url);
const credentials = grpc.credentials.createInsecure();
const options = { longs: Number, enums: String, defaults: true };

const [address, file] = process.argv.slice(2);
if (!address || !file) {
  console.error('usage: node client.mjs HOST:PORT SWEEP.yaml');
  process.exit(2);
}

/** Asks the reflection service and gives its answers in order. */
function reflect(requests) {
  const proto = require.resolve('@grpc/reflection/build/proto/grpc/reflection/v1alpha/reflection.proto');
  const { ServerReflection } = grpc.loadPackageDefinition(loader.loadSync(proto, { ...options, keepCase: true })).grpc.reflection.v1alpha;
  const client = new ServerReflection(address, credentials);
  return new Promise((resolve, reject) => {
    const answers = [];
    const call = client.ServerReflectionInfo();
    call.on('data', (answer) => {
      answers.push(answer);
      if (answers.length === requests.length) {
        call.end();
      }
    });
    call.on('error', reject);
    call.on('end', () => resolve(answers));
    requests.forEach((request) => call.write(request));
  });
}

/** A file descriptor set of its parts: FileDescriptorSet has one repeated field, number 1. */
function descriptorSet(files) {
  const parts = [];
  for (const bytes of files) {
    const length = [];
    for (let rest = bytes.length; ; rest >>>= 7) {
      length.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest <= 127) {
        break;
      }
    }

    parts.push(Buffer.from([0x0a, ...length]), bytes);
  }

  return Buffer.concat(parts);
}

/** Keys of a map field: a map that is known by reflection alone may come as a list of its entries. */
const keys = (map) => (Array.isArray(map) ? map.map((entry) => entry.key) : Object.keys(map)).sort();

const unary = (client, method, request) =>
  new Promise((resolve, reject) => client[method](request, (error, answer) => (error ? reject(error) : resolve(answer))));

const [listed] = await reflect([{ list_services: '' }]);
const services = listed.list_services_response.service.map((s) => s.name).sort();
const ours = services.filter((name) => name.startsWith('edgefarm.v1.'));
const answers = await reflect(ours.map((name) => ({ file_containing_symbol: name })));
const files = new Map();
for (const answer of answers) {
  for (const bytes of answer.file_descriptor_response.file_descriptor_proto) {
    files.set(bytes.toString('base64'), bytes);
  }
}

const definition = loader.loadFileDescriptorSetFromBuffer(descriptorSet([...files.values()]), { ...options, keepCase: true });
const { Sweeps, Leaderboard } = grpc.loadPackageDefinition(definition).edgefarm.v1;
const sweeps = new Sweeps(address, credentials);
const leaderboard = new Leaderboard(address, credentials);

const submitted = await unary(sweeps, 'Submit', { request_id: randomUUID(), yaml: readFileSync(file, 'utf8') });
let changes = 0;
let last = null;
await new Promise((resolve, reject) => {
  const call = sweeps.Watch({ id: submitted.id });
  call.on('data', (change) => {
    changes++;
    last = change;
  });
  call.on('error', reject);
  call.on('end', resolve);
});

const entries = [];
let token = '';
do {
  const page = await unary(leaderboard, 'Query', { sweep: submitted.id, page_token: token });
  entries.push(...page.entries);
  token = page.next_page_token;
} while (token);

console.log(JSON.stringify({
  services,
  sweep: last.sweep.id,
  status: last.sweep.status,
  changes,
  entries: entries.map((e) => ({ id: e.id, model: e.model, form: e.form, metrics: keys(e.metrics) })),
}, null, 2));
