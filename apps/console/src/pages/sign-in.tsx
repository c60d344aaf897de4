import { signal } from '@preact/signals';
import type { InputHTMLAttributes, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
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

function begin(next: Session): void {
  keep(next);
  staySignedIn(isStayWanted.value);
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
      <div class="panel">
        <Entry
          label={signInWords.token.title}
          action={signInWords.title}
          isPrimary
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
        <Entry
          label={signInWords.guest.title}
          action={signInWords.guest.action}
          hint={signInWords.guest.hint}
          enter={enterAsGuest}
          input={{ autoComplete: 'username', placeholder: signInWords.guest.placeholder, maxLength: 30 }}
        />
      </div>
      <p class="small muted">
        {signInWords.api((path) => (
          <a href={path}>{path}</a>
        ))}
      </p>
    </main>
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
