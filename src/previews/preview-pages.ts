import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { DomainError, errorAnswer, type ErrorCode } from '../errors';
import { headersOf, requestIdOf } from '../http';

/** Paths below it are Berth's own: no application gets them. */
export const OWN_PATHS = '/.berth/';
/** The page that a link leads to; the link's token is in the fragment, which no server gets. */
export const OPEN_PATH = `${OWN_PATHS}open`;
/** Exchanges a link's token for a cookie. */
export const SESSION_PATH = `${OWN_PATHS}session`;
/** Starts the container, for visitors who may do that. */
export const START_PATH = `${OWN_PATHS}start`;

interface Words {
  readonly title: string;
  readonly text: string;
}

/** What people read in place of an error. */
const WORDS: Readonly<Partial<Record<ErrorCode, Words>>> = {
  unauthorized: {
    title: 'This preview is private',
    text: 'Ask the owner for a link, or open the preview from the console. Expired and revoked links no longer work.',
  },
  not_authorized: { title: 'This preview is private', text: 'It belongs to another user.' },
  container_not_found: { title: 'Not found', text: 'The container does not exist or was deleted.' },
  container_not_running: { title: 'The container is stopped', text: 'The owner must start it.' },
  container_starting: { title: 'The container is starting', text: 'This page reloads automatically.' },
  port_closed: {
    title: 'Nothing listens on this port',
    text:
      'The container is running, but no program in it accepts connections on this port. Start the server and ' +
      'reload this page.',
  },
  application_failed: {
    title: 'The application did not respond',
    text: 'It closed the connection, or its response is not HTTP.',
  },
  user_suspended: { title: 'This preview is not available', text: "The owner's account is suspended." },
  guest_session_expired: { title: 'This preview is not available', text: "The owner's session has expired." },
  exec_not_allowed: { title: 'This preview is not available', text: "The owner's tier does not allow previews." },
  too_many_connections: { title: 'Too many connections', text: 'Close other previews of this user and try again.' },
  rate_limit_exceeded: {
    title: 'Too many attempts',
    text: 'Too many invalid links were opened from your address. Try again in a minute.',
  },
  misdirected_request: { title: 'Not found', text: 'This is not the address of a preview.' },
};

/** Of `container_not_running`. */
const PAUSED: Words = { title: 'The container is paused', text: 'The owner must resume it.' };

/** Of `container_not_running`, for visitors who may start it. */
const MAY_START: Words = { title: 'The container is stopped', text: 'You can start it.' };

const FALLBACK: Words = { title: 'The preview could not be shown', text: 'Try again in a moment.' };

const RELOAD_SECONDS = 2;

/** Answers with a page for a browser that navigates, and with the API's form of errors for programs. */
export function answerFault(request: IncomingMessage, response: ServerResponse, thrown: unknown): void {
  const answer = errorAnswer(thrown, requestIdOf(request.headers));
  const { status, body, headers } = answer;
  if (!wantsPage(request)) {
    response.writeHead(status, Object.assign(headersOf(answer), CROSS_ORIGIN)).end(JSON.stringify(body));
    return;
  }
  const kind = thrown instanceof DomainError ? thrown.kind : null;
  const mayStart = thrown instanceof DomainError && thrown.options.fields?.['may_start'] === true;
  const isPaused = thrown instanceof DomainError && thrown.code === 'container_paused';
  const words = mayStart ? MAY_START : isPaused ? PAUSED : ((kind && WORDS[kind]) ?? FALLBACK);
  const head = kind === 'container_starting' ? `<meta http-equiv="refresh" content="${String(RELOAD_SECONDS)}">` : '';
  // A dialog of the browser would ask for a password.
  const { 'www-authenticate': _challenge, ...others } = headers;
  const script = mayStart ? START : undefined;
  const button = script === undefined ? '' : `<p><button>Start</button></p><script>${script}</script>`;
  sendPage(response, { status, headers: others, html: page(words, { head, body: button }), script });
}

/** Answers a program, in another form than the API's. */
export function answerJson(response: ServerResponse, { status, body }: { status: number; body: object }): void {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', ...CROSS_ORIGIN };
  response.writeHead(status, headers).end(JSON.stringify(body));
}

/** Answers with the page that redeems the token in its fragment. */
export function answerOpenPage(response: ServerResponse): void {
  const words = { title: 'Opening the preview', text: 'Please wait.' };
  const html = page(words, { head: '', body: `<script>${REDEEM}</script>` });
  sendPage(response, { status: 200, headers: {}, html, script: REDEEM });
}

/** Whether a person's browser navigates to the address. */
export function wantsPage({ method, headers }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && /\btext\/html\b/i.test(headers.accept ?? '');
}

/** The token leaves the address at once, and is in no history. */
const REDEEM = `
const token = location.hash.slice(1);
history.replaceState(null, '', location.pathname);
const say = (title, text) => {
  document.title = title;
  document.querySelector('h1').textContent = title;
  document.querySelector('p').textContent = text;
};
fetch('${SESSION_PATH}', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ token }),
}).then((answer) => {
  if (answer.ok) location.replace('/');
  else say('This link does not work', 'It has expired, was revoked or has already been used. Ask for another one.');
}, () => say('The preview could not be opened', 'Check your connection and open the link again.'));
`;

const START = `
const button = document.querySelector('button');
button.addEventListener('click', () => {
  button.disabled = true;
  button.textContent = 'Starting…';
  fetch('${START_PATH}', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }).then(
    (answer) => {
      if (answer.ok || answer.status === 503) location.reload();
      else {
        document.querySelector('p').textContent = 'The container could not be started.';
        button.remove();
      }
    },
    () => location.reload(),
  );
});
`;

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 34rem; margin: 20vh auto 0; padding: 0 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
`;

function page({ title, text }: Words, { head, body = '' }: { head: string; body?: string }): string {
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width">',
    `${head}<title>${escaped(title)}</title><style>${STYLE}</style></head>`,
    `<body><main><h1>${escaped(title)}</h1><p>${escaped(text)}</p>${body}</main></body></html>`,
  ].join('');
}

/** Lets no other site read what Berth itself answers. */
const CROSS_ORIGIN = { 'cross-origin-resource-policy': 'same-origin' };

function sendPage(
  response: ServerResponse,
  answer: { status: number; headers: Readonly<Record<string, string>>; html: string; script?: string | undefined },
): void {
  const scripts = answer.script === undefined ? "'none'" : sourceOf(answer.script);
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-length': String(Buffer.byteLength(answer.html)),
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'content-security-policy': [
      "default-src 'none'",
      `script-src ${scripts}`,
      `style-src ${sourceOf(STYLE)}`,
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
    ].join('; '),
  };
  response.writeHead(answer.status, { ...headers, ...CROSS_ORIGIN, ...answer.headers }).end(answer.html);
}

function sourceOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${String(character.charCodeAt(0))};`);
}
