import { signal } from '@preact/signals';
import type { InputHTMLAttributes, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { BerthError } from '@berth/client';
import { asking, askServer } from '../data/berth';
import { inWords } from '../words/errors';
import { partWords } from '../words/parts';
import { signInWords } from '../words/sign-in';
import { keep, type Session, signedOutBecause, staySignedIn } from '../session';
import { TextField } from '../ui/parts';
import { Mark } from '../ui/icons';

/** Why the sign-in by a link failed; null if it did not. */
const linkFault = signal<unknown>(null);

/** Whether the next sign-in outlives the browser. */
const isStayWanted = signal(false);

/** Where the wish to stay signed in waits while the user signs in elsewhere. */
const STAY_KEY = 'berth.stay';

function begin(next: Session): void {
  keep(next);
  staySignedIn(isStayWanted.value || sessionStorage.getItem(STAY_KEY) !== null);
  sessionStorage.removeItem(STAY_KEY);
}

function rememberStay(): void {
  if (isStayWanted.value) sessionStorage.setItem(STAY_KEY, 'true');
  else sessionStorage.removeItem(STAY_KEY);
}

interface SignedIn {
  readonly id: string;
  readonly token: string;
}

/** Takes the one-time code of a link for a session. */
export async function signInWithCode(code: string): Promise<void> {
  try {
    const { id, token } = await askServer<SignedIn>('/api/auth/sign-in', { code });
    begin({ token, tokenId: id });
  } catch (error) {
    linkFault.value = error;
  }
}

/** Why a sign-in elsewhere failed, as its `code`. */
export function noteFault(code: string | null): void {
  if (code === null) return;
  linkFault.value = new BerthError({ status: 403, code: code as BerthError['code'], message: code });
}

type Methods = Awaited<ReturnType<ReturnType<typeof asking>['account']['signInMethods']>>;

/** null until the server has answered: nothing on the page moves then. */
const methods = signal<Methods | null>(null);

async function askMethods(): Promise<void> {
  try {
    methods.value = await asking().account.signInMethods();
  } catch {
    methods.value = { openid: null, guest: true };
  }
}

async function signInWithToken(text: string): Promise<void> {
  const token = text.trim();
  if (token === '') throw new Error(signInWords.token.empty);
  // Asked before it is kept: a token that opens nothing is no session.
  await asking(token).account.me();
  begin({ token, tokenId: null });
}

async function enterAsGuest(username: string): Promise<void> {
  const { token } = await asking().account.loginAsGuest(username);
  begin({ token, tokenId: null });
}

/** The way in. */
export function SignIn(): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = partWords.documentTitle(signInWords.title);
    heading.current?.focus();
    void askMethods();
  }, []);
  return (
    <main class="sign-in">
      <h1 class="brand" tabIndex={-1} ref={heading}>
        <Mark />
        <span>{partWords.product}</span>
      </h1>
      {signedOutBecause.value !== null && <p class="notice warn">{signedOutBecause.value}</p>}
      {linkFault.value !== null && (
        <p class="notice bad" role="alert">
          {inWords(linkFault.value)}
        </p>
      )}
      {methods.value !== null && <WaysIn {...methods.value} />}
      <p class="small muted">
        {signInWords.api((path) => (
          <a href={path}>{path}</a>
        ))}
      </p>
    </main>
  );
}

function WaysIn({ openid, guest }: Methods): JSX.Element {
  return (
    <div class="panel">
      {openid !== null && (
        <a
          class="button primary"
          href={`/api/auth/oidc?return=${encodeURIComponent(location.pathname)}`}
          onClick={() => rememberStay()}
        >
          {signInWords.through(openid)}
        </a>
      )}
      <Entry
        label={signInWords.token.title}
        action={signInWords.title}
        isPrimary={openid === null}
        hint={signInWords.token.hint}
        enter={signInWithToken}
        input={{ type: 'password', autoComplete: 'off', placeholder: 'berth_…', spellcheck: false }}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={isStayWanted.value}
          onChange={(event) => (isStayWanted.value = event.currentTarget.checked)}
        />
        <span>{signInWords.stay}</span>
      </label>
      {guest && (
        <Entry
          label={signInWords.guest.title}
          action={signInWords.guest.action}
          hint={signInWords.guest.hint}
          enter={enterAsGuest}
          input={{ autoComplete: 'username', placeholder: signInWords.guest.placeholder, maxLength: 30 }}
        />
      )}
    </div>
  );
}

interface EntryProps {
  readonly label: string;
  readonly action: string;
  readonly hint: string;
  readonly isPrimary?: boolean;
  readonly enter: (text: string) => Promise<void>;
  readonly input: InputHTMLAttributes;
}

function Entry({ label, action, hint, isPrimary = false, enter, input }: EntryProps): JSX.Element {
  const [text, setText] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState<string>();
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    setFault(undefined);
    linkFault.value = null;
    try {
      await enter(text);
    } catch (error) {
      setFault(inWords(error));
      setBusy(false);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <TextField label={label} hint={hint} fault={fault} input={input} value={text} onValue={setText} />
      <button class={`button ${isPrimary ? 'primary' : ''} ${isBusy ? 'busy' : ''}`} aria-disabled={isBusy}>
        {action}
      </button>
    </form>
  );
}
