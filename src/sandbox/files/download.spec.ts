import { attachment } from './download';

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
