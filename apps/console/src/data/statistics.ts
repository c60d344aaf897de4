import type { StatsSampleView, StatsView } from '@berth/client';
import { useEffect, useState } from 'preact/hooks';
import { berth } from './berth';
import type { Container } from './live';
import { readWhileVisible } from './visible';

/** What a container used at a moment; null where that is not known. */
export interface Sample {
  /** Seconds since 1970, by the clock of the container's machine. */
  readonly at: number;
  /** Percent of the limit. */
  readonly cpu: number | null;
  readonly memory: number;
  readonly memoryLimit: number | null;
  readonly disk: number | null;
  /** Bytes per second. */
  readonly received: number | null;
  readonly sent: number | null;
}

export interface Usage {
  /** Of the last hour, the oldest first: every 30 seconds, and of the last minutes every two. */
  readonly samples: readonly Sample[];
  /** As the container uses it now; null while it does not run. */
  readonly latest: StatsView | null;
  /** Why nothing new comes. */
  readonly fault: unknown;
  /** Whether the last hour has been read. */
  readonly isRead: boolean;
}

const NOTHING: Usage = { samples: [], latest: null, fault: undefined, isRead: false };

export const HOUR_S = 3600;
/** How long all samples are kept; of older ones, one for each interval. */
const DETAILED_S = 300;
const INTERVAL_S = 30;
/**
 * What a container used in the last hour, and what it uses, as it uses it. Not read while the page is hidden: the
 * server remembers what happens meanwhile.
 */
export function useUsage({ db_id, id, status }: Container, mayRead: boolean): Usage {
  const [usage, setUsage] = useState<Usage>(NOTHING);
  const isUp = status === 'running' || status === 'paused';

  useEffect(() => {
    setUsage(NOTHING);
    if (!mayRead) return undefined;
    const read = async (signal: AbortSignal): Promise<void> => {
      const past = await berth.stats.history(db_id, { signal });
      setUsage((before) => ({
        ...before,
        samples: joined(past.samples.map(pastSample), before.samples),
        // Of one that is up, what it uses now may be refused still.
        ...(!isUp && { fault: undefined }),
        isRead: true,
      }));
      if (!isUp) return;
      let last: StatsView | null = null;
      for await (const message of berth.stats.follow(db_id, { signal })) {
        if (message.type === 'end') break;
        const sample = liveSample(message, last);
        last = message;
        setUsage(({ samples }) => ({
          samples: thinned([...samples, sample]),
          latest: message,
          fault: undefined,
          isRead: true,
        }));
      }
      setUsage((before) => ({ ...before, latest: null }));
    };
    return readWhileVisible(read, (error) =>
      setUsage((before) => ({ ...before, latest: null, fault: error, isRead: true })),
    );
  }, [db_id, id, isUp, mayRead]);
  return usage;
}

function pastSample(past: StatsSampleView): Sample {
  return {
    at: Date.parse(past.at) / 1000,
    cpu: past.cpu_percent_of_limit,
    memory: past.memory_used_bytes,
    memoryLimit: past.memory_limit_bytes,
    disk: past.disk_used_bytes,
    received: past.rx_bytes_per_second,
    sent: past.tx_bytes_per_second,
  };
}

function liveSample(now: StatsView, before: StatsView | null): Sample {
  const at = Date.parse(now.at) / 1000;
  const seconds = before ? at - Date.parse(before.at) / 1000 : 0;
  const rate = (key: 'rx_bytes' | 'tx_bytes'): number | null => {
    if (!now.network || !before?.network || seconds <= 0) return null;
    return Math.max(0, now.network[key] - before.network[key]) / seconds;
  };
  return {
    at,
    cpu: now.cpu.percent_of_limit,
    memory: now.memory.used_bytes,
    memoryLimit: now.memory.limit_bytes,
    disk: now.disk_used_bytes,
    received: rate('rx_bytes'),
    sent: rate('tx_bytes'),
  };
}

/** What the server remembers, and what was seen here. */
function joined(past: readonly Sample[], seen: readonly Sample[]): readonly Sample[] {
  const known = new Set(seen.map(({ at }) => at));
  return thinned([...past.filter(({ at }) => !known.has(at)), ...seen].sort((one, other) => one.at - other.at));
}

/** Without what is older than an hour, and with one sample for each interval before the last minutes. */
export function thinned(samples: readonly Sample[]): readonly Sample[] {
  const now = samples.at(-1)?.at ?? 0;
  const kept: Sample[] = [];
  for (const sample of samples) {
    if (sample.at < now - HOUR_S) continue;
    const before = kept.at(-1);
    const isDetailed = sample.at >= now - DETAILED_S;
    if (isDetailed || !before || Math.floor(before.at / INTERVAL_S) !== Math.floor(sample.at / INTERVAL_S)) {
      kept.push(sample);
    }
  }
  return kept;
}
