import { requestIdOf } from './protocol-errors';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('the request id', () => {
  it.each(['a', 'trace-1.2_3', 'x'.repeat(128)])('must be the caller’s where it is sane: %s', (id) => {
    expect(requestIdOf({ 'x-request-id': id })).toBe(id);
  });

  it.each([
    ['absent', undefined],
    ['empty', ''],
    ['too long', 'x'.repeat(129)],
    ['a header injection', 'a\r\nset-cookie: b'],
    ['two in one', 'a, b'],
    ['a log forgery', '"}{"level":"fatal"'],
    ['not ASCII', 'ïd'],
    ['a line break after it', 'abc\n'],
  ])('must be a new one where it is %s', (_name, id) => {
    expect(requestIdOf({ 'x-request-id': id })).toMatch(UUID);
  });

  it('must be another for each request', () => {
    expect(requestIdOf({})).not.toBe(requestIdOf({}));
  });
});
