import { TransferPlaces } from './transfer-places';

const FULL = { kind: 'too_many_transfers' };

describe('the places of the transfers of a container', () => {
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] }));
  afterEach(() => jest.useRealTimers());

  it('must be sixteen, of each container', async () => {
    const places = new TransferPlaces();
    const taken = await Promise.all(Array.from({ length: 16 }, () => places.take('one')));
    await expect(places.take('one')).rejects.toMatchObject(FULL);
    await places.take('other');
    taken[0]?.leave([]);
    await places.take('one');
    await expect(places.take('one')).rejects.toMatchObject(FULL);
  });

  it('must be kept until the script is gone, whose call is over, which another call waits for', async () => {
    const places = new TransferPlaces();
    const taken = await Promise.all(Array.from({ length: 16 }, () => places.take('one')));
    let over = (): void => undefined;
    taken[0]?.leave([Promise.resolve(), new Promise<void>((resolve) => (over = resolve))]);
    const next = places.take('one');
    let isTaken = false;
    void next.then(() => (isTaken = true));
    await jest.advanceTimersByTimeAsync(1_000);
    expect(isTaken).toBe(false);
    over();
    await next;
    await expect(places.take('one')).rejects.toMatchObject(FULL);
  });

  it('must be refused to a call that has waited for such a script for a while', async () => {
    const places = new TransferPlaces();
    const taken = await Promise.all(Array.from({ length: 16 }, () => places.take('one')));
    for (const place of taken) place.leave([new Promise(() => undefined)]);
    const refused = places.take('one').catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(2_000);
    expect(await refused).toMatchObject(FULL);
  });
});
