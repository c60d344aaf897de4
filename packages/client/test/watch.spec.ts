import { eventually } from '../../../test/support/eventually.ts';
import { SeededRandom } from '../../../test/support/seeded-random.ts';
import type { BerthEvent, ContainerWatch } from '../src/index.ts';
import { doSomething, WatchedServer } from './watched-server.ts';

jest.setTimeout(120_000);

describe('a watch', () => {
  let server: WatchedServer;
  let watch: ContainerWatch;

  beforeAll(async () => (server = await WatchedServer.start()));
  afterAll(() => server.stop());

  /** The map becomes what the list is, order and details included. */
  const expectSame = (watched: ContainerWatch): Promise<void> => server.untilSame(watched);

  beforeEach(async () => {
    watch = server.client().watch();
    await watch.ready;
  });
  afterEach(() => watch.close());

  it('must be the list, and stay it whatever is done, with each event told once and in order', async () => {
    const { containers } = server.direct();
    const random = new SeededRandom(1);
    await expectSame(watch);
    const begin = watch.getSnapshot().seq;
    const seqs: number[] = [];
    watch.onEvent((event: BerthEvent) => seqs.push(event.seq));
    for (let index = 0; index < 25; index++) await doSomething(server.direct(), random);
    await expectSame(watch);
    const { event_seq: end } = (await containers.list().page()).answer;
    expect(end).toBeGreaterThan(begin + 10);
    expect(seqs).toEqual(Array.from({ length: end - begin }, (_, index) => begin + 1 + index));
  });

  it('must be the list after connections that broke and a server that was restarted', async () => {
    const random = new SeededRandom(2);
    for (let round = 0; round < 4; round++) {
      const deeds = Array.from({ length: 6 }, () => doSomething(server.direct(), random));
      if (round % 2 === 0) await server.pull();
      await Promise.all(deeds);
      if (round === 1) await server.restart();
      if (round % 2 === 0) await server.plug();
    }
    await expectSame(watch);
  });

  it('must list again where events are no longer kept', async () => {
    await server.pull();
    const random = new SeededRandom(3);
    for (let index = 0; index < 10; index++) await doSomething(server.direct(), random);
    await server.forgetEvents();
    await server.plug();
    await expectSame(watch);
  });

  it('must take no event that is not the next, and list again', async () => {
    // Nothing is under way whose events would come with the numbers of those that are lost here.
    await eventually(() => {
      const statuses = [...watch.getSnapshot().containers.values()].map(({ status }) => status);
      expect(statuses).not.toContain('creating');
    });
    await expectSame(watch);
    const { seq, containers } = watch.getSnapshot();
    const [container] = containers.values();
    if (!container) throw new Error('there is none');
    // As if those before it had been lost on their way.
    const event = { type: 'container_updated', seq: seq + 3, timestamp: '', data: { ...container, name: 'wrong' } };
    const { io } = (watch as unknown as { socket: { io: { listenersAny(): ((...told: unknown[]) => void)[] } } })
      .socket;
    for (const listener of io.listenersAny()) listener(event.type, event);
    expect(watch.getSnapshot().state).toBe('reconnecting');
    await expectSame(watch);
  });

  it('must give the same snapshot until something changes, and then tell of it', async () => {
    await expectSame(watch);
    const before = watch.getSnapshot();
    expect(watch.getSnapshot()).toBe(before);
    let told = 0;
    const unsubscribe = watch.subscribe(() => (told += 1));
    await server.direct().containers.create({ image: 'custom', custom_image: 'berth/test:latest', name: 'told' });
    await eventually(() => expect(told).toBeGreaterThan(0));
    expect(watch.getSnapshot()).not.toBe(before);
    unsubscribe();
    await expectSame(watch);
  });

  it('must end, and say why, when its token is revoked', async () => {
    const { id, token } = await server.direct().tokens.create({ name: 'short', scopes: ['read'] });
    const other = server.client(token).watch();
    await other.ready;
    await server.direct().tokens.revoke(id);
    await eventually(() =>
      expect(other.getSnapshot()).toMatchObject({ state: 'closed', error: { code: 'unauthorized' } }),
    );
  });
});
