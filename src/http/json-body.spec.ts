import { DomainError } from '../errors';
import { parseJsonBody } from './request-body';

const parse = (text: string): object => parseJsonBody(Buffer.from(text));
const nested = (depth: number): string => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);

describe('a JSON body', () => {
  it('must be what it says', () => {
    expect(parse('{"name":"a","tags":["b",{"c":null}],"n":1.5}')).toEqual({
      name: 'a',
      tags: ['b', { c: null }],
      n: 1.5,
    });
  });

  it('must be allowed to be 8 levels deep, and no deeper', () => {
    expect(() => parse(nested(8))).not.toThrow();
    expect(() => parse(nested(9))).toThrow(DomainError);
    expect(() => parse(`{"a":${'['.repeat(8)}${']'.repeat(8)}}`)).toThrow(DomainError);
    expect(() => parse(`{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`)).toThrow(DomainError);
  });

  it.each([
    ['half of one', '{"a":'],
    ['text', 'hello'],
    ['a list', '[{"name":"a"}]'],
    ['null', 'null'],
    ['a number', '1'],
    ['a string', '"a"'],
    ['a prototype', '{"__proto__":{"admin":true}}'],
    ['a prototype in disguise', '{"\\u005f_proto__":{"admin":true}}'],
    ['a prototype deep inside', '{"a":[{"b":{"__proto__":1}}]}'],
    ['a constructor', '{"constructor":{"prototype":{}}}'],
    ['NUL in a value', '{"a":"\\u0000"}'],
    ['NUL in a list', '{"a":["\\u0000"]}'],
    ['NUL in a key', '{"\\u0000":1}'],
    ['half of a character', '{"a":"\\ud800"}'],
    ['half of a character in a list', '{"a":["x\\udfff"]}'],
  ])('must not be %s', (_name, text) => {
    expect(() => parse(text)).toThrow(DomainError);
  });

  it('must be UTF-8', () => {
    expect(() => parseJsonBody(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toThrow(DomainError);
  });
});
