import { Cohabitation } from './cohabitation';

const sign = (action: string, engineId: string, containerId = 'c') => ({
  action,
  engineId,
  node: null,
  containerId,
  isWorker: false,
});
const start = (engineId: string, containerId?: string) => sign('start', engineId, containerId);
const die = (engineId: string, containerId?: string) => sign('die', engineId, containerId);

describe('two containers on one volume', () => {
  it.each([
    ['one after the other', [start('a'), die('a'), start('b')], 0],
    ['the same again', [start('a'), start('a')], 0],
    ['of two rows', [start('a'), start('b', 'd')], 0],
    ['at once', [start('a'), start('b')], 1],
    ['at once after a replacement', [start('a'), die('a'), start('b'), start('a')], 1],
  ])('that run %s: complaints must be right', (_how, signs, complaints) => {
    const cohabitation = new Cohabitation();
    expect(signs.flatMap((sign) => cohabitation.take(sign))).toHaveLength(complaints);
  });

  it('must be reported of a sandbox and what works on its volume, and not of two that do', () => {
    const cohabitation = new Cohabitation();
    expect(cohabitation.take({ ...start('a'), isWorker: true })).toEqual([]);
    expect(cohabitation.take({ ...start('b'), isWorker: true })).toEqual([]);
    expect(cohabitation.take(start('d'))).toHaveLength(1);
  });

  it.each([
    ['measures it', start('a'), { volumes: [] }, 0],
    ['copies it', start('a'), { volumes: ['v', 'w'] }, 1],
    ['copies other volumes', start('a'), { volumes: ['x', 'w'] }, 0],
    ['copies it while the sandbox is suspended', sign('pause', 'a'), { volumes: ['v', 'w'] }, 0],
    ['copies it once the sandbox goes on', sign('unpause', 'a'), { volumes: ['v', 'w'] }, 1],
  ])('must be reported of a sandbox and a helper that %s: rightly', (_how, last, worker, complaints) => {
    const cohabitation = new Cohabitation();
    const sandbox = { ...start('a'), volumes: ['v'] };
    const helper = { ...start('b'), isWorker: true, ...worker };
    const signs = last.action === 'start' ? [sandbox, helper] : [sandbox, sign('pause', 'a'), helper, last];
    expect(signs.flatMap((each) => cohabitation.take(each))).toHaveLength(complaints);
  });

  it('that were found running after a break must be reported', () => {
    const cohabitation = new Cohabitation();
    cohabitation.take(start('a'));
    expect(cohabitation.reset(null, [start('b')])).toEqual([]);
    expect(cohabitation.reset(null, [start('a'), start('b')])).toHaveLength(1);
  });

  it('that run on two nodes must be reported, whichever of these was looked at anew', () => {
    const cohabitation = new Cohabitation();
    expect(cohabitation.take({ ...start('a'), node: 'n1' })).toEqual([]);
    expect(cohabitation.reset('n2', [start('b')])).toHaveLength(1);
    expect(cohabitation.reset('n1', [])).toEqual([]);
    expect(cohabitation.reset('n2', [start('b')])).toEqual([]);
  });

  it('must be known for each node, without the one that is asked about', () => {
    const cohabitation = new Cohabitation();
    for (const sign of [start('a'), start('b'), start('d', 'e'), { ...start('f'), node: 'n1' }])
      cohabitation.take(sign);
    expect(cohabitation.beside(start('b'))).toEqual(['a']);
    cohabitation.take(die('a'));
    expect(cohabitation.beside(start('b'))).toEqual([]);
  });

  it('of which an outsider started one are not complained of', () => {
    const cohabitation = new Cohabitation();
    cohabitation.meddle('c');
    expect([start('a'), start('b')].flatMap((sign) => cohabitation.take(sign))).toEqual([]);
  });

  it('on two nodes of one that is moved are not complained of, and on one node are', () => {
    const cohabitation = new Cohabitation();
    cohabitation.move('c');
    expect(cohabitation.take({ ...start('a'), node: 'n1' })).toEqual([]);
    expect(cohabitation.take({ ...start('b'), node: 'n2' })).toEqual([]);
    expect(cohabitation.take({ ...start('d'), node: 'n2' })).toEqual(['b and d run at once on the volume of c']);
  });
});
