import { randomBytes, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Config, ConfigError, parseSecretsKey } from '../config';
import { KEY_BYTES, Secrets } from './secrets';

type Settings = Pick<Config, 'DATABASE_URL' | 'SECRETS_KEY' | 'SECRETS_KEY_PREVIOUS'>;

/**
 * Makes the {@link Secrets} from the settings. Without `SECRETS_KEY`, which production requires, the key is in a file
 * that is created once: beside an SQLite database, or with PostgreSQL in `.berth`, for all processes of one working
 * directory. An SQLite database in memory gets a random key.
 *
 * @throws ConfigError if the file cannot be created or read
 */
export function loadSecrets({ DATABASE_URL, SECRETS_KEY, SECRETS_KEY_PREVIOUS }: Settings): Secrets {
  return new Secrets({ key: SECRETS_KEY ?? keyFor(DATABASE_URL), previous: SECRETS_KEY_PREVIOUS ?? null });
}

function keyFor(databaseUrl: string): Buffer {
  const file = keyFileOf(databaseUrl);
  if (file === null) return randomBytes(KEY_BYTES);
  try {
    return parse(readIfThere(file) ?? makeOnce(file), file);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`SECRETS_KEY is not set, and its file ${file} cannot be used: ${why}`, { cause: error });
  }
}

/** @returns the path of the key file; null for a database that ends with its process */
function keyFileOf(databaseUrl: string): string | null {
  if (!databaseUrl.startsWith('sqlite:')) return '.berth/secrets.key';
  const database = databaseUrl.slice('sqlite:'.length);
  return database === ':memory:' ? null : `${database}.key`;
}

/** Creates the file atomically. If several processes do so at once, all use the key of the first. */
function makeOnce(file: string): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomUUID()}`;
  writeFileSync(draft, `${randomBytes(KEY_BYTES).toString('base64')}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  return readFileSync(file, 'utf8');
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function parse(text: string, file: string): Buffer {
  const key = parseSecretsKey(text.trim());
  if (key) return key;
  throw new ConfigError(
    `${file} does not hold a key: put back the file that was there, or set SECRETS_KEY to what it held`,
  );
}
