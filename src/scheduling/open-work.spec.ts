import { OpenWork } from './open-work';

interface Work {
  readonly name: string;
  readonly end: () => void;
}

describe('open work', () => {
  const ended: string[] = [];
  const faults: unknown[] = [];
  let refused: string[];
  let unknown: string[];
  let open: OpenWork<Work>;

  const work = (name: string): Work => ({ name, end: () => void ended.push(name) });
  const settled = (): Promise<void> => new Promise(setImmediate);

  beforeEach(() => {
    ended.length = faults.length = 0;
    [refused, unknown] = [[], []];
    open = new OpenWork<Work>({
      everyMs: 3_600_000,
      check:
        () =>
        ({ name }) =>
          unknown.includes(name) ? Promise.reject(new Error(name)) : Promise.resolve(!refused.includes(name)),
      onFault: (error) => void faults.push(error),
    });
  });
  afterEach(() => open.close());

  it('must end what may not go on, among what a change concerns', async () => {
    for (const name of ['a', 'b', 'c']) open.add(work(name));
    refused = ['a', 'b'];
    open.checkNow(({ name }) => name !== 'b');
    await settled();
    expect([ended, faults]).toEqual([['a'], []]);
  });

  it('must go on where that cannot be found out, and keep no other from its end', async () => {
    for (const name of ['a', 'b']) open.add(work(name));
    [unknown, refused] = [['a'], ['b']];
    open.checkNow(() => true);
    await settled();
    expect([ended, faults]).toEqual([['b'], [new Error('a')]]);
  });

  it('must be forgotten once it has ended, and be ended with all', async () => {
    const forget = open.add(work('a'));
    open.add(work('b'));
    forget();
    refused = ['a'];
    open.checkNow(() => true);
    await settled();
    expect(ended).toEqual([]);
    open.close();
    expect(ended).toEqual(['b']);
  });
});
