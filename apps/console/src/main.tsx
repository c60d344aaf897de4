import { render } from 'preact';
import './styles/base.css';
import './styles/controls.css';
import './styles/shell.css';
import './styles/pages.css';
import './styles/overview.css';
import './styles/list.css';
import './styles/create.css';
import './styles/admin.css';
import './styles/files.css';
import { App } from './app';
import { adoptFromOtherTab, isEntering, session, takeCode, takeFault } from './session';
import { noteFault, signInWithCode } from './pages/sign-in';
import { applyTheme } from './ui/theme';

applyTheme();
const root = document.getElementById('app');
if (root) {
  const code = takeCode();
  noteFault(takeFault());
  // Shown at once, in place of what the page says without a script: on a slow line the way in takes seconds.
  root.replaceChildren();
  render(<App />, root);
  if (!session.value) await adoptFromOtherTab();
  await enter(code);
  isEntering.value = false;
  // A link that is opened in this tab changes the fragment alone, and loads nothing.
  addEventListener('hashchange', () => void enter(takeCode()));
}

/** A user who is signed in already needs no code, so the code of an older link is not used. */
async function enter(code: string | null): Promise<void> {
  if (code !== null && !session.value) await signInWithCode(code);
}
