import { signal } from '@preact/signals';
import { sessionWords } from './words/session';

/**
 * Who is signed in here. The token is kept in this tab's `sessionStorage`, which no other site's script can read and
 * which ends with the tab; a tab that is opened beside it is handed it by those that are open (`BroadcastChannel`
 * reaches this origin's own pages alone). It is never in an address, nor in what is kept when the browser is closed.
 */
export interface Session {
  readonly token: string;
  /** Of a token that was made for this session: it is revoked when the session ends. */
  readonly tokenId: string | null;
  /** The ids of tokens that were made in this session: they go on after it. */
  readonly made?: readonly string[];
}

const KEY = 'berth.session';
/** How long a new tab waits for another tab's answer, in milliseconds. */
const ASK_MS = 150;

export const session = signal<Session | null>(read());
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
  if ('give' in data && !mine && waiting) keep(data.give);
  if ('made' in data && mine?.token === data.by) add(mine, data.made);
  if ('end' in data && mine?.token === data.end) forget(sessionWords.signedOutElsewhere);
};

let waiting = false;

function read(): Session | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Session | null;
  } catch {
    return null;
  }
}

/** Begins a session in this tab. */
export function keep(next: Session): void {
  sessionStorage.setItem(KEY, JSON.stringify(next));
  signedOutBecause.value = null;
  session.value = next;
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
  waiting = true;
  channel.postMessage({ ask: true } satisfies Message);
  await new Promise<void>((resolve) => {
    const enough = setTimeout(resolve, ASK_MS);
    const unsubscribe = session.subscribe((found) => {
      if (!found) return;
      clearTimeout(enough);
      resolve();
      queueMicrotask(() => unsubscribe());
    });
  });
  waiting = false;
}

/** The one-time code of the address's fragment, which is taken out of it: it must not stay in the history. */
export function takeCode(): string | null {
  const code = /^#code=([A-Za-z0-9_-]+)$/.exec(location.hash)?.[1] ?? null;
  if (code !== null) history.replaceState(null, '', location.pathname + location.search);
  return code;
}
