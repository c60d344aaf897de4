import { ARCHIVE_PROGRAMS } from './archives';
import { FILE_PROGRAMS } from './files';
import { PACKAGE_PROGRAMS } from './packages';
import { PROGRAMS } from './registry';
import { SHELL_PROGRAMS } from './sh';
import { SYSTEM_PROGRAMS } from './system';
import { TEXT_PROGRAMS } from './text';

/** The programs that each simulated image has. */
export const PROGRAM_NAMES: readonly string[] = [
  ARCHIVE_PROGRAMS,
  FILE_PROGRAMS,
  PACKAGE_PROGRAMS,
  SHELL_PROGRAMS,
  SYSTEM_PROGRAMS,
  TEXT_PROGRAMS,
].flatMap((programs) => {
  for (const [name, program] of Object.entries(programs)) PROGRAMS.set(name, program);
  return Object.keys(programs);
});
