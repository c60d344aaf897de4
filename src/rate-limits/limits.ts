import type { Config } from '../config';

/** What is limited, in the order of their settings. */
export const LIMIT_NAMES = ['requests', 'creates', 'guests', 'refusals'] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

export interface Limit {
  readonly max: number;
  readonly windowMs: number;
}

const MINUTE = 60_000;

export type RateLimitSettings = Pick<
  Config,
  | 'RATE_LIMIT_PER_MINUTE'
  | 'RATE_LIMIT_CREATES_PER_MINUTE'
  | 'RATE_LIMIT_GUESTS_PER_HOUR'
  | 'RATE_LIMIT_REFUSALS_PER_MINUTE'
>;

/** The limits that are set; 0 is none. */
export function limitsOf(settings: RateLimitSettings): ReadonlyMap<LimitName, Limit> {
  const all: Readonly<Record<LimitName, Limit>> = {
    requests: { max: settings.RATE_LIMIT_PER_MINUTE, windowMs: MINUTE },
    creates: { max: settings.RATE_LIMIT_CREATES_PER_MINUTE, windowMs: MINUTE },
    guests: { max: settings.RATE_LIMIT_GUESTS_PER_HOUR, windowMs: 60 * MINUTE },
    refusals: { max: settings.RATE_LIMIT_REFUSALS_PER_MINUTE, windowMs: MINUTE },
  };
  return new Map(LIMIT_NAMES.filter((name) => all[name].max > 0).map((name) => [name, all[name]]));
}
