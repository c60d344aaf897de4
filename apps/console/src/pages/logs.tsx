import type { ProcessView } from '@berth/client';
import type { JSX } from 'preact';
import { berth } from '../data/berth';
import { type Container, events } from '../data/live';
import { navigate } from '../router';
import { Empty, Shown, useLoaded } from '../ui/parts';
import { at } from '../words/format';
import { logWords } from '../words/log';
import { Log } from './log';
import { isOfProcess } from './processes';

interface LogsProps {
  readonly container: Container;
  /** The process that is shown; by default the latest run of the start command, or the latest process. */
  readonly open: string | undefined;
}

/** The output of a container's start command and processes. */
export function Logs({ container: { db_id }, open }: LogsProps): JSX.Element {
  const told = events.value.find((event) => isOfProcess(event, db_id))?.seq ?? 0;
  const loaded = useLoaded(() => berth.processes.list(db_id), [db_id, told]);
  return (
    <Shown of={loaded}>
      {(processes) => {
        const known = inOrder(processes);
        const shown = known.find(({ id }) => id === open) ?? known[0];
        return (
          <section class="panel" aria-label={logWords.title}>
            {shown ? (
              <>
                <div class="panel-head">
                  <select
                    class="input"
                    aria-label={logWords.source}
                    value={shown.id}
                    onChange={({ currentTarget: { value } }) => navigate(`/containers/${db_id}#logs/${value}`)}
                  >
                    {known.map((each) => (
                      <option key={each.id} value={each.id}>
                        {logWords.option({ program: nameOf(each), started: at(each.started_at) })}
                      </option>
                    ))}
                  </select>
                </div>
                <Log key={shown.id} container={db_id} process={shown.id} name={shown.program} />
              </>
            ) : (
              <Empty title={logWords.empty.title}>
                <p>{logWords.empty.hint}</p>
                <a class="button" href={`/containers/${db_id}#processes`}>
                  {logWords.empty.toProcesses}
                </a>
              </Empty>
            )}
          </section>
        );
      }}
    </Shown>
  );
}

const nameOf = ({ start, program }: ProcessView): string => (start ? `${logWords.startCommand} (${program})` : program);

/** Runs of the start command first, and the latest first. */
const inOrder = (processes: readonly ProcessView[]): readonly ProcessView[] =>
  processes.toSorted(
    (one, other) =>
      Number(other.start) - Number(one.start) || Date.parse(other.started_at) - Date.parse(one.started_at),
  );
