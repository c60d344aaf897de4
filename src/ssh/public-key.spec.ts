import { createHash } from 'node:crypto';
import { type ParsedKey, utils } from 'ssh2';
import { fingerprintOf, isSameKey, newKeyPair, parsePublicKey, verifies } from './public-key';

const signed = Buffer.from('what the client signs');

describe('a public key', () => {
  it.each<[string, { private: string; public: string }]>([
    ['Ed25519', newKeyPair()],
    ['ECDSA on P-256', utils.generateKeyPairSync('ecdsa', { bits: 256 })],
    ['ECDSA on P-384', utils.generateKeyPairSync('ecdsa', { bits: 384 })],
    ['ECDSA on P-521', utils.generateKeyPairSync('ecdsa', { bits: 521 })],
    ['RSA of 2048 bits', utils.generateKeyPairSync('rsa', { bits: 2048 })],
  ])('must verify its own signatures alone: %s', (_what, pair) => {
    const key = parsePublicKey(`${pair.public} a comment\n`);
    if (typeof key === 'string') throw new Error(key);
    expect(key.fingerprint).toBe(fingerprintOf(key.blob));
    const own = utils.parseKey(pair.private) as ParsedKey;
    const hash = key.type === 'ssh-rsa' ? 'sha256' : undefined;
    const signature = own.sign(signed, hash);
    expect(verifies(key, { signed, signature, hash })).toBe(true);
    expect(verifies(key, { signed: Buffer.from('another'), signature, hash })).toBe(false);
    expect(verifies(key, { signed, signature: Buffer.from(signature).reverse(), hash })).toBe(false);
    expect(verifies({ type: 'ssh-dss', blob: key.blob }, { signed, signature, hash })).toBe(false);
  });

  it('must not sign with SHA-1', () => {
    const pair = utils.generateKeyPairSync('rsa', { bits: 2048 });
    const key = parsePublicKey(pair.public);
    if (typeof key === 'string') throw new Error(key);
    const own = utils.parseKey(pair.private) as ParsedKey;
    const signature = own.sign(signed, 'sha1');
    for (const hash of [undefined, 'sha1', 'md5']) expect(verifies(key, { signed, signature, hash })).toBe(false);
  });

  it('must have the fingerprint that ssh-keygen shows', () => {
    const blob = Buffer.from('AAAAC3NzaC1lZDI1NTE5AAAAIAvRVPr8cMorNwnh3P98Dxsy0JmFZitjgDb31Y+rzWTT', 'base64');
    expect(fingerprintOf(blob)).toBe(createHash('sha256').update(blob).digest('base64').slice(0, 43));
  });

  it('must be compared as a whole', () => {
    expect(isSameKey(Buffer.from('same'), Buffer.from('same'))).toBe(true);
    expect(isSameKey(Buffer.from('same'), Buffer.from('some'))).toBe(false);
    expect(isSameKey(Buffer.from('same'), Buffer.from('same, and longer'))).toBe(false);
  });

  it('must be generated anew if what ssh2 returns is no key', () => {
    const whole = newKeyPair();
    const cut = { ...whole, private: whole.private.replace(/\n.{40}/, '\n') };
    const generate = jest.spyOn(utils, 'generateKeyPairSync').mockReturnValueOnce(cut).mockReturnValueOnce(whole);
    expect(newKeyPair()).toEqual(whole);
    generate.mockRestore();
  });
});
