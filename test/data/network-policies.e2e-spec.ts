import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Answer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const TIER = { containers: 5, ...SMALL, session: null, session_once: false, agents: 0 };
const ALLOW = { allow: ['203.0.113.0/24:8000', '198.51.100.7:53/udp'] };
/** The same in the one form that answers have. */
const CANONICAL = { allow: ['198.51.100.7/32:53/udp', '203.0.113.0/24:8000'] };

describe('the allow list of a container', () => {
  const engine = new FakeEngine();
  let folder: string;
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let listed: TestUser;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'berth-test-'));
    const TIERS_FILE = join(folder, 'tiers.json');
    const tiers = { open: TIER, listed: { ...TIER, network: ALLOW } };
    writeFileSync(TIERS_FILE, JSON.stringify({ minimum: SMALL, tiers }));
    database = await openTestDatabase();
    const environment = { INSTANCE_ID: 'policies', TIERS_FILE, GUEST_LOGIN: 'deny' };
    berth = await Berth.start({ database, engine, environment });
    user = await berth.user('open');
    listed = await berth.user('listed');
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    rmSync(folder, { recursive: true });
  });

  const networkIn = (engineId: string): unknown => engine.daemon.containers.get(engineId)?.spec.network;

  it('must be kept, enforced in a new container where it changes, and left alone where it does not', async () => {
    const { id, db_id, name } = await user.api.running({ network: ALLOW });
    expect(networkIn(id)).toEqual(CANONICAL);
    expect((await user.api.get(db_id)).body).toMatchObject({ network: CANONICAL });
    const settings = { name, ...SMALL };
    for (const network of [undefined, { allow: ALLOW.allow.toReversed() }]) {
      const same = await user.api.update(db_id, { ...settings, network });
      expect(same.body).toMatchObject({ restarted: false, container: { id, network: CANONICAL } });
    }
    const narrower = await user.api.update(db_id, { ...settings, network: { allow: ['203.0.113.9:8000'] } });
    expect(narrower.body).toMatchObject({
      restarted: true,
      container: { status: 'running', network: { allow: ['203.0.113.9/32:8000'] } },
    });
    expect(networkIn((narrower.body['container'] as { id: string }).id)).toEqual({ allow: ['203.0.113.9/32:8000'] });
  });

  it('must stay within that of the tier, which is its own where it asks for none', async () => {
    const { db_id, name } = await listed.api.running();
    expect((await listed.api.get(db_id)).body).toMatchObject({ network: CANONICAL });
    const wider = { allow: ['203.0.112.0/23:8000'] };
    for (const network of ['internet', wider]) {
      expectRefused(await listed.api.create({ network }), /must (stay within|be none, or a list within) /);
      expectRefused(await listed.api.update(db_id, { name, ...SMALL, network }), /on the tier "listed"$/);
    }
    expect((await listed.api.create({ network: 'none' })).status).toBe(202);
    expect((await listed.api.call('GET', '/api/tiers')).body['tiers']).toContainEqual(
      expect.objectContaining({ name: 'listed', network: CANONICAL }),
    );
  });

  it('must be refused where it is none, by what is wrong with it', async () => {
    for (const [network, words] of [
      [{ allow: [] }, /1 to 32 entries/],
      [{ allow: ['10.1.2.3/8:443'] }, /use 10.0.0.0\/8/],
      [{ allow: ['10.1.2.3:443 -j ACCEPT'] }, /is not an IPv4 address or network with a port/],
      [{ allow: ['10.1.2.3:443'], deny: [] }, /must be "internet", "none"/],
      ['lan', /must be "internet", "none"/],
    ] as const) {
      expectRefused(await user.api.create({ network }), words);
    }
  });

  it('must be refused where the host firewall does not enforce it, the list of the tier too', async () => {
    engine.daemon.capabilities = { ...engine.daemon.capabilities, allowLists: 'unsupported' };
    try {
      expectRefused(await user.api.create({ network: ALLOW }), /must not be a list, which the host firewall/);
      expectRefused(await listed.api.create(), /must be none: the tier "listed" has a list/);
      expect((await user.api.create()).status).toBe(202);
    } finally {
      engine.daemon.capabilities = { ...engine.daemon.capabilities, allowLists: 'enforced' };
    }
  });

  function expectRefused({ status, body }: Answer, words: RegExp): void {
    expect({ status, body }).toMatchObject({ status: 400, body: { code: 'invalid_parameters' } });
    expect(body['details']).toEqual([
      expect.objectContaining({ field: 'network', message: expect.stringMatching(words) as unknown }),
    ]);
  }
});
