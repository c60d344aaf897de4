import type { BerthEvent, StatsView } from '@berth/client';
import type { Container } from '../src/data/live.ts';
import type { Sample } from '../src/data/statistics.ts';
import { type Facts, problemsOf } from '../src/pages/container-problems.ts';

// The words of errors need the client, which may not be built yet.
jest.mock('@berth/client', () => ({ isBerthError: () => false }), { virtual: true });

const NOW = Date.parse('2026-11-30T12:00:00.000Z');
const GIB = 2 ** 30;
const at = (seconds: number): string => new Date(NOW + seconds * 1000).toISOString();

const container = (change: Partial<Container> = {}): Container =>
  ({
    db_id: 'c',
    name: 'box',
    status: 'running',
    status_reason: null,
    role: null,
    role_status: null,
    ready: null,
    start: null,
    resources: { memory_mb: 1024, cpu_shares: 500, disk_mb: 1024 },
    last_used_at: at(0),
    expires_at: null,
    ...change,
  }) as unknown as Container;

const event = (type: string, data: object, seconds = 0): BerthEvent =>
  ({ seq: 1, type, timestamp: at(seconds), data: { db_id: 'c', ...data } }) as unknown as BerthEvent;

const stats = (memory: number, disk: number | null = null): StatsView =>
  ({ memory: { used_bytes: memory, limit_bytes: GIB }, disk_used_bytes: disk }) as unknown as StatsView;

const samples = (memory: number): Sample[] =>
  [-90, -60, -30, 0].map((seconds) => ({ at: NOW / 1000 + seconds, memory, memoryLimit: GIB }) as unknown as Sample);

const facts = (change: Partial<Facts> = {}): Facts => ({
  container: container(),
  lifetime: { idle: null, idleAction: 'stop', deletion: null },
  events: [],
  latest: null,
  samples: [],
  isDiskEnforced: true,
  now: NOW,
  ...change,
});

const start = {
  command: ['node', 'server.js'],
  restart: 'always',
  ready: { port: 3000 },
} as unknown as NonNullable<Container['start']>;

it.each<[what: string, change: Partial<Facts>, problem: readonly [text: RegExp, remedy: unknown] | null]>([
  ['a container that runs as it should', { latest: stats(GIB / 2, GIB / 2), samples: samples(GIB / 2) }, null],
  ['a stop that was asked for', { container: container({ status: 'stopped' }) }, null],
  [
    'a failed creation',
    {
      container: container({ status: 'error', status_reason: 'image_not_found' }),
      events: [event('container_error', { reason: 'image_not_found', message: 'the image is missing' })],
    },
    [/no such image\. The image is missing\.$/, 'start'],
  ],
  ['a machine that is silent', { container: container({ node_state: 'unreachable' }) }, [/not responding/, 'reload']],
  [
    'an end for lack of memory',
    { container: container({ status: 'stopped', status_reason: 'oom' }) },
    [/ran out of memory/, 'settings'],
  ],
  [
    'a main process that ended',
    { container: container({ status: 'stopped', status_reason: 'exited' }) },
    [/main process exited/, 'start'],
  ],
  ['a failed role', { container: container({ role: 'node', role_status: 'failed' }) }, [/Role “node”/, 'restart']],
  [
    'a start command that was not ready in time',
    {
      container: container({ start, ready: false }),
      events: [event('container_not_ready', { process_id: 'p', within_seconds: 60 })],
    },
    [/not ready within 1 min/, { tab: 'processes/p', words: 'Show output' }],
  ],
  [
    'a start command that still has time',
    { container: container({ start, ready: false }), events: [event('container_started', {}, -10)] },
    null,
  ],
  [
    'memory that is full for long',
    { latest: stats(GIB), samples: samples(GIB) },
    [/^Memory is almost full/, 'settings'],
  ],
  ['memory that is full for a moment', { latest: stats(GIB), samples: samples(GIB / 2) }, null],
  ['a disk that is almost full', { latest: stats(0, 0.95 * GIB) }, [/^\/home\/user is almost full/, 'settings']],
  [
    'a disk that is fuller than is not enforced',
    { latest: stats(0, 2 * GIB), isDiskEnforced: false },
    [/not enforce/, 'settings'],
  ],
  [
    'a run that ends soon',
    { container: container({ expires_at: at(600) }) },
    [/Stops in 10 min/, { tab: 'files', words: 'Save files' }],
  ],
  ['a run that ends later', { container: container({ expires_at: at(7200) }) }, null],
  [
    'an end for lack of use',
    {
      container: container({ last_used_at: at(-3300) }),
      lifetime: { idle: 3600, idleAction: 'pause', deletion: null },
    },
    [/Pauses in 5 min because it is idle/, 'keep'],
  ],
  [
    'a deletion for lack of use',
    {
      container: container({ status: 'stopped', last_used_at: at(-90_000) }),
      lifetime: { idle: null, idleAction: 'stop', deletion: 93_600 },
      events: [event('container_expiring', { action: 'delete', reason: 'auto_delete', expires_at: at(3600) }, -60)],
    },
    [/Will be deleted in 1 h/, 'keep'],
  ],
])('%s must be told, or not, with what to do about it', (_what, change, problem) => {
  const problems = problemsOf(facts(change));
  const expected = problem === null ? [] : [[expect.stringMatching(problem[0]), problem[1]]];
  expect(problems.map(({ text, remedy }) => [text, remedy])).toEqual(expected);
});

it('the worst problem must come first', () => {
  const box = container({ node_state: 'unreachable', expires_at: at(60) });
  expect(problemsOf(facts({ container: box })).map(({ key }) => key)).toEqual(['unreachable', 'run']);
});
