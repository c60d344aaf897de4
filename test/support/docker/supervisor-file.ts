import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The supervisor's program, as the scripts build it before the tests. */
export function supervisorFile(): string {
  return join(__dirname, '../../../packages/supervisor/build/supervisor');
}

/**
 * Writes a version that no other test has, so that its volumes may be changed: what follows the program is not read.
 *
 * @returns its file, in the folder
 */
export function ownSupervisorFile(folder: string): string {
  const file = join(folder, randomBytes(4).toString('hex'));
  writeFileSync(file, Buffer.concat([readFileSync(supervisorFile()), randomBytes(8)]));
  return file;
}
