import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../config';
import { loadSecrets } from './load-secrets';
import { KEY_BYTES, Secrets } from './secrets';

const ONE = Buffer.alloc(KEY_BYTES, 1);
const OTHER = Buffer.alloc(KEY_BYTES, 2);
const PLACE = 'containers.env:1';

const of = (key: Buffer, previous: Buffer | null = null): Secrets => new Secrets({ key, previous });

describe('a sealed value', () => {
  it('must be opened again, whatever it is, and be another each time', () => {
    const secrets = of(ONE);
    for (const text of ['', '{}', 'pässwörd \u{1f511}', 'x'.repeat(300_000)]) {
      const sealed = secrets.seal(text, PLACE);
      expect(secrets.open(sealed, PLACE)).toBe(text);
      expect(secrets.seal(text, PLACE)).not.toBe(sealed);
      expect(sealed.startsWith(secrets.prefix)).toBe(true);
    }
    expect(secrets.seal('password', PLACE)).not.toContain(Buffer.from('password').toString('base64url').slice(0, 8));
  });

  it('must not be opened in another place, nor changed anywhere, nor cut', () => {
    const secrets = of(ONE);
    const sealed = secrets.seal('{"A":"secret"}', PLACE);
    expect(() => secrets.open(sealed, 'containers.env:2')).toThrow(/moved there from another row/);
    for (let at = secrets.prefix.length; at < sealed.length; at += 1) {
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1);
      // The last character may have bits that decode to nothing.
      if (Buffer.from(changed.slice(20), 'base64url').equals(Buffer.from(sealed.slice(20), 'base64url'))) continue;
      expect(() => secrets.open(changed, PLACE)).toThrow(/was changed/);
    }
    for (const length of [secrets.prefix.length + 1, secrets.prefix.length + 20, sealed.length - 4]) {
      expect(() => secrets.open(sealed.slice(0, length), PLACE)).toThrow(/was changed/);
    }
  });

  it('must be opened with the previous key, and with no third one', () => {
    const sealed = of(ONE).seal('secret', PLACE);
    expect(of(OTHER, ONE).open(sealed, PLACE)).toBe('secret');
    expect(of(OTHER, ONE).readablePrefixes).toEqual([of(OTHER).prefix, of(ONE).prefix]);
    expect(() => of(OTHER).open(sealed, PLACE)).toThrow(/not encrypted with a key that is known here/);
    expect(() => of(ONE).open('{"A":"plain"}', PLACE)).toThrow(/not encrypted/);
    expect(of(ONE).prefix).not.toContain(ONE.toString('hex').slice(0, 16));
  });
});

describe('a digest', () => {
  it('must be the same under one key, and of no use under another', () => {
    expect(of(ONE).digests('x')).toEqual(of(ONE).digests('x'));
    expect(of(ONE).digests('x')).not.toEqual(of(OTHER).digests('x'));
    expect(of(OTHER, ONE).digests('x')).toEqual([...of(OTHER).digests('x'), ...of(ONE).digests('x')]);
    expect(of(ONE).digests('x')[0]).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('the key of a database without SECRETS_KEY', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-secrets-'));
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  it('must be made once beside it, for its owner alone, and be the same from then on', () => {
    const DATABASE_URL = `sqlite:${join(folder, 'new', 'berth.sqlite')}`;
    const sealed = loadSecrets({ DATABASE_URL }).seal('secret', PLACE);
    const file = join(folder, 'new', 'berth.sqlite.key');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(loadSecrets({ DATABASE_URL }).open(sealed, PLACE)).toBe('secret');
    // It is a valid SECRETS_KEY.
    const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'base64');
    expect(loadSecrets({ DATABASE_URL: 'postgres://x', SECRETS_KEY: key }).open(sealed, PLACE)).toBe('secret');
  });

  it('must not be made where a key is set, or for a database in memory', () => {
    const DATABASE_URL = `sqlite:${join(folder, 'berth.sqlite')}`;
    loadSecrets({ DATABASE_URL, SECRETS_KEY: ONE });
    loadSecrets({ DATABASE_URL: 'sqlite::memory:' });
    expect(existsSync(join(folder, 'berth.sqlite.key'))).toBe(false);
    expect(existsSync(':memory:.key')).toBe(false);
  });

  it('must be refused, and never replaced, where its file holds none', () => {
    const DATABASE_URL = `sqlite:${join(folder, 'berth.sqlite')}`;
    const file = join(folder, 'berth.sqlite.key');
    writeFileSync(file, 'half of a k');
    expect(() => loadSecrets({ DATABASE_URL })).toThrow(ConfigError);
    expect(() => loadSecrets({ DATABASE_URL })).toThrow(/berth\.sqlite\.key does not hold a key/);
    expect(readFileSync(file, 'utf8')).toBe('half of a k');
  });
});
