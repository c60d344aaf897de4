import { z } from 'zod';
import type { EngineEvent } from './container-engine';
import { LABELS } from './labels';

/** What a watcher is told of; the daemon filters by it. */
export const WATCHED_ACTIONS = ['start', 'die', 'oom', 'destroy', 'pause', 'unpause'] as const;

const dockerEvent = z.object({
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()).nullish() }),
  time: z.number(),
  timeNano: z.number().optional(),
});

/** One line of Docker's event stream. */
export interface EventLine {
  /** Of the daemon's clock. */
  readonly second: number;
  /** Null for what nobody watches. */
  readonly event: EngineEvent | null;
}

/** @throws Error if it is no event: what came through was corrupted */
export function parseEventLine(line: string): EventLine {
  const { Action, Actor, time, timeNano } = dockerEvent.parse(JSON.parse(line));
  const action = WATCHED_ACTIONS.find((watched) => watched === Action);
  const containerId = Actor.Attributes?.[LABELS.containerId];
  if (action === undefined || containerId === undefined) return { second: time, event: null };
  const exitCode = Number(Actor.Attributes?.['exitCode'] ?? Number.NaN);
  return {
    second: time,
    event: {
      dockerId: Actor.ID,
      containerId,
      action,
      exitCode: action === 'die' && Number.isInteger(exitCode) ? exitCode : null,
      at: new Date(timeNano === undefined ? time * 1000 : Math.floor(timeNano / 1e6)),
    },
  };
}
