/**
 * `npm prepare`: lets git use the hooks that lie in the repository.
 * Silent and harmless where there is nothing to hook: in a tarball, in CI, as a dependency, without git.
 */
import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { projectRoot } from './lib/project.mjs';

function git(...args) {
  return execFileSync('git', args, { cwd: projectRoot, stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim();
}

try {
  // The top level is compared, so that a copy of this folder inside another repository leaves that one's hooks alone.
  const isOwnCheckout = !process.env.CI && git('rev-parse', '--show-toplevel') === realpathSync(projectRoot);
  if (isOwnCheckout) git('config', 'core.hooksPath', '.githooks');
} catch {
  // Not a git checkout, or no git: no hooks to install.
}
