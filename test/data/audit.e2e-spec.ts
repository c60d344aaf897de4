import { randomUUID } from 'node:crypto';
import { AuditLog } from '../../src/audit';
import { AuditEntryEntity } from '../../src/audit/audit-entry.entity';
import { AuditRetention } from '../../src/audit/audit-log';
import { type Scope, TokenService } from '../../src/auth';
import { Database } from '../../src/database';
import { SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

type Entry = Readonly<Record<string, string | null>>;

const ENVIRONMENT = { INSTANCE_ID: 'audit', SWEEP_INTERVAL_SECONDS: '3600', SHUTDOWN_GRACE_SECONDS: '0' };

describe('the audit', () => {
  const daemon = new FakeDaemon();
  let engine: FakeEngine;
  let clock: TestClock;
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    database = await openTestDatabase();
    [engine, clock] = [new FakeEngine(daemon), new TestClock()];
    berth = await Berth.start({ database, engine, clock, environment: ENVIRONMENT });
  });

  beforeEach(async () => {
    user = await berth.user('free');
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must show everything that a user did, who did it, by which token, from where and when', async () => {
    const { id, db_id } = await user.api.running({ name: 'one', env: { SECRET: 'swordfish' } });
    await user.api.stop(id);
    const stopped = await user.api.start(id.slice(0, 12));
    await user.api.update(db_id, { name: 'two', ...SMALL });
    await user.api.delete(db_id);
    await user.api.call('POST', `/api/containers/${db_id}/restore`);
    const token = await user.api.call('POST', '/api/tokens', { name: 'spare' });
    await user.api.call('DELETE', `/api/tokens/${String(token.body['id'])}`);
    const entries = await audit();
    expect(entries.map(({ action }) => action)).toEqual([
      'token.revoke',
      'token.create',
      'container.restore',
      'container.delete',
      'container.update',
      'container.start',
      'container.stop',
      'container.create',
    ]);
    for (const entry of entries) {
      expect(entry).toMatchObject({ outcome: 'ok', user_id: user.id, subject_user_id: user.id, address: '127.0.0.1' });
      expect(entry['finished_at']).not.toBeNull();
      expect(entry['token_id']).toBe(entries[0]?.['token_id']);
    }
    for (const entry of entries.slice(2)) expect(entry['container_id']).toBe(db_id);
    const [revoked, made, , , , started, stop, created] = entries;
    for (const entry of [revoked, made]) expect(entry?.['target_id']).toBe(token.body['id']);
    expect(started).toMatchObject({ target_id: id.slice(0, 12), request_id: stopped.headers.get('x-request-id') });
    expect(stop?.['target_id']).toBe(id);
    expect(created?.['target_id']).toBe(db_id);
    const whole = JSON.stringify(entries);
    for (const secret of ['swordfish', user.token, String(token.body['token'])]) expect(whole).not.toContain(secret);
  });

  it('must have the name of a program that was started inside, and nothing else of it', async () => {
    const start = { command: ['./server', 'swordfish'] };
    const { db_id } = await user.api.running({ start });
    const inside = `/api/containers/${db_id}`;
    const env = { SECRET: 'swordfish' };
    const long = `/${'x'.repeat(300)}`;
    await user.api.call('POST', `${inside}/exec`, { command: ['true', 'swordfish'], env, stdin: 'swordfish' });
    await user.api.call('POST', `${inside}/exec`, { command: [long], user: '!' });
    await user.api.call('POST', `${inside}/processes`, { command: [long, 'swordfish'], cwd: '/swordfish' });
    await user.api.call('GET', `${inside}/stats`);
    const entries = await audit();
    expect(entries.map(({ action, detail }) => [action, detail])).toEqual([
      ['container.stats', null],
      ['process.start', { program: long.slice(0, 255), bytes: null }],
      // Of what was refused for its form, nothing is known.
      ['container.exec', null],
      ['container.exec', { program: 'true', bytes: null }],
      ['container.create', { program: './server', bytes: null }],
    ]);
    expect(JSON.stringify(entries)).not.toContain('swordfish');
  });

  it('must have what a client polls once a minute, and each look that fails', async () => {
    const { id, db_id } = await user.api.running();
    const other = await tokenOf(user, ['read', 'exec']);
    for (let look = 0; look < 3; look += 1) {
      for (const api of [user.api, other.api]) await api.call('GET', `/api/containers/${db_id}/processes`);
    }
    await user.api.call('GET', `/api/containers/${db_id}/stats`);
    expect((await user.api.stop(id)).status).toBe(200);
    for (let look = 0; look < 2; look += 1) await user.api.call('GET', `/api/containers/${db_id}/stats`);
    const entries = (await audit()).filter(({ action }) => /^(process|container.stats)/.test(String(action)));
    expect(entries.map(({ action, outcome, token_id }) => [action, outcome, token_id === other.tokenId])).toEqual([
      ['container.stats', 'container_not_running', false],
      ['container.stats', 'container_not_running', false],
      ['container.stats', 'ok', false],
      ['process.list', 'ok', true],
      ['process.list', 'ok', false],
    ]);
  });

  it('must show what was refused and what failed', async () => {
    const { id, db_id } = await user.api.running({ name: 'mine' });
    const reader = await tokenOf(user, ['read']);
    const stranger = await berth.user();
    await user.api.create({ name: 'mine' });
    await user.api.create({ memory_mb: 1 });
    await user.api.start(randomUUID());
    await user.api.start('..%2F..%2Fetc');
    engine.failOn('containers.stop');
    await user.api.stop(id);
    await reader.api.stop(id);
    await stranger.api.delete(id);
    const entries = await audit();
    expect(entries.map(({ action, outcome }) => `${String(action)} ${String(outcome)}`)).toEqual([
      'container.delete not_authorized',
      'container.stop insufficient_permissions',
      'container.stop docker_unavailable',
      'container.start container_not_found',
      'container.start container_not_found',
      'container.create invalid_parameters',
      'container.create name_taken',
      'container.create ok',
    ]);
    // What a stranger tried is known to the owner, but not from where.
    const secret = { address: null, token_id: null, request_id: null };
    expect(entries[0]).toMatchObject({
      user_id: stranger.id,
      subject_user_id: user.id,
      container_id: db_id,
      target_id: id,
      ...secret,
    });
    expect(entries[1]).toMatchObject({ user_id: user.id, target_id: id, token_id: reader.tokenId });
    expect(entries[3]?.['target_id']).toBeNull();
    const theirs = await audit(stranger);
    expect(theirs).toHaveLength(1);
    expect(theirs[0]).toMatchObject({ outcome: 'not_authorized', address: '127.0.0.1' });
  });

  it('must show who was let in as a guest, and who was not', async () => {
    const login = async (username: string): Promise<Response> =>
      fetch(`${berth.url}/api/auth/guest`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ username }),
      });
    const username = `guest-${randomUUID().slice(0, 8)}`;
    const { user: guest } = (await (await login(username)).json()) as { user: { id: string } };
    expect((await login(username)).status).toBe(409);
    const admin = await berth.user('pro', ['admin']);
    const [refused, ok] = await audit(admin, '?all=true&action=guest.login&limit=2');
    expect(refused).toMatchObject({ outcome: 'username_taken', user_id: null, address: '127.0.0.1' });
    expect(ok).toMatchObject({ outcome: 'ok', user_id: guest.id, subject_user_id: guest.id, token_id: null });
  });

  it('must have the intent before anything is done, and keep it where the process dies over it', async () => {
    const { id } = await user.api.running();
    const dying = new FakeEngine(daemon);
    // On SQLite there is one process at a time.
    await berth.stop();
    berth = await Berth.start({ database, engine: dying, clock, environment: ENVIRONMENT });
    user = berth.as(user);
    const died = dying.dieOn('containers.stop');
    const hangUp = new AbortController();
    const asked = fetch(`${berth.url}/api/containers/${id}/stop`, {
      method: 'POST',
      headers: { authorization: `Bearer ${user.token}` },
      signal: hangUp.signal,
    });
    await died;
    expect((await audit())[0]).toMatchObject({ action: 'container.stop', outcome: 'pending', finished_at: null });
    expect(daemon.containers.get(id)?.state).toBe('running');
    hangUp.abort();
    await expect(asked).rejects.toThrow(/abort/);
    await berth.stop();
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ database, engine, clock, environment: ENVIRONMENT });
    user = berth.as(user);
    expect((await audit())[0]).toMatchObject({ action: 'container.stop', outcome: 'pending', target_id: id });
  });

  it('must let nothing be done that it cannot write down, and hide nothing that is done', async () => {
    const { id } = await user.api.running();
    const stops = engine.callsOf('containers.stop');
    await query('ALTER TABLE audit_entries RENAME TO hidden_entries');
    try {
      const refused = await user.api.stop(id);
      expect([refused.status, refused.body]).toEqual([500, expect.objectContaining({ code: 'internal_error' })]);
      const reader = await tokenOf(user, ['read']);
      expect((await reader.api.stop(id)).status).toBe(500);
    } finally {
      await query('ALTER TABLE hidden_entries RENAME TO audit_entries');
    }
    expect(engine.callsOf('containers.stop')).toBe(stops);
    expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    const hold = engine.holdOn('containers.stop', { when: 'after' });
    const stopping = user.api.stop(id);
    await hold.reached;
    await query('ALTER TABLE audit_entries RENAME TO hidden_entries');
    hold.release();
    expect((await stopping).body).toMatchObject({ status: 'stopped' });
    await query('ALTER TABLE hidden_entries RENAME TO audit_entries');
    expect((await audit())[0]).toMatchObject({ action: 'container.stop', outcome: 'pending' });
  });

  it("must show others' to an admin alone, in pages, by container and by action", async () => {
    const { db_id } = await user.api.running();
    for (let turn = 0; turn < 3; turn += 1) {
      await user.api.stop(db_id);
      await user.api.start(db_id);
    }
    await user.api.running();
    const admin = await berth.user('pro', ['admin']);
    expect(await audit(admin)).toEqual([]);
    const ofUser = await audit(admin, `?user_id=${user.id}`);
    expect(ofUser).toEqual(await audit());
    expect(ofUser).toHaveLength(8);
    expect(await audit(admin, `?all=true&container_id=${db_id}`)).toHaveLength(7);
    expect(await audit(user, `?action=container.stop&container_id=${db_id}`)).toHaveLength(3);
    const paged: Entry[] = [];
    for (let next: string | null = ''; next !== null;) {
      const { body } = await user.api.call('GET', `/api/audit?limit=3${next && `&cursor=${next}`}`);
      paged.push(...(body['entries'] as Entry[]));
      next = body['next_cursor'] as string | null;
    }
    expect(paged).toEqual(ofUser);
    for (const asked of ['all=true', `user_id=${admin.id}`, `user_id=${user.id}`]) {
      const refused = await user.api.call('GET', `/api/audit?${asked}`);
      expect([refused.status, refused.body]).toEqual([
        403,
        expect.objectContaining({ code: 'insufficient_permissions' }),
      ]);
    }
    const odd = [
      'limit=0',
      'limit=201',
      'cursor=AAAA',
      'action=X',
      'outcome=1',
      'from=today',
      'to=2026-11-26',
      'container_id=1',
      'all=1',
      'user_id=me',
      'x=1',
    ];
    for (const asked of odd) {
      const refused = await admin.api.call('GET', `/api/audit?${asked}`);
      expect(refused.body['details']).toEqual([expect.objectContaining({ field: asked.split('=')[0] })]);
    }
  });

  it('must be found by what it was done to, its outcome and its time', async () => {
    const { id, db_id } = await user.api.running({ name: 'found' });
    clock.forward(60_000);
    const noon = clock.now().toISOString();
    await user.api.stop(id);
    await user.api.call('POST', '/api/tokens', { name: 'spare' });
    await user.api.call('DELETE', `/api/tokens/${randomUUID()}`);
    const found = async (asked: string): Promise<unknown[]> =>
      (await audit(user, `?${asked}`)).map(({ action }) => action);
    expect(await found('action=container')).toEqual(['container.stop', 'container.create']);
    expect(await found('action=contain')).toEqual([]);
    expect(await found('outcome=failed')).toEqual(['token.revoke']);
    expect(await found('outcome=token_not_found')).toEqual(['token.revoke']);
    expect(await found('outcome=ok&action=token')).toEqual(['token.create']);
    expect(await found(`container_id=${db_id}&from=${noon}`)).toEqual(['container.stop']);
    expect(await found(`container_id=${db_id}&to=${noon}`)).toEqual(['container.create']);
    expect(await found(`from=${encodeURIComponent(noon.replace('Z', '+00:00'))}&outcome=ok`)).toHaveLength(2);
  });

  it('must forget what is older than it is kept, and nothing else', async () => {
    const log = berth.app.get(AuditLog);
    const { db_id } = await user.api.running();
    const act = { action: 'container.purge', subjectUserId: user.id, containerId: db_id } as const;
    // More than one deletion takes.
    const at = clock.now();
    const old = Array.from({ length: 1_100 }, () => ({ ...act, id: randomUUID(), at, outcome: 'ok' }));
    const { manager } = berth.app.get(Database);
    await manager.insert(AuditEntryEntity, old.slice(0, 550));
    await manager.insert(AuditEntryEntity, old.slice(550));
    clock.forward(60_000);
    const between = clock.now();
    clock.forward(60_000);
    await log.recordSystem({ ...act, outcome: 'docker_error' });
    expect(await berth.app.get(AuditRetention).prune(between)).toBeGreaterThan(1_100);
    const kept = await audit();
    expect(kept).toHaveLength(1);
    expect(kept[0]).toMatchObject({ user_id: null, address: null, subject_user_id: user.id, outcome: 'docker_error' });
  });

  async function audit(by: TestUser = user, asked = ''): Promise<Entry[]> {
    const answer = await by.api.call('GET', `/api/audit${asked}`);
    expect(answer.status).toBe(200);
    return answer.body['entries'] as Entry[];
  }

  async function tokenOf(owner: TestUser, scopes: Scope[]): Promise<TestUser & { tokenId: string }> {
    const { text, token } = await berth.app
      .get(TokenService)
      .issue({ userId: owner.id, name: 'test', scopes, expiresAt: null });
    return { ...berth.as({ ...owner, token: text }), tokenId: token.id };
  }

  async function query(sql: string): Promise<void> {
    await berth.app.get(Database).manager.query(sql);
  }
});
