import type { BerthEvent, StatsView } from '@berth/client';
import { at, bytes, duration } from '../words/format';
import type { Container, Lifetime } from '../data/live';
import type { Sample } from '../data/statistics';
import { problemWords } from '../words/container-problems';
import { reasonInWords } from '../words/errors';

/** What helps against a problem. */
export type Remedy =
  | 'start'
  | 'restart'
  | 'reload'
  | 'keep'
  | 'settings'
  | { readonly tab: string; readonly words: string };

/** Something that a container's user has to know, and what to do about it. */
export interface Problem {
  readonly key: string;
  readonly isBad: boolean;
  readonly text: string;
  /** The end of what a failed program wrote. */
  readonly output?: string;
  readonly remedy: Remedy;
}

export interface Facts {
  readonly container: Container;
  readonly lifetime: Lifetime;
  /** The container's own, the newest first. */
  readonly events: readonly BerthEvent[];
  readonly latest: StatsView | null;
  readonly samples: readonly Sample[];
  /** False where containers may write more than their disk size. */
  readonly isDiskEnforced: boolean | null;
  /** Milliseconds since 1970. */
  readonly now: number;
}

const NEARLY_FULL = 0.9;
/** How long the memory must be nearly full. */
const FULL_FOR_S = 60;
/** How soon an end is told. */
const SOON_S = { stop: 1800, deletion: 86_400 } as const;
/** How long a start command may take before it is told that it is not ready. */
const READY_WITHIN_S = 60;

const MEBIBYTE = 1024 * 1024;

/** The problems of a container, the worst first. */
export function problemsOf(facts: Facts): readonly Problem[] {
  const found = [unreachable(facts), failed(facts), ended(facts), roleFailed(facts), notReady(facts), ...full(facts)];
  return [...found, ...endings(facts)]
    .filter((problem) => problem !== null)
    .sort((one, other) => Number(other.isBad) - Number(one.isBad));
}

function unreachable({ container }: Facts): Problem | null {
  if (container.node_state !== 'unreachable') return null;
  return { key: 'unreachable', isBad: true, text: problemWords.unreachable, remedy: 'reload' };
}

function failed({ container: { status, status_reason }, events }: Facts): Problem | null {
  if (status !== 'error') return null;
  const event = events.find(({ type }) => type === 'container_error');
  const data = event?.type === 'container_error' ? event.data : null;
  const reason = reasonInWords(status_reason ?? data?.reason);
  const said = data && data.message !== '' ? sentence(data.message) : '';
  const text = problemWords.failed(reason);
  return {
    key: 'failed',
    isBad: true,
    text: said === '' ? text : `${text} ${said}`,
    ...(data?.output !== undefined && data.output !== '' && { output: data.output }),
    remedy: 'start',
  };
}

/** Stops without a request. */
const ENDS: Readonly<Record<string, readonly [text: string, isBad: boolean]>> = {
  oom: [problemWords.ended.oom, true],
  exited: [problemWords.ended.exited, false],
  missing: [problemWords.ended.missing, true],
  node_lost: [problemWords.ended.node_lost, true],
};

function ended({ container: { status, status_reason } }: Facts): Problem | null {
  const end = ENDS[status_reason ?? ''];
  if (status !== 'stopped' || !end) return null;
  return { key: 'ended', isBad: end[1], text: end[0], remedy: status_reason === 'oom' ? 'settings' : 'start' };
}

function roleFailed({ container: { role, role_status, status }, events }: Facts): Problem | null {
  if (role_status !== 'failed' || status === 'error') return null;
  const event = events.find(
    ({ type, data }) => type === 'container_error' && 'reason' in data && data.reason === 'role_failed',
  );
  const output = event?.type === 'container_error' ? event.data.output : undefined;
  return {
    key: 'role',
    isBad: true,
    text: problemWords.roleFailed(role ?? ''),
    ...(output !== undefined && output !== '' && { output }),
    remedy: status === 'running' ? 'restart' : 'start',
  };
}

function notReady({ container, events, now }: Facts): Problem | null {
  if (container.status !== 'running' || container.ready !== false || !container.start) return null;
  const remedy = { tab: 'processes', words: problemWords.remedies.showOutput } as const;
  const last = events.find(({ type }) => NEWS_OF_START.includes(type));
  if (last?.type === 'container_not_ready') {
    const text = problemWords.notReadyWithin(duration(last.data.within_seconds));
    return { key: 'ready', isBad: true, text, remedy: { ...remedy, tab: `processes/${last.data.process_id}` } };
  }
  if (!last || (now - Date.parse(last.timestamp)) / 1000 < READY_WITHIN_S) return null;
  return { key: 'ready', isBad: false, text: problemWords.notReadyYet, remedy };
}

const NEWS_OF_START: readonly string[] = ['container_not_ready', 'container_started', 'container_updated'];

function full({ container: { resources }, latest, samples, isDiskEnforced }: Facts): Problem[] {
  const found: Problem[] = [];
  const now = samples.at(-1)?.at ?? 0;
  const lately = samples.filter((sample) => sample.at >= now - FULL_FOR_S);
  const isFull = ({ memory, memoryLimit }: Sample): boolean =>
    memoryLimit !== null && memory >= memoryLimit * NEARLY_FULL;
  const { used_bytes: memory, limit_bytes: limit } = latest?.memory ?? { used_bytes: 0, limit_bytes: null };
  if (limit !== null && lately.length > 1 && lately.every(isFull)) {
    const text = problemWords.memoryNearlyFull({ used: bytes(memory), limit: bytes(limit) });
    found.push({ key: 'memory', isBad: false, text, remedy: 'settings' });
  }
  const disk = latest?.disk_used_bytes ?? null;
  const room = resources.disk_mb * MEBIBYTE;
  if (disk !== null && disk >= room * NEARLY_FULL) {
    const isOver = isDiskEnforced === false;
    const say = disk >= room ? problemWords.diskFull : problemWords.diskNearlyFull;
    const text = say({ used: bytes(disk), limit: bytes(room) });
    found.push({
      key: 'disk',
      isBad: disk >= room && !isOver,
      text: isOver ? `${text} ${problemWords.diskNotEnforced}` : text,
      remedy: 'settings',
    });
  }
  return found;
}

/** Ends that are near: of the run, for lack of use, and the deletion. */
function endings({ container, lifetime: { idle, idleAction, deletion }, events, now }: Facts): Problem[] {
  const { status, expires_at, last_used_at } = container;
  const used = last_used_at === undefined ? now : Date.parse(last_used_at);
  const timeTo = (ms: number): string => duration(Math.max(1, (ms - now) / 1000));
  const found: Problem[] = [];
  if (status === 'running' || status === 'paused') {
    const runEnd = expires_at ? Date.parse(expires_at) : Infinity;
    if (runEnd - now < SOON_S.stop * 1000) {
      const text = problemWords.runEnds({ time: timeTo(runEnd), at: at(new Date(runEnd).toISOString()) });
      found.push({ key: 'run', isBad: false, text, remedy: { tab: 'files', words: problemWords.remedies.saveFiles } });
    }
    const idleEnd = idle === null || status === 'paused' ? Infinity : used + idle * 1000;
    const idleSoonS = Math.min(SOON_S.stop, (idle ?? 0) / 3);
    if (idleEnd < runEnd && idleEnd - now < idleSoonS * 1000) {
      const say = idleAction === 'stop' ? problemWords.idleStop : problemWords.idlePause;
      found.push({ key: 'idle', isBad: false, text: say(timeTo(idleEnd)), remedy: 'keep' });
    }
  }
  const warned = events.find(({ type }) => type === 'container_expiring');
  if (status === 'stopped' && deletion !== null && warned?.type === 'container_expiring') {
    const { action, expires_at: end } = warned.data;
    const isNear = Date.parse(end) > now && Date.parse(end) - now < SOON_S.deletion * 1000;
    if (action === 'delete' && isNear && used <= Date.parse(warned.timestamp)) {
      found.push({
        key: 'deletion',
        isBad: true,
        text: problemWords.deletion(timeTo(Date.parse(end))),
        remedy: 'keep',
      });
    }
  }
  return found;
}

/** A message of the server as a sentence. */
function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
