import { type FileView, isBerthError } from '@berth/client';
import { type Signal, signal, useComputed } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { eachAtOnce } from '../data/at-once';
import { berth } from '../data/berth';
import { downloadFile, downloadFolder, downloadTogether } from '../data/downloads';
import { useDragOut } from '../data/drag-out';
import {
  extend,
  folderOfPath,
  joinPath,
  listed,
  NONE_SELECTED,
  resolvePath,
  type Selection,
  shownAs,
  SORT_KEYS,
  type SortKey,
  sorted,
  sortedBy,
  type Sorting,
  toggle,
} from '../data/file-list';
import { bytes } from '../words/format';
import { navigate } from '../router';
import { ask, askFor } from '../ui/dialog';
import { FileIcon, FolderIcon, LinkIcon } from '../ui/icons';
import { Menu, type MenuItem } from '../ui/menu';
import { Ago } from '../ui/parts';
import { say, sayFault } from '../ui/toasts';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { fileWords } from '../words/files';
import { EDITABLE_BYTES } from './editor';

/** The file that is shown in place of its folder. */
export type Opened =
  | { readonly how: 'edit'; readonly path: string; readonly isNew: boolean }
  | { readonly how: 'view'; readonly path: string };

/** The address of a folder in the console. */
export const addressOf = (id: string, folder: string): string =>
  `/containers/${id}#files${folder.split('/').map(encodeURIComponent).join('/')}`;

/** The order of all lists, until the page is left. */
const sorting = signal<Sorting>({ by: 'name', isDescending: false });

const { table: words } = fileWords;

/** The orders that can be chosen where the heads of the columns are not shown. */
const ORDERS: readonly (readonly [by: SortKey, isDescending: boolean, words: string])[] = [
  ['name', false, words.orders.byName],
  ['name', true, words.orders.byNameDescending],
  ['size', true, words.orders.largest],
  ['size', false, words.orders.smallest],
  ['time', true, words.orders.newest],
  ['time', false, words.orders.oldest],
];

/** Rows that are drawn at first, and with each “Show more”. */
const ROWS = 300;

/** What rows and actions need to know of their list. */
export interface ListContext {
  readonly id: string;
  readonly label: string;
  readonly folder: string;
  readonly selection: Signal<Selection>;
  readonly onOpen: (opened: Opened) => void;
  readonly onChange: () => void;
}

interface EntriesProps {
  readonly of: ListContext;
  readonly entries: readonly FileView[];
  readonly isAll: boolean;
  readonly last: string | null;
}

// A name that is not text cannot be named in a request from here.
const isNameable = ({ path_encoded }: FileView): boolean => path_encoded === undefined;

/** Regular files, and links, which may lead to one; a folder is no single file. */
const isSavable = ({ mode }: FileView): boolean => /^[-l]/.test(mode);

const HEADS: Readonly<Record<SortKey, string>> = {
  name: commonWords.name,
  size: words.columns.size,
  time: words.columns.changed,
};

/** The entries of a folder as a table, with what can be done with each and with the selected ones. */
export function Entries({ of, entries, isAll, last }: EntriesProps): JSX.Element {
  const { selection } = of;
  const { by, isDescending } = sorting.value;
  const [rows, setRows] = useState(ROWS);
  const order = useMemo(() => sorted(entries, { by, isDescending }), [entries, by, isDescending]);
  const shown = order.slice(0, rows);
  const paths = order.filter(isNameable).map(({ path }) => path);
  const body = useRef<HTMLTableSectionElement>(null);

  useEffect(() => {
    if (last === null) return;
    body.current?.querySelector<HTMLElement>(`tr[data-path="${CSS.escape(last)}"] .linklike`)?.focus();
  }, []);

  const select = (path: string, { isRange }: { readonly isRange: boolean }): void => {
    selection.value = isRange ? extend(selection.value, path, paths) : toggle(selection.value, path);
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (target.closest('[role="menu"]')) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (event.key.toLowerCase() === 'a' && isCommand) {
      event.preventDefault();
      selection.value = { paths: new Set(paths), anchor: null };
    } else if (event.key === 'Escape') selection.value = NONE_SELECTED;
    else if (event.key === 'Delete' && selection.value.paths.size > 0) {
      askToDelete(of, chosen(order, selection.value));
    } else moveFocus(event, target);
  };

  /** Arrow keys go from row to row; with Shift, they extend the selection. */
  const moveFocus = (event: KeyboardEvent, target: HTMLElement): void => {
    const all = [...(body.current?.rows ?? [])];
    const row = target.closest('tr');
    const at = row ? all.indexOf(row) : -1;
    const ends: Readonly<Record<string, number>> = { Home: 0, End: all.length - 1, ArrowUp: at - 1, ArrowDown: at + 1 };
    const to = ends[event.key];
    const next = to === undefined ? undefined : all[to];
    if (at < 0 || !row || !next || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    next.querySelector<HTMLElement>(target.matches('input') ? 'input' : '.linklike')?.focus();
    const [from, path] = [row.dataset['path'], next.dataset['path']];
    if (!event.shiftKey || from === undefined || path === undefined) return;
    if (selection.value.anchor === null) select(from, { isRange: false });
    select(path, { isRange: true });
  };

  return (
    <>
      <SelectionBar of={of} order={order} paths={paths} />
      <table class="table cards files">
        <caption class="visually-hidden">{words.caption}</caption>
        <thead>
          <tr>
            {SORT_KEYS.map((key) => (
              <th
                key={key}
                scope="col"
                class={key === 'size' ? 'end' : ''}
                aria-sort={by === key ? (isDescending ? 'descending' : 'ascending') : 'none'}
              >
                <button type="button" class="sort" onClick={() => (sorting.value = sortedBy(key, sorting.value))}>
                  {HEADS[key]}
                  <span aria-hidden="true">{by === key ? (isDescending ? ' ↓' : ' ↑') : ''}</span>
                </button>
              </th>
            ))}
            <th scope="col">{words.columns.mode}</th>
            <th scope="col">
              <span class="visually-hidden">{words.columns.actions}</span>
            </th>
          </tr>
        </thead>
        <tbody ref={body} onKeyDown={onKeyDown}>
          {shown.map((entry) => (
            <Entry key={entry.path} of={of} entry={entry} onSelect={select} />
          ))}
        </tbody>
      </table>
      {rows < order.length && (
        <div class="more-rows">
          <button type="button" class="button" onClick={() => setRows(rows + ROWS)}>
            {words.showMore(order.length - rows)}
          </button>
        </div>
      )}
      {!isAll && <p class="panel-body muted">{words.onlyFirst(entries.length)}</p>}
    </>
  );
}

const chosen = (order: readonly FileView[], { paths }: Selection): FileView[] =>
  order.filter(({ path }) => paths.has(path));

interface SelectionBarProps {
  readonly of: ListContext;
  readonly order: readonly FileView[];
  readonly paths: readonly string[];
}

/** How many are selected, and what can be done with them. */
function SelectionBar({ of, order, paths }: SelectionBarProps): JSX.Element {
  const { selection } = of;
  const box = useRef<HTMLInputElement>(null);
  const { size } = selection.value.paths;
  const isAll = size > 0 && size === paths.length;
  const entries = size > 0 ? chosen(order, selection.value) : [];
  useEffect(() => {
    if (box.current) box.current.indeterminate = size > 0 && !isAll;
  }, [size, isAll]);
  const bytesOfFiles = entries.reduce((sum, each) => sum + (each.is_dir ? 0 : each.size), 0);
  return (
    <div class="file-bar">
      <label class="check">
        <input
          ref={box}
          type="checkbox"
          checked={isAll}
          onChange={() => (selection.value = isAll ? NONE_SELECTED : { paths: new Set(paths), anchor: null })}
        />
        {words.selectAll}
      </label>
      <span class="muted" role="status">
        {size === 0
          ? words.items(order.length)
          : `${words.selected(size)}${bytesOfFiles > 0 ? ` · ${bytes(bytesOfFiles)}` : ''}`}
      </span>
      <label class="sort-select">
        <span class="visually-hidden">{words.sortBy}</span>
        <select
          class="input slim-select"
          value={`${sorting.value.by} ${String(sorting.value.isDescending)}`}
          onChange={(event) => {
            const [by = 'name', isDescending] = event.currentTarget.value.split(' ');
            sorting.value = { by: by as SortKey, isDescending: isDescending === 'true' };
          }}
        >
          {ORDERS.map(([by, isDescending, text]) => (
            <option key={text} value={`${by} ${String(isDescending)}`}>
              {text}
            </option>
          ))}
        </select>
      </label>
      {size > 0 && (
        <div class="actions" role="group" aria-label={words.selectedLabel}>
          <button type="button" class="button slim" onClick={() => downloadAll(of, entries)}>
            {fileWords.download}
          </button>
          <button type="button" class="button slim" onClick={() => askToMove(of, entries)}>
            {fileWords.move.action}
          </button>
          <button type="button" class="button slim danger" onClick={() => askToDelete(of, entries)}>
            {commonWords.delete}
          </button>
        </div>
      )}
    </div>
  );
}

function downloadAll({ id, label, folder }: ListContext, entries: readonly FileView[]): void {
  const source = { container: id, label };
  const [first] = entries;
  if (entries.length !== 1 || !first) downloadTogether(source, folder, entries);
  else if (first.is_dir) downloadFolder(source, first.path);
  else downloadFile(source, first);
}

/** Requests at once, of the 16 that a container takes. */
const AT_ONCE = 4;

/** Does the same with each entry. @throws Error that names how many failed, and why the first did */
async function withEach(entries: readonly FileView[], work: (entry: FileView) => Promise<unknown>): Promise<void> {
  const faults: { readonly name: string; readonly error: unknown }[] = [];
  await eachAtOnce(entries, AT_ONCE, async (entry) => {
    await work(entry).catch((error: unknown) => faults.push({ name: entry.name, error }));
  });
  const [first] = faults;
  if (!first) return;
  if (entries.length === 1) throw first.error;
  const { name, error } = first;
  throw new Error(words.someFailed({ failed: faults.length, of: entries.length, name, why: inWords(error) }));
}

function askToMove({ id, folder, onChange }: ListContext, entries: readonly FileView[]): void {
  const names = entries.map(({ name }) => name);
  askFor({
    title: fileWords.move.title(names),
    label: fileWords.move.target,
    value: folder,
    action: fileWords.move.action,
    run: async (text) => {
      const target = resolvePath(folder, text);
      if (target === folder) throw new Error(fileWords.move.isThere);
      try {
        await withEach(entries, ({ path, name }) => berth.files.move(id, path, joinPath(target, name)));
      } finally {
        onChange();
      }
      say(fileWords.move.done({ names, target }));
    },
  });
}

function askToDelete({ id, onChange }: ListContext, entries: readonly FileView[]): void {
  const { remove } = fileWords;
  const names = entries.map(({ name }) => name);
  const hasFolders = entries.some(({ is_dir }) => is_dir);
  const textOfOne = hasFolders ? remove.ofFolder : remove.ofFile;
  const textOfSeveral = hasFolders ? remove.ofFilesAndFolders : remove.ofFiles;
  ask({
    title: remove.title(names),
    text: names.length === 1 ? textOfOne : textOfSeveral(listed(names)),
    action: commonWords.delete,
    run: async () => {
      try {
        await withEach(entries, ({ path, is_dir }) => berth.files.delete(id, path, { recursive: is_dir }));
      } finally {
        onChange();
      }
    },
  });
}

interface EntryProps {
  readonly of: ListContext;
  readonly entry: FileView;
  readonly onSelect: (path: string, how: { readonly isRange: boolean }) => void;
}

function Entry({ of, entry, onSelect }: EntryProps): JSX.Element {
  const { id, label, selection, onOpen, onChange } = of;
  const { name, path, size, is_dir, mode, mod_time } = entry;
  const canBeNamed = isNameable(entry);
  const isSelected = useComputed(() => selection.value.paths.has(path)).value;
  // As `ls` has it: of the link itself, and not of what it leads to.
  const isLink = mode.startsWith('l');
  const source = { container: id, label };
  const dragOut = useDragOut(id, entry);

  const open = async (): Promise<void> => {
    if (is_dir || (isLink && (await leadsToFolder(id, path)))) navigate(addressOf(id, path));
    else if (shownAs(name)) onOpen({ how: 'view', path });
    else if (size <= EDITABLE_BYTES) onOpen({ how: 'edit', path, isNew: false });
    else downloadFile(source, entry);
  };
  const rename = (): void =>
    askFor({
      title: fileWords.rename.title(name),
      label: commonWords.name,
      value: name,
      action: fileWords.rename.action,
      run: async (next) => {
        await berth.files.move(id, path, joinPath(folderOfPath(path), next));
        onChange();
      },
    });
  const editAsText: MenuItem[] =
    !is_dir && shownAs(name) && size <= EDITABLE_BYTES
      ? [{ name: fileWords.editAsText, run: () => onOpen({ how: 'edit', path, isNew: false }) }]
      : [];

  const onRowClick = (event: MouseEvent): void => {
    const isWithKey = event.shiftKey || event.ctrlKey || event.metaKey;
    if (!canBeNamed || !isWithKey || (event.target as HTMLElement).closest('.menu, input')) return;
    event.preventDefault();
    onSelect(path, { isRange: event.shiftKey });
  };

  return (
    <tr
      class={isSelected ? 'selected' : ''}
      data-path={path}
      onClick={onRowClick}
      onMouseDown={(event) => {
        // Otherwise the browser selects text.
        if (event.shiftKey) event.preventDefault();
      }}
    >
      <td {...(canBeNamed && isSavable(entry) && dragOut)}>
        <span class="file-name">
          <input
            type="checkbox"
            aria-label={words.select(name)}
            disabled={!canBeNamed}
            checked={isSelected}
            onClick={(event) => {
              onSelect(path, { isRange: event.shiftKey });
              // A range may leave it as it was, against what the click did to the box.
              event.currentTarget.checked = selection.value.paths.has(path);
            }}
          />
          {is_dir ? <FolderIcon /> : isLink ? <LinkIcon /> : <FileIcon />}
          <button
            type="button"
            class="linklike ellipsis"
            disabled={!canBeNamed}
            title={canBeNamed ? name : words.notNameable}
            onClick={(event) => {
              if (!event.shiftKey && !event.ctrlKey && !event.metaKey) void open().catch(sayFault);
            }}
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
        {canBeNamed && (
          <div class="actions">
            <Menu
              label={words.more(name)}
              items={[
                is_dir
                  ? { name: words.downloadAsTar, run: () => downloadFolder(source, path) }
                  : { name: fileWords.download, run: () => downloadFile(source, entry) },
                ...editAsText,
                { name: fileWords.rename.action, run: rename },
                { name: fileWords.move.action, run: () => askToMove(of, [entry]) },
                { name: commonWords.delete, isDangerous: true, run: () => askToDelete(of, [entry]) },
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
