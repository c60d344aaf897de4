import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { type LogLine, LogLines } from '../data/log-lines';
import { save } from '../data/save';
import { WorkButton } from '../ui/parts';
import { inWords } from '../words/errors';
import { at, timeOfDay } from '../words/format';
import { logWords } from '../words/log';

export interface LogSource {
  readonly container: string;
  readonly process: string;
  /** The program's name. */
  readonly name: string;
}

interface LogProps extends LogSource {
  /** Called when the process has ended. */
  readonly onOver?: () => void;
}

/** Pixels from the end within which new lines are followed. */
const AT_END_PX = 24;

/** What a process wrote and writes: lines with their time, to be searched, followed and downloaded. */
export function Log({ container, process, name, onOver }: LogProps): JSX.Element {
  const [lines, setLines] = useState<readonly LogLine[]>([]);
  const [isCut, setCut] = useState(false);
  const [isOver, setOver] = useState(false);
  const [fault, setFault] = useState<unknown>();
  const [search, setSearch] = useState('');
  const [isFollowing, setFollowing] = useState(true);
  const place = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const leaving = new AbortController();
    const output = new LogLines();
    let frame = 0;
    // Many pieces may come before the browser draws again.
    const draw = (): void => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        setLines(output.all);
      });
    };
    const follow = async (): Promise<void> => {
      const { signal } = leaving;
      for await (const message of berth.processes.follow(container, process, { signal, times: true })) {
        if (message.type === 'gap') setCut(true);
        else if (message.type === 'output') output.take(message);
        else {
          setOver(true);
          onOver?.();
        }
        draw();
      }
    };
    follow().catch((error: unknown) => {
      if (!leaving.signal.aborted) setFault(error);
    });
    return () => {
      leaving.abort();
      cancelAnimationFrame(frame);
    };
  }, [container, process]);

  const wanted = search.trim().toLowerCase();
  const found = useMemo(
    () => (wanted === '' ? lines : lines.filter(({ text }) => text.toLowerCase().includes(wanted))),
    [lines, wanted],
  );
  useEffect(() => {
    if (isFollowing && place.current) place.current.scrollTop = place.current.scrollHeight;
  }, [found, isFollowing]);

  return (
    <>
      <div class="log-tools">
        <input
          class="input grow"
          type="search"
          aria-label={logWords.search}
          placeholder={logWords.search}
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
        {wanted !== '' && (
          <span class="small muted nowrap" role="status">
            {logWords.found(found.length)}
          </span>
        )}
        <button
          type="button"
          class="button slim"
          aria-pressed={isFollowing}
          onClick={() => setFollowing((before) => !before)}
        >
          {logWords.follow}
        </button>
        <WorkButton class="button slim" run={() => download({ container, process, name })}>
          {logWords.download}
        </WorkButton>
      </div>
      {fault !== undefined && (
        <p class="notice bad output-says" role="alert">
          {inWords(fault)}
        </p>
      )}
      {isCut && <p class="notice output-says">{logWords.isCut}</p>}
      <div
        ref={place}
        class="output"
        tabIndex={0}
        role="log"
        aria-label={logWords.of(name)}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) =>
          setFollowing(scrollHeight - scrollTop - clientHeight < AT_END_PX)
        }
      >
        {found.map(({ number, stream, time, text }) => (
          <div key={number} class={`log-line ${stream}`}>
            {time !== null && (
              <time class="faint" dateTime={time} title={at(time)}>
                {timeOfDay(time)}
              </time>
            )}
            <span>{text === '' ? '\u00a0' : text}</span>
          </div>
        ))}
        {found.length === 0 && fault === undefined && (
          <span class="faint">{wanted !== '' ? logWords.noneFound : isOver ? logWords.none : logWords.noneYet}</span>
        )}
      </div>
    </>
  );
}

/** Saves all output that the server keeps, each line with its time. */
async function download({ container, process, name }: LogSource): Promise<void> {
  const output = new LogLines(Infinity);
  for (let after = 0; ;) {
    const page = await berth.processes.output(container, process, { after, times: true });
    for (const chunk of page.output) output.take(chunk);
    if (page.output.length === 0) break;
    after = page.next;
  }
  const text = output.all.map((line) => `${line.time === null ? '' : `${line.time} `}${line.text}\n`).join('');
  save(new Blob([text], { type: 'text/plain' }), `${name}.log`);
}
