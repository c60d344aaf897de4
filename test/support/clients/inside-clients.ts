import { request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Answer, ApiClient, NewContainer } from './api-client';
import { EventStreamClient } from './event-stream-client';
import { eventually } from '../eventually';
import { openCall } from './http-call';
import { PlainTerminal, TerminalClient } from './terminal-client';

/** Size of the downloaded file: far more than the sockets' buffers hold. */
const FILE_BYTES = 64 * 1024 * 1024;

export const CLIENT_KINDS = [
  'terminal',
  'websocket',
  'command',
  'command stream',
  'process',
  'statistics',
  'upload',
  'download',
] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/** What a client received at its end. */
export type Told = Readonly<Record<string, unknown>>;

/** One active client of each kind in one container. */
export class InsideClients {
  private constructor(
    /** The ids of the terminal and of the kept process. */
    readonly ids: { readonly terminal: string; readonly process: string },
    /** Each settles when its client was told of its end, or was disconnected. */
    private readonly ends: Readonly<Record<ClientKind, Promise<Told>>>,
    private readonly readOn: () => void,
    /** How many statistics have arrived so far. */
    readonly looks: () => number,
    readonly close: () => void,
  ) {}

  /** Resolves when all clients are active. @param api with the scope `exec` */
  static async open(api: ApiClient, container: NewContainer): Promise<InsideClients> {
    const { url, token } = api;
    const inside = `/api/containers/${container.db_id}`;
    const stream = (path: string, body?: object): Promise<EventStreamClient> =>
      EventStreamClient.open({ url, token, path: `${inside}${path}`, ...(body && { body }) });
    const made = await api.call('POST', `${inside}/exec`, {
      command: ['sh', '-c', `head -c ${String(FILE_BYTES)} /dev/zero >/tmp/large`],
      timeout_ms: 60_000,
    });
    if (made.body['exit_code'] !== 0) throw new Error(`no file: ${JSON.stringify(made.body)}`);
    const terminal = await new TerminalClient(url, { token, container: container.db_id }).opened();
    const websocket = await new PlainTerminal(`${url}/ws/terminal/${container.db_id}`, {
      headers: { authorization: `Bearer ${token}` },
    }).opened();
    const command = api.call('POST', `${inside}/exec`, { command: ['sleep', '7001'] });
    const commandStream = await stream('/exec', { command: ['sh', '-c', 'echo begun; exec sleep 7002'] });
    await eventually(() => expect(commandStream.told).toHaveLength(1));
    const kept = await api.call('POST', `${inside}/processes`, { command: ['sleep', '7003'] });
    if (kept.status !== 201) throw new Error(`no process: ${JSON.stringify(kept.body)}`);
    const process = String(kept.body['id']);
    const followed = await stream(`/processes/${process}/output`);
    const statistics = await stream('/stats');
    await eventually(() => expect(statistics.told.length).toBeGreaterThan(0), { timeoutMs: 10_000 });
    const upload = openUpload(api, `${inside}/files?path=/tmp/upload`);
    const download = await openDownload(api, `${inside}/files?path=/tmp/large`);
    return new InsideClients(
      { terminal: terminal.session, process },
      {
        terminal: when(
          () => terminal.disconnects.length > 0,
          () => ({ ...terminal.exit, by: terminal.disconnects[0] }),
        ),
        websocket: when(
          () => websocket.closed !== null,
          () => ({ ...websocket.closed }),
        ),
        command: command.then(briefly, cutOff),
        'command stream': endOf(commandStream),
        process: endOf(followed),
        statistics: endOf(statistics),
        upload: upload.end,
        download: download.end,
      },
      download.readOn,
      () => statistics.told.length,
      () => {
        terminal.socket.close();
        websocket.socket.terminate();
        for (const each of [commandStream, followed, statistics]) each.close();
        upload.close();
        download.readOn();
      },
    );
  }

  /**
   * @param going of a kind that is not to be told of an end: it is asked once the others were told
   * @returns what each client was told; `late` for one that was told nothing in time
   */
  async told(withinMs: number, going?: ClientKind): Promise<Record<ClientKind, Told>> {
    this.readOn();
    const over = new AbortController();
    const late = delay(withinMs, { late: true }, { signal: over.signal });
    late.catch(() => undefined);
    const toldOf = async (kind: ClientKind, end: Promise<Told>) =>
      [kind, await Promise.race([this.ends[kind], end])] as const;
    const told = await Promise.all(CLIENT_KINDS.filter((kind) => kind !== going).map((kind) => toldOf(kind, late)));
    if (going) told.push(await toldOf(going, delay(0, { late: true })));
    over.abort();
    return Object.fromEntries(told) as Record<ClientKind, Told>;
  }
}

async function when(isOver: () => boolean, told: () => Told): Promise<Told> {
  while (!isOver()) await delay(20, undefined, { ref: false });
  return told();
}

function endOf(stream: EventStreamClient): Promise<Told> {
  return when(
    () => stream.ending !== null,
    () => {
      const last = stream.told.at(-1);
      return { by: stream.ending, name: last?.name, ...(last?.data as object | undefined) };
    },
  );
}

function briefly({ status, body }: Answer): Told {
  return { status, code: body['code'] };
}

function cutOff(): Told {
  return { by: 'cut' };
}

/** Sends the first part of a file, and then nothing. */
function openUpload({ url, token }: ApiClient, path: string): { end: Promise<Told>; close: () => void } {
  const request = httpRequest(`${url}${path}`, {
    agent: false,
    method: 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/octet-stream', 'content-length': 9e6 },
  });
  const end = new Promise<Told>((resolve) => {
    request.once('error', () => resolve(cutOff()));
    request.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => {
        resolve({ status: response.statusCode, code: (JSON.parse(text) as { code?: unknown }).code });
        request.destroy();
      });
    });
  });
  request.write(Buffer.alloc(100_000, 'x'));
  return { end, close: () => void request.destroy() };
}

/** Reads only the head of the response; `readOn` reads the rest. */
async function openDownload(
  { url, token }: ApiClient,
  path: string,
): Promise<{ end: Promise<Told>; readOn: () => void }> {
  const response = await openCall(url, path, { token });
  if (response.statusCode !== 200) throw new Error(`no download: ${String(response.statusCode)}`);
  const end = new Promise<Told>((resolve) => {
    response.once('close', () => resolve({ by: response.complete ? 'complete' : 'cut' }));
    response.once('error', () => undefined);
  });
  return { end, readOn: () => void response.resume() };
}
