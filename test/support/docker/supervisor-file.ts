import { join } from 'node:path';

/** The supervisor's program, as the scripts build it before the tests. */
export function supervisorFile(): string {
  return join(__dirname, '../../../packages/supervisor/build/supervisor');
}
