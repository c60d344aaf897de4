import type { AmountView, FreeView } from '@berth/client';
import { resourceWords } from '../words/resources';
import { fraction, megabytes } from '../words/format';

const { capacity: WORDS } = resourceWords;

/** How many times a machine's size may be reserved; null where a size is unknown. The limit is rounded down. */
function overcommitOf({ limit, total }: Pick<AmountView, 'limit' | 'total'>): number | null {
  return limit === null || total === null || total === 0 ? null : Math.round((limit / total) * 100) / 100;
}

/** `of 47 GB reserved; the machine has 23.5 GB, overcommit 2`: what follows the reserved amount. */
export function reservedInWords(
  { limit, total }: Pick<AmountView, 'limit' | 'total'>,
  { show, machine }: { readonly show: (amount: number) => string; readonly machine: string },
): string {
  if (limit === null || total === null) return WORDS.reservedOfUnknown(machine);
  const overcommit = overcommitOf({ limit, total }) ?? 1;
  const more = overcommit === 1 ? WORDS.noOvercommit : WORDS.overcommit(fraction(overcommit));
  return WORDS.reserved({ limit: show(limit), machine, total: show(total), more });
}

/** `of 23.5 GB free`: what follows the free amount. */
export const freeInWords = ({ total }: FreeView): string =>
  total === null ? WORDS.free : WORDS.freeOf(megabytes(total));
