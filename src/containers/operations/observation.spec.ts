import type { EngineState, ObservedContainer } from '../../engine';
import type { ContainerRow, ContainerStatus } from '../model/container.entity';
import type { RunPolicy } from '../policies/run-policy';
import { DeathHint, outcomeOfObservation } from './observation';

const FIRST_RUN = '2026-01-01T00:00:00.000000001Z';
const NOW = new Date('2026-01-02T00:00:00.000Z');
const RUN_END = new Date('2026-01-04T02:00:00.000Z');
const TERMS: RunPolicy = {
  now: NOW,
  userDeleted: false,
  suspended: false,
  sessionEnd: null,
  runMs: 50 * 3_600_000,
  idleMs: null,
  idleAction: 'stop',
  deleteMs: null,
  guestDeleteMs: null,
  stopWarningMs: 0,
  deletionWarningMs: 0,
};
const NEXT_RUN = '2026-01-01T00:00:09.000000001Z';

function row(status: ContainerStatus, runStartedAt: string | null = FIRST_RUN): ContainerRow {
  const time = new Date(0);
  return {
    id: 'id',
    userId: 'user',
    name: 'name',
    image: 'image',
    imageId: 'i',
    imageDigest: null,
    role: null,
    sealedEnv: '',
    labels: {},
    status,
    memoryMb: 256,
    cpuShares: 250,
    network: 'internet',
    reservedMemoryMb: 0,
    reservedCpuShares: 0,
    diskMb: 1024,
    nodeId: null,
    otherNodeId: null,
    formerNodeId: null,
    notMovedBecause: null,
    unreachableSince: null,
    engineId: 'a',
    generation: 1,
    seedSnapshotId: null,
    forkedFrom: null,
    keptLayerMb: 0,
    templateName: null,
    templateVersion: null,
    volumeName: 'v',
    runtime: 'runsc',
    ipAddress: '10.0.0.2',
    runStartedAt,
    expiresAt: null,
    lifetimeSeconds: null,
    endAction: 'stop',
    endsAt: null,
    autoStopSeconds: null,
    idleAction: null,
    autoDeleteSeconds: null,
    autoStart: false,
    idleWarnedAt: null,
    pausedAt: null,
    stoppedAt: null,
    deletionWarnedAt: null,
    start: null,
    startRun: null,
    startDueAt: null,
    startFailures: 0,
    startReady: null,
    lastUsedAt: time,
    operation: null,
    operationId: null,
    operationExpiresAt: null,
    operationCancelled: false,
    revision: 0,
    createdAt: time,
    updatedAt: time,
    deletedAt: null,
    purgeAt: null,
    purgedAt: null,
    removalPendingSince: null,
    meteredSince: null,
    expiryWarnedAt: null,
    runSince: null,
    statusReason: null,
    roleStatus: null,
    roleClaimId: null,
    roleClaimHolder: null,
    roleClaimExpiresAt: null,
    operationHolder: null,
  };
}

function observed(state: EngineState, more: Partial<ObservedContainer> = {}): ObservedContainer {
  const fixed = {
    engineId: 'a',
    name: 'berth-id',
    oomKilled: false,
    ipAddress: '10.0.0.2',
    imageId: 'i',
    runtime: 'runsc',
  };
  return { ...fixed, state, startedAt: FIRST_RUN, exitCode: state === 'exited' ? 1 : null, ...more };
}

/** The status that the row gets and the events that tell of it; null: no change. */
function follow(from: ContainerRow, seen: ObservedContainer | null, death: DeathHint | null = null): unknown {
  const followed = outcomeOfObservation(from, seen, { death, policy: TERMS });
  if (!followed) return null;
  return [followed.patch.status ?? from.status, ...followed.events.map(describeEvent)];
}

function describeEvent({ type, data }: { type: string; data: object }): string {
  const { reason, exit_code: code } = data as { reason?: string; exit_code?: number };
  return [type, reason, code].filter((part) => part !== undefined).join(' ');
}

describe('a running row', () => {
  it.each<[string, ObservedContainer | null, DeathHint | null, unknown]>([
    ['runs on', observed('running'), null, null],
    ['is paused', observed('paused'), null, ['paused', 'container_paused']],
    ['exited', observed('exited', { exitCode: 3 }), null, ['stopped', 'container_stopped exited 3']],
    [
      'was killed for memory',
      observed('exited', { exitCode: 137, oomKilled: true }),
      null,
      ['stopped', 'container_stopped oom 137'],
    ],
    [
      'waits to be restarted',
      observed('restarting'),
      { exitCode: 137, oom: true },
      ['stopped', 'container_stopped oom 137'],
    ],
    ['is gone', null, null, ['stopped', 'container_stopped missing']],
    [
      'was all but removed',
      observed('broken'),
      { exitCode: 137, oom: false },
      ['stopped', 'container_stopped missing'],
    ],
  ])('must follow a container that %s', (_what, seen, death, expected) => {
    expect(follow(row('running'), seen, death)).toEqual(expected);
  });

  it('must emit both when Docker restarted the container before anyone looked', () => {
    const seen = observed('running', { startedAt: NEXT_RUN });
    const oom = { exitCode: 137, oom: true };
    expect(follow(row('running'), seen, oom)).toEqual(['running', 'container_stopped oom 137', 'container_started']);
    expect(follow(row('running'), seen)).toEqual(['running', 'container_stopped exited', 'container_started']);
  });

  it('must take down the facts of its own start without an event', () => {
    const seen = observed('running', { ipAddress: '10.0.0.9' });
    const followed = outcomeOfObservation(row('running', null), seen, { death: null, policy: TERMS });
    expect(followed).toEqual({ patch: { runStartedAt: FIRST_RUN, ipAddress: '10.0.0.9' }, events: [] });
  });
});

describe('a paused row', () => {
  it.each<[string, ObservedContainer | null, unknown]>([
    ['is paused', observed('paused'), null],
    ['goes on', observed('running'), ['running', 'container_resumed']],
    ['ended', observed('exited', { exitCode: 137 }), ['stopped', 'container_stopped exited 137']],
    ['is gone', null, ['stopped', 'container_stopped missing']],
    [
      'was started again',
      observed('running', { startedAt: NEXT_RUN }),
      ['running', 'container_stopped exited', 'container_started'],
    ],
    [
      'was started and paused again',
      observed('paused', { startedAt: NEXT_RUN }),
      ['paused', 'container_stopped exited', 'container_started', 'container_paused'],
    ],
  ])('must follow a container that %s', (_what, seen, expected) => {
    expect(follow(row('paused'), seen)).toEqual(expected);
  });

  it('must keep its run, and count as used once it goes on', () => {
    const patchOf = (from: ContainerRow, seen: ObservedContainer): unknown =>
      outcomeOfObservation(from, seen, { death: null, policy: TERMS })?.patch;
    expect(patchOf(row('running'), observed('paused'))).toEqual({ status: 'paused', statusReason: null, endsAt: null });
    const resumed = { status: 'running', statusReason: null, lastUsedAt: NOW, endsAt: null };
    expect(patchOf(row('paused'), observed('running'))).toEqual(resumed);
  });
});

describe('a stopped row', () => {
  it('must follow a container that somebody started', () => {
    expect(follow(row('stopped', null), observed('running'))).toEqual(['running', 'container_started']);
    const events = ['container_started', 'container_paused'];
    expect(follow(row('stopped', null), observed('paused'))).toEqual(['paused', ...events]);
  });

  it.each<EngineState>(['exited', 'created', 'broken', 'restarting'])('must stay as it is for %s', (state) => {
    expect(follow(row('stopped', null), observed(state))).toBeNull();
  });

  it('must stay as it is when the container is gone: it is recreated when it is started', () => {
    expect(follow(row('stopped', null), null)).toBeNull();
  });
});

describe('the run of a row', () => {
  const run = { runSince: new Date(1), expiresAt: new Date(2), expiryWarnedAt: new Date(3) };
  const patched = (from: ContainerRow, seen: ObservedContainer | null): unknown =>
    outcomeOfObservation(from, seen, { death: null, policy: TERMS })?.patch;

  it.each<[string, ContainerRow, ObservedContainer]>([
    ['somebody starts the container', row('stopped', null), observed('running')],
    ['Docker restarts it', { ...row('running'), ...run }, observed('running', { startedAt: NEXT_RUN })],
  ])('must begin when %s', (_what, from, seen) => {
    const begun = { runSince: NOW, lastUsedAt: NOW, expiresAt: RUN_END, expiryWarnedAt: null };
    expect(patched(from, seen)).toMatchObject(begun);
  });

  it('must end with the container, but wait for one that vanished', () => {
    const over = { runSince: null, expiresAt: null, expiryWarnedAt: null };
    expect(patched({ ...row('running'), ...run }, observed('exited'))).toMatchObject(over);
    for (const gone of [null, observed('broken')]) {
      const patch = patched({ ...row('running'), ...run }, gone);
      expect(patch).toMatchObject({ status: 'stopped', statusReason: 'missing' });
      expect(Object.keys(patch as object)).toEqual(expect.not.arrayContaining(Object.keys(run)));
    }
  });
});

describe('a row that is being created or failed to be', () => {
  it('must not follow anything', () => {
    for (const status of ['creating', 'error'] as const) {
      expect(follow(row(status), observed('running'))).toBeNull();
      expect(follow(row(status), null)).toBeNull();
    }
  });
});
