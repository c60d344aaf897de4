import { rm } from 'node:fs/promises';
import { Berth as Server } from '../../../test/support/servers/berth.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { TcpProxy } from '../../../test/support/faults/tcp-proxy.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';
import { type Attached, Berth, type Terminal, type TerminalOptions } from '../src/index.ts';

jest.setTimeout(120_000);

/** What came of a terminal. */
interface Seen {
  readonly terminal: Terminal;
  text: string;
  readonly attached: Attached[];
}

describe('inside a container, through a cable that is pulled', () => {
  let database: TestDatabase;
  let server: Server;
  let cable: TcpProxy;
  let berth: Berth;
  /** Beside the cable. */
  let direct: Berth;
  let id: string;
  const open: Terminal[] = [];

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { ENGINE: 'simulated', SIMULATION_SPEED: '1000', INSTANCE_ID: 'client-inside' };
    server = await Server.start({ database, environment });
    cable = await TcpProxy.before(server.url);
    const { token } = await server.user('enterprise');
    berth = new Berth({ url: `http://${cable.host}`, token });
    direct = new Berth({ url: server.url, token });
    id = (await berth.containers.create({ image: 'sandbox' })).db_id;
    await berth.containers.wait(id, 'running');
  });
  afterEach(() => {
    for (const terminal of open.splice(0)) terminal.detach();
  });
  afterAll(async () => {
    await cable.down();
    await server.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true });
    await database.drop();
  });

  function look(make: (options: TerminalOptions) => Terminal): Seen {
    const attached: Attached[] = [];
    const decoder = new TextDecoder();
    const terminal = make({
      onOutput: (bytes) => void (seen.text += decoder.decode(bytes, { stream: true })),
      onAttached: (each) => attached.push(each),
    });
    const seen: Seen = { terminal, text: '', attached };
    open.push(terminal);
    return seen;
  }

  const shows = (seen: Seen, text: string): Promise<void> => eventually(() => expect(seen.text).toContain(text));

  async function pulled(meanwhile: () => Promise<unknown> = () => Promise.resolve()): Promise<void> {
    await cable.down();
    await meanwhile();
    await cable.up();
  }

  it('a terminal must go on in the same shell and from the same byte, as often as the connection breaks', async () => {
    const seen = look((options) => berth.terminal(id, options));
    const { session, role } = await seen.terminal.opened;
    expect({ role, id: seen.terminal.id }).toEqual({ role: 'writer', id: session });
    await seen.terminal.write(
      'kept=same; i=0; while [ $i -lt 300 ]; do echo "line-$i"; i=$((i+1)); sleep 0.01; done\r',
    );
    for (let round = 1; round <= 3; round++) {
      await shows(seen, `line-${String(round * 20)}\r\n`);
      await pulled();
      await eventually(() => expect(seen.attached).toHaveLength(round + 1));
    }
    await seen.terminal.write('echo "$kept-shell"\r');
    await shows(seen, 'same-shell\r\n');
    const lines = [...seen.text.matchAll(/line-(\d+)\r$/gm)].map(([, number]) => Number(number));
    expect(lines).toEqual(Array.from({ length: 300 }, (_, index) => index));
    expect(seen.attached.map(({ gap, role: again }) => ({ gap, again }))).toEqual(
      Array.from({ length: 4 }, () => ({ gap: false, again: 'writer' })),
    );
    await seen.terminal.write('exit 7\r');
    expect(await seen.terminal.ended).toMatchObject({ code: 7, reason: 'exited' });
  });

  it('a terminal must be attached to by its id, from another client, with what it showed and with a part of it', async () => {
    const first = look((options) => berth.terminal(id, options));
    const { session } = await first.terminal.opened;
    await first.terminal.write('echo $((6*7))-before\r');
    await shows(first, '42-before\r\n');
    const { position } = first.terminal;
    first.terminal.detach();
    expect(await first.terminal.ended).toEqual({ code: null, reason: 'detached' });
    expect((await berth.terminals.list(id)).map((each) => each.id)).toContain(session);

    const watcher = look((options) => berth.terminals.attach(id, session, options));
    await shows(watcher, '42-before\r\n');
    const rest = look((options) =>
      berth.terminals.attach(id, session, { ...options, after: position, takeover: true }),
    );
    expect(await rest.terminal.opened).toMatchObject({ session, offset: position, gap: false, role: 'writer' });
    await rest.terminal.write('echo $((6*7))-after\r');
    await shows(rest, '42-after\r\n');
    await shows(watcher, '42-after\r\n');
    expect(rest.text).not.toContain('before');
    await eventually(() => expect(watcher.terminal.role).toBe('watcher'));
    await expect(watcher.terminal.write('no')).rejects.toMatchObject({ code: 'unexpected_answer' });
    watcher.terminal.takeOver();
    await eventually(() => expect(watcher.terminal.role).toBe('writer'));
    await berth.terminals.end(id, session);
    expect(await watcher.terminal.ended).toMatchObject({ reason: 'ended' });
  });

  it('a terminal that is not there must be refused, and one that ended while the cable was out be lost', async () => {
    const seen = look((options) => berth.terminal(id, options));
    const { session } = await seen.terminal.opened;
    const other = session.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    const none = look((options) => berth.terminals.attach(id, other, options));
    await expect(none.terminal.opened).rejects.toMatchObject({ code: 'terminal_not_found' });
    await expect(none.terminal.ended).rejects.toMatchObject({ code: 'terminal_not_found' });
    await pulled(async () => {
      await direct.terminals.end(id, session);
      await eventually(async () => expect(await direct.terminals.list(id)).toEqual([]));
    });
    expect(await seen.terminal.ended).toEqual({ code: null, reason: 'lost' });
  });

  it('what is typed while the connection is broken must wait for it, or be dropped after a while', async () => {
    const interrupted: string[] = [];
    const open = async (name: string, dropInputAfterMs?: number): Promise<Seen> => {
      const own = dropInputAfterMs === undefined ? {} : { dropInputAfterMs };
      const onInterrupted = (): unknown => interrupted.push(name);
      const seen = look((options) => berth.terminal(id, { ...options, ...own, onInterrupted }));
      await seen.terminal.opened;
      return seen;
    };
    const [waiting, hasty, patient] = [await open('waiting'), await open('hasty', 200), await open('patient', 600_000)];
    const dropped = { code: 'connection_failed' };
    await cable.down();
    await eventually(() => expect(new Set(interrupted)).toEqual(new Set(['waiting', 'hasty', 'patient'])));
    const kept = [waiting, patient].map(({ terminal }) => terminal.write('echo $((6*7))-kept\r'));
    await expect(hasty.terminal.write('echo $((6*7))-dropped\r')).rejects.toMatchObject(dropped);
    // At once: by now the server is known to be away.
    await expect(hasty.terminal.write('\r')).rejects.toMatchObject(dropped);
    await cable.up();
    await Promise.all(kept);
    for (const seen of [waiting, patient]) await shows(seen, '42-kept\r\n');
    await eventually(() => hasty.terminal.write('echo $((6*7))-after\r'));
    await shows(hasty, '42-after\r\n');
    expect(hasty.text).not.toContain('dropped');
  });

  it('what is typed must be dropped too where the connection stands and nothing is answered', async () => {
    const { terminal } = look((options) => berth.terminal(id, { ...options, dropInputAfterMs: 200 }));
    await terminal.opened;
    cable.freeze({ newcomersToo: true });
    const typed = await Promise.allSettled([terminal.write('first'), terminal.write('second')]);
    expect(typed).toMatchObject([1, 2].map(() => ({ status: 'rejected', reason: { code: 'connection_failed' } })));
    await pulled();
    await eventually(() => terminal.write('\r'));
  });

  it('a process that is followed must tell all that it wrote, once and in order, and its exit', async () => {
    const script = 'i=0; while [ $i -lt 200 ]; do echo $i; i=$((i+1)); sleep 0.01; done; exit 3';
    const { id: process } = await berth.processes.start(id, ['sh', '-c', script]);
    let text = '';
    let end: unknown;
    for await (const message of berth.processes.follow(id, process, { after: 0 })) {
      const before = text.length;
      if (message.type === 'output') text += message.data;
      else end = message;
      if (before < 150 && text.length >= 150) await pulled();
      if (before < 400 && text.length >= 400) await pulled();
    }
    expect(text).toBe(Array.from({ length: 200 }, (_, index) => `${String(index)}\n`).join(''));
    expect(end).toMatchObject({ type: 'exit', exit_code: 3 });
  });

  it('events that are followed must come once and in order, and end with their signal', async () => {
    const leaving = new AbortController();
    const seqs: number[] = [];
    const { event_seq: after } = (await berth.containers.list().page()).answer;
    const following = (async () => {
      for await (const event of berth.events.follow({ after, signal: leaving.signal })) {
        if ('seq' in event) seqs.push(event.seq);
      }
    })();
    for (let round = 0; round < 3; round++) {
      await berth.containers.setLabels(id, { round: String(round) });
      await eventually(() => expect(seqs.length).toBeGreaterThan(round));
      await pulled();
    }
    leaving.abort(new Error('seen enough'));
    await expect(following).rejects.toThrow('seen enough');
    expect(seqs).toEqual(seqs.map((_, index) => after + 1 + index));
  });

  it('statistics that are followed must go on after a break, and say that the container has stopped', async () => {
    const types: string[] = [];
    for await (const message of berth.stats.follow(id)) {
      types.push(message.type);
      if (message.type === 'end') expect(message.reason).toBe('container_stopped');
      if (types.length === 1) await pulled();
      if (types.length === 2) await berth.containers.stop(id);
    }
    expect(types.slice(0, 2)).toEqual(['stats', 'stats']);
    expect(types.at(-1)).toBe('end');
  });
});
