/**
 * `npm run audit`: asks the npm registry for known vulnerabilities of the packages that the server runs with. It fails
 * for one that is high or critical; where the registry cannot be asked it says so and passes, as that proves nothing of
 * the code.
 */
import { spawnSync } from 'node:child_process';
import { findCommand } from './lib/command.mjs';
import { projectRoot } from './lib/project.mjs';
import { say } from './lib/steps.mjs';

const GRAVE = ['high', 'critical'];

function askRegistry() {
  const { stdout, error } = spawnSync(findCommand('npm'), ['audit', '--omit=dev', '--json'], {
    cwd: projectRoot,
    encoding: 'utf8',
    timeout: 120_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (error) return { unasked: error.message };
  try {
    const report = JSON.parse(stdout);
    // In the place of a report npm prints what kept it from making one.
    return report.vulnerabilities ? { report } : { unasked: report.message ?? report.error?.summary ?? 'no report' };
  } catch {
    return { unasked: 'npm printed no report' };
  }
}

/** One line a package: what it is, and what would help. */
function describe({ name, severity, via, fixAvailable }) {
  const reasons = via.map((each) => (typeof each === 'string' ? `by ${each}` : `${each.title} (${each.url})`));
  const fix = fixAvailable === false ? 'no fix yet' : 'npm audit fix, or an update of what needs it';
  return `${severity}: ${name}: ${reasons.join('; ')} [${fix}]`;
}

function main() {
  const { report, unasked } = askRegistry();
  if (unasked) {
    say(`! the registry was not asked for vulnerabilities, nothing is known of them: ${unasked}`);
    return 0;
  }
  const found = Object.values(report.vulnerabilities);
  for (const each of found) say(`${GRAVE.includes(each.severity) ? '✗' : '!'} ${describe(each)}`);
  const grave = found.filter(({ severity }) => GRAVE.includes(severity)).length;
  say(`${grave ? '✗' : '✓'} known vulnerabilities: ${found.length}, high or critical: ${grave}`);
  return grave ? 1 : 0;
}

process.exitCode = main();
