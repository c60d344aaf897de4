import { type FileView, isBerthError } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { bytes } from '../data/format';
import type { Container } from '../data/live';
import { type LocalEntry, readChosen, readDropped, upload } from '../data/local-files';
import { navigate } from '../router';
import { ask, askFor } from '../ui/dialog';
import { FileIcon, FolderIcon, LinkIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Ago, Empty, Shown, Table, useLoaded } from '../ui/parts';
import { say, sayFault } from '../ui/toasts';
import { EDITABLE_BYTES, Editor } from './editor';

const HOME = '/home/user';

const join = (folder: string, name: string): string => `${folder === '/' ? '' : folder}/${name}`;
const addressOf = (id: string, folder: string): string =>
  `/containers/${id}#files${folder.split('/').map(encodeURIComponent).join('/')}`;

interface FilesProps {
  readonly container: Container;
  /** What the address says after `#files`. */
  readonly path: string;
}

/** The files of a running container: looked through, edited, sent and fetched. */
export function Files({ container, path }: FilesProps): JSX.Element {
  const { db_id } = container;
  const folder = path === '' ? HOME : path;
  const [edited, setEdited] = useState<{ readonly path: string; readonly isNew: boolean } | null>(null);
  if (edited) {
    const { path, isNew } = edited;
    return (
      <Editor
        container={db_id}
        path={path}
        isNew={isNew}
        onDownload={() => void download(db_id, { path, name: path.slice(path.lastIndexOf('/') + 1) })}
        onClose={() => setEdited(null)}
      />
    );
  }
  return <Folder key={folder} id={db_id} folder={folder} onEdit={(file, isNew) => setEdited({ path: file, isNew })} />;
}

interface FolderProps {
  readonly id: string;
  readonly folder: string;
  readonly onEdit: (path: string, isNew: boolean) => void;
}

interface Listing {
  readonly entries: readonly FileView[];
  readonly isAll: boolean;
}

async function readFolder(id: string, folder: string): Promise<Listing> {
  const { items, nextCursor } = await berth.files.list(id, folder, { limit: 1000 }).page();
  const entries = [...items].sort((a, b) => Number(b.is_dir) - Number(a.is_dir) || a.name.localeCompare(b.name));
  return { entries, isAll: nextCursor === null };
}

function Folder({ id, folder, onEdit }: FolderProps): JSX.Element {
  const loaded = useLoaded(() => readFolder(id, folder));
  const [sending, setSending] = useState<string | null>(null);
  const [isDropping, setDropping] = useState(false);

  const send = async (reading: LocalEntry[] | Promise<LocalEntry[]>): Promise<void> => {
    try {
      const entries = await reading;
      if (entries.length === 0) return;
      say(await upload({ container: id, folder }, entries, setSending));
    } catch (error) {
      sayFault(error);
    } finally {
      setSending(null);
      await loaded.reload();
    }
  };

  const makeFolder = (): void =>
    askFor({
      title: 'New folder',
      label: 'Name',
      action: 'Create',
      run: async (name) => {
        await berth.files.makeDirectory(id, join(folder, name));
        await loaded.reload();
      },
    });
  const makeFile = (): void =>
    askFor({
      title: 'New file',
      label: 'Name',
      action: 'Create',
      run: (name) => {
        onEdit(join(folder, name), true);
        return Promise.resolve();
      },
    });

  const onDrop = (event: DragEvent): void => {
    event.preventDefault();
    setDropping(false);
    if (event.dataTransfer) void send(readDropped(event.dataTransfer));
  };

  return (
    <section
      class={`panel ${isDropping ? 'dropping' : ''}`}
      aria-label={`Files in ${folder}`}
      onDragOver={(event) => {
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
            New folder
          </button>
          <button type="button" class="button slim" onClick={makeFile}>
            New file
          </button>
          <Chooser name="Upload" label="Files to upload" onChosen={(entries) => void send(entries)} />
          <Chooser name="Upload folder" label="Folder to upload" isFolder onChosen={(entries) => void send(entries)} />
          <button type="button" class="button slim" onClick={() => void downloadFolder(id, folder)}>
            Download folder
          </button>
        </div>
      </div>
      {sending !== null && (
        <p class="panel-body muted" role="status">
          {sending}
        </p>
      )}
      <div class={loaded.value ? '' : 'panel-body'}>
        <Shown of={loaded}>
          {({ entries, isAll }) =>
            entries.length === 0 ? (
              <Empty title="This folder is empty">
                <p>Drop files and folders here, or upload them.</p>
              </Empty>
            ) : (
              <>
                <Entries id={id} entries={entries} onEdit={onEdit} onChange={() => void loaded.reload()} />
                {!isAll && <p class="panel-body muted">Only the first 1,000 are shown.</p>}
              </>
            )
          }
        </Shown>
      </div>
    </section>
  );
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
    <nav class="crumbs grow" aria-label="Folder">
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

interface EntriesProps {
  readonly id: string;
  readonly entries: readonly FileView[];
  readonly onEdit: (path: string, isNew: boolean) => void;
  readonly onChange: () => void;
}

function Entries({ id, entries, onEdit, onChange }: EntriesProps): JSX.Element {
  return (
    <Table caption="Folders, then files, by name" columns={['Name', { end: 'Size' }, 'Changed', 'Mode']} hasActions>
      {entries.map((entry) => (
        <Entry key={entry.path} id={id} entry={entry} onEdit={onEdit} onChange={onChange} />
      ))}
    </Table>
  );
}

function Entry({ id, entry, onEdit, onChange }: Omit<EntriesProps, 'entries'> & { entry: FileView }): JSX.Element {
  const { name, path, size, is_dir, mode, mod_time, path_encoded } = entry;
  // A name that is no text cannot be named in a request from here.
  const isNameable = path_encoded === undefined;
  const isEditable = size <= EDITABLE_BYTES;
  // As `ls` has it: of the link itself, and not of what it leads to.
  const isLink = mode.startsWith('l');
  const open = async (): Promise<void> => {
    if (is_dir || (isLink && (await leadsToFolder(id, path)))) navigate(addressOf(id, path));
    else if (isEditable) onEdit(path, false);
    else await download(id, entry);
  };
  const rename = (): void =>
    askFor({
      title: `Rename “${name}”`,
      label: 'Name',
      value: name,
      action: 'Rename',
      run: async (next) => {
        await berth.files.move(id, path, join(path.slice(0, path.lastIndexOf('/')) || '/', next));
        onChange();
      },
    });
  const remove = (): void =>
    ask({
      title: `Delete “${name}”?`,
      text: is_dir ? 'The folder and all that is in it are gone then.' : 'The file is gone then.',
      action: 'Delete',
      run: async () => {
        await berth.files.delete(id, path, { recursive: is_dir });
        onChange();
      },
    });
  return (
    <tr>
      <td>
        <span class="file-name">
          {is_dir ? <FolderIcon /> : isLink ? <LinkIcon /> : <FileIcon />}
          <button
            type="button"
            class="linklike ellipsis"
            disabled={!isNameable}
            onClick={() => void open().catch(sayFault)}
          >
            {name}
          </button>
        </span>
      </td>
      <td class="end muted nowrap">{is_dir ? '' : bytes(size)}</td>
      <td class="muted nowrap">
        <Ago time={mod_time} />
      </td>
      <td class="muted mono nowrap">{mode}</td>
      <td class="actions-cell">
        {isNameable && (
          <div class="actions">
            <Menu
              label={`More for ${name}`}
              items={[
                is_dir
                  ? { name: 'Download as tar', run: () => void downloadFolder(id, path) }
                  : { name: 'Download', run: () => void download(id, entry) },
                { name: 'Rename', run: rename },
                { name: 'Delete', isDangerous: true, run: remove },
              ]}
            />
          </div>
        )}
      </td>
    </tr>
  );
}

/** A listing does not say what a link leads to. @throws BerthError where it leads nowhere */
async function leadsToFolder(id: string, path: string): Promise<boolean> {
  try {
    await berth.files.list(id, path, { limit: 1 }).page();
    return true;
  } catch (error) {
    if (isBerthError(error, 'path_not_directory')) return false;
    throw error;
  }
}

/** Saves a file where the browser saves its downloads. The token is in a header, so a plain link will not do. */
async function download(id: string, { path, name }: Pick<FileView, 'path' | 'name'>): Promise<void> {
  try {
    save(await (await berth.files.read(id, path)).blob(), name);
  } catch (error) {
    // A link to one.
    if (isBerthError(error, 'path_is_directory')) await downloadFolder(id, path);
    else sayFault(error);
  }
}

/** Saves a folder with all that is in it, as a tar archive. */
async function downloadFolder(id: string, folder: string): Promise<void> {
  const name = folder.slice(folder.lastIndexOf('/') + 1) || 'root';
  say(`“${name}” is being packed.`);
  try {
    save(await (await berth.files.readArchive(id, folder)).blob(), `${name}.tar`);
  } catch (error) {
    // The server breaks off an archive in which something is missing.
    const isBroken = isBerthError(error, 'connection_failed');
    sayFault(isBroken ? new Error(`“${name}” did not come as a whole: something in it could not be read.`) : error);
  }
}

function save(content: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
