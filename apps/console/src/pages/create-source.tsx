import type { ImageView, SnapshotView } from '@berth/client';
import type { JSX } from 'preact';
import { useId, useState } from 'preact/hooks';
import { type Catalogue, CUSTOM_SIZE, type Preset, type Source, TEMPLATE_SIZE } from '../data/create-form';
import type { Faults } from '../data/faults';
import { bytes } from '../words/format';
import { containerById } from '../data/live';
import { cpusInWords, sizeInWords } from '../data/units';
import { createWords } from '../words/create';
import { contentsInWords } from '../words/errors';
import { TextField } from '../ui/parts';

interface ChoiceProps {
  readonly name: string;
  readonly value: string;
  readonly title: string;
  readonly text?: string | undefined;
  readonly mark?: string | undefined;
  readonly isChosen: boolean;
  readonly onChoose: () => void;
}

/** A radio button with a description, as a card. */
function Choice({ name, value, title, text, mark, isChosen, onChoose }: ChoiceProps): JSX.Element {
  const id = useId();
  return (
    <label class={isChosen ? 'choice chosen' : 'choice'}>
      <input
        type="radio"
        name={name}
        value={value}
        checked={isChosen}
        aria-labelledby={`${id}-title`}
        aria-describedby={`${id}-text`}
        onChange={onChoose}
      />
      <span class="two">
        <span class="choice-title">
          <strong id={`${id}-title`}>{title}</strong>
          {mark !== undefined && <span class="chip">{mark}</span>}
        </span>
        <span id={`${id}-text`} class="small muted wrap-anywhere choice-text" title={text}>
          {text}
        </span>
      </span>
    </label>
  );
}

/** Something that a container can be created from. */
interface Entry {
  readonly source: Source;
  readonly title: string;
  readonly text: string;
  readonly mark?: string | undefined;
}

interface Group {
  readonly name: string;
  readonly entries: readonly Entry[];
}

const { source: WORDS, size: SIZE_WORDS } = createWords;

/** With more than these, there is a search. */
const FEW = 8;
/** With more than these, the list has a height of its own. */
const MOST_SEEN = 16;
/** How many of a group are drawn; a search finds the others. */
const MOST_DRAWN = 60;

const isSame = (one: Source, other: Source): boolean => one.kind === other.kind && one.of === other.of;

interface SourceFieldProps {
  readonly catalogue: Catalogue;
  readonly source: Source;
  readonly onSource: (source: Source) => void;
  readonly faults: Faults;
}

/** What a container is created from: an image, a template, a snapshot, or an image of the user's. */
export function SourceField({ catalogue, source, onSource, faults }: SourceFieldProps): JSX.Element {
  const [search, setSearch] = useState('');
  // Kept while another source is chosen.
  const [reference, setReference] = useState(source.kind === 'custom' ? source.of : '');
  const id = useId();
  const groups = groupsOf(catalogue);
  const total = groups.reduce((sum, { entries }) => sum + entries.length, 0);
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const isFound = ({ source: each, title, text }: Entry): boolean =>
    isSame(each, source) || words.every((word) => `${title} ${text}`.toLowerCase().includes(word));
  const found = groups
    .map(({ name, entries }) => ({ name, entries: entries.filter(isFound) }))
    .filter(({ entries }) => entries.length > 0);
  const fault = faults['source'];
  const isCustom = source.kind === 'custom';
  return (
    <section class="form-part" aria-labelledby={`${id}-head`} data-field="source">
      <h2 id={`${id}-head`}>{WORDS.title}</h2>
      {total > FEW && (
        <input
          class="input"
          type="search"
          aria-label={WORDS.searchLabel}
          placeholder={WORDS.search}
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
          onKeyDown={(event) => event.key === 'Enter' && event.preventDefault()}
        />
      )}
      <div
        class="choice-groups"
        role="radiogroup"
        aria-labelledby={`${id}-head`}
        aria-describedby={`${id}-says`}
        aria-invalid={fault !== undefined}
      >
        <div class={`choice-groups ${total > MOST_SEEN ? 'scrolled' : total > FEW ? 'fitted' : ''}`}>
          {found.map(({ name, entries }) => (
            <div key={name} class="stack choice-group" role="group" aria-label={name}>
              <h3 class={groups.length === 1 ? 'visually-hidden' : 'small muted'}>{name}</h3>
              <div class="choices">
                {entries.slice(0, MOST_DRAWN).map(({ source: each, title, text, mark }) => (
                  <Choice
                    key={`${each.kind}:${each.of}`}
                    name="source"
                    value={`${each.kind}:${each.of}`}
                    title={title}
                    text={text}
                    mark={mark}
                    isChosen={isSame(each, source)}
                    onChoose={() => onSource(each)}
                  />
                ))}
              </div>
              {entries.length > MOST_DRAWN && <p class="small muted">{WORDS.more(entries.length - MOST_DRAWN)}</p>}
            </div>
          ))}
          {words.length > 0 && found.length === 0 && <p class="muted">{WORDS.nothing}</p>}
        </div>
        {(catalogue.hasCustom || isCustom) && (
          <div class="choices one">
            <Choice
              name="source"
              value="custom"
              title={WORDS.custom}
              text={WORDS.customText}
              isChosen={isCustom}
              onChoose={() => onSource({ kind: 'custom', of: reference })}
            />
          </div>
        )}
      </div>
      <span id={`${id}-says`} class="fault">
        {fault}
      </span>
      {isCustom && (
        <TextField
          label={WORDS.reference}
          name="custom_image"
          hint={WORDS.referenceHint}
          fault={faults['custom_image']}
          isMono
          input={{ spellcheck: false, autoComplete: 'off', autocapitalize: 'off' }}
          value={source.of}
          onValue={(text) => {
            setReference(text);
            onSource({ kind: 'custom', of: text });
          }}
        />
      )}
    </section>
  );
}

function groupsOf({ images, snapshots }: Catalogue): readonly Group[] {
  const ofKind = (kind: 'image' | 'template'): readonly Entry[] =>
    images.filter(({ template }) => (template !== null) === (kind === 'template')).map((image) => entryOf(image, kind));
  return [
    { name: WORDS.images, entries: ofKind('image') },
    { name: WORDS.templates, entries: ofKind('template') },
    { name: WORDS.snapshots, entries: snapshots.map(snapshotEntry) },
  ].filter(({ entries }) => entries.length > 0);
}

function entryOf(image: ImageView, kind: 'image' | 'template'): Entry {
  const { name, description, reference, template, available, pull } = image;
  const isPulled = available === false && pull !== 'never';
  const parts = template
    ? [description, WORDS.version(template.version), template.data ? WORDS.withData : '']
    : [description, reference === name ? '' : reference, isPulled ? WORDS.downloadedFirst : ''];
  return {
    source: { kind, of: name },
    title: name,
    text: parts.filter((part) => part !== '').join(', '),
    ...(image.default && { mark: WORDS.default }),
  };
}

/** What a container from a snapshot begins with. */
function snapshotEntry(snapshot: SnapshotView): Entry {
  const container = containerById(snapshot.container_id);
  const contents = contentsInWords(snapshot);
  const origin = container ? WORDS.contentsOf({ contents, container: container.name }) : contents;
  const parts = [origin, bytes(snapshot.bytes), snapshot.description ?? ''];
  return {
    source: { kind: 'snapshot', of: snapshot.id },
    title: snapshot.name,
    text: parts.filter((part) => part !== '').join(', '),
  };
}

interface SizeChoicesProps {
  readonly presets: readonly Preset[];
  readonly size: string;
  readonly hasTemplate: boolean;
  readonly onSize: (size: string) => void;
}

/** The sizes that the tier allows; the fields of a size of one's own are behind the last. */
export function SizeChoices({ presets, size, hasTemplate, onSize }: SizeChoicesProps): JSX.Element {
  return (
    <div class="choices" role="radiogroup" aria-labelledby="create-size">
      {hasTemplate && (
        <Choice
          name="size"
          value={TEMPLATE_SIZE}
          title={createWords.asInTemplate}
          text={SIZE_WORDS.template}
          isChosen={size === TEMPLATE_SIZE}
          onChoose={() => onSize(TEMPLATE_SIZE)}
        />
      )}
      {presets.map(({ id, name, resources, isDefault }) => (
        <Choice
          key={id}
          name="size"
          value={id}
          title={name}
          text={SIZE_WORDS.amounts({
            cpus: cpusInWords(resources.cpu_shares),
            memory: sizeInWords(resources.memory_mb),
            disk: sizeInWords(resources.disk_mb),
          })}
          mark={isDefault ? WORDS.default : undefined}
          isChosen={size === id}
          onChoose={() => onSize(id)}
        />
      ))}
      <Choice
        name="size"
        value={CUSTOM_SIZE}
        title={SIZE_WORDS.custom}
        text={SIZE_WORDS.customText}
        isChosen={size === CUSTOM_SIZE}
        onChoose={() => onSize(CUSTOM_SIZE)}
      />
    </div>
  );
}
