/**
 * What is done inside a running container, through the API against the same work by Docker's own exec, each pair in
 * turns in one run. Both sides work in containers of the same kind, and each has its own.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { likenessesOf } from './lib/docker.mjs';
import { whileAwake } from './lib/awake.mjs';
import { figure } from './lib/report.mjs';
import { median, paired, quantile, slope, timed } from './lib/statistics.mjs';

const COMMANDS = 100;
const KEYS = 100;
const SMALL_FILES = 40;
const PROMPTS = 30;
/** Between files, and terminals, as users do not open them without a break. */
const BREAK_MS = 200;
const PAUSES = 40;
const TRANSFERS = 15;
const FLOODS = 3;
const FILE_MIB = 32;
const FLOOD_MIB = 16;
/** In each of so many containers as many terminals as one may have. */
const RESTING = { containers: 6, each: 8 };
/** Commands that a container may have at once, files that are written by a request each, entries of a list. */
const AT_ONCE = 16;
const MANY_FILES = 200;
const ENTRIES = 100;
/** Sandboxes in which nothing runs, and how long they are watched. */
const IDLE = { containers: 20, ms: 20_000 };
const MIB = 2 ** 20;

/**
 * @typedef {{ berth: import('./lib/server.mjs').Berth, docker: import('dockerode'), image: string,
 *   progress: (line: string) => void }} Context
 */

/** @param {Context} context */
export function inside(context) {
  return withBothSides(context, async (sides) => [
    ...(await commands(sides)),
    ...(await whileAwake(() => smallFiles(sides))),
    await prompts(sides),
    await pauses(sides),
    await echoes(sides),
    await floods(sides),
    await resting({ ...sides, image: context.image }),
    await burst(sides),
    await manyFiles(sides),
    await listing(sides),
    await idle({ ...sides, image: context.image }),
  ]);
}

/** @param {Context} context */
export function transfers(context) {
  return withBothSides(context, files);
}

async function withBothSides({ berth, docker, image, progress }, measure) {
  const token = await berth.token();
  const ours = await berth.running(token, image);
  const theirs = await (await likenessesOf(docker, ours.id))();
  await theirs.start();
  const sides = { berth, token, id: ours.db_id, container: theirs, progress };
  try {
    return await measure(sides);
  } finally {
    await theirs.remove({ force: true, v: true });
    await berth.call(token, 'DELETE', `/api/containers/${ours.db_id}`);
  }
}

async function commands({ berth, token, id, container, progress }) {
  const command = ['true'];
  const ourTrue = () => berth.call(token, 'POST', `/api/containers/${id}/exec`, { command });
  const theirTrue = () => execAndRead(container, { Cmd: command });
  const times = [[], []];
  for (let run = 1; run <= COMMANDS; run += 1) {
    if (run % 20 === 0) progress(`commands ${run}/${COMMANDS}`);
    await pair(run, times, [ourTrue, theirTrue]);
  }
  const [measured, limit] = times.map((each) => quantile(each, 0.99));
  return [
    figure({ name: 'a command (true)', ...paired(times), unit: 'ms', bar: 0.4 }),
    figure({ name: 'a command (true), 99th percentile', measured, limit, unit: 'ms', bar: 1.1 }),
  ];
}

/** Docker's own times are reported as progress only. */
async function smallFiles({ berth, token, id, container, progress }) {
  const body = randomBytes(1024);
  const path = '/home/user/small';
  const url = `${berth.url}/api/containers/${id}/files?path=${path}`;
  const authorization = `Bearer ${token}`;
  const write = async () => void (await countOf(await answerOf('PUT', url, { authorization, body })));
  const read = async () => {
    const bytes = await countOf(await answerOf('GET', url, { authorization }));
    if (bytes !== body.length) throw new Error(`${bytes} bytes of ${body.length} came`);
  };
  const theirWrite = () => execAndRead(container, { Cmd: ['sh', '-c', `cat >${path}`], stdin: body });
  const theirRead = () => execAndRead(container, { Cmd: ['cat', path] });
  const [writes, reads] = [
    [[], []],
    [[], []],
  ];
  for (let run = 1; run <= SMALL_FILES; run += 1) {
    if (run % 10 === 0) progress(`small files ${run}/${SMALL_FILES}`);
    await delay(BREAK_MS);
    await pair(run, writes, [write, theirWrite]);
    await delay(BREAK_MS);
    await pair(run, reads, [read, theirRead]);
  }
  return [
    { name: 'a file of 1 KB, written', times: writes, limit: 12 },
    { name: 'a file of 1 KB, read', times: reads, limit: 8 },
  ].map(({ name, times, limit }) => {
    const [measured, docker] = times.map(median);
    progress(`${name}: ${measured.toFixed(1)} ms, Docker's own exec ${docker.toFixed(1)} ms`);
    return figure({ name, measured, limit, unit: 'ms', bar: 1 });
  });
}

/** From the client's connection to the first output of the shell. */
async function prompts({ berth, token, id, container, progress }) {
  const options = { auth: { token, container: id, cols: 80, rows: 24 }, transports: ['websocket'], forceNew: true };
  const ours = async () => {
    const socket = io(`${berth.url}/terminal`, options);
    await new Promise((resolve, reject) => socket.once('output', resolve).once('connect_error', reject));
    return async () => {
      const exit = new Promise((resolve) => socket.once('exit', resolve));
      socket.emit('input', 'exit\n');
      await exit;
      socket.close();
    };
  };
  const theirs = async () => {
    const exec = await container.exec({ Cmd: ['sh'], Tty: true, AttachStdin: true, AttachStdout: true });
    const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
    await once(stream, 'data');
    return () => stream.end('exit\n');
  };
  const times = [[], []];
  for (let run = 1; run <= PROMPTS; run += 1) {
    if (run % 10 === 0) progress(`prompts ${run}/${PROMPTS}`);
    const ends = [];
    await delay(BREAK_MS);
    await pair(
      run,
      times,
      [ours, theirs].map((open) => async () => void ends.push(await open())),
    );
    for (const end of ends) await end();
  }
  const [measured, docker] = times.map(median);
  progress(`prompt: ${measured.toFixed(1)} ms, of Docker's own exec ${docker.toFixed(1)} ms`);
  return figure({ name: 'a terminal’s prompt', measured, limit: 40, unit: 'ms', bar: 1 });
}

/** To the first byte that a command writes: of a paused container, which it resumes, and of a running one, in turns. */
async function pauses({ berth, token, id, progress }) {
  const asks = { authorization: `Bearer ${token}`, accept: 'text/event-stream', 'content-type': 'application/json' };
  const body = JSON.stringify({ command: ['echo', 'x'] });
  const firstByte = async () => {
    const began = performance.now();
    const answer = await fetch(`${berth.url}/api/containers/${id}/exec`, { method: 'POST', headers: asks, body });
    let said = '';
    let ms = null;
    for await (const part of answer.body) {
      said += Buffer.from(part).toString();
      if (said.includes('event: output')) ms ??= performance.now() - began;
    }
    if (ms === null) throw new Error(`the command wrote nothing: ${answer.status} ${said}`);
    return ms;
  };
  const times = { running: [], paused: [], pause: [] };
  for (let run = 1; run <= PAUSES; run += 1) {
    if (run % 10 === 0) progress(`pauses ${run}/${PAUSES}`);
    times.running.push(await firstByte());
    times.pause.push(await timed(() => berth.call(token, 'POST', `/api/containers/${id}/pause`)));
    times.paused.push(await firstByte());
  }
  const [running, paused, pause] = [times.running, times.paused, times.pause].map(median);
  progress(`first byte: ${running.toFixed(1)} ms, paused ${paused.toFixed(1)} ms; a pause ${pause.toFixed(1)} ms`);
  return figure({
    name: 'first byte of a command in a paused container / 1.2 × running + 60 ms',
    measured: paused,
    limit: 1.2 * running + 60,
    unit: 'ms',
    bar: 1,
  });
}

async function files({ berth, token, id, container, progress }) {
  const content = randomBytes(FILE_MIB * MIB);
  const path = '/home/user/bench';
  const url = `${berth.url}/api/containers/${id}/files?path=${path}`;
  const authorization = `Bearer ${token}`;
  const ourUpload = async () => void (await countOf(await answerOf('PUT', url, { authorization, body: content })));
  const ourDownload = async () => assertWhole(await countOf(await answerOf('GET', url, { authorization })));
  // To the same end as Berth's: the file appears whole or not at all, wherever the connection breaks.
  const isWhole = `[ "$(stat -c %s ${path}.part)" = ${content.length} ]`;
  const write = `cat >${path}.part && ${isWhole} && mv -f ${path}.part ${path}`;
  const theirUpload = () => execAndRead(container, { Cmd: ['sh', '-c', write], stdin: content });
  const theirDownload = async () => assertWhole(await execAndRead(container, { Cmd: ['cat', path] }));
  const [up, down] = [
    [[], []],
    [[], []],
  ];
  for (let run = 1; run <= TRANSFERS; run += 1) {
    progress(`files ${run}/${TRANSFERS}`);
    await pair(run, up, [ourUpload, theirUpload]);
    await pair(run, down, [ourDownload, theirDownload]);
  }
  const rates = (times) => {
    const { measured, limit, error } = paired(times);
    const rate = (ms) => (FILE_MIB * 1000) / ms;
    return { measured: rate(measured), limit: rate(limit), error, unit: 'MiB/s', bar: 0.8, smaller: false };
  };
  return [
    figure({ name: `upload of ${FILE_MIB} MiB`, ...rates(up) }),
    figure({ name: `download of ${FILE_MIB} MiB`, ...rates(down) }),
  ];
}

async function echoes({ berth, token, id, container, progress }) {
  const ours = await openTerminal(berth, { token, container: id });
  const theirs = await openExec(container, { Cmd: ['sh'], Tty: true });
  // A shell's editing of lines writes more than the key at the end of each.
  for (const each of [ours, theirs]) await each.until('echo ca""t; exec cat\n', 'cat');
  const times = [[], []];
  for (let run = 1; run <= KEYS; run += 1) {
    if (run % 50 === 0) progress(`keys ${run}/${KEYS}`);
    await pair(run, times, [() => ours.echo('x'), () => theirs.echo('x')]);
  }
  ours.close();
  theirs.close();
  const [measured, limit] = times.map(median);
  progress(`keys: ${measured.toFixed(2)} ms, Docker's own ${limit.toFixed(2)} ms`);
  return figure({
    name: 'key press to echo, over Docker’s own',
    measured: measured - limit,
    limit: 3,
    unit: 'ms',
    bar: 1,
  });
}

/** The bytes reach a client over a socket, and it acknowledges them; Docker's own are read where they arrive. */
async function floods({ berth, token, id, container, progress }) {
  const flood = `head -c ${FLOOD_MIB * MIB} /dev/zero | tr '\\0' x; echo; echo en''d`;
  const ours = await openTerminal(berth, { token, container: id });
  const theirs = await openExec(container, { Cmd: ['sh'], Tty: true });
  const times = [[], []];
  for (let run = 1; run <= FLOODS; run += 1) {
    progress(`output ${run}/${FLOODS}`);
    await pair(run, times, [() => ours.until(`${flood}\n`, 'end'), () => theirs.until(`${flood}\n`, 'end')]);
  }
  ours.close();
  theirs.close();
  const [measured, limit] = times.map((each) => (FLOOD_MIB * 1000) / median(each));
  return figure({ name: 'output of a terminal', measured, limit, unit: 'MiB/s', bar: 0.7, smaller: false });
}

async function resting({ berth, token, image, progress }) {
  const containers = [];
  for (let each = 0; each < RESTING.containers; each += 1) containers.push(await berth.running(token, image));
  const terminals = [];
  const points = [];
  for (const { db_id: container } of containers) {
    progress(`terminals at rest: ${terminals.length}`);
    for (let each = 0; each < RESTING.each; each += 1) terminals.push(await openTerminal(berth, { token, container }));
    points.push([terminals.length, await alive(berth)]);
  }
  const each = slope(points) / 1024;
  for (const terminal of terminals) terminal.close();
  for (const { db_id: container } of containers) await berth.call(token, 'DELETE', `/api/containers/${container}`);
  return figure({ name: 'memory of a terminal at rest', measured: each, limit: 60, unit: 'KB', bar: 1 });
}

/** Commands, as many at the same moment as a container may have, to the end of the last. */
async function burst({ berth, token, id, progress }) {
  const lane = async (_each, first) => {
    for (let each = first; each < COMMANDS; each += AT_ONCE) {
      await berth.call(token, 'POST', `/api/containers/${id}/exec`, { command: ['true'] });
    }
  };
  const times = [];
  for (let run = 1; run <= FLOODS; run += 1) {
    progress(`commands at once ${run}/${FLOODS}`);
    times.push(await timed(() => Promise.all(Array.from({ length: AT_ONCE }, lane))));
  }
  return figure({
    name: `${COMMANDS} commands, ${AT_ONCE} at once`,
    measured: median(times),
    limit: 1500,
    unit: 'ms',
    bar: 1,
  });
}

/** Files of 1 KB, by a request each, as a browser sends them: six at a time. */
async function manyFiles({ berth, token, id, progress }) {
  const body = randomBytes(1024);
  const authorization = `Bearer ${token}`;
  const lane = async (names) => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      const url = `${berth.url}/api/containers/${id}/files?path=/home/user/many/${name}`;
      await countOf(await answerOf('PUT', url, { authorization, body }));
    }
  };
  const times = [];
  for (let run = 1; run <= FLOODS; run += 1) {
    progress(`many files ${run}/${FLOODS}`);
    const names = Array.from({ length: MANY_FILES }, (_each, index) => `${run}-${index}`);
    times.push(await timed(() => Promise.all(Array.from({ length: 6 }, () => lane(names)))));
  }
  return figure({ name: `${MANY_FILES} files, written`, measured: median(times), limit: 2000, unit: 'ms', bar: 1 });
}

async function listing({ berth, token, id, progress }) {
  const command = ['sh', '-c', `mkdir -p /tmp/list && cd /tmp/list && touch $(seq ${ENTRIES})`];
  await berth.call(token, 'POST', `/api/containers/${id}/exec`, { command });
  const times = [];
  for (let run = 1; run <= SMALL_FILES; run += 1) {
    if (run % 20 === 0) progress(`lists ${run}/${SMALL_FILES}`);
    times.push(await timed(() => berth.call(token, 'GET', `/api/containers/${id}/files/list?path=/tmp/list`)));
  }
  return figure({ name: `a list of ${ENTRIES} entries`, measured: median(times), limit: 10, unit: 'ms', bar: 1 });
}

/** Of gVisor's processes. Version 20240729 never sleeps, which is most of it: docs/operations.md. */
async function idle({ berth, token, image, progress }) {
  const containers = [];
  for (let each = 0; each < IDLE.containers; each += 1) {
    progress(`idle sandboxes ${each}/${IDLE.containers}`);
    containers.push(await berth.running(token, image));
  }
  await delay(IDLE.ms / 4);
  const before = sandboxTicks();
  await delay(IDLE.ms);
  const ticks = sandboxTicks() - before;
  for (const { db_id: container } of containers) await berth.call(token, 'DELETE', `/api/containers/${container}`);
  const measured = ((ticks / TICKS_PER_SECOND) * 1000 * 100) / IDLE.ms / IDLE.containers;
  return figure({ name: 'an idle sandbox, of a processor', measured, limit: 2.8, unit: '%', bar: 1.1 });
}

/** `USER_HZ`, which Linux has on all machines that Node.js runs on. */
const TICKS_PER_SECOND = 100;

/** The processor time of all sandboxes of this machine so far. */
function sandboxTicks() {
  let ticks = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // The name in parentheses may hold anything; the state follows it.
      const [, ...fields] = stat.slice(stat.lastIndexOf(')')).split(' ');
      if (stat.includes('(runsc-sandbox') || stat.includes('(exe)')) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended.
    }
  }
  return ticks;
}

/** What is left after a collection, in bytes: what is resident goes in steps far larger than a terminal. */
async function alive(berth) {
  // What the first one frees of objects with finalizers, the second collects.
  await berth.report('memory');
  const { heapUsed, external } = await berth.report('memory');
  return heapUsed + external;
}

/** A terminal of Berth's that reads all that it is sent. */
async function openTerminal(berth, auth) {
  const size = { cols: 80, rows: 24 };
  const options = { auth: { ...auth, ...size }, transports: ['websocket'], forceNew: true };
  const socket = io(`${berth.url}/terminal`, options);
  const talk = new Talk((text) => socket.emit('input', text));
  socket.on('output', (_offset, bytes) => {
    talk.hear(Buffer.from(bytes));
    socket.emit('ack', bytes.byteLength ?? bytes.length);
  });
  await new Promise((resolve, reject) => socket.once('attached', resolve).once('connect_error', reject));
  await talk.ready();
  return Object.assign(talk, { close: () => socket.close(), end: () => talk.say('exit\n') });
}

/** The same by Docker. */
async function openExec(container, { Cmd, Tty }) {
  const exec = await container.exec({ Cmd, Tty, AttachStdin: true, AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({ hijack: true, stdin: true, Tty });
  const talk = new Talk((text) => stream.write(text));
  stream.on('data', (bytes) => talk.hear(bytes));
  await talk.ready();
  return Object.assign(talk, { close: () => stream.destroy() });
}

/** What is said to a shell, and waited for in what it answers. */
class Talk {
  #tail = '';
  #awaited = null;

  constructor(say) {
    this.say = say;
  }

  hear(bytes) {
    // Latin-1: no character is cut in two, and none costs time.
    this.#tail = (this.#tail + bytes.toString('latin1')).slice(-256);
    if (this.#awaited?.isIn(this.#tail)) this.#awaited.resolve();
  }

  ready() {
    return this.until('echo rea""dy\n', 'ready');
  }

  echo(key) {
    return this.#after(key, (tail) => tail.includes(key));
  }

  /** A line of its own, so that the echo of what was said is none. */
  until(said, line) {
    return this.#after(said, (tail) => tail.includes(`\n${line}\r`));
  }

  async #after(said, isIn) {
    this.#tail = '';
    const heard = new Promise((resolve) => (this.#awaited = { isIn, resolve }));
    this.say(said);
    await heard;
    this.#awaited = null;
  }
}

/** @returns {Promise<number>} how many bytes it wrote */
async function execAndRead(container, { Cmd, stdin }) {
  const attach = { AttachStdout: true, AttachStderr: true, ...(stdin && { AttachStdin: true }) };
  const exec = await container.exec({ Cmd, ...attach });
  const stream = await exec.start(stdin ? { hijack: true, stdin: true } : {});
  const output = new PassThrough();
  container.modem.demuxStream(stream, output, output);
  stream.once('end', () => output.end());
  if (stdin) Readable.from([stdin]).pipe(stream);
  const bytes = await countOf(output);
  const { ExitCode } = await exec.inspect();
  if (ExitCode !== 0) throw new Error(`${Cmd.join(' ')}: ${ExitCode}`);
  return bytes;
}

async function countOf(stream) {
  let bytes = 0;
  for await (const chunk of stream) bytes += chunk.length;
  return bytes;
}

/**
 * Not by `fetch`, which spends as much on a large body as all that is measured here: Docker's side is not read and
 * written by it either.
 */
async function answerOf(method, url, { authorization, body }) {
  const headers = { authorization, ...(body && { 'content-length': body.length }) };
  const sent = request(url, { method, headers }).end(body);
  const [answer] = await once(sent, 'response');
  if (answer.statusCode >= 300) throw new Error(`${method} ${url}: ${answer.statusCode}`);
  return answer;
}

function assertWhole(bytes) {
  if (bytes !== FILE_MIB * MIB) throw new Error(`${bytes} bytes of ${FILE_MIB} MiB came`);
}

/** Who is first takes turns. */
async function pair(run, times, sides) {
  for (const side of run % 2 === 0 ? [0, 1] : [1, 0]) times[side].push(await timed(sides[side]));
}
