import { randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ContainersService } from '../../src/containers';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Environments } from '../../src/containers/rows/environments';
import { requestHash } from '../../src/idempotency/idempotency-keys';
import { Database } from '../../src/database';
import { Terminals } from '../../src/sandbox/terminals/terminals';
import { SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

/** Found nowhere but where a test put it. */
const SECRET = 'hunter2-and-the-rest';

const newKey = (): string => randomBytes(32).toString('base64');

describe('the env of a container', () => {
  const key = newKey();
  const engine = new FakeEngine();
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await start({ SECRETS_KEY: key });
    user = await berth.user('enterprise');
  });

  afterEach(() => {
    engine.forget();
    expect(engine.daemon.violations).toEqual([]);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  const start = (environment: Record<string, string>): Promise<Berth> =>
    Berth.start({ database, engine, environment: { INSTANCE_ID: 'env', ...environment } });

  /** On SQLite the database is one process's. */
  async function restart(environment: Record<string, string>): Promise<void> {
    await berth.stop();
    berth = await start(environment);
    user = berth.as(user);
  }

  const environments = (): Environments => berth.app.get(Environments);
  const rowOf = (id: string): Promise<ContainerEntity> =>
    berth.app.get(Database).manager.findOneByOrFail(ContainerEntity, { id });
  /** The environment of a command that is run now. */
  async function envIn(id: string, env: Record<string, string> = {}): Promise<unknown> {
    const command = [`env-${randomUUID()}`];
    const programs = recordPrograms();
    expect(await user.api.call('POST', `/api/containers/${id}/exec`, { command, env })).toMatchObject({ status: 200 });
    return programs.get(command[0] ?? '');
  }

  /** @returns the environments of all programs from now on, by the programs' names */
  function recordPrograms(): Map<string, Readonly<Record<string, string>>> {
    const seen = new Map<string, Readonly<Record<string, string>>>();
    engine.daemon.onProgram = ({ command, env }) => {
      seen.set(command[0] ?? '', env);
      return command[0] === 'serve' ? new Promise(() => undefined) : 0;
    };
    return seen;
  }

  async function write(id: string, sealedEnv: string): Promise<void> {
    await berth.app.get(Database).manager.update(ContainerEntity, { id }, { sealedEnv });
  }

  /** Every value of every table, as plain SQL shows it. */
  async function everything(): Promise<string> {
    const { manager } = berth.app.get(Database);
    const tables = manager.dataSource.entityMetadatas.map(({ tableName }) => tableName);
    const rows = await Promise.all(tables.map((table) => manager.query<unknown[]>(`SELECT * FROM ${table}`)));
    expect(tables).toContain('idempotency_keys');
    return JSON.stringify(rows);
  }

  describe('that a settings update replaces', () => {
    it('must be what the next program gets, in the same container, and in no answer or event', async () => {
      const events = await berth.record(user);
      const { id, db_id, name } = await user.api.running({ env: { A: '1', B: '2' } });
      expect(await envIn(db_id)).toEqual({ A: '1', B: '2' });
      const before = engine.callsOf('containers.create');
      const { status, body } = await user.api.update(db_id, { name, ...SMALL, env: { A: SECRET } });
      expect([status, body]).toMatchObject([200, { restarted: false, container: { id } }]);
      expect(engine.callsOf('containers.create')).toBe(before);
      expect(await envIn(db_id)).toEqual({ A: SECRET });
      const event = await events.next('container_updated', { db_id, id, restarted: false });
      expect(JSON.stringify([body, event, events.events])).not.toContain(SECRET);
      // So does a container that is recreated, and another name of the field changes them too.
      engine.daemon.vanish(id);
      await user.api.start(db_id);
      expect(await envIn(db_id)).toEqual({ A: SECRET });
      await user.api.update(db_id, { name, ...SMALL, environment: {} });
      expect(await envIn(db_id)).toEqual({});
    });

    it("must be the container's, and before them the program's own", async () => {
      const { db_id, name } = await user.api.running({ env: { A: 'container', B: 'container', TERM: 'container' } });
      expect(await envIn(db_id, { B: 'own' })).toEqual({ A: 'container', B: 'own', TERM: 'container' });
      const programs = recordPrograms();
      await user.api.call('POST', `/api/containers/${db_id}/processes`, { command: ['process'], env: { B: 'own' } });
      expect(programs.get('process')).toEqual({ A: 'container', B: 'own', TERM: 'container' });
      const caller = { userId: user.id, tier: 'enterprise', sessionExpiresAt: null, boundTo: null };
      const terminal = await berth.app.get(Terminals).open(caller, db_id);
      await terminal.end('ended');
      expect(programs.get('/bin/sh')).toEqual({
        A: 'container',
        B: 'container',
        TERM: 'xterm-256color',
        BERTH_NAME: name,
      });
      const request = { command: ['module'], env: { B: 'own' }, timeoutMs: 60_000, maxOutputBytes: 1 };
      await berth.app.get(ContainersService).exec(caller, db_id, request);
      expect(programs.get('module')).toEqual({ A: 'container', B: 'own', TERM: 'container' });
    });

    it('must be the ones of a start command, and of its readiness command, at its next run', async () => {
      const programs = recordPrograms();
      const start = { command: ['serve'], ready: { command: ['check'] } };
      const { db_id, id, name } = await user.api.running({ env: { A: '1' }, start });
      const ran = (env: unknown): Promise<void> =>
        eventually(() => expect([programs.get('serve'), programs.get('check')]).toEqual([env, env]));
      await ran({ A: '1' });
      await user.api.update(db_id, { name, ...SMALL, env: { A: '2' } });
      const { processes } = (await user.api.call('GET', `/api/containers/${db_id}/processes`)).body;
      expect(processes).toMatchObject([{ program: 'serve', status: 'running' }]);
      for (const each of engine.daemon.programs.get(id) ?? []) each.kill();
      await ran({ A: '2' });
    });

    it('must be taken together with a resize, and with a stopped container, which stays stopped', async () => {
      const { db_id } = await user.api.running();
      await user.api.stop(db_id);
      const wanted = { name: 'together', ...SMALL, memory_mb: 512, env: { A: '2' } };
      const { body } = await user.api.update(db_id, wanted);
      expect(body).toMatchObject({ restarted: false, container: { status: 'stopped', resources: { memory_mb: 512 } } });
      await user.api.start(db_id);
      expect(await envIn(db_id)).toEqual({ A: '2' });
    });

    it('must leave all as it is where it is the same, in whatever order, or absent', async () => {
      const { id, db_id, name } = await user.api.running({ env: { A: '1', B: '2' } });
      for (const env of [{ B: '2', A: '1' }, null, undefined]) {
        const { body } = await user.api.update(db_id, { name, ...SMALL, env });
        expect(body).toMatchObject({ restarted: false, container: { id } });
      }
      const renamed = await user.api.update(db_id, { name: `${name}-2`, ...SMALL, env: { A: '1', B: '2' } });
      expect(renamed.body).toMatchObject({ restarted: false, container: { id } });
    });

    it('shows the names, and a value of its own alone, to its owner with the scope exec', async () => {
      const { db_id } = await user.api.running({ env: { TOKEN: SECRET, __proto__x: '', EDITOR: 'vi' } });
      const path = `/api/containers/${db_id}/env`;
      const listed = await user.api.call('GET', path);
      expect(listed).toMatchObject({ status: 200, body: { count: 3 } });
      expect(listed.body['variables']).toEqual([{ name: 'EDITOR' }, { name: 'TOKEN' }, { name: '__proto__x' }]);
      expect(await user.api.call('GET', `${path}/TOKEN`)).toMatchObject({ body: { name: 'TOKEN', value: SECRET } });
      expect(await user.api.call('GET', `${path}/__proto__x`)).toMatchObject({ body: { value: '' } });
      for (const name of ['OTHER', 'constructor', '__proto__', '%20']) {
        const answer = await user.api.call('GET', `${path}/${name}`);
        expect(answer).toMatchObject({ status: 404, body: { code: 'variable_not_found' } });
      }
      await user.api.patch(db_id, { env: { TOKEN: null, EDITOR: 'ed' } });
      expect((await user.api.call('GET', path)).body['variables']).toEqual([
        { name: 'EDITOR' },
        { name: '__proto__x' },
      ]);
      expect(await user.api.call('GET', `${path}/EDITOR`)).toMatchObject({ body: { value: 'ed' } });
    });

    it('must be refused under both names, and where it is none', async () => {
      const { db_id, name } = await user.api.running();
      for (const body of [{ env: { A: '1' }, environment: {} }, { environment: { 'not a name': '1' } }]) {
        const refused = await user.api.update(db_id, { name, ...SMALL, ...body });
        expect(refused).toMatchObject({ status: 400, body: { details: [{ field: 'environment' }] } });
      }
    });
  });

  describe('in the database', () => {
    it('must be shown by no query, on no table, after whatever was done with it', async () => {
      const body = { env: { PASSWORD: SECRET }, ...SMALL };
      const { db_id, name } = await user.api.running(body);
      const keyed = await fetch(`${berth.url}/api/containers`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${user.token}`,
          'content-type': 'application/json',
          'idempotency-key': 'with-env',
        },
        body: JSON.stringify({ image: 'sandbox', ...body }),
      });
      expect(keyed.status).toBe(202);
      await user.api.update(db_id, { name, ...SMALL, env: { [SECRET.replaceAll('-', '_')]: SECRET } });
      await user.api.delete(db_id);
      const shown = await everything();
      expect(shown).toContain(db_id);
      expect(shown).not.toMatch(/hunter2/i);
      expect(shown).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 16));
      // What can be guessed is not stored as a plain hash either.
      const [row] = await berth.app
        .get(Database)
        .manager.query<{ request_hash: string }[]>(
          `SELECT request_hash FROM idempotency_keys WHERE "key" = 'with-env'`,
        );
      expect(row?.request_hash).toMatch(/^[0-9a-f]{64}$/);
      expect(row?.request_hash).not.toBe(requestHash({ image: 'sandbox', ...body }));
    });

    it('must be of no use in another row', async () => {
      const other = await user.api.running({ env: { A: '2' } });
      const { db_id, name } = await user.api.running({ env: { A: '1' } });
      await write(db_id, (await rowOf(other.db_id)).sealedEnv);
      const before = engine.callsOf('programs.start');
      const refused = await user.api.call('POST', `/api/containers/${db_id}/exec`, { command: ['true'] });
      expect(refused.status).toBe(500);
      expect(engine.callsOf('programs.start')).toBe(before);
      // Others take their place.
      expect(await user.api.update(db_id, { name, ...SMALL, env: { A: '3' } })).toMatchObject({ status: 200 });
      expect(await envIn(db_id)).toEqual({ A: '3' });
    });

    it('must be encrypted at the start where an earlier version left it plain, deleted rows included', async () => {
      const [live, deleted] = await Promise.all([user.api.running(), user.api.running()]);
      await user.api.delete(deleted.db_id);
      for (const { db_id } of [live, deleted]) await write(db_id, JSON.stringify({ LEFT: SECRET }));
      // A process of that version may still insert: it is read.
      expect(environments().open(await rowOf(live.db_id))).toEqual({ LEFT: SECRET });
      await restart({ SECRETS_KEY: key });
      expect(await everything()).not.toContain(SECRET);
      if (database.url.startsWith('sqlite:')) {
        for (const suffix of ['', '-wal']) {
          const bytes = await readFile(database.url.slice('sqlite:'.length) + suffix);
          expect(bytes.includes(SECRET)).toBe(false);
        }
      }
      expect(environments().open(await rowOf(live.db_id))).toEqual({ LEFT: SECRET });
      expect(await envIn(live.db_id)).toEqual({ LEFT: SECRET });
    });

    it('must be encrypted with a new key in time, and be refused to a wrong one with words that say what to do', async () => {
      const { db_id } = await user.api.running({ env: { A: SECRET } });
      const before = (await rowOf(db_id)).sealedEnv;
      const [next, wrong] = [newKey(), newKey()];
      await berth.stop();
      await expect(start({ SECRETS_KEY: wrong })).rejects.toThrow(
        /SECRETS_KEY is not the key that the env of \d+ containers is encrypted with.*SECRETS_KEY_PREVIOUS/,
      );
      berth = await start({ SECRETS_KEY: next, SECRETS_KEY_PREVIOUS: key });
      user = berth.as(user);
      await eventually(async () => expect((await rowOf(db_id)).sealedEnv).not.toBe(before));
      await eventually(async () => expect(await environments().reseal()).toBe(0));
      await restart({ SECRETS_KEY: next });
      expect(environments().open(await rowOf(db_id))).toEqual({ A: SECRET });
      await restart({ SECRETS_KEY: key, SECRETS_KEY_PREVIOUS: next });
      await eventually(async () => expect(await environments().reseal()).toBe(0));
    });

    it('must not lose a change that is made while it is encrypted anew', async () => {
      const { db_id } = await user.api.running({ env: { A: '1' } });
      const next = newKey();
      await restart({ SECRETS_KEY: next, SECRETS_KEY_PREVIOUS: key });
      await write(db_id, JSON.stringify({ A: '1' }));
      const open = jest.spyOn(environments(), 'open').mockImplementationOnce((row) => {
        open.mockRestore();
        // The very moment between its reading and its writing.
        void write(db_id, environments().seal(db_id, { A: '2' }));
        return environments().open(row);
      });
      await environments().reseal();
      await eventually(async () => expect(environments().open(await rowOf(db_id))).toEqual({ A: '2' }));
    });
  });
});
