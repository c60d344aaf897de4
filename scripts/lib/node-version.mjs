/** The project's Node.js versions, as package.json's "engines" has them. */
import { Problem } from './problem.mjs';

/** @throws Problem on a Node.js that the dependencies refuse */
export function checkNodeVersion(version = process.versions.node) {
  const [major, minor] = version.split('.').map(Number);
  const fits = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 24;
  if (fits) return;
  throw new Problem(`Node.js ${version} is not one that Berth runs on.`, [
    'Install Node.js 24 (`nvm install` reads .nvmrc); 22.12 and 20.19, and later ones of these, work too.',
  ]);
}
