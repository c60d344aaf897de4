/** The results of a run: a file of their own, and the table in the README beside it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../../scripts/lib/project.mjs';

const folder = join(projectRoot, 'bench');
const BEGIN = '<!-- results -->';
const END = '<!-- end of results -->';

export function machine({ docker }) {
  const [cpu] = cpus();
  return {
    cpu: `${cpus().length} × ${cpu.model.trim()}`,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    docker,
  };
}

/**
 * A figure and its limit, measured in the same run. `isGood` by the bar; null where there is none. `error`: how far off
 * the ratio may be, a standard error, where it is known.
 */
export function figure({ name, measured, limit, unit, bar = null, smaller = true, error = null }) {
  const ratio = measured / limit;
  const isGood = bar === null ? null : smaller ? ratio <= bar : ratio >= bar;
  return { name, measured, limit, unit, ratio, error, bar, isGood, smaller };
}

const number = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

function table(figures) {
  const rows = figures.map(
    ({ name, measured, limit, unit, ratio, error, bar, smaller, isGood }) =>
      `| ${name} | ${number(measured)} ${unit} | ${number(limit)} ${unit} | ${ratio.toFixed(2)}${error === null ? '' : ` ± ${error.toFixed(2)}`} | ${bar === null ? '– | –' : `${smaller ? '≤' : '≥'} ${bar} | ${isGood ? 'yes' : 'no'}`} |`,
  );
  return ['| figure | Berth | limit | ratio | bar | met |', '| --- | --- | --- | --- | --- | --- |', ...rows].join(
    '\n',
  );
}

/** Keeps the results, and those of a whole run in the README too. @returns {string} the table */
export function write({ figures, about, isWhole }) {
  const at = new Date().toISOString();
  mkdirSync(join(folder, 'results'), { recursive: true });
  const file = join(folder, 'results', `${at.slice(0, 19).replaceAll(':', '-')}.json`);
  writeFileSync(file, `${JSON.stringify({ at, machine: about, figures }, null, 2)}\n`);
  if (!isWhole) return table(figures);
  const readme = join(folder, 'README.md');
  const text = readFileSync(readme, 'utf8');
  const described = Object.entries(about).map(([name, value]) => `${name} ${value}`);
  const made = `${BEGIN}\n\n${at.slice(0, 10)}, ${described.join(', ')}\n\n${table(figures)}\n\n${END}`;
  writeFileSync(readme, text.slice(0, text.indexOf(BEGIN)) + made + text.slice(text.indexOf(END) + END.length));
  return table(figures);
}
