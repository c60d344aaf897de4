import { parseContainerReference } from './container-id';

const ID = '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11';

describe('what stands where an id does', () => {
  it.each<[string, string | undefined]>([
    [ID, 'database_id'],
    [ID.toUpperCase(), 'database_id'],
    ['4f1d2c3b'.repeat(8), 'engine_id'],
    ['4f1d2c3b4f1d', 'engine_short_id'],
    [`agent:${ID}`, 'agent'],
    [ID.slice(0, 7), undefined],
    [ID.slice(0, 8), 'database_id_beginning'],
    [ID.slice(0, 9), 'database_id_beginning'],
    [ID.slice(0, 12), 'database_id_beginning'],
    [ID.slice(0, 35), 'database_id_beginning'],
    [`${ID}0`, undefined],
    ['3f0c8a526', undefined],
    ['--------', undefined],
    ['3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c1%', undefined],
    ['', undefined],
  ])('%p must be known for %p', (text, kind) => {
    expect(parseContainerReference(text)?.kind).toBe(kind);
  });

  it('must be all ids from the least to the greatest that begin alike', () => {
    expect(parseContainerReference('3F0C8A52-6d1')).toEqual({
      kind: 'database_id_beginning',
      from: '3f0c8a52-6d10-0000-0000-000000000000',
      to: '3f0c8a52-6d1f-ffff-ffff-ffffffffffff',
    });
  });
});
