// No-op jobs through BullMQ: node bench.mjs PORT JOBS CONCURRENCY single|bulk
// Submission and work run in this process and in a child of it, as EdgeFarm's coordinator and workers do; each job must run once.
import { Queue, Worker } from 'bullmq';
import { fork } from 'node:child_process';

const [port, jobs, concurrency, mode] = [Number(process.argv[2]), Number(process.argv[3]), Number(process.argv[4]), process.argv[5]];
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const name = 'bench';

if (process.env.BENCH_ROLE === 'worker') {
  const seen = new Set();
  let twice = 0;
  const worker = new Worker(name, async job => {
    if (seen.has(job.id)) twice++;
    seen.add(job.id);
  }, { connection, concurrency });
  worker.on('completed', () => {
    if (seen.size === jobs) process.send({ seen: seen.size, twice });
  });
  await worker.waitUntilReady();
  process.send({ ready: true });
} else {
  const queue = new Queue(name, { connection });
  await queue.obliterate({ force: true });
  const child = fork(process.argv[1], process.argv.slice(2), { env: { ...process.env, BENCH_ROLE: 'worker' } });
  const next = () => new Promise(resolve => child.once('message', resolve));
  await next();
  const done = next();
  const started = process.hrtime.bigint();
  if (mode === 'bulk') {
    for (let i = 0; i < jobs; i += 1000) {
      await queue.addBulk(Array.from({ length: Math.min(1000, jobs - i) }, (_, k) => ({ name: 'no-op', data: { number: i + k } })));
    }
  } else {
    // One call a job, a hundred calls in flight.
    let number = 0;
    await Promise.all(Array.from({ length: 100 }, async () => {
      while (number < jobs) await queue.add('no-op', { number: number++ });
    }));
  }
  const submitted = Number(process.hrtime.bigint() - started) / 1e9;
  const end = await done;
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (end.seen !== jobs || end.twice !== 0) throw new Error(`not exact: ${JSON.stringify(end)}`);
  console.log(`bullmq ${mode} concurrency ${concurrency}: ${(jobs / seconds).toFixed(0)} jobs/s (${submitted.toFixed(2)} s of it submission); each job ran once`);
  child.kill();
  await queue.close();
}
