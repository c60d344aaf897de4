/** The person's settings: the environment first, then `.env`; only what neither has gets a default. */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import util from 'node:util';
import { projectRoot, runFolder } from './project.mjs';

function fromFile() {
  try {
    return util.parseEnv(readFileSync(join(projectRoot, '.env'), 'utf8'));
  } catch {
    return {};
  }
}

/** The names of all settings; a test keeps `.env.example` equal to what the server knows. */
function settingNames() {
  try {
    const example = readFileSync(join(projectRoot, '.env.example'), 'utf8');
    return [...example.matchAll(/^#?\s*([A-Z][A-Z0-9_]+)=/gm)].map(([, name]) => name);
  } catch {
    return [];
  }
}

/** What the server will see. An empty value in the environment counts as not set. */
export function readSettings() {
  const given = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ''));
  return { ...fromFile(), ...given };
}

/** The defaults that make `npm start` work with no configuration, for the settings that are not set. */
export function defaultsFor(settings) {
  // Relative, as the server runs in the project's folder: what it says of it is short.
  const sqlite = relative(projectRoot, join(runFolder, 'berth.sqlite'));
  const defaults = { DATABASE_URL: `sqlite:${sqlite}`, HOST: '127.0.0.1', PORT: '8080' };
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => settings[name] === undefined));
}

/** The person's own settings of a server must not reach the tests. */
export function cleanEnvironment() {
  const own = ['DATABASE_URL', 'HOST', 'NODE_ENV', 'PORT', 'REDIS_URL', ...settingNames()];
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.includes(name)));
}
