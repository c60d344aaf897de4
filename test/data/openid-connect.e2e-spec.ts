import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserService } from '../../src/auth';
import { type Answer, ApiClient } from '../support/clients/api-client';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { Berth } from '../support/servers/berth';
import { type AccountClaims, OpenIdTestProvider, TestBrowser } from '../support/servers/openid-provider';

const RULES = {
  allowed: { claim: 'groups', values: ['users', 'admins'] },
  tier: { claim: 'groups', values: { paying: 'pro' }, default: 'free' },
  admin: { claim: 'groups', values: ['admins'] },
};
const WEEK = 7 * 24 * 3_600_000;

describe('sign-in through an OpenID provider', () => {
  const clock = new TestClock();
  const folder = mkdtempSync(join(tmpdir(), 'berth-claims-'));
  let provider: OpenIdTestProvider;
  let berth: Berth;
  let number = 0;

  beforeAll(async () => {
    const file = join(folder, 'claims.json');
    writeFileSync(file, JSON.stringify(RULES));
    provider = await OpenIdTestProvider.start();
    const environment = { ...provider.environment, OIDC_NAME: 'Example Login', OIDC_CLAIMS_FILE: file };
    berth = await Berth.start({ engine: new FakeEngine(), clock, environment });
  });

  afterAll(async () => {
    await berth.stop();
    await provider.stop();
    rmSync(folder, { recursive: true });
  });

  /** An account that nobody has used yet. */
  function account(groups: readonly string[] = ['users'], more: object = {}): AccountClaims {
    number += 1;
    return { sub: `sub-${String(number)}`, preferred_username: `person-${String(number)}`, groups, ...more };
  }

  /** @returns the fragment of the console's address that the browser ends at */
  async function arrive(claims: AccountClaims | null, path = '/api/auth/oidc'): Promise<URL> {
    await provider.signsIn(claims);
    return new TestBrowser().walk(`${berth.url}${path}`);
  }

  const redeem = (at: URL): Promise<Answer> =>
    new ApiClient(berth.url, '').call('POST', '/api/auth/sign-in', { code: at.hash.replace('#code=', '') });

  /** Signs in, and returns the answer with the session's token. */
  async function signIn(claims: AccountClaims): Promise<Answer> {
    const at = await arrive(claims);
    expect(at.hash).toMatch(/^#code=[\w-]{32}$/);
    const answer = await redeem(at);
    expect(answer.status).toBe(201);
    return answer;
  }

  const userOf = (answer: Answer): { id: string; username: string; tier: string } =>
    answer.body['user'] as { id: string; username: string; tier: string };

  it('must give a session of the user whom the claims describe, the same one each time', async () => {
    const paying = account(['users', 'paying']);
    const first = await signIn(paying);
    expect(first.body).toMatchObject({ name: 'console', scopes: ['read', 'write', 'exec'] });
    expect(userOf(first)).toMatchObject({ username: paying['preferred_username'], tier: 'pro' });
    const lasts = Date.parse(String(first.body['expires_at'])) - clock.now().getTime();
    expect(Math.abs(lasts - WEEK)).toBeLessThan(10_000);
    const me = await new ApiClient(berth.url, String(first.body['token'])).call('GET', '/api/me');
    expect(me.body).toMatchObject({ user: { id: userOf(first).id } });
    // The name is only the first one's: accounts are known by their subject.
    const again = await signIn({ ...paying, preferred_username: 'renamed', groups: ['users', 'admins'] });
    expect(userOf(again)).toEqual({ ...userOf(first), tier: 'free' });
    expect(again.body['scopes']).toEqual(['read', 'write', 'exec', 'admin']);
  });

  it('must never take over a user by name', async () => {
    const { username, id } = await berth.user();
    const answer = await signIn(account(['users'], { preferred_username: username }));
    expect(userOf(answer).id).not.toBe(id);
    expect(userOf(answer).username).toMatch(new RegExp(`^${username}-\\d{4}$`));
    const odd = await signIn(account(['users'], { preferred_username: '~ Zoë Müller/../<b>' }));
    expect(userOf(odd).username).toMatch(/^[A-Za-z0-9][A-Za-z0-9._@-]*$/);
  });

  it('must make one user of an account that signs in several times at once', async () => {
    const claims = account();
    await provider.signsIn(claims);
    const walks = Array.from({ length: 4 }, () => new TestBrowser().walk(`${berth.url}/api/auth/oidc`));
    const answers = await Promise.all((await Promise.all(walks)).map(redeem));
    expect(new Set(answers.map((answer) => userOf(answer).id)).size).toBe(1);
  });

  it('must suspend a user whom the claims no longer let in, and only until they do again', async () => {
    const claims = account();
    const session = new ApiClient(berth.url, String((await signIn(claims)).body['token']));
    expect((await arrive({ ...claims, groups: [] })).hash).toBe('#fault=sign_in_refused');
    expect(await session.call('GET', '/api/me')).toMatchObject({ status: 403, body: { code: 'user_suspended' } });
    await signIn(claims);
    expect((await session.call('GET', '/api/me')).status).toBe(200);
    // Whom an administrator has suspended stays so.
    const me = await session.call('GET', '/api/me');
    await berth.app.get(UserService).change((me.body['user'] as { id: string }).id, { suspended: true });
    expect((await arrive({ ...claims, groups: [] })).hash).toBe('#fault=sign_in_refused');
    expect((await arrive(claims)).hash).toBe('#fault=user_suspended');
    // Nobody is made a user by a refusal.
    expect((await arrive(account([]))).hash).toBe('#fault=sign_in_refused');
    expect(await berth.app.get(UserService).byName(`person-${String(number)}`)).toBeNull();
  });

  it('must give a new user to an account whose user was deleted', async () => {
    const claims = account();
    const { id } = userOf(await signIn(claims));
    await berth.app.get(UserService).delete(id);
    expect(userOf(await signIn(claims)).id).not.toBe(id);
  });

  it('must bring the browser back to the page that it came from, of the console alone', async () => {
    const at = await arrive(account(), '/api/auth/oidc?return=/containers/3f2');
    expect(at.href.split('#')[0]).toBe(`${berth.url}/containers/3f2`);
    for (const other of ['//evil.example', 'https://evil.example', '/%5Cevil.example', '/a?b', 'x']) {
      const answer = await fetch(`${berth.url}/api/auth/oidc?return=${encodeURIComponent(other)}`);
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ details: [{ field: 'return' }] });
    }
  });

  it('must refuse an answer that is used again, belongs to another browser, or comes too late', async () => {
    await provider.signsIn(account());
    const isCallback = (url: URL): boolean => url.pathname.endsWith('/callback');
    const [browser, other] = [new TestBrowser(), new TestBrowser()];
    const answer = await browser.walk(`${berth.url}/api/auth/oidc`, isCallback);
    expect((await new TestBrowser().walk(answer.href)).hash).toBe('#fault=sign_in_expired');
    const othersAnswer = await other.walk(`${berth.url}/api/auth/oidc`, isCallback);
    expect((await other.walk(answer.href)).hash).toBe('#fault=sign_in_expired');
    expect((await browser.walk(othersAnswer.href)).hash).toBe('#fault=sign_in_expired');
    // Each of them took the cookie, so a new sign-in has to begin.
    expect((await browser.walk(answer.href)).hash).toBe('#fault=sign_in_expired');
    const good = await browser.walk(`${berth.url}/api/auth/oidc`, isCallback);
    const replayed = new TestBrowser();
    Object.assign(replayed, { cookies: new Map((browser as unknown as { cookies: Map<string, string> }).cookies) });
    expect((await browser.walk(good.href)).hash).toMatch(/^#code=/);
    expect((await replayed.walk(good.href)).hash).toBe('#fault=sign_in_expired');
  });

  it('must keep those signed in who are, while the provider is away, and go on when it is back with new keys', async () => {
    const claims = account();
    const session = new ApiClient(berth.url, String((await signIn(claims)).body['token']));
    await provider.stop();
    expect((await session.call('GET', '/api/me')).status).toBe(200);
    const begun = await new TestBrowser().walk(`${berth.url}/api/auth/oidc`, (url) => url.origin !== berth.url);
    const back = `${berth.url}/api/auth/oidc/callback?code=x&state=${begun.searchParams.get('state') ?? ''}`;
    expect((await new TestBrowser().walk(back)).hash).toBe('#fault=sign_in_expired');
    provider = await OpenIdTestProvider.start({ issuer: provider.issuer });
    await signIn(claims);
  });

  it('must refuse a user whom the provider refuses, and a provider whose clock is wrong', async () => {
    expect((await arrive(null)).hash).toBe('#fault=sign_in_refused');
    await provider.stop();
    provider = await OpenIdTestProvider.start({ issuer: provider.issuer, clockShiftMs: -2 * 3_600_000 });
    expect((await arrive(account())).hash).toBe('#fault=openid_unavailable');
    await provider.stop();
    provider = await OpenIdTestProvider.start({ issuer: provider.issuer, clockShiftMs: -20_000 });
    await signIn(account());
  });

  it('must be told of to whoever is not signed in', async () => {
    const anyone = new ApiClient(berth.url, '');
    expect((await anyone.call('GET', '/api/auth/methods')).body).toEqual({ openid: 'Example Login', guest: true });
  });
});

describe('a server without an OpenID provider', () => {
  it('must say so, and of one that does not answer only when it is asked', async () => {
    const without = await Berth.start({ engine: new FakeEngine() });
    const anyone = new ApiClient(without.url, '');
    expect((await anyone.call('GET', '/api/auth/methods')).body).toEqual({ openid: null, guest: true });
    for (const path of ['/api/auth/oidc', '/api/auth/oidc/callback?code=x&state=y']) {
      const answer = await fetch(`${without.url}${path}`);
      expect(answer.status).toBe(409);
      expect(await answer.json()).toMatchObject({ code: 'openid_disabled' });
    }
    await without.stop();
    const environment = { OIDC_ISSUER: 'http://127.0.0.1:9', OIDC_CLIENT_ID: 'berth' };
    const away = await Berth.start({ engine: new FakeEngine(), environment });
    expect((await new TestBrowser().walk(`${away.url}/api/auth/oidc`)).hash).toBe('#fault=openid_unavailable');
    await away.stop();
  });
});
