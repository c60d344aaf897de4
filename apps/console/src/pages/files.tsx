import type { FileView } from '@berth/client';
import { signal, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { downloadFile, downloadFolder } from '../data/downloads';
import { hasLocalFiles, joinPath, nameOfPath, NONE_SELECTED, type Selection } from '../data/file-list';
import { watchFolder } from '../data/folder-watch';
import type { Container } from '../data/live';
import { type Overwriting, readChosen, readDropped, upload } from '../data/local-files';
import type { LocalEntry } from '../data/upload-plan';
import { navigate } from '../router';
import { Choices, choose } from '../ui/choice';
import { askFor } from '../ui/dialog';
import { Empty, Shown, useLoaded } from '../ui/parts';
import { sayFault } from '../ui/toasts';
import { commonWords } from '../words/common';
import { fileWords } from '../words/files';
import { draftsIn, Editor } from './editor';
import { addressOf, Entries, type Opened } from './file-table';
import { FileViewer } from './file-viewer';

const HOME = '/home/user';

interface FilesProps {
  readonly container: Container;
  /** What the address says after `#files`. */
  readonly path: string;
}

/** The files of a running container: listed, viewed, edited, uploaded and downloaded. */
export function Files({ container, path }: FilesProps): JSX.Element {
  const { db_id } = container;
  const folder = path === '' ? HOME : path;
  const [opened, setOpened] = useState<Opened | null>(null);
  /** The file that was opened last, which gets the focus again. */
  const [last, setLast] = useState<string | null>(null);
  useEffect(() => setOpened(null), [folder]);
  const source = { container: db_id, label: container.name };
  const close = (): void => {
    setLast(opened?.path ?? null);
    setOpened(null);
  };
  return (
    <>
      {opened?.how === 'edit' && (
        <Editor
          key={opened.path}
          container={db_id}
          path={opened.path}
          isNew={opened.isNew}
          onDownload={() => downloadFile(source, opened)}
          onClose={close}
        />
      )}
      {opened?.how === 'view' && (
        <FileViewer
          key={opened.path}
          container={db_id}
          path={opened.path}
          onEdit={() => setOpened({ how: 'edit', path: opened.path, isNew: false })}
          onDownload={() => downloadFile(source, opened)}
          onClose={close}
        />
      )}
      {opened === null && <Folder key={folder} container={container} folder={folder} last={last} onOpen={setOpened} />}
      <Choices />
    </>
  );
}

/** More are not loaded: an order of only some of them would mislead. */
const MOST_LOADED = 5000;

interface Listing {
  readonly entries: readonly FileView[];
  readonly isAll: boolean;
}

async function readFolder(id: string, folder: string): Promise<Listing> {
  const entries: FileView[] = [];
  for await (const { items, nextCursor } of berth.files.list(id, folder, { limit: 1000 }).pages()) {
    entries.push(...items);
    if (nextCursor !== null && entries.length >= MOST_LOADED) return { entries, isAll: false };
  }
  return { entries, isAll: true };
}

/** Counts uploads that arrived, by the folder that shows them. */
const arrivals = signal({ place: '', number: 0 });

/** A new list is read this long after an upload arrived, so that many small ones are one list, in milliseconds. */
const SETTLE_MS = 300;

interface FolderProps {
  readonly container: Container;
  readonly folder: string;
  readonly last: string | null;
  readonly onOpen: (opened: Opened) => void;
}

function Folder({ container, folder, last, onOpen }: FolderProps): JSX.Element {
  const { folderActions: words } = fileWords;
  const { db_id: id, name: label } = container;
  const loaded = useLoaded(() => readFolder(id, folder));
  const selection = useSignal<Selection>(NONE_SELECTED);
  const [isChecking, setChecking] = useState(false);
  const [isDropping, setDropping] = useState(false);
  const place = `${id}:${folder}`;

  useEffect(() => {
    const before = arrivals.peek().number;
    let timer = 0;
    const unsubscribe = arrivals.subscribe((arrival) => {
      if (arrival.number === before || arrival.place !== place) return;
      clearTimeout(timer);
      timer = window.setTimeout(() => void loaded.reload(), SETTLE_MS);
    });
    return () => {
      clearTimeout(timer);
      unsubscribe();
    };
  }, []);

  useEffect(() => watchFolder(id, folder, () => loaded.reload()), []);

  // Entries that were deleted or moved must not stay selected.
  useEffect(() => {
    if (!loaded.value) return;
    const here = new Set(loaded.value.entries.map(({ path }) => path));
    const { paths, anchor } = selection.peek();
    const left = [...paths].filter((path) => here.has(path));
    if (left.length < paths.size) selection.value = { paths: new Set(left), anchor };
  }, [loaded.value]);

  const send = async (reading: LocalEntry[] | Promise<LocalEntry[]>): Promise<void> => {
    setChecking(true);
    try {
      const entries = await reading;
      if (entries.length === 0) return;
      await upload({ container: id, label, folder, diskMb: container.resources.disk_mb }, entries, {
        confirm: (names, isPartial) => {
          setChecking(false);
          return confirmOverwriting(names, isPartial);
        },
        onArrived: () => (arrivals.value = { place, number: arrivals.peek().number + 1 }),
      });
    } catch (error) {
      sayFault(error);
    } finally {
      setChecking(false);
    }
  };

  const makeFolder = (): void =>
    askFor({
      title: words.newFolder,
      label: commonWords.name,
      action: commonWords.create,
      run: async (name) => {
        await berth.files.makeDirectory(id, joinPath(folder, name));
        await loaded.reload();
      },
    });
  const makeFile = (): void =>
    askFor({
      title: words.newFile,
      label: commonWords.name,
      action: commonWords.create,
      run: (name) => {
        if (loaded.value?.entries.some((each) => each.name === name)) {
          return Promise.reject(new Error(words.exists(name)));
        }
        onOpen({ how: 'edit', path: joinPath(folder, name), isNew: true });
        return Promise.resolve();
      },
    });

  const hasFiles = ({ dataTransfer }: DragEvent): boolean => dataTransfer !== null && hasLocalFiles(dataTransfer);
  const onDrop = (event: DragEvent): void => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setDropping(false);
    if (event.dataTransfer) void send(readDropped(event.dataTransfer));
  };

  return (
    <section
      class={`panel ${isDropping ? 'dropping' : ''}`}
      aria-label={fileWords.filesIn(folder)}
      onDragOver={(event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setDropping(true);
      }}
      onDragLeave={() => setDropping(false)}
      onDrop={onDrop}
    >
      <div class="panel-head files-head">
        <Crumbs id={id} folder={folder} />
        <div class="actions">
          <button type="button" class="button slim" onClick={makeFolder}>
            {words.newFolder}
          </button>
          <button type="button" class="button slim" onClick={makeFile}>
            {words.newFile}
          </button>
          <Chooser name={words.upload} label={words.uploadLabel} onChosen={(entries) => void send(entries)} />
          <Chooser
            name={words.uploadFolder}
            label={words.uploadFolderLabel}
            isFolder
            onChosen={(entries) => void send(entries)}
          />
          <button type="button" class="button slim" onClick={() => downloadFolder({ container: id, label }, folder)}>
            {words.downloadFolder}
          </button>
        </div>
      </div>
      <Drafts id={id} onOpen={onOpen} />
      {isChecking && (
        <p class="panel-body muted" role="status">
          {fileWords.overwrite.checking}
        </p>
      )}
      <div class={loaded.value ? '' : 'panel-body'}>
        <Shown of={loaded}>
          {({ entries, isAll }) =>
            entries.length === 0 ? (
              <Empty title={fileWords.empty.title}>
                <p>{fileWords.empty.text}</p>
              </Empty>
            ) : (
              <Entries
                of={{ id, label, folder, selection, onOpen, onChange: () => void loaded.reload() }}
                entries={entries}
                isAll={isAll}
                last={last}
              />
            )
          }
        </Shown>
      </div>
    </section>
  );
}

/** Changes that were left unsaved, by leaving the page without closing the editor. */
function Drafts({ id, onOpen }: { readonly id: string; readonly onOpen: FolderProps['onOpen'] }): JSX.Element | null {
  const drafts = draftsIn(id);
  if (drafts.length === 0) return null;
  return (
    <p class="notice warn file-drafts">
      <span class="grow">{fileWords.drafts.notSaved}</span>
      {drafts.map(({ path, isNew }) => (
        <button key={path} type="button" class="button slim" onClick={() => onOpen({ how: 'edit', path, isNew })}>
          {fileWords.drafts.open(nameOfPath(path))}
        </button>
      ))}
    </p>
  );
}

/** Asks before files are replaced. */
async function confirmOverwriting(names: readonly string[], isPartial: boolean): Promise<Overwriting> {
  const { overwrite: words } = fileWords;
  const most = 100;
  const answer = await choose({
    title: words.title(names.length),
    text: (
      <>
        {names.length > 0 && (
          <ul class="name-list" tabIndex={0} aria-label={words.listLabel}>
            {names.slice(0, most).map((name) => (
              <li key={name}>{name}</li>
            ))}
            {names.length > most && <li class="muted">{words.andMore(names.length - most)}</li>}
          </ul>
        )}
        {isPartial && <p>{words.notAllChecked}</p>}
        <p>{words.nothingSent}</p>
      </>
    ),
    choices: [
      { name: 'skip', label: words.skip, isFirst: true },
      { name: 'replace', label: words.replace, isDangerous: true },
    ],
  });
  return answer ?? 'cancel';
}

interface ChooserProps {
  readonly name: string;
  readonly label: string;
  readonly isFolder?: boolean;
  readonly onChosen: (entries: LocalEntry[]) => void;
}

/** A button that opens the browser's file dialog. */
function Chooser({ name, label, isFolder = false, onChosen }: ChooserProps): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current) input.current.webkitdirectory = isFolder;
  }, [isFolder]);
  return (
    <>
      <button type="button" class="button slim" onClick={() => input.current?.click()}>
        {name}
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label={label}
        onChange={(event) => {
          const entries = readChosen(event.currentTarget.files);
          event.currentTarget.value = '';
          onChosen(entries);
        }}
      />
    </>
  );
}

function Crumbs({ id, folder }: { readonly id: string; readonly folder: string }): JSX.Element {
  const names = folder.split('/').filter(Boolean);
  const steps = [
    { name: '/', path: '/' },
    ...names.map((name, at) => ({ name, path: `/${names.slice(0, at + 1).join('/')}` })),
  ];
  return (
    <nav class="crumbs grow" aria-label={fileWords.folder}>
      {steps.map(({ name, path }, at) => (
        <span key={path}>
          {at === steps.length - 1 ? (
            <span aria-current="location">{name}</span>
          ) : (
            <button type="button" onClick={() => navigate(addressOf(id, path))}>
              {name}
            </button>
          )}
          {at > 0 && at < steps.length - 1 && <span class="faint">/</span>}
        </span>
      ))}
    </nav>
  );
}
