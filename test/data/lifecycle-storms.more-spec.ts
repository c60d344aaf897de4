import { LARGER, SMALL } from '../support/clients/api-client';
import { Berth, LONG_WAIT, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(600_000);

describe('the management operations on real Docker under gVisor, any order at once', () => {
  let server: Berth;
  let docker: RealDocker;
  let user: TestUser;
  let servers: Berth[];

  beforeAll(async () => {
    server = await Berth.start({ subject: 'storms' });
    ({ docker } = server);
    // On PostgreSQL two servers share the Berth; SQLite has one.
    const shared = { database: server.database, environment: { INSTANCE_ID: server.instance, ...LONG_WAIT } };
    servers = process.env['TEST_DATABASE'] === 'postgres' ? [server, await Berth.start(shared)] : [server];
  });

  beforeEach(async () => {
    user = await server.user('enterprise');
  });

  afterAll(async () => {
    for (const each of servers.slice(1)) await each.stop();
    await server.stop();
  });

  it('must end in a state that row, Docker and the last event agree on, whichever server was asked', async () => {
    const { id, db_id, name } = await user.api.running();
    const sizes = [SMALL, LARGER];
    const storm = Array.from({ length: 16 }, (_nothing, turn) => {
      const { api } = servers[turn % servers.length]?.as(user) ?? user;
      if (turn % 4 === 0) return api.stop(db_id);
      if (turn % 4 === 1) return api.start(db_id);
      return turn % 4 === 2 ? api.update(id, { name, ...sizes[(turn >> 2) % 2] }) : api.start(id);
    });
    const answers = await Promise.all(storm);
    for (const { status } of answers) expect([200, 409]).toContain(status);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(3);
    for (const server of servers) expect(await expectSettled(server.as(user).api, docker, db_id)).not.toBeNull();
  });

  it('must end in a deletion when one is asked for, and leave nothing', async () => {
    const { db_id } = await user.api.running();
    const storm = Array.from({ length: 9 }, (_nothing, turn) => {
      const { api } = servers[turn % servers.length]?.as(user) ?? user;
      if (turn === 4) return api.delete(db_id);
      return turn % 2 === 0 ? api.stop(db_id) : api.start(db_id);
    });
    for (const { status } of await Promise.all(storm)) expect([200, 404, 409]).toContain(status);
    expect(await expectSettled(user.api, docker, db_id)).toBeNull();
  });

  it('must send every server the same events in the same order', async () => {
    const recorders = await Promise.all(servers.map((server) => server.record(user, 0)));
    const { db_id } = await user.api.running();
    const acts = servers.flatMap((server) => [server.as(user).api.stop(db_id), server.as(user).api.start(db_id)]);
    await Promise.all(acts);
    const seq = Number((await user.api.call('GET', '/api/containers')).body['event_seq']);
    const expected = Array.from({ length: seq }, (_nothing, index) => index + 1);
    for (const recorder of recorders) {
      await eventually(() => expect(recorder.events.map((event) => event.seq)).toEqual(expected));
      expect(recorder.events).toEqual(recorders[0]?.events);
    }
  });
});
