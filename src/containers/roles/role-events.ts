import type { EventDraft } from '../../events';
import type { InstallProgress } from '../../roles';
import type { ContainerRow } from '../container.entity';
import { containerFacts } from '../dto/container-facts';

const STAGE = 'role';

export function roleProgress(row: ContainerRow, { percent, message }: InstallProgress): EventDraft {
  return { type: 'container_progress', data: { ...containerFacts(row), stage: STAGE, message, progress: percent } };
}

export function roleInstalled(row: ContainerRow): EventDraft {
  return roleProgress(row, { percent: 100, message: 'the role is installed' });
}

/** The container itself goes on to run. @param output the end of what the installation said; may be empty */
export function roleFailed(row: ContainerRow, { message, output }: { message: string; output: string }): EventDraft {
  const data = { ...containerFacts(row), reason: 'role_failed', message, ...(output !== '' && { output }) };
  return { type: 'container_error', data };
}
