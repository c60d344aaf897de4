import { request } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(180_000);

interface Streamed {
  readonly status: number;
  readonly stdout: Buffer;
  readonly last: { readonly event: string; readonly data: object };
  readonly body: string;
}

/** More than kernels, Docker and this server keep on the way, and far less than a test may take. */
const MUCH = 64 * 1024 * 1024;

describe('a command whose input and output are streamed, on real Docker under gVisor', () => {
  const docker = new RealDocker();
  const instance = `test-streamed-${String(process.pid)}`;
  let berth: Berth;
  let user: TestUser;
  let container: NewContainer;

  beforeAll(async () => {
    berth = await Berth.start({ environment: { INSTANCE_ID: instance } });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
  });

  const processes = (): Promise<string> => docker.exec(container.id, ['ps']);

  function open(): ReturnType<typeof request> {
    const headers = { authorization: `Bearer ${user.token}`, 'content-type': 'application/octet-stream' };
    return request(`${berth.url}/api/containers/${container.db_id}/exec/stream`, { method: 'POST', headers });
  }

  /** Sends a line and an input, and reads the answer meanwhile. */
  async function stream(line: string, input: Iterable<string | Buffer> = []): Promise<Streamed> {
    const sending = open();
    // What is not read of it may break off once it is answered.
    sending.on('error', () => undefined);
    const answered = new Promise<{ status: number; body: string }>((resolve, reject) => {
      sending.once('response', (response) => {
        text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
      });
    });
    sending.write(line);
    Readable.from(input).pipe(sending);
    const { status, body } = await answered;
    const messages = [...body.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, event = '', data = '{}']) => ({
      event,
      data: JSON.parse(data) as { stream?: string; data?: string },
    }));
    const pieces = messages.flatMap(({ data }) => (data.stream === 'stdout' ? [data.data ?? ''] : []));
    const stdout = Buffer.concat(pieces.map((piece) => Buffer.from(piece, 'base64')));
    return { status, stdout, last: messages.at(-1) ?? { event: '', data: {} }, body };
  }

  it('must get all of its input and give all of its output, whatever bytes and however many', async () => {
    const block = Buffer.from(Array.from({ length: 65_536 }, (_, index) => (index * 7) % 256));
    const blocks = Array.from({ length: 5 }, () => block);
    const sent = Buffer.concat(blocks);
    const { status, stdout, last } = await stream('{"command":["cat"]}\n', blocks);
    expect({ status, isSame: stdout.equals(sent), last }).toEqual({
      status: 200,
      isSame: true,
      last: { event: 'result', data: expect.objectContaining({ exit_code: 0, truncated: false }) },
    });
    const script = JSON.stringify({ command: ['sh', '-c', 'echo "$A"; wc -c; exit 7'], env: { A: 'b' }, cwd: '/tmp' });
    const counted = await stream(`${script}\n`, blocks);
    expect(counted.stdout.toString()).toBe(`b\n${String(sent.length)}\n`);
    expect(counted.last).toMatchObject({ event: 'result', data: { exit_code: 7 } });
    // A line is enough, with its end or without.
    for (const line of ['{"command":["cat"]}\n', '{"command":["cat"]}']) {
      expect(await stream(line)).toMatchObject({ status: 200, last: { event: 'result', data: { exit_code: 0 } } });
    }
  });

  it('must begin to answer while its input still comes, and end by its own end', async () => {
    const sending = open();
    sending.on('error', () => undefined);
    sending.write('{"command":["sh","-c","read line; echo got $line; exit 4"]}\n');
    const response = await new Promise<Readable>((resolve) => {
      sending.once('response', resolve);
      sending.flushHeaders();
    });
    let body = '';
    response.on('data', (chunk: Buffer) => (body += chunk.toString()));
    sending.write('this\n');
    const encoded = Buffer.from('got this\n').toString('base64');
    await eventually(() => expect(body).toMatch(new RegExp(`"data":"${encoded}"[^]*event: result\\n.*"exit_code":4`)));
    sending.destroy();
  });

  it('must answer though it does not read its input', async () => {
    const block = Buffer.alloc(65_536);
    function* much(): Generator<Buffer> {
      for (let sent = 0; sent < MUCH; sent += block.length) yield block;
    }
    const { status, last } = await stream('{"command":["true"]}\n', much());
    expect({ status, last }).toMatchObject({ status: 200, last: { event: 'result', data: { exit_code: 0 } } });
  });

  it('must hold up a client whose input it does not read, and end when that client goes', async () => {
    const timers = jest.spyOn(globalThis, 'setInterval');
    const sending = open();
    sending.on('error', () => undefined);
    sending.write('{"command":["sleep","7681"]}\n');
    const block = Buffer.alloc(65_536);
    let sent = 0;
    let isHeldUp = false;
    const send = (): void => {
      while (sent < MUCH) {
        sent += block.length;
        if (!sending.write(block)) return;
      }
    };
    sending.on('drain', send);
    await eventually(async () => expect(await processes()).toContain('sleep 7681'));
    send();
    let before = -1;
    await eventually(async () => {
      isHeldUp = sent === before;
      before = sent;
      // Docker is asked in between, which takes longer than a piece on its way.
      await processes();
      expect(isHeldUp).toBe(true);
    });
    expect(sent).toBeLessThan(MUCH);
    sending.destroy();
    // Nothing is read of that connection: only what is written to it, every 15 seconds, finds out.
    const heartbeats = timers.mock.calls.flatMap(([beat, ms]) => (ms === 15_000 ? [beat] : []));
    timers.mockRestore();
    expect(heartbeats).not.toEqual([]);
    await eventually(async () => {
      for (const beat of heartbeats) beat();
      expect(await processes()).not.toContain('sleep 7681');
    });
  });

  it.each([
    ['no JSON', 'cat\n', 400, 'invalid_parameters'],
    ['an unknown field', '{"command":["cat"],"stdin":"x"}\n', 400, 'invalid_parameters'],
    ['no command', '{}\n', 400, 'invalid_parameters'],
    ['nothing', '', 400, 'invalid_parameters'],
    ['a line that is too long', `{"command":["${'x'.repeat(70_000)}"]}\n`, 413, 'body_too_large'],
    ['a program that is none', '{"command":["no-such-program"]}\n', 422, 'command_not_started'],
  ])('must be refused with %s', async (_what, line, status, code) => {
    const answer = await stream(line, ['input']);
    expect({ status: answer.status, body: JSON.parse(answer.body) as unknown }).toMatchObject({
      status,
      body: { code },
    });
  });

  it('must be in the audit by its program alone', async () => {
    const { body } = await user.api.call('GET', '/api/audit?action=container.exec&limit=100');
    const entries = body['entries'] as { detail: unknown }[];
    expect(entries.length).toBeGreaterThan(5);
    const detail = { program: expect.stringMatching(/^(cat|sh|true|sleep|no-such-program)$/), bytes: null };
    expect(entries.flatMap((entry) => entry.detail ?? [])).toEqual(expect.arrayContaining([detail]));
    expect(JSON.stringify(body)).not.toContain('7681');
  });
});
