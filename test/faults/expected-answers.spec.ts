import { isExpected, type Verb } from './expected-answers';

describe('what an answer may be', () => {
  it.each<[Verb, { status: number; code?: string }, { databaseDown: boolean }, boolean]>([
    ['create', { status: 202 }, { databaseDown: false }, true],
    ['create', { status: 403, code: 'container_limit_reached' }, { databaseDown: false }, true],
    ['create', { status: 500, code: 'docker_unavailable' }, { databaseDown: false }, false],
    ['start', { status: 200 }, { databaseDown: false }, true],
    ['start', { status: 500, code: 'docker_unavailable' }, { databaseDown: false }, true],
    ['start', { status: 500, code: 'internal_error' }, { databaseDown: false }, false],
    ['start', { status: 500, code: 'internal_error' }, { databaseDown: true }, true],
    ['start', { status: 401, code: 'unauthorized' }, { databaseDown: true }, false],
    ['list', { status: 500, code: 'docker_unavailable' }, { databaseDown: false }, false],
    ['get', { status: 404, code: 'container_not_found' }, { databaseDown: false }, true],
    ['get', { status: 404, code: 'route_not_found' }, { databaseDown: false }, false],
  ])('of %s, %j with %j: %s', (verb, answer, circumstances, expected) => {
    expect(isExpected(verb, answer, circumstances)).toBe(expected);
  });
});
