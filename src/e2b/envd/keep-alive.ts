import type { HandlerContext } from '@connectrpc/connect';

/** The interval of keepalive events in seconds, if the client asks for none, and its bounds. */
const KEEPALIVE_S = { default: 90, min: 1, max: 3_600 } as const;

/** The values of `source`, and null for each `everyMs` without one. */
export async function* withPauses<T>(source: AsyncIterable<T>, everyMs: number): AsyncGenerator<T | null> {
  const values = source[Symbol.asyncIterator]();
  let next = values.next();
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const pause = new Promise<null>((resolve) => (timer = setTimeout(() => resolve(null), everyMs)));
      const value = await Promise.race([next, pause]).finally(() => clearTimeout(timer));
      if (value === null) yield null;
      else if (value.done === true) return;
      else {
        yield value.value;
        next = values.next();
      }
    }
  } finally {
    // Not awaited: a source that is read at this moment returns only after its next value, or its error.
    next.catch(() => undefined);
    values.return?.().catch(() => undefined);
  }
}

/** How often a stream without other events sends one, in milliseconds, as its client asks. */
export function keepAliveOf({ requestHeader }: HandlerContext): number {
  const asked = Number(requestHeader.get('keepalive-ping-interval') ?? KEEPALIVE_S.default);
  const seconds = Number.isFinite(asked) ? asked : KEEPALIVE_S.default;
  return Math.min(Math.max(seconds, KEEPALIVE_S.min), KEEPALIVE_S.max) * 1_000;
}
