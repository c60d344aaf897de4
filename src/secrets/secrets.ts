import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

/** Length of an AES-256 key, in bytes. */
export const KEY_BYTES = 32;

const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * A sealed value: `v1:KEY_ID:`, then IV, tag and ciphertext in base64url. Text of any other form was never sealed.
 */
const SEALED = /^v1:([0-9a-f]{16}):([A-Za-z0-9_-]+)$/;

/** A sealed value cannot be opened. `message` contains no secret. */
export class SecretsError extends Error {
  override readonly name = 'SecretsError';
}

/** The keys derived from one secret key, one for each purpose. */
class KeyRing {
  /** Identifies the key without revealing anything about it. */
  readonly id: string;
  readonly encryption: Buffer;
  readonly authentication: Buffer;

  constructor(key: Buffer) {
    const derive = (purpose: string, bytes: number): Buffer =>
      Buffer.from(hkdfSync('sha256', key, '', `berth ${purpose}`, bytes));
    this.id = derive('key id', 8).toString('hex');
    this.encryption = derive('encryption', KEY_BYTES);
    this.authentication = derive('authentication', KEY_BYTES);
  }
}

/**
 * Encrypts values that the database must not hold in plain text: AES-256-GCM with a random IV each time. The value's
 * kind and owner are authenticated with it, so that it cannot be moved to another row or column.
 */
export class Secrets {
  private readonly current: KeyRing;
  private readonly readable: ReadonlyMap<string, KeyRing>;

  /** @param previous the former key, for values that are not yet sealed with `key`; null if there is none */
  constructor({ key, previous }: { key: Buffer; previous: Buffer | null }) {
    this.current = new KeyRing(key);
    const rings = previous === null ? [this.current] : [this.current, new KeyRing(previous)];
    this.readable = new Map(rings.map((ring) => [ring.id, ring]));
  }

  /** The prefix of all values that are sealed with the current key. */
  get prefix(): string {
    return `v1:${this.current.id}:`;
  }

  /** The prefixes of all values that can be opened. */
  get readablePrefixes(): readonly string[] {
    return [...this.readable.keys()].map((id) => `v1:${id}:`);
  }

  /** @param place the value's kind and owner, such as `containers.env:<id>` */
  seal(text: string, place: string): string {
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.current.encryption, iv);
    cipher.setAAD(Buffer.from(place));
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return this.prefix + Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64url');
  }

  /** @throws SecretsError if the value was sealed with an unknown key or for another place, or was changed since */
  open(sealed: string, place: string): string {
    const [, id = '', encoded = ''] = SEALED.exec(sealed) ?? [];
    const ring = this.readable.get(id);
    if (!ring) throw new SecretsError(`${place} is not encrypted with a key that is known here`);
    const bytes = Buffer.from(encoded, 'base64url');
    const [iv, tag] = [bytes.subarray(0, IV_BYTES), bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES)];
    try {
      const decipher = createDecipheriv('aes-256-gcm', ring.encryption, iv, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(tag);
      return decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
    } catch (error) {
      throw new SecretsError(`${place} was changed in the database, or moved there from another row`, { cause: error });
    }
  }

  /**
   * Digests of a text that may be guessed, such as a short password: useless without the key.
   *
   * @returns HMAC-SHA256 in 64 hexadecimal digits, with the current key, then with the previous one if there is one
   */
  digests(text: string): readonly [string, ...string[]] {
    const digest = (ring: KeyRing): string => createHmac('sha256', ring.authentication).update(text).digest('hex');
    const former = [...this.readable.values()].filter((ring) => ring !== this.current);
    return [digest(this.current), ...former.map(digest)];
  }
}
