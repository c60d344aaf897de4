import { Cohabitation } from './cohabitation';

const start = (dockerId: string, containerId = 'c') => ({ action: 'start', dockerId, containerId });
const die = (dockerId: string, containerId = 'c') => ({ action: 'die', dockerId, containerId });

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

  it('that were found running after a break must be reported', () => {
    const cohabitation = new Cohabitation();
    cohabitation.take(start('a'));
    expect(cohabitation.reset([start('b')])).toEqual([]);
    expect(cohabitation.reset([start('a'), start('b')])).toHaveLength(1);
  });

  it('of which an outsider started one are not complained of', () => {
    const cohabitation = new Cohabitation();
    cohabitation.meddle('c');
    expect([start('a'), start('b')].flatMap((sign) => cohabitation.take(sign))).toEqual([]);
  });
});
