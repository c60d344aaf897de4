import type { Resources } from '@berth/client';
import type { JSX } from 'preact';
import { cpus, megabytes } from '../words/format';
import { isDiskEnforced } from '../data/server';
import { resourceWords } from '../words/resources';

/** A disk size, and that it is not enforced where Docker cannot enforce it: then a container may write more. */
export function DiskSize({ mb, words = '' }: { readonly mb: number; readonly words?: string }): JSX.Element {
  return (
    <>
      {megabytes(mb)}
      {words !== '' && ` ${words}`}
      {isDiskEnforced.value === false && <span title={NOT_ENFORCED}> {resourceWords.notEnforced}</span>}
    </>
  );
}

/** What this server's Docker lacks for it; said where there is room. */
export const NOT_ENFORCED = resourceWords.noDiskQuotas;

/** A container's resources as a table has them, in two lines where the second one has something to say. */
export function ResourceAmounts({ of }: { readonly of: Resources }): JSX.Element {
  return (
    <div class="two">
      <span>
        {resourceWords.amounts({
          memory: megabytes(of.memory_mb),
          cpus: cpus(of.cpu_shares),
          disk: megabytes(of.disk_mb),
        })}
      </span>
      {isDiskEnforced.value === false && (
        <span class="small" title={NOT_ENFORCED}>
          {resourceWords.diskNotEnforced}
        </span>
      )}
    </div>
  );
}
