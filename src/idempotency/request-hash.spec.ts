import { requestHash } from './idempotency-keys';

describe('the hash of a request', () => {
  it('must not depend on the order of fields, at any depth', () => {
    const one = { image: 'node', env: { A: '1', B: '2' }, list: [{ x: 1, y: 2 }] };
    const other = { list: [{ y: 2, x: 1 }], env: { B: '2', A: '1' }, image: 'node' };
    expect(requestHash(one)).toBe(requestHash(other));
    expect(requestHash(one)).toMatch(/^[0-9a-f]{64}$/);
  });

  it('must take a field that is undefined for one that is absent', () => {
    expect(requestHash({ image: 'node', name: undefined })).toBe(requestHash({ image: 'node' }));
  });

  it.each<[string, object, object]>([
    ['a value', { memory_mb: 256 }, { memory_mb: 257 }],
    ['its type', { memory_mb: 256 }, { memory_mb: '256' }],
    ['a further field', { image: 'node' }, { image: 'node', env: {} }],
    ['null in the place of nothing', { image: 'node' }, { image: 'node', name: null }],
    ['the order of a list', { list: [1, 2] }, { list: [2, 1] }],
    ['where a text ends', { a: 'x","b":"y' }, { a: 'x', b: 'y' }],
    ['what belongs to what', { a: { b: 1 }, c: 2 }, { a: { b: 1, c: 2 } }],
  ])('must be another one for %s', (_difference, one, other) => {
    expect(requestHash(one)).not.toBe(requestHash(other));
  });
});
