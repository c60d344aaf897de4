import type { Resources } from '@berth/client';
import type { JSX } from 'preact';
import { cpus, megabytes } from '../data/format';
import { isDiskEnforced } from '../data/server';

/** A disk size, and that it is not enforced where Docker cannot enforce it: then a container may write more. */
export function DiskSize({ mb, words = '' }: { readonly mb: number; readonly words?: string }): JSX.Element {
  return (
    <>
      {megabytes(mb)}
      {words !== '' && ` ${words}`}
      {isDiskEnforced.value === false && <span title={NOT_ENFORCED}> (not enforced)</span>}
    </>
  );
}

/** What this server's Docker lacks for it; said where there is room. */
export const NOT_ENFORCED = 'The server’s Docker has no disk quotas: containers may write more than this.';

/** A container's resources as a table has them, in two lines where the second one has something to say. */
export function ResourceAmounts({ of }: { readonly of: Resources }): JSX.Element {
  return (
    <div class="two">
      <span>
        {megabytes(of.memory_mb)} · {cpus(of.cpu_shares)} · {megabytes(of.disk_mb)} disk
      </span>
      {isDiskEnforced.value === false && (
        <span class="small" title={NOT_ENFORCED}>
          disk size not enforced
        </span>
      )}
    </div>
  );
}
