import { isBerthError } from '@berth/client';
import { effect, signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { nameOfPath } from '../data/file-list';
import { decode } from '../data/text-file';
import { session } from '../session';
import { choose } from '../ui/choice';
import { ask } from '../ui/dialog';
import { later } from '../ui/later';
import { say, sayFault } from '../ui/toasts';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { fileWords } from '../words/files';
import type { CodeHandle } from './code-editor';

const { editor: words } = fileWords;

const CodeEditor = later(async () => (await import('./code-editor')).CodeEditor);

/** Larger files are downloaded rather than edited. */
export const EDITABLE_BYTES = 1024 * 1024;

/** An unsaved text whose page was left. It is kept until it is saved or the tab is closed. */
interface Draft {
  readonly container: string;
  readonly path: string;
  readonly isNew: boolean;
  readonly text: string;
  /** The file's content when it was read or saved last. */
  readonly saved: string;
}

const drafts = signal<readonly Draft[]>([]);

/** The unsaved texts of a container. */
export const draftsIn = (container: string): readonly Draft[] =>
  drafts.value.filter((each) => each.container === container);

function takeDraft(container: string, path: string): Draft | undefined {
  const found = drafts.peek().find((each) => each.container === container && each.path === path);
  if (found) drafts.value = drafts.peek().filter((each) => each !== found);
  return found;
}

const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
effect(() => {
  if (drafts.value.length === 0) return undefined;
  addEventListener('beforeunload', warn);
  return () => removeEventListener('beforeunload', warn);
});
effect(() => {
  if (session.value === null) drafts.value = [];
});

interface EditorProps {
  readonly container: string;
  readonly path: string;
  /** It does not exist yet, and is created when it is saved first. */
  readonly isNew: boolean;
  readonly onDownload: () => void;
  readonly onClose: () => void;
}

/** A file was not saved because it is not as it was when it was read. */
class Changed extends Error {
  constructor(readonly now: 'changed' | 'deleted' | 'created') {
    super(now);
  }
}

/** A text file that can be changed. It is saved only if it is still as it was read. */
export function Editor({ container, path, isNew: wasNew, onDownload, onClose }: EditorProps): JSX.Element {
  const name = nameOfPath(path);
  const [content, setContent] = useState<{ readonly text: string; readonly saved: string } | null>(null);
  const [isNew, setNew] = useState(wasNew);
  const [isChanged, setChanged] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const [isSaving, setSaving] = useState(false);
  const handle = useRef<CodeHandle | null>(null);
  const closing = useRef<HTMLButtonElement>(null);
  /** The file's content when it was read or saved last, and its ETag if known. */
  const known = useRef<{ text: string; etag: string | null }>({ text: '', etag: null });
  /** The latest state, for the clean-up at the end. */
  const left = useRef({ isChanged, isNew, isDiscarded: false });
  Object.assign(left.current, { isChanged, isNew });

  useEffect(() => {
    // Until there is a text, which takes the focus.
    closing.current?.focus();
    const draft = takeDraft(container, path);
    if (draft) {
      known.current = { text: draft.saved, etag: null };
      setNew(draft.isNew);
      setContent(draft);
    } else if (wasNew) setContent({ text: '', saved: '' });
    else {
      read(container, path).then(
        (found) => {
          if (typeof found === 'string') {
            setFault(found);
            return;
          }
          known.current = found;
          setContent({ text: found.text, saved: found.text });
        },
        (error: unknown) => setFault(inWords(error)),
      );
    }
    return () => {
      const snapshot = handle.current?.snapshot();
      const end = left.current;
      if (!snapshot || !end.isChanged || end.isDiscarded || session.peek() === null) return;
      const { text: saved } = known.current;
      drafts.value = [...drafts.peek(), { container, path, isNew: end.isNew, text: snapshot.text, saved }];
      say(words.draftKept(name));
    };
  }, []);

  useEffect(() => {
    if (!isChanged) return undefined;
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, [isChanged]);

  /** Writes the text if the file is still as it is known. @throws Changed, BerthError */
  const write = async (text: string): Promise<void> => {
    for (let tries = 1; ; tries++) {
      const { text: expected, etag } = known.current;
      const condition = isNew
        ? { ifNoneMatch: '*' as const }
        : { ifMatch: etag ?? (await tagIf(container, path, expected)) };
      try {
        await berth.files.write(container, path, text, condition);
        return;
      } catch (error) {
        if (!isBerthError(error, 'precondition_failed')) throw error;
        if (isNew) throw new Changed('created');
        // The ETag also changes if a file is only touched, so the contents decide.
        known.current = { text: expected, etag: null };
        if (tries > 1) throw new Changed('changed');
      }
    }
  };

  const save = async ({ isForced = false } = {}): Promise<void> => {
    const snapshot = handle.current?.snapshot();
    if (isSaving || !snapshot || (!isChanged && !isNew && !isForced)) return;
    setSaving(true);
    try {
      if (isForced) await berth.files.write(container, path, snapshot.text);
      else await write(snapshot.text);
      known.current = { text: snapshot.text, etag: null };
      setNew(false);
      handle.current?.markSaved(snapshot);
      say(words.saved(name));
    } catch (error) {
      if (error instanceof Changed) void settle(error);
      else sayFault(error);
    } finally {
      setSaving(false);
    }
  };

  /** Asks which of the two texts to keep. */
  const settle = async ({ now }: Changed): Promise<void> => {
    const reload = { name: 'reload', label: commonWords.reload, isFirst: true } as const;
    const overwrite = { name: 'overwrite', label: words.overwrite, isDangerous: true } as const;
    const create = { name: 'overwrite', label: commonWords.save, isFirst: true } as const;
    const answer = await choose<'reload' | 'overwrite'>({
      title: words.meanwhile[now].title(name),
      text: (
        <>
          <p>{words.meanwhile[now].text}</p>
          {now !== 'deleted' && <p>{words.reloadHint}</p>}
        </>
      ),
      choices: now === 'deleted' ? [create] : [reload, overwrite],
    });
    if (answer === 'overwrite') await save({ isForced: true });
    if (answer !== 'reload') return;
    try {
      const found = await read(container, path);
      if (typeof found === 'string') throw new Error(found);
      known.current = found;
      setNew(false);
      handle.current?.replace(found.text);
    } catch (error) {
      sayFault(error);
    }
  };

  const close = (): void => {
    if (!isChanged) {
      onClose();
      return;
    }
    ask({
      title: words.leave.title,
      text: words.leave.text(name),
      action: words.leave.action,
      run: () => {
        left.current.isDiscarded = true;
        onClose();
        return Promise.resolve();
      },
    });
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === 's') {
      event.preventDefault();
      void save();
    }
  };

  const canSave = content !== null && (isChanged || isNew);
  return (
    <section class="panel editor" aria-label={words.label(name)} onKeyDown={onKeyDown}>
      <div class="panel-head files-head">
        <h2 class="ellipsis">
          <span class="mono">{path}</span>
          {canSave && <span class="muted"> · {words.notSaved}</span>}
        </h2>
        <div class="actions">
          <button ref={closing} type="button" class="button slim" onClick={close}>
            {commonWords.close}
          </button>
          {!isNew && (
            <button type="button" class="button slim" onClick={onDownload}>
              {fileWords.download}
            </button>
          )}
          <button
            type="button"
            class={`button primary slim ${isSaving ? 'busy' : ''}`}
            disabled={!canSave}
            aria-disabled={isSaving}
            onClick={() => void save()}
          >
            {commonWords.save}
          </button>
        </div>
      </div>
      {fault !== null ? (
        <p class="panel-body muted" role="alert">
          {fault}
        </p>
      ) : content === null ? (
        <p class="panel-body muted" role="status">
          {fileWords.loading}
        </p>
      ) : (
        <CodeEditor
          name={name}
          label={words.contentLabel(name)}
          text={content.text}
          saved={content.saved}
          onReady={(ready) => (handle.current = ready)}
          onChanged={setChanged}
        />
      )}
    </section>
  );
}

/** Reads a text file with its ETag. @returns why it cannot be edited, if it cannot. @throws BerthError */
async function read(container: string, path: string): Promise<{ text: string; etag: string | null } | string> {
  const file = await berth.files.read(container, path);
  // It has grown since it was listed, or a link leads to it.
  if ((file.size ?? 0) > EDITABLE_BYTES) {
    await file.stream.cancel();
    return words.tooLarge;
  }
  const text = decode(await file.bytes());
  return text === null ? words.notText : { text, etag: file.etag };
}

/** @returns the ETag of a file that still has the text. @throws Changed if it has not; BerthError */
async function tagIf(container: string, path: string, text: string): Promise<string> {
  try {
    const found = await read(container, path);
    if (typeof found === 'string' || found.text !== text || found.etag === null) throw new Changed('changed');
    return found.etag;
  } catch (error) {
    throw isBerthError(error, 'path_not_found') ? new Changed('deleted') : error;
  }
}
