import { effect } from '@preact/signals';
import type { ComponentType, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { call } from './data/api';
import { connection, fault, follow, me, stop } from './data/live';
import { inWords } from './data/words';
import { Containers } from './pages/containers';
import { SignIn } from './pages/sign-in';
import { path } from './router';
import { session, signOutEverywhere } from './session';
import { Questions } from './ui/dialog';
import { PageHead, Empty } from './ui/parts';
import { Shell } from './ui/shell';
import { Toasts } from './ui/toasts';

type Page = ComponentType<{ readonly id: string }>;

/** A page whose script is loaded when somebody first comes to it. */
function later(load: () => Promise<Page>): Page {
  let loaded: Page | undefined;
  return function Later(props) {
    const [, setLoaded] = useState(loaded);
    const [failed, setFailed] = useState<unknown>();
    useEffect(() => {
      load().then((page) => {
        loaded = page;
        setLoaded(() => page);
      }, setFailed);
    }, []);
    if (failed !== undefined) return <p class="notice bad">This page could not be loaded. Load it again.</p>;
    const Loaded = loaded;
    return Loaded ? <Loaded {...props} /> : <p class="muted">Loading…</p>;
  };
}

/** As the server has them: src/console/console.ts. */
const PAGES: readonly (readonly [RegExp, Page])[] = [
  [/^\/$/, Containers],
  [/^\/containers\/([^/]+)$/, later(async () => (await import('./pages/container')).ContainerPage)],
  [/^\/deleted$/, later(async () => (await import('./pages/deleted')).Deleted)],
  [/^\/events$/, later(async () => (await import('./pages/events')).Events)],
  [/^\/usage$/, later(async () => (await import('./pages/usage')).Usage)],
];

// Whoever is signed in is followed; what was known of somebody else is forgotten.
effect(() => {
  if (!session.value) {
    stop();
    return;
  }
  void begin();
});

async function begin(): Promise<void> {
  const RETRY_MS = 2000;
  for (const { token } = session.value ?? { token: '' }; session.value?.token === token;) {
    try {
      await follow();
      return;
    } catch (error) {
      fault.value = error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Ends the session, here and on the server where its token was made for it. */
export async function signOut(): Promise<void> {
  const mine = session.value;
  if (mine?.tokenId) {
    await call('DELETE', `/api/tokens/${mine.tokenId}`).catch(() => undefined);
  }
  signOutEverywhere();
}

export function App(): JSX.Element {
  if (!session.value) {
    return (
      <>
        <SignIn />
        <Toasts />
      </>
    );
  }
  return (
    <>
      <Shell onSignOut={signOut}>{me.value ? <CurrentPage /> : <Waiting />}</Shell>
      <Questions />
      <Toasts />
    </>
  );
}

function CurrentPage(): JSX.Element {
  for (const [pattern, Page] of PAGES) {
    const match = pattern.exec(path.value);
    if (match) return <Page key={path.value} id={decodeURIComponent(match[1] ?? '')} />;
  }
  return (
    <>
      <PageHead title="Not found" />
      <Empty title="There is no such page">
        <a class="button" href="/">
          To your containers
        </a>
      </Empty>
    </>
  );
}

function Waiting(): JSX.Element {
  return fault.value === null ? (
    <p class="muted" role="status">
      Loading…
    </p>
  ) : (
    <p class="notice bad" role="alert">
      {inWords(fault.value)} {connection.value !== 'live' && 'Trying again…'}
    </p>
  );
}
