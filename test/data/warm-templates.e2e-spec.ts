import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WarmSlots } from '../../src/containers/rows/warm-slots';
import { SlotMaker } from '../../src/containers/warm/slot-maker';
import { WarmFiller } from '../../src/containers/warm/warm-filler';
import { type Answer, SMALL, testImage } from '../support/clients/api-client';
import { Poll } from '../../src/scheduling';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

const MIB = 2 ** 20;

describe('warm slots of templates', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-templates-'));
  const file = join(folder, 'slots.json');
  let daemon: FakeDaemon;
  let database: TestDatabase;
  let berth: Berth;
  let admin: NewUser;
  let id: string;

  async function start(pool: string): Promise<void> {
    const settings = {
      INSTANCE_ID: 'warm-templates',
      WARM_POOL: pool,
      VOLUME_COPY_IMAGE: testImage(),
      SWEEP_INTERVAL_SECONDS: '3600',
      MEMORY_RESERVE_MB: '256',
      DISK_RESERVE_MB: '1024',
    };
    berth = await Berth.start({ engine: new FakeEngine(daemon), database, environment: settings });
    // The tests fill the pool themselves, and nothing here fails after its start.
    Object.assign(berth.app.get(SlotMaker), { watchMs: 0 });
    berth.app.get<{ poll: Poll }>(WarmFiller).poll.stop();
    admin = await berth.user('enterprise', ['read', 'write', 'exec', 'admin']);
  }

  const slots = async (): Promise<readonly string[]> =>
    (await berth.app.get(WarmSlots).all()).map(({ slot }) => slot.image);
  /** Fills the pool after a look at every slot. */
  const filled = async (): Promise<void> => {
    Object.assign(berth.app.get(WarmFiller), { nextCheck: 0 });
    await berth.app.get(WarmFiller).look();
  };
  const put = async (body: object): Promise<void> => {
    const answer = await admin.api.call('PUT', '/api/admin/templates/tools', { version: '1', ...body });
    expect(answer.status).toBeLessThan(300);
  };
  const create = (body: object = {}): Promise<Answer> =>
    admin.api.call('POST', '/api/containers', { image: 'tools', ...body });
  /** Makes a snapshot of a container with something in its layer. @returns its id */
  const taken = async (layer: string): Promise<string> => {
    for (const container of daemon.running(id)) container.layer = layer;
    const made = await admin.api.call('POST', `/api/containers/${id}/snapshots`, {});
    const snapshot = String(made.body['id']);
    expect(await admin.api.call('GET', `/api/snapshots/${snapshot}/wait`)).toMatchObject({ status: 200 });
    return snapshot;
  };
  const layerOf = ({ body }: Answer): string | undefined => daemon.running(String(body['db_id']))[0]?.layer;

  beforeAll(() => {
    const slot = { image: 'tools', tier: 'enterprise', count: 1 };
    writeFileSync(file, JSON.stringify({ slots: [slot] }));
  });

  beforeEach(async () => {
    daemon = new FakeDaemon();
    daemon.images.add('berth/sandbox:latest');
    database = await openTestDatabase();
  });

  afterEach(async () => {
    await berth.stop();
    await database.drop();
    expect(daemon.violations).toEqual([]);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it('must be made as the file says, with the image, sizes and network of the template, and be taken', async () => {
    await start(file);
    id = (await admin.api.running()).db_id;
    await put({ snapshot: await taken('x'.repeat(3 * MIB)), memory_mb: 512, network: 'none' });
    await filled();
    expect(await slots()).toEqual([expect.stringMatching(/^berth\/layer:/)]);
    const plain = await create({ start: { command: ['true'] } });
    expect(plain.body).toMatchObject({
      status: 'running',
      image: testImage(),
      resources: { memory_mb: 512 },
      network: 'none',
      template: { name: 'tools', version: '1' },
    });
    expect(layerOf(plain)).toHaveLength(3 * MIB);
    expect(daemon.running(String(plain.body['db_id']))[0]?.spec.keptLayerMb).toBe(3);
    // The disk that the layer takes counts in the next resize as well.
    const resized = await admin.api.patch(String(plain.body['db_id']), { memory_mb: 256 });
    expect(resized).toMatchObject({ status: 200 });
    expect(daemon.running(String(plain.body['db_id']))[0]?.spec.keptLayerMb).toBe(3);
    expect(await create({ memory_mb: 256 })).toMatchObject({ body: { status: 'creating' } });
  });

  it('must be of the present version alone', async () => {
    await start(file);
    id = (await admin.api.running()).db_id;
    await put({ snapshot: await taken('old'), ...SMALL });
    await filled();
    const before = await slots();
    await put({ snapshot: await taken('new'), ...SMALL, version: '2' });
    expect((await create()).body).toMatchObject({ status: 'creating', template: { version: '2' } });
    await eventually(async () => {
      await filled();
      const now = await slots();
      expect(now).toHaveLength(1);
      expect(now).not.toEqual(before);
    });
    const created = await create();
    expect(created.body).toMatchObject({ status: 'running', template: { version: '2' } });
    expect(layerOf(created)).toBe('new');
  });

  it('must not be made or taken for a template with data', async () => {
    await start(file);
    id = (await admin.api.running()).db_id;
    daemon.write(`berth-${id}`, 'precious', MIB);
    await put({ snapshot: await taken('nginx'), data: true, ...SMALL });
    await filled();
    expect(await slots()).toEqual([]);
    expect((await create()).body).toMatchObject({ status: 'creating' });
  });

  it('must follow the creations of the last hour, for the version that the template has now', async () => {
    await start('auto');
    await put({ image: testImage(), ...SMALL });
    await admin.api.call('GET', `/api/containers/${String((await create()).body['db_id'])}/wait?status=running`);
    await eventually(async () => {
      await filled();
      expect(await slots()).toContain(testImage());
    });
    expect((await create()).body).toMatchObject({ status: 'running', template: { name: 'tools', version: '1' } });
    await admin.api.call('DELETE', '/api/admin/templates/tools');
    await eventually(async () => {
      await filled();
      expect(await slots()).not.toContain(testImage());
    });
  });
});
