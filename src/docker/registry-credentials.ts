import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Logger } from '@nestjs/common';
import { ConfigError } from '../config';
import { parseImageReference, registryOf } from './image-reference';
import { parseRegistryAuths, RegistryAuthFault, RegistryLogin } from './registry-auth-file';

/** The credentials of the operator's `REGISTRY_AUTH_FILE`. They go to the registry that they are for, and nowhere else. */
export class RegistryCredentials {
  private readonly logger = new Logger(RegistryCredentials.name);
  private logins: ReadonlyMap<string, RegistryLogin> = new Map();
  private text = '';

  /** @throws ConfigError that lists every fault of the file, and no secret */
  constructor(private readonly file: string | undefined) {
    if (file === undefined) return;
    try {
      this.take(readFileSync(file, 'utf8'));
    } catch (error) {
      throw new ConfigError(`REGISTRY_AUTH_FILE: ${explain(file, error)}`);
    }
  }

  /**
   * What Docker needs for a pull; undefined where there is nothing for that registry. The file is read anew, so that changes
   * need no restart; while it cannot be read or is not valid, what it held before goes on to be used.
   */
  async loginFor(reference: string): Promise<RegistryLogin | undefined> {
    const parsed = parseImageReference(reference);
    if (this.file === undefined || parsed === null) return undefined;
    try {
      const text = await readFile(this.file, 'utf8');
      if (text !== this.text) this.take(text);
    } catch (error) {
      this.logger.error(`REGISTRY_AUTH_FILE: ${explain(this.file, error)}\nWhat it held before is still used.`);
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
