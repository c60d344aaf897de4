import { Berth, isBerthError } from '../src/index.ts';

/** What a stream gives before it breaks: its text, or an answer that is refused. */
type Scripted = string | { readonly status: number; readonly code: string };

/** A client whose streams are these, one after the other, each cut off at its end, and the addresses that it asks. */
function scripted(...streams: readonly Scripted[]): { berth: Berth; asked: string[] } {
  const asked: string[] = [];
  const left = [...streams];
  const answer = (address: string, { signal }: RequestInit = {}): Promise<Response> => {
    asked.push(address.replace('http://berth.test', ''));
    const next = left.shift();
    if (next === undefined) return Promise.reject(new TypeError('fetch failed'));
    if (typeof next === 'string') return Promise.resolve(new Response(cutOff(next, signal)));
    const { status, code } = next;
    return Promise.resolve(new Response(JSON.stringify({ error: 'a sentence', code }), { status }));
  };
  return { berth: new Berth({ url: 'http://berth.test', retries: 0, fetch: answer as typeof fetch }), asked };
}

/** @param text ends with `…` where the stream stays open, and says no more */
function cutOff(text: string, signal: AbortSignal | null | undefined): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text.replace('…', '')));
      signal?.addEventListener('abort', () => controller.error(signal.reason));
    },
    pull(controller) {
      if (!text.endsWith('…')) controller.error(new TypeError('terminated'));
      return new Promise(() => undefined);
    },
  });
}

const event = (seq: number): string => `id: ${String(seq)}\ndata: {"type":"agent_connected","seq":${String(seq)}}\n\n`;
const stats = (at: string): string => `event: stats\ndata: {"at":"${at}"}\n\n`;

async function all<Message>(stream: AsyncIterable<Message>): Promise<Message[]> {
  const messages: Message[] = [];
  for await (const message of stream) messages.push(message);
  return messages;
}

const refused = { status: 401, code: 'unauthorized' };

describe('events that are followed', () => {
  it('must go on after the last one that came, and end where the server refuses', async () => {
    const { berth, asked } = scripted(event(8) + event(9), { status: 503, code: 'shutting_down' }, event(10), refused);
    const seqs: unknown[] = [];
    const following = (async () => {
      for await (const each of berth.events.follow({ after: 7 })) seqs.push('seq' in each && each.seq);
    })();
    await expect(following).rejects.toMatchObject({ code: 'unauthorized' });
    expect(seqs).toEqual([8, 9, 10]);
    expect(asked.map((address) => address.split('after=')[1])).toEqual(['7', '9', '9', '10']);
  });

  it('must go on from where the stream began, where it breaks before the first event', async () => {
    const { berth, asked } = scripted('id: 41\n\n', refused);
    await expect(all(berth.events.follow())).rejects.toMatchObject({ code: 'unauthorized' });
    expect(asked).toEqual(['/api/events/stream', '/api/events/stream?after=41']);
  });

  it('must go on after the events that are no longer kept', async () => {
    const { berth, asked } = scripted('id: 60\ndata: {"type":"resync_required","event_seq":60}\n\n', refused);
    await expect(all(berth.events.follow({ after: 1 }))).rejects.toMatchObject({ code: 'unauthorized' });
    expect(asked[1]).toBe('/api/events/stream?after=60');
  });

  it('must say so where there is no server to begin with', async () => {
    const { berth, asked } = scripted();
    await expect(all(berth.events.follow())).rejects.toMatchObject({ code: 'connection_failed' });
    expect(asked).toHaveLength(1);
  });
});

describe('a directory that is watched', () => {
  const change = 'event: changes\ndata: {"changes":[{"type":"write","path":"/a/f"}]}\n\n';
  const changes = { type: 'changes', changes: [{ type: 'write', path: '/a/f' }] };

  it('must have its changes, and the reason for the end', async () => {
    const { berth } = scripted(`${change}event: end\ndata: {"reason":"directory_removed"}\n\n…`);
    const messages = await all(await berth.files.watch('ID', '/a'));
    expect(messages).toEqual([changes, { type: 'end', reason: 'directory_removed' }]);
  });

  it('must fail where the connection breaks, and not begin again', async () => {
    const { berth, asked } = scripted(change, change);
    const messages = await berth.files.watch('ID', '/a');
    expect((await messages.next()).value).toEqual(changes);
    await expect(messages.next()).rejects.toMatchObject({ code: 'connection_failed' });
    expect(asked).toHaveLength(1);
  });

  it('must be refused before there are any messages', async () => {
    const { berth } = scripted(refused);
    await expect(berth.files.watch('ID', '/a')).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

describe('a process that is followed', () => {
  it('must go on from the byte up to which its output came, to its exit', async () => {
    const output = 'id: 5\nevent: output\ndata: {"data":"hello"}\n\n';
    const { berth, asked } = scripted(
      output,
      'id: 8\nevent: output\ndata: {"data":"you"}\n\nevent: exit\ndata: {}\n\n',
    );
    const messages = await all(berth.processes.follow('c', 'p', { after: 0 }));
    expect(messages.map((each) => (each.type === 'output' ? each.data : each.type))).toEqual(['hello', 'you', 'exit']);
    expect(asked.map((address) => address.split('after=')[1])).toEqual(['0', '5']);
  });

  it('must end where it is gone when the connection is made again', async () => {
    const { berth } = scripted('id: 5\nevent: output\ndata: {}\n\n', { status: 404, code: 'process_not_found' });
    await expect(all(berth.processes.follow('c', 'p'))).rejects.toMatchObject({ code: 'process_not_found' });
  });
});

describe('statistics that are followed', () => {
  const end = (reason: string): string => `event: end\ndata: {"reason":"${reason}"}\n\n`;

  it('must go on after a break and a restart of the server, and end with the container', async () => {
    const { berth } = scripted(stats('1'), stats('2') + end('server_stopped'), stats('3') + end('container_stopped'));
    const messages = await all(berth.stats.follow('c'));
    expect(messages).toEqual([
      { type: 'stats', at: '1' },
      { type: 'stats', at: '2' },
      { type: 'stats', at: '3' },
      { type: 'end', reason: 'container_stopped' },
    ]);
  });

  it.each([
    [{ status: 409, code: 'container_not_running' }, 'container_stopped'],
    [{ status: 404, code: 'container_not_found' }, 'container_deleted'],
  ])('must end where it is known after a break alone: %j', async (answer, reason) => {
    const { berth } = scripted(stats('1'), answer);
    expect((await all(berth.stats.follow('c')))[1]).toEqual({ type: 'end', reason });
    await expect(all(scripted(answer).berth.stats.follow('c'))).rejects.toMatchObject({ code: answer.code });
  });
});

describe('statistics of several containers that are followed', () => {
  const stats = (id: string): string => `event: stats\ndata: {"db_id":"${id}"}\n\n`;
  const end = 'event: end\ndata: {"reason":"server_stopped"}\n\n';

  it('must go on after a break and a restart of the server, and end where it refuses', async () => {
    const { berth, asked } = scripted(stats('a'), stats('b') + end, stats('a'), refused);
    const ids: string[] = [];
    const following = (async () => {
      for await (const { db_id } of berth.stats.followMany(['a', 'b'])) ids.push(db_id);
    })();
    await expect(following).rejects.toMatchObject({ code: 'unauthorized' });
    expect(ids).toEqual(['a', 'b', 'a']);
    expect(new Set(asked)).toEqual(new Set(['/api/stats/stream?ids=a%2Cb']));
  });
});

describe('a stream', () => {
  it('must end with the reason of its signal: while it says nothing, and before another try', async () => {
    for (const streams of [[`${event(1)}…`], [event(1)]]) {
      const { berth } = scripted(...streams);
      const leaving = new AbortController();
      const following = berth.events.follow({ signal: leaving.signal });
      await following.next();
      setImmediate(() => leaving.abort(new Error('enough')));
      await expect(following.next()).rejects.toThrow('enough');
    }
  });

  it('must be taken for broken where not even a sign of life comes', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick'] });
    try {
      const { berth, asked } = scripted(`${event(1)}…`, event(2));
      const following = berth.events.follow();
      await following.next();
      const next = following.next();
      await jest.advanceTimersByTimeAsync(44_000);
      expect(asked).toHaveLength(1);
      await jest.advanceTimersByTimeAsync(9_000);
      expect(await next).toMatchObject({ value: { seq: 2 } });
      await following.return();
    } finally {
      jest.useRealTimers();
    }
  });

  it("must pass a server's own failure on", async () => {
    const { berth } = scripted(
      'event: failed\ndata: {"error":"gone","code":"docker_unavailable","request_id":"r"}\n\n',
    );
    const error: unknown = await all(berth.commands.follow('c', ['ls'])).catch((thrown: unknown) => thrown);
    if (!isBerthError(error, 'docker_unavailable')) throw error;
    expect(error).toMatchObject({ message: 'gone', requestId: 'r' });
  });
});
