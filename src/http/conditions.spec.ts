import type { IncomingHttpHeaders } from 'node:http';
import { evaluate, isConditional, isRangeWanted, parseHttpDate, type Representation } from './conditions';

const BEFORE = 'Sun, 06 Nov 1994 08:49:36 GMT';
const AT = 'Sun, 06 Nov 1994 08:49:37 GMT';
const AFTER = 'Sun, 06 Nov 1994 08:49:38 GMT';
const CURRENT: Representation = { etag: '"a"', lastModified: new Date(AT) };

describe('the conditions of a request', () => {
  it.each<[IncomingHttpHeaders, string, string, string]>([
    // Of GET, of PUT, and of PUT where there is nothing.
    [{}, 'proceed', 'proceed', 'proceed'],
    [{ 'if-match': '"a"' }, 'proceed', 'proceed', 'failed'],
    [{ 'if-match': ' "b" , "a"' }, 'proceed', 'proceed', 'failed'],
    [{ 'if-match': '*' }, 'proceed', 'proceed', 'failed'],
    [{ 'if-match': '"b"' }, 'failed', 'failed', 'failed'],
    [{ 'if-match': 'W/"a"' }, 'failed', 'failed', 'failed'],
    [{ 'if-match': 'a' }, 'failed', 'failed', 'failed'],
    [{ 'if-match': '' }, 'failed', 'failed', 'failed'],
    [{ 'if-none-match': '"a"' }, 'not_modified', 'failed', 'proceed'],
    [{ 'if-none-match': 'W/"a"' }, 'not_modified', 'failed', 'proceed'],
    [{ 'if-none-match': '"b","a"' }, 'not_modified', 'failed', 'proceed'],
    [{ 'if-none-match': '*' }, 'not_modified', 'failed', 'proceed'],
    [{ 'if-none-match': '"b"' }, 'proceed', 'proceed', 'proceed'],
    [{ 'if-unmodified-since': AT }, 'proceed', 'proceed', 'proceed'],
    [{ 'if-unmodified-since': AFTER }, 'proceed', 'proceed', 'proceed'],
    [{ 'if-unmodified-since': BEFORE }, 'failed', 'failed', 'proceed'],
    [{ 'if-unmodified-since': 'yesterday' }, 'proceed', 'proceed', 'proceed'],
    [{ 'if-modified-since': AT }, 'not_modified', 'proceed', 'proceed'],
    [{ 'if-modified-since': AFTER }, 'not_modified', 'proceed', 'proceed'],
    [{ 'if-modified-since': BEFORE }, 'proceed', 'proceed', 'proceed'],
    [{ 'if-modified-since': 'yesterday' }, 'proceed', 'proceed', 'proceed'],
    // The order of RFC 9110, 13.2.2.
    [{ 'if-match': '"a"', 'if-unmodified-since': BEFORE }, 'proceed', 'proceed', 'failed'],
    [{ 'if-match': '"b"', 'if-none-match': '"a"' }, 'failed', 'failed', 'failed'],
    [{ 'if-match': '"a"', 'if-none-match': '"a"' }, 'not_modified', 'failed', 'failed'],
    [{ 'if-unmodified-since': BEFORE, 'if-none-match': '"a"' }, 'failed', 'failed', 'proceed'],
    [{ 'if-none-match': '"b"', 'if-modified-since': AT }, 'proceed', 'proceed', 'proceed'],
    [{ 'if-match': '"a"', 'if-modified-since': AT }, 'not_modified', 'proceed', 'failed'],
  ])('must be kept: %j', (headers, get, put, putNothing) => {
    expect([
      evaluate({ method: 'GET', headers }, CURRENT),
      evaluate({ method: 'HEAD', headers }, CURRENT),
      evaluate({ method: 'PUT', headers }, CURRENT),
      evaluate({ method: 'DELETE', headers }, CURRENT),
      evaluate({ method: 'PUT', headers }, null),
    ]).toEqual([get, get, put, put, putNothing]);
    expect(isConditional(headers)).toBe(Object.keys(headers).length > 0);
  });

  it('must not hold of what has no validators, unless any will do', () => {
    const directory: Representation = { etag: null, lastModified: null };
    const verdicts = ['"a"', '*'].map((list) => evaluate({ method: 'PUT', headers: { 'if-match': list } }, directory));
    expect(verdicts).toEqual(['failed', 'proceed']);
    const since = { 'if-unmodified-since': BEFORE, 'if-modified-since': AFTER };
    expect(evaluate({ method: 'GET', headers: since }, directory)).toBe('proceed');
  });

  it.each<[string, string | undefined, boolean]>([
    ['GET', undefined, true],
    ['HEAD', undefined, false],
    ['GET', '"a"', true],
    ['HEAD', '"a"', false],
    ['GET', 'W/"a"', false],
    ['GET', '"b"', false],
    ['GET', AT, true],
    ['GET', BEFORE, false],
    ['GET', AFTER, false],
    ['GET', 'yesterday', false],
  ])('must let a range of a %s with If-Range %s count: %s', (method, ifRange, counts) => {
    const headers = { range: 'bytes=0-1', ...(ifRange !== undefined && { 'if-range': ifRange }) };
    expect(isRangeWanted({ method, headers }, CURRENT)).toBe(counts);
    expect(isRangeWanted({ method, headers: {} }, CURRENT)).toBe(false);
  });

  it('must not take a date for a validator within a second of the change', () => {
    const request = { method: 'GET', headers: { range: 'bytes=0-1', 'if-range': AT } };
    expect(isRangeWanted(request, CURRENT, new Date(Date.parse(AT) + 999))).toBe(false);
    expect(isRangeWanted(request, CURRENT, new Date(Date.parse(AT) + 1_000))).toBe(true);
  });

  it.each([
    ['Sun, 06 Nov 1994 08:49:37 GMT', AT],
    ['Sunday, 06-Nov-94 08:49:37 GMT', AT],
    ['Sun Nov  6 08:49:37 1994', AT],
    ['Sunday, 06-Nov-70 08:49:37 GMT', 'Thu, 06 Nov 2070 08:49:37 GMT'],
    ['Sun, 6 Nov 1994 08:49:37 GMT', null],
    ['Sun, 06 Nov 1994 08:49:37 +0000', null],
    ['Sun, 06 Abc 1994 08:49:37 GMT', null],
    ['Sun, 36 Nov 1994 08:49:37 GMT', null],
    ['Sun, 06 Nov 1994 25:49:37 GMT', null],
    ['1994-11-06T08:49:37Z', null],
    ['', null],
  ])('must have the date %s read as %s', (text, expected) => {
    const now = new Date('2026-11-29T00:00:00.000Z');
    expect(parseHttpDate(text, now)?.toUTCString() ?? null).toBe(expected);
  });
});
