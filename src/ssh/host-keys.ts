import { Inject, Injectable } from '@nestjs/common';
import { readFileSync } from 'node:fs';
import { type ParsedKey, utils } from 'ssh2';
import { CONFIG, type Config, ConfigError } from '../config';
import { Database, sql } from '../database';
import { Clock } from '../scheduling';
import { Secrets } from '../secrets';
import { fingerprintOf, KEY_TYPES, newKeyPair } from './public-key';
import { SshHostKeyEntity } from './ssh.entities';

const TYPE = 'ssh-ed25519';
const PLACE = `ssh_host_keys.private_key:${TYPE}`;

/** A host key, as clients pin it. */
export interface HostKey {
  readonly type: string;
  readonly fingerprint: string;
  /** In base64. */
  readonly publicKey: string;
  /** In OpenSSH's format or as PEM. */
  readonly privateKey: string;
}

/**
 * The key that proves to clients which server they have reached: from `SSH_HOST_KEY_FILE`, or generated once and kept
 * in the database, encrypted, so that all processes of a Berth have the same.
 */
@Injectable()
export class HostKeys {
  private known: Promise<HostKey> | null = null;

  constructor(
    private readonly database: Database,
    private readonly secrets: Secrets,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SSH_HOST_KEY_FILE'>,
  ) {}

  /** @throws ConfigError if the file has no usable key; SecretsError if the database's cannot be decrypted */
  get(): Promise<HostKey> {
    const { SSH_HOST_KEY_FILE: file } = this.config;
    return (this.known ??= file === undefined ? this.stored() : Promise.resolve(keyIn(file)));
  }

  private async stored(): Promise<HostKey> {
    const { manager } = this.database;
    const found = await manager.findOneBy(SshHostKeyEntity, { type: TYPE });
    if (found) return this.opened(found);
    const privateKey = this.secrets.seal(newKeyPair().private, PLACE);
    const created = { type: TYPE, privateKey, createdAt: this.clock.now() };
    // Two processes may start at once on a new database: the first insert wins, and both read its key.
    await this.database.run(sql`${sql.insert(SshHostKeyEntity, created)} ON CONFLICT DO NOTHING`);
    return this.opened(await manager.findOneByOrFail(SshHostKeyEntity, { type: TYPE }));
  }

  private async opened({ type, privateKey: sealed }: SshHostKeyEntity): Promise<HostKey> {
    const text = this.secrets.open(sealed, PLACE);
    if (!sealed.startsWith(this.secrets.prefix)) {
      const privateKey = this.secrets.seal(text, PLACE);
      await this.database.manager.update(SshHostKeyEntity, { type, privateKey: sealed }, { privateKey });
    }
    return hostKeyOf(text) ?? refuse('the host key in the database is damaged: delete the row of ssh_host_keys');
  }
}

function keyIn(file: string): HostKey {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`SSH_HOST_KEY_FILE: ${file} cannot be read: ${why}`, { cause: error });
  }
  const types = KEY_TYPES.join(', ');
  return (
    hostKeyOf(text) ??
    refuse(`SSH_HOST_KEY_FILE: ${file} has no private key without a passphrase, of one of the types ${types}`)
  );
}

function hostKeyOf(text: string): HostKey | null {
  const parsed: unknown = utils.parseKey(text);
  const [first] = [parsed].flat();
  if (first instanceof Error || !first) return null;
  const key = first as ParsedKey;
  if (!key.isPrivateKey() || !KEY_TYPES.some((type) => type === key.type)) return null;
  const blob = key.getPublicSSH();
  return { type: key.type, fingerprint: fingerprintOf(blob), publicKey: blob.toString('base64'), privateKey: text };
}

function refuse(message: string): never {
  throw new ConfigError(message);
}
