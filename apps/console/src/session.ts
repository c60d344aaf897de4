import { signal } from '@preact/signals';
import { sessionWords } from './words/session';

/**
 * Who is signed in here. The token is kept in this tab's `sessionStorage`, which no other site's script can read and
 * which ends with the tab; a tab that is opened beside it is handed it by those that are open (`BroadcastChannel`
 * reaches this origin's own pages alone). It is never in an address. It outlives the browser only if the user chooses
 * to stay signed in, in `localStorage`.
 */
export interface Session {
  readonly token: string;
  /** Of a token that was made for this session: it is revoked when the session ends. */
  readonly tokenId: string | null;
  /** The ids of tokens that were made in this session: they go on after it. */
  readonly made?: readonly string[];
}

const KEY = 'berth.session';
/** Held by each tab that is signed in. Browsers have locks only in pages from HTTPS or from this machine. */
const LOCK = 'berth.session';
/** How long a new tab waits for another tab's answer, in milliseconds: if one is signed in, and if that is unknown. */
const ANSWER_MS = 10_000;
const ASK_MS = 150;

export const session = signal<Session | null>(read(sessionStorage) ?? read(localStorage));
/** Whether the session outlives the browser. */
export const isStaying = signal(isKept());
/** True until it is known whether another tab or a sign-in link gives a session. */
export const isEntering = signal(session.peek() === null);
/** Why the user was signed out; the sign-in page shows it. */
export const signedOutBecause = signal<string | null>(null);

type Message =
  | { readonly ask: true }
  | { readonly give: Session }
  | { readonly made: string; readonly by: string }
  | { readonly end: string };

const channel = new BroadcastChannel('berth');
channel.onmessage = ({ data }: MessageEvent<Message>) => {
  const mine = session.value;
  if ('ask' in data && mine) channel.postMessage({ give: mine } satisfies Message);
  // Also a late answer, when the sign-in page is shown already.
  if ('give' in data && !mine && hasAsked) keep(data.give);
  if ('made' in data && mine?.token === data.by) add(mine, data.made);
  if ('end' in data && mine?.token === data.end) forget(sessionWords.signedOutElsewhere);
};

addEventListener('storage', () => (isStaying.value = isKept()));

/** Whether another tab's answer is awaited. */
let hasAsked = false;
let hasLock = false;

function read(from: Storage): Session | null {
  try {
    return JSON.parse(from.getItem(KEY) ?? 'null') as Session | null;
  } catch {
    return null;
  }
}

function isKept(): boolean {
  const mine = session.peek();
  return mine !== null && read(localStorage)?.token === mine.token;
}

/** Begins a session in this tab, or changes it. */
export function keep(next: Session): void {
  sessionStorage.setItem(KEY, JSON.stringify(next));
  signedOutBecause.value = null;
  session.value = next;
  if (isKept()) localStorage.setItem(KEY, JSON.stringify(next));
  isStaying.value = isKept();
  hasAsked = false;
  void holdLock();
}

/** Tells other tabs, until the session ends, that this one can hand it on. */
async function holdLock(): Promise<void> {
  if (hasLock || !('locks' in navigator)) return;
  hasLock = true;
  const ended = (): Promise<void> =>
    new Promise((resolve) => {
      const unsubscribe = session.subscribe((mine) => {
        if (mine) return;
        resolve();
        queueMicrotask(() => unsubscribe());
      });
    });
  await navigator.locks.request(LOCK, { mode: 'shared' }, ended);
  hasLock = false;
  // The user signed in again before the lock was given back.
  if (session.peek()) void holdLock();
}

/** Keeps the session when the browser is closed, or no longer. */
export function staySignedIn(isWanted: boolean): void {
  const mine = session.peek();
  if (isWanted && mine) localStorage.setItem(KEY, JSON.stringify(mine));
  else if (isKept()) localStorage.removeItem(KEY);
  isStaying.value = isKept();
}

/** Remembers, in all tabs, a token that was made in this session. */
export function noteMade(id: string): void {
  const mine = session.value;
  if (!mine) return;
  add(mine, id);
  channel.postMessage({ made: id, by: mine.token } satisfies Message);
}

function add(mine: Session, made: string): void {
  keep({ ...mine, made: [...(mine.made ?? []), made] });
}

/** Ends the session in this tab. @param because the reason, which the sign-in page shows */
export function forget(because: string | null = null): void {
  staySignedIn(false);
  sessionStorage.removeItem(KEY);
  signedOutBecause.value = because;
  session.value = null;
}

/** Ends it in all tabs. */
export function signOutEverywhere(): void {
  const mine = session.value;
  forget();
  if (mine) channel.postMessage({ end: mine.token } satisfies Message);
}

/** Takes over the session of another tab, if there is one. */
export async function adoptFromOtherTab(): Promise<void> {
  if (session.value) return;
  hasAsked = true;
  channel.postMessage({ ask: true } satisfies Message);
  const { held = [] } = 'locks' in navigator ? await navigator.locks.query() : {};
  const waitMs = held.some(({ name }) => name === LOCK) ? ANSWER_MS : ASK_MS;
  await new Promise<void>((resolve) => {
    const enough = setTimeout(resolve, waitMs);
    const unsubscribe = session.subscribe((found) => {
      if (!found) return;
      clearTimeout(enough);
      resolve();
      queueMicrotask(() => unsubscribe());
    });
  });
}

/** The one-time code of the address's fragment, which is taken out of it: it must not stay in the history. */
export function takeCode(): string | null {
  const code = /^#code=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1] ?? null;
  if (code !== null) history.replaceState(null, '', location.pathname + location.search);
  return code;
}

/** Why a sign-in elsewhere failed, by the address's fragment, which is taken out of it. */
export function takeFault(): string | null {
  const fault = /^#fault=([a-z_]+)$/.exec(location.hash)?.[1] ?? null;
  if (fault !== null) history.replaceState(null, '', location.pathname + location.search);
  return fault;
}

const restored = session.peek();
if (restored) keep(restored);
