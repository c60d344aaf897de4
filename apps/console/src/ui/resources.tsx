import type { Resources } from '@berth/client';
import type { JSX } from 'preact';
import { cpus, megabytes } from '../words/format';
import { resourceWords } from '../words/resources';

/** A container's resources as a table has them. */
export function ResourceAmounts({ of }: { readonly of: Resources }): JSX.Element {
  return (
    <span>
      {resourceWords.amounts({
        memory: megabytes(of.memory_mb),
        cpus: cpus(of.cpu_shares),
        disk: megabytes(of.disk_mb),
      })}
    </span>
  );
}
