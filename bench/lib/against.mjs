/** `npm run bench -- --against REVISION`: the same figures of an earlier revision, taken in turns. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findCommand, run } from '../../scripts/lib/command.mjs';
import { Problem } from '../../scripts/lib/problem.mjs';
import { dataFolder, makeDataFolder, projectRoot } from '../../scripts/lib/project.mjs';
import { measureCheckout } from './server.mjs';
import { median } from './statistics.mjs';

/** How often each side is measured. */
const ROUNDS = 3;

const folder = join(dataFolder, 'bench');

/** Installs and builds as the revision's own scripts do. */
const BUILD = `
  const { ensureDependencies } = await import('./scripts/lib/dependencies.mjs');
  const { ensureBuild } = await import('./scripts/lib/build.mjs');
  await ensureDependencies({ isQuick: false });
  await ensureBuild();`;

/**
 * @param {string} revision as git names it @param {(line: string) => void} onLine
 * @returns {Promise<{ root: string, name: string }>} a checkout of it, built and kept for the next time
 * @throws Problem if there is no such revision
 */
export async function buildRevision(revision, onLine) {
  const git = findCommand('git');
  const inProject = (args) => run(git, args, { cwd: projectRoot, onLine });
  const commit = await inProject(['rev-parse', '--verify', '--quiet', `${revision}^{commit}`]).catch(() => {
    throw new Problem(`There is no revision "${revision}".`, ['Name one that `git log` shows.']);
  });
  const name = commit.trim().slice(0, 10);
  const root = join(makeDataFolder(folder), name);
  await inProject(['worktree', 'prune']);
  if (!existsSync(root)) await inProject(['worktree', 'add', '--detach', root, name]);
  await run(process.execPath, ['--input-type=module', '-e', BUILD], { cwd: root, onLine });
  return { root, name };
}

/**
 * Measures both sides in turns, and the side that begins changes with each round.
 *
 * @param {string} root of the other checkout
 * @param {(about: string) => Promise<object[]>} measure @returns {Promise<object[]>} one row for each figure
 */
export async function compare(root, measure) {
  const rows = new Map();
  const sides = { now: projectRoot, then: root };
  try {
    for (let round = 1; round <= ROUNDS; round += 1) {
      const order = round % 2 === 1 ? ['then', 'now'] : ['now', 'then'];
      for (const side of order) {
        measureCheckout(sides[side]);
        for (const figure of await measure(`${side === 'now' ? 'this' : 'that'} revision, round ${round}/${ROUNDS}`)) {
          const { name, unit, smaller } = figure;
          if (!rows.has(name)) rows.set(name, { name, unit, smaller, now: [], then: [] });
          rows.get(name)[side].push(figure.measured);
        }
      }
    }
  } finally {
    measureCheckout(projectRoot);
  }
  return [...rows.values()];
}

const number = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const range = (values) => `${number(median(values))} (${number(Math.min(...values))}–${number(Math.max(...values))})`;

/** @param {object[]} rows of {@link compare} @returns {string} a table: medians, with the range of the rounds */
export function comparison(rows, name) {
  const lines = rows
    .filter(({ now, then }) => now.length > 0 && then.length > 0)
    .map(
      ({ name: figure, unit, smaller, now, then }) =>
        `| ${figure} | ${unit} | ${range(then)} | ${range(now)} | ${(median(now) / median(then)).toFixed(2)} | ${smaller ? 'less' : 'more'} |`,
    );
  return [
    `| figure | unit | ${name} | this | ratio | better is |`,
    '| --- | --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}
