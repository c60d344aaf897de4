import { Logger } from '@nestjs/common';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ConfigError } from '../../config';
import { DOCKER_HUB, parseImageReference, registryOf } from '../../engine';

/** Docker's login for one registry, in its own format. */
export type RegistryLogin = { readonly serveraddress: string } & Credentials;
type Credentials = { readonly username: string; readonly password: string } | { readonly identitytoken: string };

/** Docker's key for the Hub, from its first API. */
const HUB_KEY = 'https://index.docker.io/v1/';

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const HOST_KEY = /^(?:https?:\/\/)?(?<host>(?:[A-Za-z0-9.-]+|\[[A-Fa-f0-9:]+\])(?::\d{1,5})?)(?:\/(?:v[12]\/?)?)?$/;

const text = z.string('expected text').optional();
const entry = z.object({ auth: text, username: text, password: text, identitytoken: text }, 'expected an object');
const schema = z.object({ auths: z.record(z.string(), entry, 'expected an object') }, 'expected an object');

/** An invalid credentials file; `faults` are for people, one a line, and contain no secret. */
class RegistryAuthFault extends Error {
  override readonly name = 'RegistryAuthFault';

  constructor(readonly faults: readonly string[]) {
    super(faults.join('; '));
  }
}

/**
 * Parses what `docker login` writes (`config.json`): the credentials under `auths`. Ignores everything else.
 *
 * @returns the login of each registry host; that of Docker Hub under `docker.io`
 * @throws RegistryAuthFault listing every fault
 */
function parseRegistryAuths(json: string): ReadonlyMap<string, RegistryLogin> {
  const parsed = schema.safeParse(jsonOf(json));
  if (!parsed.success) {
    throw new RegistryAuthFault(
      parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'file'}: ${message}`),
    );
  }
  const faults: string[] = [];
  const logins = new Map<string, RegistryLogin>();
  for (const [key, credentials] of Object.entries(parsed.data.auths)) {
    const host = hostOf(key);
    const login = host === null ? HOST_EXPECTED : loginOf(host, credentials);
    if (host !== null && logins.has(host)) faults.push(`auths.${key}: ${host} is there twice`);
    if (typeof login === 'string') faults.push(`auths.${key}: ${login}`);
    else if (host !== null) logins.set(host, login);
  }
  if (faults.length > 0) throw new RegistryAuthFault(faults);
  return logins;
}

const HOST_EXPECTED = `expected the host of a registry such as registry.example:5000, or ${HUB_KEY} for Docker Hub`;

/** The message of JSON.parse quotes the text, which may contain secrets. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new RegistryAuthFault(['file: expected JSON']);
  }
}

function hostOf(key: string): string | null {
  const host = HOST_KEY.exec(key)?.groups?.['host']?.toLowerCase();
  if (host === undefined) return null;
  return host === 'index.docker.io' ? DOCKER_HUB : host;
}

/** @returns the login, or a fault */
function loginOf(
  host: string,
  { auth, username, password, identitytoken }: z.output<typeof entry>,
): RegistryLogin | string {
  const serveraddress = host === DOCKER_HUB ? HUB_KEY : host;
  if (identitytoken) return { identitytoken, serveraddress };
  if (auth) {
    // As in Docker, `auth` precedes `username` and `password`.
    const decoded = BASE64.test(auth) ? Buffer.from(auth, 'base64').toString() : '';
    const colon = decoded.indexOf(':');
    if (colon < 1) return 'auth: expected USER:PASSWORD in base64';
    return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, ''), serveraddress };
  }
  if (username && password) return { username, password, serveraddress };
  return 'expected auth, or username and password, or identitytoken; what a credential helper keeps is not read';
}

/** The credentials in the operator's `REGISTRY_AUTH_FILE`. Each is sent only to its own registry. */
export class RegistryCredentials {
  private readonly logger = new Logger(RegistryCredentials.name);
  private logins: ReadonlyMap<string, RegistryLogin> = new Map();
  private text = '';

  /** @throws ConfigError listing every fault of the file, and no secret */
  constructor(private readonly file: string | undefined) {
    if (file === undefined) return;
    try {
      this.take(readFileSync(file, 'utf8'));
    } catch (error) {
      throw new ConfigError(`REGISTRY_AUTH_FILE: ${explain(file, error)}`);
    }
  }

  /**
   * Docker's login for a pull; undefined if there is none for that registry. The file is read each time, so that
   * changes need no restart; while it is unreadable or invalid, its last valid contents are used.
   */
  async loginFor(reference: string): Promise<RegistryLogin | undefined> {
    const parsed = parseImageReference(reference);
    if (this.file === undefined || parsed === null) return undefined;
    try {
      const text = await readFile(this.file, 'utf8');
      if (text !== this.text) this.take(text);
    } catch (error) {
      this.logger.error(`REGISTRY_AUTH_FILE: ${explain(this.file, error)}\nIts previous contents are still used.`);
    }
    return this.logins.get(registryOf(parsed));
  }

  private take(text: string): void {
    this.logins = parseRegistryAuths(text);
    this.text = text;
  }
}

function explain(file: string, error: unknown): string {
  if (error instanceof RegistryAuthFault) {
    return `the credentials in ${file} are not valid:\n${error.faults.map((fault) => `  ${fault}`).join('\n')}`;
  }
  const { code } = error as { code?: unknown };
  return `${file} cannot be read (${typeof code === 'string' ? code : 'unknown error'})`;
}
