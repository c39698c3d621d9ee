// The frame of an adapter in JavaScript: harness/adapter.py tells what is said between it and the harness.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

export const PROJECT = "0190b0c2-7f6e-7c3e-8a53-0123456789ab";
export const PAYLOAD = { project_id: PROJECT, size: 12345678 };
export const QUEUES = 10;
export const PRIORITIES = 5;
export const WAIT = 1; // milliseconds that a job of `waits` takes
const TASKS = 100;
const PATIENCE = 20_000;
const CHUNK = 5_000;

const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (line) => console.log(JSON.stringify(line));
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
export const now = () => performance.now();

export class Skipped extends Error {}

/** A package from the environment of a system. */
export async function load(system, name = system) {
  const require = createRequire(new URL(`../.envs/${system}/package.json`, import.meta.url));
  const found = await import(pathToFileURL(require.resolve(name)));
  return found.default ?? found;
}

/** Everything is set up: wait for the word to go, then tell how long so many jobs took. */
export async function begin() {
  tell({ ready: true });
  await words.next();
  const start = now();
  const used = process.cpuUsage();
  return (jobs) => {
    const rate = (jobs / (now() - start)) * 1000;
    const { user, system } = process.cpuUsage(used);
    return { rate, cpu: (user + system) / jobs };
  };
}

/** What this process has done of all the jobs, which several processes may share. */
export class Tally {
  done = 0;
  #told = 0;

  constructor(jobs) {
    this.jobs = jobs;
  }

  add(jobs = 1) {
    this.done += jobs;
    if (this.done >= this.jobs) this.#tell();
  }

  /** Tell what is done until the harness says that all is. Without a harness, until all is done here. */
  async drained() {
    let word;
    words.next().then((next) => (word = next));
    while (!word || (word.done && this.done < this.jobs)) {
      if (this.#told !== this.done) this.#tell();
      await sleep(10);
    }
  }

  #tell() {
    this.#told = this.done;
    tell({ done: this.done });
  }
}

/** How long each job took from its enqueueing to its start. */
export class Arrivals {
  #took = [];

  constructor(jobs) {
    this.jobs = jobs;
  }

  note(sent) {
    this.#took.push(now() - sent);
  }

  async figures() {
    const end = now() + PATIENCE;
    while (this.#took.length < this.jobs) {
      if (now() > end) throw new Skipped(`falls behind: ${this.#took.length} of ${this.jobs} jobs started`);
      await sleep(10);
    }
    const ordered = this.#took.sort((a, b) => a - b);
    const at = (share) => ordered[Math.min(Math.floor(ordered.length * share), ordered.length - 1)];
    return { p50: at(0.5), p99: at(0.99) };
  }
}

/** Call `produce` so many times, evenly spread over time, one after the other. */
export async function paced(jobs, rate, produce) {
  const start = now();
  for (let number = 0; number < jobs; number++) {
    const pause = start + (number * 1000) / rate - now();
    if (pause > 0) await sleep(pause);
    await produce(now());
  }
}

/** The same, but nobody waits for the one before: each call is made when it is due, and gets that time. */
export async function steady(jobs, rate, produce) {
  const start = now();
  const calls = [];
  for (let number = 0; number < jobs; number++) {
    const due = start + (number * 1000) / rate;
    if (due > now()) await sleep(due - now());
    calls.push(produce(due));
  }
  await Promise.all(calls);
}

/** Call `produce` so many times in all, from a hundred tasks, each of which waits for its own calls. */
export async function together(jobs, produce) {
  let left = jobs;
  const task = async () => {
    while (left-- > 0) await produce();
  };
  await Promise.all(Array.from({ length: TASKS }, task));
}

/** Call `insert` with a few thousand numbers at a time. */
export async function inChunks(jobs, insert) {
  for (let first = 0; first < jobs; first += CHUNK) {
    await insert(Array.from({ length: Math.min(CHUNK, jobs - first) }, (_, index) => first + index));
  }
}

/** The command line of an adapter: measure, or prepare what a measurement finds there. */
export async function runAdapter(measures, grounds) {
  const [verb, url, jobs] = process.argv.slice(2);
  try {
    if (verb in measures) {
      tell(await measures[verb](url, Number(jobs)));
      await words.next(); // stay to be looked at
    } else if (verb in grounds) {
      await grounds[verb](url, Number(jobs));
      tell({ prepared: verb });
    } else tell({ skipped: `has no ${verb}` });
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    tell({ skipped: error.message });
  }
  process.exit(0);
}
