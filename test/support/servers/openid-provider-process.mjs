/**
 * An OpenID provider for tests, as a process of its own, so that it can be killed and have another clock. Whoever comes
 * is signed in as the account of the last `POST /account`, without a page: `{ "claims": { "sub": "…", … } }`, or `null`
 * for an account that is disabled. It prints its address once it listens.
 *
 * node openid-provider-process.mjs PORT CLOCK_SHIFT_MS
 */
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

const [port = '0', shift = '0'] = process.argv.slice(2);
const { now } = Date;
Date.now = () => now() + Number(shift);
const { default: Provider } = await import('oidc-provider');

let account = null;
const accountOf = (sub) => ({ accountId: sub, claims: () => account });

const server = createServer();
await new Promise((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${String(server.address().port)}`;
const client = {
  client_id: 'berth',
  client_secret: 'a-secret-of-the-tests',
  redirect_uris: ['https://replaced.example/'],
  id_token_signed_response_alg: 'RS256',
};
const provider = new Provider(issuer, {
  clients: [client],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email'] },
  // As most providers do: claims are in the ID token.
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
  findAccount: (_context, sub) => (account?.sub === sub ? accountOf(sub) : undefined),
  async loadExistingGrant({ oidc }) {
    const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope('openid profile email');
    await grant.save();
    return grant;
  },
  // New keys at each start.
  jwks: {
    keys: [{ ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), use: 'sig' }],
  },
  pkce: { required: () => true },
});
// Tests have servers on free ports.
provider.Client.prototype.redirectUriAllowed = (uri) =>
  /^http:\/\/(?:127\.0\.0\.1|localhost):\d+\/api\/auth\/oidc\/callback$/.test(uri);
const answer = provider.callback();

async function serve(request, response) {
  if (request.url === '/account') {
    account = JSON.parse(await text(request)).claims;
    response.end();
  } else if (request.url.startsWith('/interaction/')) {
    const result = account ? { login: { accountId: account.sub, remember: false } } : { error: 'access_denied' };
    await provider.interactionFinished(request, response, result);
  } else {
    await answer(request, response);
  }
}
server.on('request', (request, response) => void serve(request, response));
process.stdout.write(`${issuer}\n`);
