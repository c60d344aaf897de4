/** Records requests of an E2B SDK, and the shape of the answers: test/README.md, "Programs for E2B". */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request as send } from 'node:http';
import { join } from 'node:path';

const [, , berth, sdk, file, about] = process.argv;
const sources = readdirSync(sdk, { recursive: true }).filter((name) => name.endsWith('.py'));
const words = new Set(sources.flatMap((name) => readFileSync(join(sdk, name), 'utf8').match(/\w+/g) ?? []));
const isRead = (name) => words.has(name) || words.has(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
/** Secrets are not kept: those of a replay are its own. */
const HEADERS = /^(authorization|content-encoding|content-type|connect-timeout-ms|keepalive-ping-interval)$/;
const requests = [];
/** Texts that hold an id of an answer, and what stands for them in later requests. */
const known = new Map();
const named = (text) => [...known].reduce((all, [value, name]) => all.replaceAll(value, name), text);

function messagesOf(bytes, at = 0) {
  const end = at + 5 <= bytes.length ? at + 5 + bytes.readUInt32BE(at + 1) : Infinity;
  return end > bytes.length ? [] : [bytes.toString('utf8', at + 5, end), ...messagesOf(bytes, end)];
}

/** What the SDK may read of an answer, with types in the place of values, and names for ids. */
function shapeOf(value, name) {
  if (Array.isArray(value)) return value.slice(0, 1).map((each) => shapeOf(each));
  if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value).filter(([field]) => name === 'metadata' || isRead(field));
    return Object.fromEntries(fields.map(([field, each]) => [field, shapeOf(each, field)]));
  }
  const isId = ['sandboxID', 'snapshotID', 'watcherId'].includes(name);
  if (!isId || known.has(value)) return value === null ? 'null' : typeof value;
  known.set(value, `{{${name} ${String(known.size)}}}`);
  return known.get(value);
}

/** Of a stream. Sandboxes may have processes with the same pid: the last one is meant. */
function shapeOfMessage(text) {
  const message = JSON.parse(text);
  const { pid } = message.event?.start ?? {};
  if (pid === undefined) return shapeOf(message);
  known.set(`"pid": ${String(pid)}}`, `"pid": {{pid ${String(requests.length)}}}}`);
  return { event: { start: { pid: `{{pid ${String(requests.length)}}}` } } };
}

async function pass(request, response) {
  const { method, url, headers } = request;
  const body = Buffer.concat(await request.toArray());
  const sent = Object.fromEntries(Object.entries(headers).filter(([name]) => HEADERS.test(name)));
  const sandbox = named(headers['e2b-sandbox-id'] ?? '') || undefined;
  const entry = { method, path: named(url), sandbox, headers: sent };
  if (headers['content-type']?.startsWith('application/connect+')) entry.messages = messagesOf(body).map(named);
  else entry.body = named(body.toString('latin1')) || undefined;
  requests.push(entry);
  const record = async (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    const shapes = [];
    let read = Buffer.alloc(0);
    try {
      for await (const chunk of answer) {
        read = Buffer.concat([read, chunk]);
        if (entry.messages) shapes.push(...messagesOf(read).slice(shapes.length).map(shapeOfMessage));
        response.write(chunk);
      }
      response.end();
    } catch {
      entry.cut = response.destroyed ? 'by the client' : 'by Berth';
      response.destroy();
    }
    entry.status = answer.statusCode;
    // Requests up to here did not wait for the stream's end. How output is cut into messages differs: each shape once.
    const events = [...new Set(shapes.map((shape) => JSON.stringify(shape)))];
    if (entry.messages) Object.assign(entry, { until: requests.length, events });
    else entry.answer = /^[{[]/.test(read) ? shapeOf(JSON.parse(read)) : read.toString() || undefined;
  };
  const options = { method, headers: { ...headers, host: 'localhost' } };
  const onward = send(new URL(url, berth), options, (answer) => void record(answer));
  onward.on('error', () => response.headersSent || response.destroy()).end(body);
  response.on('close', () => onward.destroy());
}

createServer((request, response) => void pass(request, response)).listen(18743, '127.0.0.1');

process.once('SIGINT', () => {
  process.exit(writeFileSync(file, [{ about }, ...requests].map((line) => `${JSON.stringify(line)}\n`).join('')));
});
