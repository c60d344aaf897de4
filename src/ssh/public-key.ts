import { createHash, timingSafeEqual } from 'node:crypto';
import { type ParsedKey, utils } from 'ssh2';

/** The types of keys with which users log in. */
export const KEY_TYPES = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
] as const;

/** RSA keys are accepted with signatures of SHA-2 alone. */
const RSA_BITS = { least: 2048, most: 16_384 } as const;

/** The algorithms with which an RSA key signs, as the hash of them; SHA-1 has none. */
const RSA_HASHES: readonly (string | undefined)[] = ['sha256', 'sha512'];

/** Longer than the line of any accepted key. */
export const MOST_KEY_TEXT = 4096;

/** A public key, without its comment. */
export interface PublicKey {
  readonly type: string;
  readonly blob: Buffer;
  readonly fingerprint: string;
}

/** A client's proof that it has the private key. */
export interface KeyProof {
  readonly signed: Buffer;
  readonly signature: Buffer;
  /** Of an RSA signature. */
  readonly hash: string | undefined;
}

/** A key of one's own, in OpenSSH's formats. */
export interface KeyPair {
  readonly private: string;
  readonly public: string;
}

/**
 * Generates an Ed25519 key. ssh2 (1.17.0) drops the zero at which one in 256 public keys begins: what it then returns
 * can be used neither by itself nor by others, and is not taken.
 */
export function newKeyPair(): KeyPair {
  for (;;) {
    const pair = utils.generateKeyPairSync('ed25519');
    if (!(utils.parseKey(pair.private) instanceof Error)) return pair;
  }
}

/** @returns the fingerprint as `ssh-keygen -l` shows it behind `SHA256:` */
export function fingerprintOf(blob: Buffer): string {
  return createHash('sha256').update(blob).digest('base64').replace(/=+$/, '');
}

/**
 * Parses a line as in `id_ed25519.pub`: type, key, and an optional comment.
 *
 * @returns the key, or why it is none that is accepted
 */
export function parsePublicKey(text: string): PublicKey | string {
  const [type = '', encoded = ''] = text.trim().split(/[ \t]+/);
  if (/[\r\n]/.test(text.trim())) return 'must be a single line, as in id_ed25519.pub';
  if (text.includes('PRIVATE KEY')) return 'must be the public key, from the file ending in .pub';
  if (type.startsWith('sk-')) return 'must not be a security key (sk-…), which this server does not support';
  if (!KEY_TYPES.some((known) => known === type)) return `must start with one of ${KEY_TYPES.join(', ')}`;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return 'must have the form of id_ed25519.pub: type, key, comment';
  const blob = Buffer.from(encoded, 'base64');
  const parsed = keyOf(type, blob);
  // The type is in the key too. Other text behind a key would change its fingerprint.
  if (!parsed || parsed.type !== type || !parsed.getPublicSSH().equals(blob)) return 'must be a valid key';
  const bits = type === 'ssh-rsa' ? rsaBits(blob) : null;
  if (bits !== null && (bits < RSA_BITS.least || bits > RSA_BITS.most)) {
    return `must have at least ${String(RSA_BITS.least)} bits; Ed25519 keys are recommended`;
  }
  return { type, blob, fingerprint: fingerprintOf(blob) };
}

/** @returns null if it is no valid key */
function keyOf(type: string, blob: Buffer): ParsedKey | null {
  const parsed: unknown = utils.parseKey(`${type} ${blob.toString('base64')}`);
  const [key] = [parsed].flat();
  return key instanceof Error || !key ? null : (key as ParsedKey);
}

/** The length of an RSA key's modulus, which is the third field. */
function rsaBits(blob: Buffer): number {
  let at = 0;
  for (let field = 0; field < 2; field += 1) at += 4 + blob.readUInt32BE(at);
  const bytes = blob.subarray(at + 4, at + 4 + blob.readUInt32BE(at));
  const modulus = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
  return modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
}

/** Compares keys in constant time. */
export function isSameKey(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/** Whether the signature is one of this key, by an accepted algorithm. */
export function verifies({ type, blob }: Pick<PublicKey, 'type' | 'blob'>, proof: KeyProof): boolean {
  if (type === 'ssh-rsa' && !RSA_HASHES.includes(proof.hash)) return false;
  const outcome: unknown = keyOf(type, blob)?.verify(proof.signed, proof.signature, proof.hash);
  return outcome === true;
}
