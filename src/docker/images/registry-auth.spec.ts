import { Logger } from '@nestjs/common';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RegistryCredentials } from './registry-auth';

const SECRET = 'hunter:2';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const tool = (host: string) => `${host}/team/tool:1`;

describe('credentials of registries', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-registries-'));
  const file = join(folder, 'config.json');

  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => jest.restoreAllMocks());

  const write = (content: unknown): void =>
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));

  function load(auths: unknown): RegistryCredentials {
    write({ auths });
    return new RegistryCredentials(file);
  }

  function faultOf(content: unknown): string {
    write(content);
    try {
      new RegistryCredentials(file);
      return 'none';
    } catch (error) {
      expect(error).toMatchObject({ name: 'ConfigError' });
      return (error as Error).message;
    }
  }

  it.each([
    ['auth', { auth: base64(`me:${SECRET}`) }, { username: 'me', password: SECRET }],
    ['username and password', { username: 'me', password: SECRET, email: 'x' }, { username: 'me', password: SECRET }],
    [
      'auth before username',
      { auth: base64('me:a'), username: 'you', password: 'b' },
      { username: 'me', password: 'a' },
    ],
    ['an identity token', { identitytoken: SECRET, auth: base64('me:') }, { identitytoken: SECRET }],
  ])('must be taken as Docker writes them: %s', async (_what, credentials, login) => {
    const loaded = load({ 'registry.example:5000': credentials });
    expect(await loaded.loginFor(tool('registry.example:5000'))).toEqual({
      ...login,
      serveraddress: 'registry.example:5000',
    });
  });

  it('must go to exactly the registry that they are for', async () => {
    const login = { username: 'me', password: SECRET };
    const loaded = load({
      'https://Registry.example/v2/': login,
      'registry.example:5000': { ...login, username: 'you' },
    });
    expect(await loaded.loginFor(tool('registry.example'))).toMatchObject({ username: 'me' });
    expect(await loaded.loginFor(tool('registry.example:5000'))).toMatchObject({ username: 'you' });
    const others = [
      'registry.example:443',
      'sub.registry.example',
      'example',
      'registry.example.org',
      'localhost:5000',
    ];
    for (const host of others) expect(await loaded.loginFor(tool(host))).toBeUndefined();
    expect(await loaded.loginFor('registry/example:1')).toBeUndefined();
    expect(await loaded.loginFor('tool')).toBeUndefined();
  });

  it.each(['https://index.docker.io/v1/', 'index.docker.io', 'docker.io'])(
    'must be for Docker Hub under %s, and for nothing else',
    async (key) => {
      const loaded = load({ [key]: { username: 'me', password: SECRET } });
      for (const reference of ['ubuntu', 'team/tool:1', 'docker.io/team/tool:1']) {
        expect(await loaded.loginFor(reference)).toMatchObject({ serveraddress: 'https://index.docker.io/v1/' });
      }
      expect(await loaded.loginFor(tool('registry.example'))).toBeUndefined();
    },
  );

  it('must be refused with every fault, and without any secret', () => {
    const fault = faultOf({
      auths: {
        'a.example': { auth: base64(SECRET.replace(':', '')) },
        'b.example': { auth: `${SECRET}!` },
        'c.example': {},
        'd.example': { password: SECRET },
        'e.example/team': { auth: base64(`me:${SECRET}`) },
        'docker.io': { auth: base64(`me:${SECRET}`) },
        'https://index.docker.io/v1/': { auth: base64(`me:${SECRET}`) },
      },
      credsStore: 'desktop',
    });
    expect(fault).toMatch(/^REGISTRY_AUTH_FILE: the credentials in .*config.json are not valid:\n/);
    expect(
      fault
        .split('\n')
        .slice(1)
        .map((line) => line.split(': ')[0]?.trim()),
    ).toEqual([
      'auths.a.example',
      'auths.b.example',
      'auths.c.example',
      'auths.d.example',
      'auths.e.example/team',
      'auths.https://index.docker.io/v1/',
    ]);
    expect(fault).not.toMatch(/hunter|aHVudGVy|bWU6/);
  });

  it.each<[string, unknown, RegExp]>([
    ['no JSON', `{"auths": {"a": {"password": "hunter`, /file: expected JSON$/],
    ['no auths', { credHelpers: {} }, /auths: expected an object$/],
    ['a list', [], /file: expected an object$/],
    ['text in place of credentials', { auths: { a: 'hunter' } }, /auths\.a: expected an object$/],
    ['a number in place of text', { auths: { a: { auth: 5 }, b: { password: [] } } }, /a\.auth: .*\n.*b\.password: /],
  ])('must be refused where there is %s', (_what, content, message) => {
    const fault = faultOf(content);
    expect(fault).toMatch(message);
    expect(fault).not.toContain('hunter');
  });

  it('must be refused where the file cannot be read', () => {
    expect(() => new RegistryCredentials(join(folder, 'none'))).toThrow(
      /REGISTRY_AUTH_FILE: .*none cannot be read \(ENOENT\)/,
    );
  });

  it('must follow the file, and stay as they were while it is not valid', async () => {
    const error = jest.spyOn(Logger.prototype, 'error').mockImplementation();
    const loaded = load({ 'registry.example': { username: 'me', password: 'old' } });
    write({ auths: { 'registry.example': { username: 'me', password: 'new' } } });
    expect(await loaded.loginFor(tool('registry.example'))).toMatchObject({ password: 'new' });
    write('{"auths": {"registry.example": {"username": "me", "password": "hunter');
    expect(await loaded.loginFor(tool('registry.example'))).toMatchObject({ password: 'new' });
    rmSync(file);
    expect(await loaded.loginFor(tool('registry.example'))).toMatchObject({ password: 'new' });
    expect(error).toHaveBeenCalledTimes(2);
    expect(JSON.stringify(error.mock.calls)).not.toMatch(/hunter|new/);
    write({ auths: {} });
    expect(await loaded.loginFor(tool('registry.example'))).toBeUndefined();
  });

  it('must not be needed', async () => {
    expect(await new RegistryCredentials(undefined).loginFor('ubuntu')).toBeUndefined();
  });
});
