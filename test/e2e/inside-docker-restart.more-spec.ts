import { ApiClient, type NewContainer, testImage } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { IS_SAMPLE } from '../support/extent';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { InsideClients } from '../support/clients/inside-clients';
import { RealDocker } from '../support/docker/real-docker';
import { SecondDocker } from '../support/docker/second-docker';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(300_000);

/** How long a client may be left without a word once Docker has gone. */
const TOLD_WITHIN_MS = 5_000;
/** Of which Docker is killed among. */
const COMMANDS = IS_SAMPLE ? 300 : 1_000;

/** Writes lines until it is told to end, and ends with 7. */
const COUNTING = 'i=0; until [ -e /tmp/enough ]; do echo "line $i"; i=$((i+1)); sleep 0.01; done; exit 7';

/** What each client is told where Berth sees the container end. */
const CONTAINER_ENDED = {
  terminal: { code: null, reason: 'container_stopped' },
  websocket: { code: 4003, reason: 'container_stopped' },
  command: { status: 409, code: 'container_not_running' },
  'command stream': { name: 'failed', code: 'container_not_running' },
  process: { name: 'exit', exit_code: null, reason: 'container_stopped' },
  upload: { status: 409, code: 'container_not_running' },
  download: { by: 'cut' },
};

/** What each client is told where Docker has gone, and the container may still run. */
const CONNECTION_BROKE = {
  terminal: { by: 'transport close' },
  websocket: { code: 1012 },
  command: { status: 500, code: 'docker_unavailable' },
  'command stream': { name: 'failed', code: 'docker_unavailable' },
  // Its last event is no `exit`.
  process: { by: 'complete', name: undefined },
  upload: { status: 500, code: 'docker_unavailable' },
  download: { by: 'cut' },
};

interface OutputData {
  readonly offset: number;
  readonly data: string;
}

describe('those who work in containers, when Docker is restarted', () => {
  let second: SecondDocker;
  let gvisor: Readonly<Record<string, unknown>>;
  let database: TestDatabase;
  let berth: BerthProcess;
  let user: ApiClient;
  let container: NewContainer | null = null;
  let clients: InsideClients | null = null;
  let shell: TerminalClient | null = null;

  beforeAll(async () => {
    const { docker } = new RealDocker();
    const { Runtimes } = (await docker.info()) as { Runtimes: Readonly<Record<string, object>> };
    gvisor = { runtimes: { runsc: Runtimes['runsc'] } };
    second = await SecondDocker.start('data', gvisor);
    await second.take(testImage(), docker);
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      DOCKER_HOST: second.host,
      INSTANCE_ID: 'docker-restart',
      SANDBOX_FIREWALL: 'off',
      DISK_QUOTA: 'off',
      ORPHAN_GRACE_SECONDS: '0',
    });
    await berth.start();
    user = await berth.user();
  });

  afterEach(async () => {
    shell?.leave();
    clients?.close();
    clients = null;
    await works();
    if (container) expect((await user.delete(container.db_id)).status).toBe(200);
    container = null;
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    await second.discard(['data']);
  });

  it.each([
    ['is stopped, with its containers', { signal: 'SIGTERM', told: CONTAINER_ENDED, end: 'process_exited' }],
    // The next start of Docker ends the containers, and nobody sees how.
    [
      'is killed, and ends its containers at its start',
      { signal: 'SIGKILL', told: CONNECTION_BROKE, end: 'process_lost' },
    ],
  ] as const)(
    'must be told at once where it %s, and of one end of each process',
    async (_how, { signal, told, end }) => {
      clients = await opened(false);
      const kept = await keptThings();
      await second.stop(signal);
      // Before anybody can ask Docker again.
      expect(await clients.told(TOLD_WITHIN_MS, 'statistics')).toMatchObject(told);
      await ended(kept.output);

      await second.startAgain();
      await works();
      expect((await clients.told(TOLD_WITHIN_MS)).statistics).toMatchObject({
        name: 'end',
        reason: 'container_stopped',
      });
      const ofProcess = { reason: end === 'process_exited' ? 'container_stopped' : 'lost', exit_code: null };
      for (const id of [clients.ids.process, kept.process]) {
        await eventually(async () => expect(await endsOf(id)).toEqual([end]));
        expect((await inside('GET', `/processes/${id}`)).body).toMatchObject(ofProcess);
      }
      // The container runs again, and none of its programs.
      expect(await programs()).toEqual([]);
      expect(await sh('ls -A /tmp')).toBe('');
      const gone = new TerminalClient(user.url, { ...authOf(kept.terminal) });
      await eventually(() => expect(gone.refusal?.data).toMatchObject({ code: 'terminal_not_found' }));
      expect((await inside('GET', '/terminals')).body['terminals']).toEqual([]);
      await usable();
    },
  );

  it.each([['stopped', 'SIGTERM'] as const, ['killed', 'SIGKILL'] as const])(
    'must come back to the same shell and process where it is %s, and its containers run on by live-restore',
    async (_how, signal) => {
      clients = await opened(true);
      const kept = await keptThings();
      await second.stop(signal);
      expect(await clients.told(TOLD_WITHIN_MS, 'statistics')).toMatchObject(CONNECTION_BROKE);
      await ended(kept.output);

      await second.startAgain();
      const looks = clients.looks();
      await goOn(kept);
      await eventually(() => expect(clients?.looks()).toBeGreaterThan(looks + 1));
      expect((await clients.told(0)).statistics).toEqual({ late: true });
    },
  );

  it('must come back to them where it is killed together with the server', async () => {
    clients = await opened(true);
    const kept = await keptThings();
    await Promise.all([berth.kill(), second.stop('SIGKILL')]);
    await second.startAgain();
    await berth.start();
    user = new ApiClient(berth.url, user.token);
    await goOn(kept);
  });

  it('must have run each of many commands at most once, and lost none, where Docker is killed among them', async () => {
    await begin(true);
    const said = new Map<number, unknown>();
    let back = Promise.resolve();
    let next = 0;
    const ask = async (): Promise<void> => {
      while (next < COMMANDS) {
        const id = next++;
        if (id === 0.4 * COMMANDS)
          back = second
            .stop('SIGKILL')
            .then(() => second.startAgain())
            .then(works);
        const { stdout, code } = await run(['sh', '-c', `echo ${String(id)} >>/tmp/ran; echo ${String(id)}`]);
        said.set(id, stdout ?? code);
        if (stdout === undefined) await back;
      }
    };
    await Promise.all(Array.from({ length: 16 }, ask));
    const ran = String(await sh('cat /tmp/ran; rm /tmp/ran'))
      .trim()
      .split('\n')
      .map(Number);
    expect(new Set(ran).size).toBe(ran.length);
    const whole = [...said].flatMap(([id, words]) => (words === `${String(id)}\n` ? [id] : []));
    expect(ran).toEqual(expect.arrayContaining(whole));
    // Those that were running when Docker was killed, or asked for before the others knew.
    const failed = [...said].filter(([id]) => !whole.includes(id));
    expect(failed.length > 32 ? failed : []).toEqual([]);
    await eventually(async () => expect(await programs()).toEqual([]));
  });

  /** Restarts Docker, and makes a container. */
  async function begin(liveRestore: boolean): Promise<void> {
    await second.stop();
    await second.startAgain({ ...gvisor, 'live-restore': liveRestore });
    container = await eventually(() => user.running(), { timeoutMs: 60_000 });
    await works();
  }

  async function opened(liveRestore: boolean): Promise<InsideClients> {
    await begin(liveRestore);
    return InsideClients.open(user, current());
  }

  /** A shell with a variable and a job, and a process whose output is followed. */
  async function keptThings(): Promise<Kept> {
    shell = await new TerminalClient(user.url, authOf()).opened();
    shell.type('mine=$((40+2)); sleep 7004 & echo "begun-$mine"\n');
    await shell.says('begun-42');
    const started = await inside('POST', '/processes', { command: ['sh', '-c', COUNTING] });
    expect(started.status).toBe(201);
    const process = String(started.body['id']);
    const output = await follow(process);
    await eventually(() => expect(output.told.length).toBeGreaterThan(10));
    return { terminal: shell.session, process, output };
  }

  /** Checks that what `keptThings` made goes on, and nothing else. */
  async function goOn({ terminal, process, output }: Kept): Promise<void> {
    await works();
    // Its sandbox gives up the connection of before after half a minute, and what was done on it ten seconds later.
    await eventually(
      async () => {
        const running = String(await sh('ps -o args'));
        expect(running).not.toMatch(/sleep 700[12]|head -c/);
        expect(running.match(/supervisor connect/g)).toHaveLength(1);
        expect(running).toContain('sleep 7003');
        expect(running).toContain('sleep 7004');
        // Without what had arrived of an upload.
        expect(await sh('ls -A /tmp')).toBe('large\n');
      },
      { timeoutMs: 90_000 },
    );

    const back = await new TerminalClient(user.url, { ...authOf(terminal), after: shell?.end }).opened();
    shell = back;
    expect(back.attached).toMatchObject({ session: terminal, gap: false, role: 'writer' });
    back.type('echo "still-$mine"; jobs\n');
    await back.says('still-42');
    await back.says(/Running +sleep 7004/);
    expect(back.text).not.toContain('begun-42');

    const ids = [process, String(clients?.ids.process)];
    for (const id of ids) {
      expect((await inside('GET', `/processes/${id}`)).body).toMatchObject({ status: 'running', reason: null });
      expect(await endsOf(id)).toEqual([]);
    }
    const rest = await follow(process, output.lastEventId);
    await sh('touch /tmp/enough');
    await eventually(() => expect(rest.ending).toBe('complete'));
    expect(rest.told.at(-1)).toMatchObject({ name: 'exit', data: { exit_code: 7, reason: 'exited' } });
    const pieces = [...output.told, ...rest.told].filter(({ name }) => name !== 'exit');
    let text = '';
    for (const { name, data } of pieces) {
      expect([name, (data as OutputData).offset]).toEqual(['output', text.length]);
      text += (data as OutputData).data;
    }
    const count = text.split('\n').length - 1;
    expect(text).toBe(Array.from({ length: count }, (_, line) => `line ${String(line)}\n`).join(''));
    await eventually(async () => expect(await endsOf(process)).toEqual(['process_exited']));
    expect((await inside('DELETE', `/processes/${String(clients?.ids.process)}`)).status).toBe(200);
    await eventually(async () => expect(await endsOf(String(clients?.ids.process))).toEqual(['process_exited']));
    await usable();
  }

  /** Everything works again for new clients. */
  async function usable(): Promise<void> {
    (await InsideClients.open(user, current())).close();
  }

  /** A stream breaks off, and says nothing of an end. */
  async function ended(output: EventStreamClient): Promise<void> {
    await eventually(() => expect(output.ending).toBe('complete'));
  }

  function follow(process: string, lastEventId?: string): Promise<EventStreamClient> {
    const path = `/api/containers/${current().db_id}/processes/${process}/output`;
    return EventStreamClient.open({ url: user.url, token: user.token, path, lastEventId });
  }

  function authOf(session?: string) {
    const { db_id } = current();
    return { token: user.token, container: db_id, ...(session !== undefined && { session }), takeover: true };
  }

  /** Of the events about a process, those that tell of its end. */
  async function endsOf(process: string): Promise<unknown[]> {
    const { body } = await user.call('GET', '/api/events?limit=200');
    const events = body['events'] as { type: string; data: { id?: unknown } }[];
    return events.flatMap(({ type, data }) => (data.id === process && type !== 'process_started' ? [type] : []));
  }

  /** Starts the container if it was stopped, and runs something in it. */
  async function works(): Promise<void> {
    if (!container) return;
    const { db_id } = container;
    await eventually(
      async () => {
        const { body } = await user.get(db_id);
        if (body['status'] === 'stopped') await user.start(db_id);
        expect(await run(['echo', 'works'])).toMatchObject({ stdout: 'works\n' });
      },
      { timeoutMs: 60_000 },
    );
  }

  /** What runs in the container besides its supervisor and Berth's connection to it. */
  async function programs(): Promise<string[]> {
    const lines = String(await sh('ps -o args'))
      .trim()
      .split('\n')
      .slice(1);
    return lines.filter((line) => !/^\/\.berth\/supervisor|ps -o args/.test(line));
  }

  function current(): NewContainer {
    if (!container) throw new Error('no container');
    return container;
  }

  const inside = (method: string, path: string, body?: object) =>
    user.call(method, `/api/containers/${current().db_id}${path}`, body);

  async function run(command: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    return (await inside('POST', '/exec', { command })).body;
  }

  const sh = async (script: string): Promise<unknown> => (await run(['sh', '-c', script]))['stdout'];
});

interface Kept {
  readonly terminal: string;
  readonly process: string;
  readonly output: EventStreamClient;
}
