import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { inWords } from '../data/words';
import { ask } from '../ui/dialog';
import { say, sayFault } from '../ui/toasts';

/** Larger files are downloaded rather than edited. */
export const EDITABLE_BYTES = 1024 * 1024;

interface EditorProps {
  readonly container: string;
  readonly path: string;
  /** Not there yet: it is made by its first saving. */
  readonly isNew: boolean;
  readonly onDownload: () => void;
  readonly onClose: () => void;
}

/** A text file, to be changed. */
export function Editor({ container, path, isNew, onDownload, onClose }: EditorProps): JSX.Element {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const [saved, setSaved] = useState<string | null>(isNew ? '' : null);
  const [text, setText] = useState('');
  const [fault, setFault] = useState<string | null>(null);
  const [isSaving, setSaving] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const isChanged = saved !== null && (text !== saved || (isNew && saved === ''));

  useEffect(() => {
    if (isNew) return;
    const load = async (): Promise<void> => {
      const file = await berth.files.read(container, path);
      // It was smaller in the list, or is what a link leads to.
      if ((file.size ?? 0) > EDITABLE_BYTES) {
        await file.stream.cancel();
        setFault('This is too large to be edited here. Download it to look into it.');
        return;
      }
      const content = decode(await file.bytes());
      if (content === null) {
        setFault('This is no text. Download it to look into it.');
        return;
      }
      setSaved(content);
      setText(content);
    };
    load().catch((error: unknown) => setFault(inWords(error)));
  }, []);

  useEffect(() => {
    if (saved !== null) area.current?.focus();
  }, [saved === null]);

  useEffect(() => {
    if (!isChanged || text === '') return undefined;
    const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, [isChanged, text === '']);

  const save = async (): Promise<void> => {
    if (isSaving) return;
    setSaving(true);
    try {
      await berth.files.write(container, path, text);
      setSaved(text);
      say(`${name} was saved.`);
    } catch (error) {
      sayFault(error);
    } finally {
      setSaving(false);
    }
  };

  const close = (): void => {
    if (!isChanged || text === '') {
      onClose();
      return;
    }
    ask({
      title: 'Leave without saving?',
      text: `What you changed in “${name}” is lost then.`,
      action: 'Leave',
      run: () => {
        onClose();
        return Promise.resolve();
      },
    });
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if ((event.ctrlKey || event.metaKey) && event.key === 's') {
      event.preventDefault();
      void save();
    }
  };

  return (
    <section class="panel editor" aria-label={`Editing ${name}`} onKeyDown={onKeyDown}>
      <div class="panel-head files-head">
        <h2 class="ellipsis">
          <span class="mono">{path}</span>
          {isChanged && <span class="muted"> · not saved</span>}
        </h2>
        <div class="actions">
          <button type="button" class="button slim" onClick={close}>
            Close
          </button>
          {!isNew && (
            <button type="button" class="button slim" onClick={onDownload}>
              Download
            </button>
          )}
          <button
            type="button"
            class={`button primary slim ${isSaving ? 'busy' : ''}`}
            disabled={!isChanged}
            onClick={() => void save()}
          >
            Save
          </button>
        </div>
      </div>
      {fault !== null ? (
        <p class="panel-body muted">{fault}</p>
      ) : saved === null ? (
        <p class="panel-body muted" role="status">
          Loading…
        </p>
      ) : (
        <textarea
          ref={area}
          aria-label={`Content of ${name}`}
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      )}
    </section>
  );
}

/** @returns null if the bytes are no text */
function decode(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
