import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { CliError, USAGE } from './exit.ts';

/** A server and who one is there. */
export interface Context {
  readonly url: string;
  readonly token: string;
}

interface Config {
  readonly current: string | null;
  readonly contexts: Readonly<Record<string, Context>>;
}

const NONE: Config = { current: null, contexts: {} };

/** `BERTH_CONFIG`, or `berth/config.json` where the system has such files. */
function configFile(): string {
  const folder = process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config');
  return process.env['BERTH_CONFIG'] ?? join(folder, 'berth', 'config.json');
}

export async function readConfig(): Promise<Config> {
  const file = configFile();
  try {
    return { ...NONE, ...(JSON.parse(await readFile(file, 'utf8')) as Partial<Config>) };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return NONE;
    throw new CliError(`${file} cannot be read: ${String(error)}`, USAGE);
  }
}

/** It holds tokens, so nobody else may read it; it is there as a whole, or as it was. */
async function writeConfig(config: Config): Promise<void> {
  const file = configFile();
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${String(process.pid)}`;
  await writeFile(next, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  await chmod(next, 0o600);
  await rename(next, file);
}

/** Keeps a context and makes it the current one. */
export async function saveContext(name: string, context: Context): Promise<void> {
  const { contexts } = await readConfig();
  await writeConfig({ current: name, contexts: { ...contexts, [name]: context } });
}

export async function useContext(name: string): Promise<void> {
  const { contexts } = await readConfig();
  if (!Object.hasOwn(contexts, name)) throw new CliError(`there is no context "${name}"`, USAGE);
  await writeConfig({ current: name, contexts });
}

export async function forgetContext(name: string | undefined): Promise<string> {
  const { current, contexts } = await readConfig();
  const gone = name ?? current;
  if (gone === null || !Object.hasOwn(contexts, gone)) throw new CliError('there is no such context', USAGE);
  const left = Object.fromEntries(Object.entries(contexts).filter(([each]) => each !== gone));
  await writeConfig({ current: current === gone ? null : current, contexts: left });
  return gone;
}

/**
 * `BERTH_URL` and `BERTH_TOKEN` take precedence over the context, each by itself.
 * @param name of a context; the current one if absent
 */
export async function currentContext(name: string | undefined): Promise<Context> {
  const { current, contexts } = await readConfig();
  const wanted = name ?? current;
  const context = wanted !== null && Object.hasOwn(contexts, wanted) ? contexts[wanted] : undefined;
  if (name !== undefined && !context) throw new CliError(`there is no context "${name}"`, USAGE);
  const url = process.env['BERTH_URL'] ?? context?.url;
  const token = process.env['BERTH_TOKEN'] ?? context?.token;
  if (url === undefined || token === undefined) {
    throw new CliError('not logged in: `berth login URL`, or set BERTH_URL and BERTH_TOKEN', USAGE);
  }
  return { url, token };
}
