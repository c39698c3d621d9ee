// pg-boss with batches of 1,000, two workers a process, bursts, and NOTIFY for what comes one by one.
import {
  Arrivals, PAYLOAD, PRIORITIES, QUEUES, Tally, WAIT, begin, inChunks, load, paced, runAdapter, sleep, steady, together,
} from "./frame.mjs";

const { PgBoss } = await load("pg-boss");
const names = Array.from({ length: QUEUES }, (_, number) => `q${number}`);
// One finished job, as often as is asked for.
const FINISHED = `
  INSERT INTO pgboss.job (name, data, state, policy, started_on, completed_on)
  SELECT 'noop', $1::jsonb, 'completed', 'standard', now(), now() FROM generate_series(1, $2)`;

async function open(url, more = {}) {
  const boss = new PgBoss({ connectionString: url, max: 10, schedule: false, ...more });
  boss.on("error", () => {}); // of the connections that end with the database
  await boss.start();
  return boss;
}

async function single(url, jobs) {
  const boss = await open(url);
  for (let number = 0; number < 50; number++) await boss.send("noop", PAYLOAD);
  const per = await begin();
  for (let number = 0; number < jobs; number++) await boss.send("noop", PAYLOAD);
  return per(jobs);
}

async function concurrent(url, jobs) {
  const boss = await open(url);
  await boss.send("noop", PAYLOAD);
  const per = await begin();
  await together(jobs, () => boss.send("noop", PAYLOAD));
  return per(jobs);
}

async function bulk(url, jobs) {
  const boss = await open(url);
  const per = await begin();
  await insert(boss, jobs);
  return per(jobs);
}

const insert = (boss, jobs, more = {}) =>
  inChunks(jobs, (numbers) => boss.insert("noop", numbers.map(() => ({ data: PAYLOAD, ...more }))));

async function drain(url, jobs, queues, wait = 0) {
  const tally = new Tally(jobs);
  const boss = await open(url);
  const options = { batchSize: 1000, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
  const per = await begin();
  for (const name of queues) {
    const localConcurrency = queues.length > 1 ? 1 : 2;
    await boss.work(name, { ...options, localConcurrency }, async (batch) => {
      if (wait) await Promise.all(batch.map(() => sleep(wait)));
      tally.add(batch.length);
    });
  }
  await tally.drained();
  return per(jobs);
}

async function listen(url, jobs) {
  const arrivals = new Arrivals(jobs);
  const boss = await open(url, { useListenNotify: true });
  await boss.work("notified", { batchSize: 100, localConcurrency: 2 }, async (batch) => {
    for (const { data } of batch) arrivals.note(data.sent);
  });
  await sleep(1000); // until it listens
  return { arrivals, boss };
}

async function pickup(url, jobs) {
  const { arrivals, boss } = await listen(url, jobs);
  await begin();
  await paced(jobs, 100, (sent) => boss.send("notified", { sent }));
  return arrivals.figures();
}

async function pickup1000(url, jobs) {
  const { arrivals, boss } = await listen(url, jobs);
  await begin();
  await steady(jobs, 1000, (sent) => boss.send("notified", { sent }));
  return arrivals.figures();
}

async function schema(url) {
  const boss = await open(url);
  for (const name of ["noop", ...names]) await boss.createQueue(name);
  await boss.createQueue("notified", { notify: true });
}

async function spread(url, jobs) {
  const boss = await open(url);
  await inChunks(jobs, (numbers) =>
    Promise.all(
      names.map((name, queue) => {
        const own = numbers.filter((number) => number % QUEUES === queue);
        const priority = (number) => Math.floor(number / QUEUES) % PRIORITIES;
        return boss.insert(name, own.map((number) => ({ data: PAYLOAD, priority: priority(number) })));
      }),
    ),
  );
}

await runAdapter(
  {
    single,
    concurrent,
    bulk,
    drain: (url, jobs) => drain(url, jobs, ["noop"]),
    queues: (url, jobs) => drain(url, jobs, names),
    waits: (url, jobs) => drain(url, jobs, ["noop"], WAIT),
    pickup,
    pickup1000,
  },
  {
    schema,
    spread,
    waiting: async (url, jobs) => insert(await open(url), jobs),
    future: async (url, jobs) => insert(await open(url), jobs, { startAfter: new Date(Date.now() + 86_400_000) }),
    finished: async (url, jobs) => (await open(url)).getDb().executeSql(FINISHED, [PAYLOAD, jobs]),
  },
);
