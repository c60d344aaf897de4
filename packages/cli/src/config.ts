import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { CliError, reasonOf, USAGE } from './exit.ts';

/** A context, with its name; null if the environment names the server. */
type OpenContext = Context & { readonly name: string | null };

/** A server and a user's token there. The token is sent only to that server. */
export interface Context {
  readonly url: string;
  readonly token: string;
  /** The username; absent in files of version 0.1.0. */
  readonly user?: string;
}

interface Config {
  readonly current: string | null;
  readonly contexts: Readonly<Record<string, Context>>;
}

const NONE: Config = { current: null, contexts: {} };

/** `BERTH_CONFIG`, or `berth/config.json` in the system's configuration directory. */
function configFile(): string {
  const folder = process.env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config');
  return process.env['BERTH_CONFIG'] ?? join(folder, 'berth', 'config.json');
}

/** The folder of what this program keeps beside its contexts. */
export function stateFolder(): string {
  return dirname(configFile());
}

export async function readConfig(): Promise<Config> {
  const file = configFile();
  try {
    return { ...NONE, ...(JSON.parse(await readFile(file, 'utf8')) as Partial<Config>) };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return NONE;
    const why = error instanceof SyntaxError ? 'it is not JSON' : reasonOf(error);
    throw new CliError(
      `cannot read the contexts in ${file}: ${why}. Correct the file, or name another with BERTH_CONFIG`,
      USAGE,
    );
  }
}

/** Writes the file atomically. It contains tokens, so only the user may read it. */
async function writeConfig(config: Config): Promise<void> {
  const file = configFile();
  const next = `${file}.${String(process.pid)}`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(next, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
    await chmod(next, 0o600);
    await rename(next, file);
  } catch (error) {
    throw new CliError(`cannot save the contexts: ${reasonOf(error)}. Name another file with BERTH_CONFIG`);
  }
}

/**
 * Saves a context and makes it the current one. A context belongs to one server and one of its users: a new login
 * replaces the token, but never the user or server.
 *
 * @param asked the context's name; by default the server's host name, with a number if another context has it
 * @returns the context's name
 * @throws CliError if another context has the requested name
 */
export async function saveContext(asked: string | undefined, context: Context): Promise<string> {
  const { contexts } = await readConfig();
  const isFree = (name: string): boolean => {
    const kept = contextNamed(contexts, name);
    return !kept || isSame(kept, context);
  };
  if (asked !== undefined && !isFree(asked)) {
    const { url, user = 'a user' } = contexts[asked] ?? context;
    throw new CliError(
      `"${asked}" is ${user} on ${url}. Run \`berth logout ${asked}\` first, or choose another name`,
      USAGE,
    );
  }
  const host = new URL(context.url).hostname;
  const known = Object.entries(contexts).find(([, each]) => isSame(each, context))?.[0];
  let name = asked ?? known ?? host;
  for (let number = 2; !isFree(name); number++) name = `${host}-${String(number)}`;
  await writeConfig({ current: name, contexts: { ...contexts, [name]: context } });
  return name;
}

/** True for an address over HTTP or HTTPS. */
export function isAddress(url: string): boolean {
  return /^https?:\/\//.test(url) && URL.canParse(url);
}

function isSame(one: Context, other: Context): boolean {
  return isSameServer(one.url, other.url) && one.user !== undefined && one.user === other.user;
}

/** Compares origin and path, regardless of spelling. */
function isSameServer(one: string, other: string): boolean {
  const plain = (url: string): string => {
    const { origin, pathname } = new URL(url);
    return `${origin}${pathname.replace(/\/+$/, '')}`;
  };
  return one === other || (URL.canParse(one) && URL.canParse(other) && plain(one) === plain(other));
}

function contextNamed(contexts: Config['contexts'], name: string | null): Context | undefined {
  return name !== null && Object.hasOwn(contexts, name) ? contexts[name] : undefined;
}

export async function useContext(name: string): Promise<void> {
  const { contexts } = await readConfig();
  if (!Object.hasOwn(contexts, name)) throw unknown(name, contexts);
  await writeConfig({ current: name, contexts });
}

export async function forgetContext(name: string | undefined): Promise<string> {
  const { current, contexts } = await readConfig();
  const gone = name ?? current;
  if (gone === null) throw new CliError('no current context. Name one: `berth logout CONTEXT`', USAGE);
  if (!Object.hasOwn(contexts, gone)) throw unknown(gone, contexts);
  const left = Object.fromEntries(Object.entries(contexts).filter(([each]) => each !== gone));
  await writeConfig({ current: current === gone ? null : current, contexts: left });
  return gone;
}

/**
 * Selects the context: an explicitly named one takes precedence over `BERTH_URL` and `BERTH_TOKEN`, and these over
 * the current one. A context's token is sent only to the server that it was saved with.
 *
 * @param name the named context; undefined if none is named
 * @throws CliError if no token is known for the server
 */
export async function openContext(name: string | undefined): Promise<OpenContext> {
  const { current, contexts } = await readConfig();
  if (name !== undefined) {
    const context = contextNamed(contexts, name);
    if (!context) throw unknown(name, contexts);
    return { ...context, name };
  }
  const { BERTH_URL: url, BERTH_TOKEN: token } = process.env;
  if (url !== undefined && !isAddress(url)) {
    throw new CliError(`BERTH_URL, ${url}, is not a valid URL. Use one such as https://berth.example.org`, USAGE);
  }
  if (url !== undefined) return { url, token: token ?? tokenFor(url, { current, contexts }), name: null };
  const context = contextNamed(contexts, current);
  if (!context) {
    throw new CliError('not logged in. Run `berth login URL`, or set BERTH_URL and BERTH_TOKEN', USAGE);
  }
  return token === undefined ? { ...context, name: current } : { url: context.url, token, name: current };
}

function unknown(name: string, contexts: Config['contexts']): CliError {
  const names = Object.keys(contexts).join(', ');
  return new CliError(`no context "${name}". ${names === '' ? 'Run `berth login URL`' : `There are: ${names}`}`, USAGE);
}

function tokenFor(url: string, { current, contexts }: Config): string {
  const [first, ...others] = Object.entries(contexts)
    .filter(([, context]) => isSameServer(context.url, url))
    // Prefers the current context among those of this server.
    .toSorted(([one], [other]) => Number(other === current) - Number(one === current));
  if (!first) {
    throw new CliError(
      `no token was saved for BERTH_URL, ${url}. Set BERTH_TOKEN too, or run \`berth login ${url}\``,
      USAGE,
    );
  }
  const [name, { token }] = first;
  if (others.length > 0 && name !== current) {
    const names = [first, ...others].map(([each]) => each).join(', ');
    throw new CliError(`several users were saved for BERTH_URL, ${url}. Choose one with --context: ${names}`, USAGE);
  }
  return token;
}
