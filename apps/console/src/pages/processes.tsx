import { type BerthEvent, isBerthError, type ProcessView, splitCommand } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { writeCommand } from '../data/container-draft';
import { bytes } from '../words/format';
import { type Container, events, now } from '../data/live';
import { commonWords } from '../words/common';
import { processesWords } from '../words/processes';
import { navigate } from '../router';
import { ask, Dialog } from '../ui/dialog';
import { CopyButton } from '../ui/copy';
import { PlusIcon } from '../ui/icons';
import { Menu, type MenuItem } from '../ui/menu';
import { Ago, Empty, Shown, Status, Table, TextField, useLoaded, WorkButton } from '../ui/parts';
import { sayFault } from '../ui/toasts';
import { Log } from './log';

const addressOf = (container: string, process?: string): string =>
  `/containers/${container}#processes${process === undefined ? '' : `/${process}`}`;

/** Events after which the list of processes is reloaded. */
export const isOfProcess = (event: BerthEvent, container: string): boolean =>
  event.type.startsWith('process_') && 'container_id' in event.data && event.data.container_id === container;

interface ProcessesProps {
  readonly container: Container;
  /** The one whose output is shown. */
  readonly open: string | undefined;
}

/** The processes of a container that outlive their requests, and their output. */
export function Processes({ container: { db_id }, open }: ProcessesProps): JSX.Element {
  const told = events.value.find((event) => isOfProcess(event, db_id))?.seq ?? 0;
  const loaded = useLoaded(() => berth.processes.list(db_id), [db_id, told]);
  const [isStarting, setStarting] = useState(false);
  const process = loaded.value?.find(({ id }) => id === open);
  return (
    <>
      <Shown of={loaded}>
        {(processes) =>
          open === undefined ? (
            <List
              container={db_id}
              processes={processes}
              onNew={() => setStarting(true)}
              onChange={() => void loaded.reload()}
            />
          ) : (
            <Output key={open} container={db_id} id={open} process={process} onChange={() => void loaded.reload()} />
          )
        }
      </Shown>
      {isStarting && <NewProcess container={db_id} onClose={() => setStarting(false)} />}
    </>
  );
}

interface ListProps {
  readonly container: string;
  readonly processes: readonly ProcessView[];
  readonly onNew: () => void;
  readonly onChange: () => void;
}

/** As long as the server remembers them: `ENDED_FOR_MS` of src/sandbox/processes/background-process.ts. */
const ENDED_FOR_MS = 5 * 60_000;

const isListed = ({ exited_at: exitedAt }: ProcessView): boolean =>
  exitedAt === null || now.value - Date.parse(exitedAt) < ENDED_FOR_MS;

function List({ container, processes: known, onNew, onChange }: ListProps): JSX.Element {
  const { columns } = processesWords;
  const processes = known.filter(isListed);
  const make = (
    <button type="button" class="button slim" onClick={onNew}>
      <PlusIcon /> {processesWords.create.title}
    </button>
  );
  if (processes.length === 0) {
    return (
      <section class="panel" aria-label={processesWords.title}>
        <Empty title={processesWords.none.title}>
          <p>{processesWords.none.hint}</p>
          {make}
        </Empty>
      </section>
    );
  }
  return (
    <section class="panel" aria-labelledby="processes">
      <div class="panel-head">
        <h2 id="processes">{processesWords.title}</h2>
        {make}
      </div>
      <Table
        caption={processesWords.caption}
        columns={[columns.command, columns.status, columns.started, { end: columns.output }]}
        hasActions
      >
        {processes.map((process) => (
          <Row key={process.id} container={container} process={process} onChange={onChange} />
        ))}
      </Table>
    </section>
  );
}

interface RowProps {
  readonly container: string;
  readonly process: ProcessView;
  readonly onChange: () => void;
}

function Row({ container, process, onChange }: RowProps): JSX.Element {
  const { id, program, status, start, user, started_at, output_bytes } = process;
  const items: MenuItem[] =
    status === 'running'
      ? [
          { name: processesWords.interrupt, run: () => void interrupt(container, id) },
          { name: processesWords.end.action, isDangerous: true, run: () => askToEnd(container, process) },
        ]
      : [{ name: processesWords.removeFromList, run: () => void forget(container, id).then(onChange) }];
  return (
    <tr>
      <td>
        <div class="two">
          <CommandLine process={process} href={addressOf(container, id)} />
          {(start || user !== null) && (
            <span class="chips">
              {start && <span class="chip">{processesWords.chips.startCommand}</span>}
              {user !== null && <span class="chip">{processesWords.chips.user(user)}</span>}
            </span>
          )}
        </div>
      </td>
      <td>
        <State of={process} />
      </td>
      <td class="muted nowrap" data-name={processesWords.cells.started}>
        <Ago time={started_at} />
      </td>
      <td class="muted nowrap end" data-name={processesWords.cells.output}>
        {output_bytes === null ? processesWords.outputUnknown : bytes(output_bytes)}
      </td>
      <td class="actions-cell">
        <div class="actions">
          <a class="button slim" href={addressOf(container, id)} aria-label={processesWords.outputOf(program)}>
            {processesWords.showOutput}
          </a>
          <Menu label={processesWords.more(program)} items={items} />
        </div>
      </td>
    </tr>
  );
}

/** Commands up to this length are shown as a whole. */
const LONG_COMMAND = 160;

interface CommandLineProps {
  readonly process: ProcessView;
  /** Where its output is shown. */
  readonly href?: string | undefined;
}

/** A command with its arguments: wrapped, a long one shortened until it is expanded, and copied by a button. */
function CommandLine({ process: { program, command }, href }: CommandLineProps): JSX.Element {
  const [isWhole, setWhole] = useState(false);
  const line = command === null ? program : writeCommand(command);
  const isLong = line.length > LONG_COMMAND || line.includes('\n');
  const length = isLong && !isWhole ? 'short' : '';
  return (
    <span class="command">
      {href === undefined ? (
        <span class={`mono command-line ${length}`}>{line}</span>
      ) : (
        <a class={`name mono command-line ${length}`} href={href} title={isLong && !isWhole ? line : undefined}>
          {line}
        </a>
      )}
      {isLong && (
        <button type="button" class="button slim" aria-expanded={isWhole} onClick={() => setWhole((before) => !before)}>
          {isWhole ? processesWords.showLess : processesWords.showAll}
        </button>
      )}
      {command !== null && <CopyButton text={line} what={processesWords.command} />}
    </span>
  );
}

const { states } = processesWords;
const REASONS: Readonly<Record<string, string>> = {
  ended: states.endedOnRequest,
  container_stopped: states.endedByStop,
  lost: states.lost,
};

function State({ of: { status, exit_code, reason, exited_at } }: { readonly of: ProcessView }): JSX.Element {
  if (status === 'running') return <Status of="running" />;
  const words =
    REASONS[reason ?? ''] ?? (exit_code === null || exit_code === 0 ? states.ended : states.exitCode(exit_code));
  const hasFailed = reason === 'lost' || (reason === 'exited' && exit_code !== 0);
  return (
    <span class="two">
      <Status of={hasFailed ? 'error' : 'stopped'} word={words} />
      {exited_at !== null && (
        <span class="small muted">
          <Ago time={exited_at} />
        </span>
      )}
    </span>
  );
}

async function interrupt(container: string, id: string): Promise<void> {
  await berth.processes.signal(container, id, 'INT').catch(sayFault);
}

async function forget(container: string, id: string): Promise<void> {
  await berth.processes.end(container, id).catch(sayFault);
}

function askToEnd(container: string, { id, program, start }: ProcessView): void {
  ask({
    title: processesWords.end.question(program),
    text: start ? processesWords.end.hintOfStart : processesWords.end.hint,
    action: processesWords.end.action,
    run: async () => void (await berth.processes.end(container, id)),
  });
}

interface OutputProps {
  readonly container: string;
  readonly id: string;
  /** As it was last read; undefined where it is not listed any more. */
  readonly process: ProcessView | undefined;
  readonly onChange: () => void;
}

/** What a process wrote and writes, and the way to write to it. */
function Output({ container, id, process, onChange }: OutputProps): JSX.Element {
  const [isOver, setOver] = useState(false);
  const words = processesWords.output;
  const name = process?.program ?? words.unnamed;
  const isRunning = process?.status === 'running' && !isOver;
  const remove = async (): Promise<void> => {
    await forget(container, id);
    navigate(addressOf(container));
    onChange();
  };
  return (
    <section class="panel" aria-label={words.title(name)}>
      <div class="panel-head files-head">
        <nav class="crumbs grow" aria-label={processesWords.title}>
          <a class="linklike" href={addressOf(container)}>
            {processesWords.title}
          </a>
          <span class="faint">/</span>
          <span class="mono" aria-current="page">
            {name}
          </span>
        </nav>
        {process && <State of={process} />}
        {process && isRunning && (
          <button type="button" class="button slim danger" onClick={() => askToEnd(container, process)}>
            {processesWords.end.action}
          </button>
        )}
        {process?.status === 'exited' && (
          <WorkButton class="button slim" run={remove}>
            {processesWords.remove}
          </WorkButton>
        )}
      </div>
      {process?.command && (
        <p class="output-command">
          <CommandLine process={process} />
        </p>
      )}
      <Log container={container} process={id} name={name} onOver={() => setOver(true)} />
      {process && isRunning && !process.start && <Input container={container} id={id} name={name} />}
    </section>
  );
}

interface InputProps {
  readonly container: string;
  readonly id: string;
  readonly name: string;
}

/** What is written to a process: line by line, and the end of it. */
function Input({ container, id, name }: InputProps): JSX.Element {
  const [line, setLine] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [hasEnded, setEnded] = useState(false);
  const write = async (input: { data: string } | { close: true }): Promise<void> => {
    if (isBusy) return;
    setBusy(true);
    try {
      await berth.processes.write(container, id, input);
      if ('close' in input) setEnded(true);
      else setLine('');
    } catch (error) {
      if (isBerthError(error, 'stdin_closed')) setEnded(true);
      else sayFault(error);
    } finally {
      setBusy(false);
    }
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    void write({ data: `${line}\n` });
  };
  const words = processesWords.input;
  if (hasEnded) return <p class="output-input small muted">{words.hasEnded}</p>;
  return (
    <form class="output-input" onSubmit={submit}>
      <input
        class="input mono grow"
        aria-label={words.of(name)}
        placeholder={words.placeholder}
        autoComplete="off"
        autocapitalize="off"
        spellcheck={false}
        value={line}
        onInput={(event) => setLine(event.currentTarget.value)}
      />
      <button type="submit" class={`button ${isBusy ? 'busy' : ''}`} aria-disabled={isBusy}>
        {words.send}
      </button>
      <button type="button" class="button" title={words.endHint} onClick={() => void write({ close: true })}>
        {words.end}
      </button>
    </form>
  );
}

/** Starts one, and goes to its output. */
function NewProcess({ container, onClose }: { readonly container: string; readonly onClose: () => void }): JSX.Element {
  const words = processesWords.create;
  const [command, setCommand] = useState('');
  const [folder, setFolder] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    const parts = splitCommand(command) ?? [];
    if (parts.length === 0) throw new Error(words.noCommand);
    const cwd = folder.trim() === '' ? {} : { cwd: folder.trim() };
    try {
      const { id } = await berth.processes.start(container, parts, cwd);
      navigate(addressOf(container, id));
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title={words.title} action={commonWords.start} onClose={onClose} onSubmit={submit}>
      <TextField
        label={words.command}
        hint={words.commandHint}
        fault={faultOf(fault, 'command')}
        isMono
        input={{ autoComplete: 'off', spellcheck: false, placeholder: words.commandExample }}
        value={command}
        onValue={setCommand}
      />
      <TextField
        label={words.folder}
        hint={words.folderHint}
        fault={faultOf(fault, 'cwd')}
        isMono
        input={{ autoComplete: 'off', spellcheck: false, placeholder: '/home/user' }}
        value={folder}
        onValue={setFolder}
      />
    </Dialog>
  );
}
