import { requestedRange } from './byte-range';

describe('a range', () => {
  it.each<[string | undefined, number, ReturnType<typeof requestedRange>]>([
    [undefined, 10, 'all'],
    ['bytes=0-0', 10, { offset: 0, length: 1 }],
    ['bytes=0-99', 10, { offset: 0, length: 10 }],
    ['bytes= 2 - 4', 10, { offset: 2, length: 3 }],
    ['bytes=9-', 10, { offset: 9, length: 1 }],
    ['bytes=10-', 10, 'unsatisfiable'],
    ['bytes=-3', 10, { offset: 7, length: 3 }],
    ['bytes=-99', 10, { offset: 0, length: 10 }],
    ['bytes=-0', 10, 'unsatisfiable'],
    ['bytes=4-2', 10, 'all'],
    ['bytes=0-1,4-5', 10, 'all'],
    ['bytes=-', 10, 'all'],
    ['bytes=9999999999999999-', 10, 'all'],
    ['lines=0-1', 10, 'all'],
  ])('must be what RFC 9110 says of %s', (header, size, expected) => {
    expect(requestedRange(header, size)).toEqual(expected);
  });
});
