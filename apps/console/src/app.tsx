import { computed, effect, untracked } from '@preact/signals';
import type { ComponentType, JSX } from 'preact';
import { connection, fault, follow, me, stop } from './data/live';
import { hasTransfers } from './data/transfers';
import { inWords } from './words/errors';
import { partWords } from './words/parts';
import { shellWords } from './words/shell';
import { signInWords } from './words/sign-in';
import { Containers } from './pages/containers';
import { SignIn } from './pages/sign-in';
import { signOut, SignOutQuestion } from './pages/sign-out';
import { SnapshotDialogs } from './pages/snapshot-dialogs';
import { path } from './router';
import { isEntering, session } from './session';
import { Prompts, Questions } from './ui/dialog';
import { PageHead, Empty } from './ui/parts';
import { Shell, SimulationBanner } from './ui/shell';
import { later } from './ui/later';
import { Toasts } from './ui/toasts';

const TransferTray = later(async () => (await import('./ui/transfer-tray')).TransferTray);

type Page = ComponentType<{ readonly id: string }>;

/** As the server has them: src/console/console.ts. */
const PAGES: readonly (readonly [RegExp, Page])[] = [
  [/^\/$/, Containers],
  [/^\/containers\/([^/]+)$/, later(async () => (await import('./pages/container')).ContainerPage)],
  [/^\/new$/, later(async () => (await import('./pages/create')).Create)],
  [/^\/snapshots$/, later(async () => (await import('./pages/snapshots')).Snapshots)],
  [/^\/deleted$/, later(async () => (await import('./pages/deleted')).Deleted)],
  [/^\/events$/, later(async () => (await import('./pages/events')).Events)],
  [/^\/tokens$/, later(async () => (await import('./pages/tokens')).Tokens)],
  [/^\/webhooks$/, later(async () => (await import('./pages/webhooks')).Webhooks)],
  [/^\/agents$/, later(async () => (await import('./pages/agents')).Agents)],
  [/^\/admin\/users$/, later(async () => (await import('./pages/admin-users')).AdminUsers)],
  [/^\/admin\/containers$/, later(async () => (await import('./pages/admin-containers')).AdminContainers)],
  [/^\/admin\/snapshots$/, later(async () => (await import('./pages/admin-snapshots')).AdminSnapshots)],
  [/^\/admin\/templates$/, later(async () => (await import('./pages/admin-templates')).AdminTemplates)],
  [/^\/admin\/machine$/, later(async () => (await import('./pages/admin-machine')).Machine)],
  [/^\/admin\/images$/, later(async () => (await import('./pages/admin-images')).Images)],
  [/^\/admin\/nodes$/, later(async () => (await import('./pages/admin-nodes')).Nodes)],
  [/^\/admin\/webhooks$/, later(async () => (await import('./pages/webhooks')).AdminWebhooks)],
  [/^\/admin\/audit$/, later(async () => (await import('./pages/admin-audit')).Audit)],
  [/^\/usage$/, later(async () => (await import('./pages/usage')).Usage)],
];

/** What is noted in a session leaves it the same. */
const token = computed(() => session.value?.token ?? null);

// Follows the signed-in user's containers, and forgets the data of the previous user.
effect(() => {
  if (token.value === null) {
    stop();
    return undefined;
  }
  const leaving = new AbortController();
  untracked(() => void begin(leaving.signal));
  return () => leaving.abort();
});

/** Retries until `follow` succeeds. Calls must not overlap: each one ends the previous watch. */
async function begin(leaving: AbortSignal): Promise<void> {
  const RETRY_MS = 2000;
  const isLeft = (): boolean => leaving.aborted;
  while (!isLeft()) {
    try {
      await follow();
      return;
    } catch (error) {
      if (isLeft()) return;
      fault.value = error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

export function App(): JSX.Element {
  if (!session.value) {
    return (
      <>
        <SimulationBanner />
        {isEntering.value ? <Entering /> : <SignIn />}
        <Toasts />
      </>
    );
  }
  return (
    <>
      <Shell onSignOut={signOut}>{me.value ? <CurrentPage /> : <Waiting />}</Shell>
      <Questions />
      <Prompts />
      <SnapshotDialogs />
      <SignOutQuestion />
      {hasTransfers.value && <TransferTray />}
      <Toasts />
    </>
  );
}

function Entering(): JSX.Element {
  return (
    <main class="sign-in">
      <p class="muted" role="status">
        {signInWords.signingIn}
      </p>
    </main>
  );
}

function CurrentPage(): JSX.Element {
  for (const [pattern, Page] of PAGES) {
    const match = pattern.exec(path.value);
    if (match) return <Page key={path.value} id={decodeURIComponent(match[1] ?? '')} />;
  }
  return (
    <>
      <PageHead title={shellWords.notFound.title} />
      <Empty title={shellWords.notFound.text}>
        <a class="button" href="/">
          {shellWords.notFound.back}
        </a>
      </Empty>
    </>
  );
}

function Waiting(): JSX.Element {
  return fault.value === null ? (
    <p class="muted" role="status">
      {partWords.loading}
    </p>
  ) : (
    <p class="notice bad" role="alert">
      {inWords(fault.value)} {connection.value !== 'live' && shellWords.connection.tryingAgain}
    </p>
  );
}
