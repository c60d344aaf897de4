import { attachment, requestedRange } from './download';

describe('the name of a download', () => {
  it.each([
    ['notes.txt', 'attachment; filename=notes.txt'],
    ['a "b"\\c%.txt', 'attachment; filename="a \\"b\\"\\\\c%.txt"'],
    ['a\r\nx: y', `attachment; filename="a??x: y"; filename*=UTF-8''a%0D%0Ax%3A%20y`],
    ['a%20b', `attachment; filename=a%20b; filename*=UTF-8''a%2520b`],
    ["ü'(1)*", `attachment; filename="?'(1)*"; filename*=UTF-8''%C3%BC%27%281%29%2A`],
  ])('must be in a header whatever it is: %j', (name, header) => {
    expect(attachment(Buffer.from(name))).toBe(header);
  });

  it('must be there where it is no text', () => {
    expect(attachment(Buffer.from([0xff]))).toBe(`attachment; filename="?"; filename*=UTF-8''%EF%BF%BD`);
  });
});

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
