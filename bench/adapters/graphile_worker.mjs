// graphile-worker with what its page on performance names: a local queue, completions gathered, a pool to match.
import {
  Arrivals, PAYLOAD, PRIORITIES, QUEUES, Tally, WAIT, begin, inChunks, load, paced, runAdapter, sleep, steady, together,
} from "./frame.mjs";

const { Logger, makeWorkerUtils, run } = await load("graphile-worker");
const { Pool } = await load("graphile-worker", "pg");
const CONCURRENCY = 24;
const logger = new Logger(() => () => {});
const preset = {
  worker: {
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

function openPool(url, connections) {
  const pool = new Pool({ connectionString: url, max: connections });
  const ignore = () => {}; // the connections end with the database
  return pool.on("error", ignore).on("connect", (client) => client.on("error", ignore));
}

const openUtils = (url, connections = 1) => makeWorkerUtils({ pgPool: openPool(url, connections), logger });

const work = (url, taskList, fast = preset) =>
  run({
    pgPool: openPool(url, CONCURRENCY + 2),
    logger,
    preset: fast,
    concurrency: CONCURRENCY,
    pollInterval: 1000,
    noHandleSignals: true,
    taskList,
  });

async function single(url, jobs) {
  const utils = await openUtils(url);
  for (let number = 0; number < 50; number++) await utils.addJob("noop", PAYLOAD);
  const per = await begin();
  for (let number = 0; number < jobs; number++) await utils.addJob("noop", PAYLOAD);
  return per(jobs);
}

async function concurrent(url, jobs) {
  const utils = await openUtils(url, 10);
  await utils.addJob("noop", PAYLOAD);
  const per = await begin();
  await together(jobs, () => utils.addJob("noop", PAYLOAD));
  return per(jobs);
}

async function bulk(url, jobs) {
  const utils = await openUtils(url);
  const per = await begin();
  await insert(utils, jobs);
  return per(jobs);
}

const insert = (utils, jobs, more = () => ({})) =>
  inChunks(jobs, (numbers) =>
    utils.addJobs(numbers.map((number) => ({ identifier: "noop", payload: PAYLOAD, ...more(number) }))),
  );

async function drainTasks(url, jobs, names, wait = 0) {
  const tally = new Tally(jobs);
  const noop = async () => {
    if (wait) await sleep(wait);
    tally.add();
  };
  const per = await begin();
  await work(url, Object.fromEntries(names.map((name) => [name, noop])));
  await tally.drained();
  return per(jobs);
}

const names = Array.from({ length: QUEUES }, (_, number) => `q${number}`);

async function pickup(url, jobs) {
  const arrivals = await listen(url, jobs);
  const utils = await openUtils(url);
  await begin();
  await paced(jobs, 100, (sent) => utils.addJob("noop", { sent }));
  return arrivals.figures();
}

async function pickup1000(url, jobs) {
  const arrivals = await listen(url, jobs);
  const utils = await openUtils(url, 10);
  await begin();
  await steady(jobs, 1000, (sent) => utils.addJob("noop", { sent }));
  return arrivals.figures();
}

async function listen(url, jobs) {
  const arrivals = new Arrivals(jobs);
  // Jobs that come one by one: the local queue would only hold them back.
  await work(url, { noop: async ({ sent }) => arrivals.note(sent) }, {});
  return arrivals;
}

async function prepared(url, jobs, more) {
  const utils = await openUtils(url);
  await insert(utils, jobs, more);
}

const tomorrow = new Date(Date.now() + 86_400_000);
await runAdapter(
  {
    single,
    concurrent,
    bulk,
    drain: (url, jobs) => drainTasks(url, jobs, ["noop"]),
    queues: (url, jobs) => drainTasks(url, jobs, names),
    waits: (url, jobs) => drainTasks(url, jobs, ["noop"], WAIT),
    pickup,
    pickup1000,
  },
  {
    schema: async (url) => (await openUtils(url)).migrate(),
    waiting: (url, jobs) => prepared(url, jobs),
    future: (url, jobs) => prepared(url, jobs, () => ({ runAt: tomorrow })),
    spread: (url, jobs) =>
      prepared(url, jobs, (number) => ({
        identifier: names[number % QUEUES],
        priority: Math.floor(number / QUEUES) % PRIORITIES,
      })),
  },
);
