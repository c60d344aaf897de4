import type { Excuse } from './excuses';
import { isExpected, type Verb } from './expected-answers';

const BUSY = { status: 503, code: 'database_busy', retryAfter: '1' };
const GONE = { status: 503, code: 'database_unavailable', retryAfter: '5' };
const INTERNAL = { status: 500, code: 'internal_error' };
const UNAVAILABLE = { status: 500, code: 'docker_unavailable' };
const SILENT = { status: 503, code: 'node_unavailable', retryAfter: '5' };
const FULL = { status: 503, code: 'no_capacity', retryAfter: '5' };
const HUNG = { status: 503, code: 'container_not_responding' };
const NO_IMAGE = { status: 500, code: 'image_not_found' };

describe('what an answer may be', () => {
  it.each<[Verb, { status: number; code?: string; retryAfter?: string }, Excuse[], boolean]>([
    ['create', { status: 202 }, [], true],
    ['create', { status: 403, code: 'container_limit_reached' }, [], true],
    ['create', UNAVAILABLE, [], false],
    ['start', { status: 200 }, [], true],
    ['start', UNAVAILABLE, [], true],
    ['start', { status: 404, code: 'snapshot_not_found' }, [], true],
    ['start', { status: 500, code: 'copy_failed' }, [], true],
    ['create', { status: 500, code: 'copy_failed' }, [], false],
    ['delete', HUNG, [], true],
    ['get', HUNG, [], false],
    ['start', INTERNAL, [], false],
    ['start', INTERNAL, ['database_busy', 'docker_emptied'], false],
    ['start', INTERNAL, ['database_down'], true],
    ['start', GONE, ['database_down'], true],
    ['start', GONE, ['database_busy'], false],
    ['start', { status: 401, code: 'unauthorized' }, ['database_down'], false],
    ['start', BUSY, [], false],
    ['start', BUSY, ['database_busy'], true],
    ['start', BUSY, ['database_down'], true],
    ['start', { status: 503, code: 'database_busy' }, ['database_busy'], false],
    ['start', NO_IMAGE, [], false],
    ['start', NO_IMAGE, ['docker_emptied'], true],
    ['start', { status: 500, code: 'docker_changed' }, [], false],
    ['start', { status: 500, code: 'docker_changed' }, ['docker_emptied'], true],
    ['create', BUSY, ['database_busy'], true],
    ['restore', BUSY, ['database_busy'], true],
    ['snapshot', UNAVAILABLE, [], true],
    ['copy', UNAVAILABLE, [], false],
    ['revert', { status: 409, code: 'snapshot_not_ready' }, [], true],
    ['discard', BUSY, ['database_busy'], true],
    ['create', BUSY, ['late'], true],
    ['list', BUSY, ['late'], false],
    ['restore', UNAVAILABLE, ['docker_emptied'], false],
    ['start', SILENT, ['node_silent'], true],
    ['start', SILENT, ['node_drained'], false],
    ['start', SILENT, [], false],
    ['start', { ...SILENT, retryAfter: '' }, ['node_silent'], false],
    ['get', SILENT, ['node_silent'], false],
    ['create', FULL, ['node_silent'], true],
    ['start', FULL, ['node_drained'], true],
    ['create', FULL, [], false],
    ['list', BUSY, ['database_busy'], false],
    ['list', BUSY, ['database_down'], true],
    ['list', UNAVAILABLE, [], false],
    ['get', { status: 404, code: 'container_not_found' }, [], true],
    ['get', { status: 404, code: 'route_not_found' }, [], false],
    ['create', { status: 408, code: 'request_timeout' }, [], false],
    ['create', { status: 408, code: 'request_timeout' }, ['stood_still'], true],
  ])('of %s, %j with %j: %s', (verb, answer, excuses, expected) => {
    expect(isExpected(verb, answer, new Set(excuses))).toBe(expected);
  });
});
