import type { TerminalView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { type Container, now } from '../data/live';
import { ask } from '../ui/dialog';
import { CrossIcon, PlusIcon } from '../ui/icons';
import { Ago } from '../ui/parts';
import { Screen } from './terminal-screen';

/** A terminal of this tab of the browser; without a session it is yet to be opened. */
interface Tab {
  readonly key: number;
  readonly session: string | null;
  /** False where it is another window's, which goes on to write. */
  readonly isWriter: boolean;
  /** How the shell ended that was here, where another one is to take its place. */
  readonly ended: string | null;
}

/** Of this browser's tab, so that a page that is loaded again comes back to its terminals. */
const keptAs = (id: string): string => `berth.terminals-of.${id}`;

function readKept(id: string): readonly Tab[] {
  try {
    const kept = JSON.parse(sessionStorage.getItem(keptAs(id)) ?? '[]') as readonly Omit<Tab, 'key'>[];
    return kept.map((tab) => ({ ...tab, key: ++lastKey }));
  } catch {
    return [];
  }
}

function keep(id: string, tabs: readonly Tab[]): void {
  const kept = tabs.flatMap(({ session, isWriter, ended }) =>
    session === null && ended === null ? [] : { session, isWriter, ended },
  );
  sessionStorage.setItem(keptAs(id), JSON.stringify(kept));
}

let lastKey = 0;
const fresh = (): Tab => ({ key: ++lastKey, session: null, isWriter: true, ended: null });

/** The terminals of a container, one of them seen, and those that are open elsewhere. */
export function Terminals({ container }: { readonly container: Container }): JSX.Element {
  const { db_id, name } = container;
  const [tabs, setTabs] = useState<readonly Tab[]>(() => {
    const kept = readKept(db_id);
    return kept.length > 0 ? kept : [fresh()];
  });
  const [seen, setSeen] = useState(tabs[0]?.key ?? 0);
  useEffect(() => keep(db_id, tabs), [tabs]);
  const bar = useRef<HTMLDivElement>(null);
  // On a phone there is room for two of them.
  useEffect(() => bar.current?.querySelector('.seen')?.scrollIntoView({ block: 'nearest', inline: 'nearest' }), [seen]);

  const note = (key: number, session: string | null, ended: string | null): void =>
    setTabs((before) => before.map((tab) => (tab.key === key ? { ...tab, session, ended } : tab)));
  const add = (tab: Tab): void => {
    setTabs([...tabs, tab]);
    setSeen(tab.key);
  };
  const close = (key: number): void => {
    const at = tabs.findIndex((tab) => tab.key === key);
    const rest = tabs.filter((tab) => tab.key !== key);
    const next = rest.length > 0 ? rest : [fresh()];
    setTabs(next);
    if (seen === key) setSeen((next[Math.min(at, next.length - 1)] ?? next[0])?.key ?? 0);
  };

  return (
    <section class="panel terminal-area" aria-label={`Terminals of ${name}`}>
      <div class="terminal-tabs" ref={bar}>
        {tabs.map(({ key }, at) => (
          <div key={key} class={`terminal-tab ${key === seen ? 'seen' : ''}`}>
            <button type="button" aria-pressed={key === seen} onClick={() => setSeen(key)}>
              Terminal {at + 1}
            </button>
            <button type="button" aria-label={`Close terminal ${String(at + 1)}`} onClick={() => close(key)}>
              <CrossIcon />
            </button>
          </div>
        ))}
        <button type="button" class="button quiet icon" aria-label="New terminal" onClick={() => add(fresh())}>
          <PlusIcon />
        </button>
        <Elsewhere
          container={db_id}
          own={tabs.flatMap(({ session }) => session ?? [])}
          onAttach={({ id, clients }) => add({ key: ++lastKey, session: id, isWriter: clients === 0, ended: null })}
        />
        <span class="small faint leave">Ctrl+. leaves the terminal</span>
      </div>
      <div class="terminal-screens">
        {tabs.map((tab) => (
          <Screen
            key={tab.key}
            container={db_id}
            session={tab.session}
            isWriter={tab.isWriter}
            isSeen={tab.key === seen}
            ended={tab.ended}
            onSession={(session, ended) => note(tab.key, session, ended ?? null)}
          />
        ))}
      </div>
    </section>
  );
}

interface ElsewhereProps {
  readonly container: string;
  /** The sessions of this window. */
  readonly own: readonly string[];
  readonly onAttach: (terminal: TerminalView) => void;
}

/** Terminals that other windows opened, or that were left and go on: to come to, or to end. */
function Elsewhere({ container, own, onAttach }: ElsewhereProps): JSX.Element | null {
  const [all, setAll] = useState<readonly TerminalView[]>([]);
  const read = (): void => {
    // Beside the terminals of this window, it is no fault that needs words.
    berth.terminals.list(container).then(setAll, () => undefined);
  };
  // No event tells of terminals.
  useEffect(read, [container, own.join(' '), now.value]);
  const others = all.filter(({ id }) => !own.includes(id));
  if (others.length === 0) return null;
  const askToEnd = ({ id }: TerminalView): void =>
    ask({
      title: 'End this terminal?',
      text: 'Its shell ends with all that was started in it, also for whoever is attached.',
      action: 'End',
      run: async () => {
        await berth.terminals.end(container, id);
        read();
      },
    });
  return (
    <div class="terminal-others" role="group" aria-label="Open elsewhere">
      <span class="small faint">Open elsewhere:</span>
      {others.map((terminal) => (
        <div key={terminal.id} class="terminal-tab other">
          <button
            type="button"
            disabled={terminal.clients === null}
            title={terminal.clients === null ? 'Another server process holds it' : 'Show it here'}
            onClick={() => onAttach(terminal)}
          >
            <Ago time={terminal.started_at} />
            <span class="faint">{attachedInWords(terminal.clients)}</span>
          </button>
          <button type="button" aria-label="End this terminal" onClick={() => askToEnd(terminal)}>
            <CrossIcon />
          </button>
        </div>
      ))}
    </div>
  );
}

function attachedInWords(clients: number | null): string {
  if (clients === null) return 'on another server';
  return clients === 0 ? 'nobody attached' : `${String(clients)} attached`;
}
