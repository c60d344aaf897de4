import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WarmSlots } from '../../src/containers/rows/warm-slots';
import { WarmFiller } from '../../src/containers/warm/warm-filler';
import { EngineCalls } from '../../src/engine';
import { SMALL, testImage } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(120_000);

describe('a warm slot in Docker', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    const file = join(folder, 'slots.json');
    const slot = { image: testImage(), tier: 'enterprise', ...SMALL, count: 1 };
    writeFileSync(file, JSON.stringify({ slots: [slot] }));
    berth = await Berth.start({ subject: 'warm-pool', environment: { WARM_POOL: file } });
    user = await berth.user('enterprise');
  });
  afterAll(async () => {
    await berth.stop();
    rmSync(folder, { recursive: true });
  });

  const ready = (): Promise<string> =>
    eventually(async () => {
      const held = await berth.app.get(WarmSlots).all();
      const slot = held.map((each) => each.slot).find(({ state }) => state === 'ready');
      if (slot?.engineId == null) throw new Error('no slot is ready yet');
      return slot.engineId;
    });

  it('must run with a label and without a user, and be in the creation that takes it as any other container', async () => {
    const engineId = await ready();
    const { Config, State } = await berth.docker.inspect(engineId);
    expect(State.Running).toBe(true);
    expect(Config.Labels).toMatchObject({ 'berth.warm': 'true', 'berth.user_id': '', 'berth.generation': '1' });
    const { status, body } = await user.api.create({ name: 'mine' });
    expect([status, body['status'], body['id']]).toEqual([202, 'running', engineId]);
    const said = await user.api.call('POST', `/api/containers/${engineId}/exec`, {
      command: ['sh', '-c', 'echo $HOME'],
    });
    expect(said.body).toMatchObject({ exit_code: 0, stdout: '/home/user\n' });
    expect((await user.api.stop(engineId)).status).toBe(200);
    expect((await user.api.start(engineId)).status).toBe(200);
    expect((await user.api.delete(engineId)).status).toBe(200);
  });

  it('must have a channel for the first command, which counts as no use of it', async () => {
    const engineId = await ready();
    const opened = (): number => berth.app.get(EngineCalls).channels.opened;
    await eventually(async () => expect((await berth.docker.inspect(engineId)).ExecIDs).toHaveLength(1));
    Object.assign(berth.app.get(WarmFiller), { nextCheck: 0 });
    await berth.app.get(WarmFiller).look();
    expect(await ready()).toBe(engineId);
    const before = opened();
    expect((await user.api.create({ env: { SHORT: 'one' } })).body).toMatchObject({ id: engineId });
    const command = ['sh', '-c', 'echo $SHORT'];
    const said = await user.api.call('POST', `/api/containers/${engineId}/exec`, { command });
    expect(said.body).toMatchObject({ exit_code: 0, stdout: 'one\n' });
    expect(opened()).toBe(before);
    expect((await user.api.delete(engineId)).status).toBe(200);
  });

  it('must not be given to a user after another program has run in it, and be replaced', async () => {
    const engineId = await ready();
    await berth.docker.exec(engineId, ['true']);
    const { body } = await user.api.create();
    expect(body).toMatchObject({ status: 'creating' });
    await eventually(async () => expect(await ready()).not.toBe(engineId));
    expect(await berth.docker.containersOf(String(body['db_id']))).toHaveLength(1);
    expect((await user.api.delete(String(body['db_id']))).status).toBe(200);
  });

  it('must be removed with its volume when the pool is emptied', async () => {
    const filler = berth.app.get(WarmFiller);
    await ready();
    await filler.onModuleDestroy();
    const [slot] = (await berth.app.get(WarmSlots).all()).map((each) => each.slot.id);
    expect(await filler.empty()).toBe(1);
    expect(await berth.docker.containersOf(String(slot))).toEqual([]);
    expect(await berth.docker.volumeExists(`berth-${String(slot)}`)).toBe(false);
  });
});
