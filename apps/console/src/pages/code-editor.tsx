import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState, type Extension, type Text } from '@codemirror/state';
import {
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
} from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { effect } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { indentOf, lineBreakOf } from '../data/text-file';
import { isDark } from '../ui/theme';
import { codeEditorWords } from '../words/code-editor';
import { languageOf } from './code-languages';

/** A text at one moment. */
export interface Snapshot {
  readonly text: string;
  readonly doc: Text;
}

/** The editor, as the page around it uses it. */
export interface CodeHandle {
  snapshot(): Snapshot;
  /** The file has this content now. */
  markSaved(snapshot: Snapshot): void;
  /** Replaces the text by the file's present content; Undo brings the former text back. */
  replace(saved: string): void;
}

interface CodeEditorProps {
  readonly name: string;
  readonly label: string;
  readonly text: string;
  /** The file's content, which the text may differ from. */
  readonly saved: string;
  readonly onReady: (handle: CodeHandle) => void;
  /** Called when the text becomes different from the file's, or the same again. */
  readonly onChanged: (isChanged: boolean) => void;
}

/** A border or an outline. @param colour a CSS variable of the page */
const line = (width: string, colour: string): string => [width, 'solid', `var(${colour})`].join(' ');

/** The colours are CSS variables of the page, which have a value for each theme. */
const THEME = EditorView.theme({
  '&': { height: '100%', backgroundColor: 'var(--surface)', color: 'var(--text)', fontSize: '12.5px' },
  '&.cm-focused': { outline: line('2px', '--accent'), outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5' },
  '.cm-content': { padding: '8px 0', caretColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--surface)', color: 'var(--text-3)', borderRight: line('1px', '--line') },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--code-line)' },
  '.cm-activeLineGutter': { color: 'var(--text)' },
  '.cm-matchingBracket, &.cm-focused .cm-matchingBracket': {
    backgroundColor: 'var(--accent-soft)',
    outline: line('1px', '--accent'),
  },
  '.cm-selectionMatch': { backgroundColor: 'var(--code-match)' },
  '.cm-searchMatch': { backgroundColor: 'var(--warn-soft)', outline: line('1px', '--warn') },
  '.cm-searchMatch-selected': { backgroundColor: 'var(--accent-soft)', outline: line('2px', '--accent') },
  '.cm-specialChar': { color: 'var(--bad)' },
  '.cm-panels': { backgroundColor: 'var(--sunken)', color: 'var(--text)' },
  '.cm-panels.cm-panels-top': { borderBottom: line('1px', '--line') },
  '.cm-panel.cm-search': { padding: '6px 28px 6px 8px', fontFamily: 'var(--font)', fontSize: '13px' },
  '.cm-panel.cm-search > label': { fontSize: '13px' },
  '.cm-panel.cm-search [name=close]': { width: '24px', height: '24px', color: 'var(--text-2)', cursor: 'pointer' },
  '.cm-textfield': {
    minHeight: '28px',
    fontSize: '13px',
    border: line('1px', '--line-strong'),
    borderRadius: 'var(--radius-s)',
    backgroundColor: 'var(--surface)',
    color: 'var(--text)',
  },
  '.cm-button': {
    backgroundImage: 'none',
    minHeight: '28px',
    fontSize: '13px',
    border: line('1px', '--line-strong'),
    borderRadius: 'var(--radius-s)',
    background: 'var(--surface)',
    color: 'var(--text)',
    cursor: 'pointer',
  },
});

const COLOURS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier, tags.moduleKeyword], color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp, tags.inserted], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom, tags.color, tags.unit], color: 'var(--code-number)' },
  { tag: [tags.comment, tags.meta, tags.documentMeta], color: 'var(--code-comment)', fontStyle: 'italic' },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.labelName, tags.link, tags.url],
    color: 'var(--code-function)',
  },
  {
    tag: [tags.typeName, tags.className, tags.tagName, tags.namespace, tags.standard(tags.variableName)],
    color: 'var(--code-type)',
  },
  { tag: [tags.propertyName, tags.attributeName, tags.definition(tags.propertyName)], color: 'var(--code-property)' },
  { tag: [tags.deleted, tags.invalid], color: 'var(--bad)' },
  { tag: [tags.heading, tags.strong], fontWeight: '620' },
  { tag: tags.emphasis, fontStyle: 'italic' },
  { tag: tags.strikethrough, textDecoration: 'line-through' },
]);

/** A text editor with line numbers, search and highlighting: CodeMirror. */
export function CodeEditor({ name, label, text, saved, onReady, onChanged }: CodeEditorProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const wrap = useRef<((isWrapped: boolean) => void) | null>(null);
  const [language, setLanguage] = useState<string | null>(null);
  const hint = useId();

  useEffect(() => {
    const parent = place.current;
    if (!parent) return undefined;
    const [theme, wrapping, highlighting] = [new Compartment(), new Compartment(), new Compartment()];
    const lineBreak = lineBreakOf(text);
    const separator = lineBreak === null ? [] : [EditorState.lineSeparator.of(lineBreak)];
    const docOf = (content: string): Text => EditorState.create({ doc: content, extensions: separator }).doc;
    let base = docOf(saved);
    let wasChanged = false;
    const compare = (doc: Text): void => {
      const isChanged = !doc.eq(base);
      if (isChanged === wasChanged) return;
      wasChanged = isChanged;
      onChanged(isChanged);
    };
    const extensions: Extension[] = [
      ...separator,
      lineNumbers(),
      highlightSpecialChars(),
      history(),
      indentOnInput(),
      indentUnit.of(indentOf(text)),
      EditorState.tabSize.of(4),
      bracketMatching(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      highlightSelectionMatches(),
      search({ top: true }),
      EditorState.phrases.of(codeEditorWords.search),
      keymap.of([...searchKeymap, ...historyKeymap, indentWithTab, ...defaultKeymap]),
      THEME,
      syntaxHighlighting(COLOURS),
      theme.of([]),
      wrapping.of([]),
      highlighting.of([]),
      EditorView.contentAttributes.of({ 'aria-label': label, 'aria-describedby': hint }),
      // The clipboard may have other line breaks than the file.
      EditorView.clipboardInputFilter.of((pasted, state) => pasted.replace(/\r\n?|\n/g, state.lineBreak)),
      EditorView.updateListener.of(({ docChanged, state }) => {
        if (docChanged) compare(state.doc);
      }),
    ];
    const view = new EditorView({ parent, doc: text, extensions });
    const disposeTheme = effect(() => {
      view.dispatch({ effects: theme.reconfigure(EditorView.darkTheme.of(isDark.value)) });
    });
    wrap.current = (isWrapped) =>
      view.dispatch({ effects: wrapping.reconfigure(isWrapped ? EditorView.lineWrapping : []) });
    compare(view.state.doc);

    const found = languageOf(name, view.state.doc.line(1).text);
    let isLeft = false;
    found?.load().then(
      (loaded) => {
        if (isLeft) return;
        view.dispatch({ effects: highlighting.reconfigure(loaded) });
        setLanguage(found.name);
      },
      // The text can be edited without colours.
      () => undefined,
    );
    view.focus();
    onReady({
      snapshot: () => ({ text: view.state.sliceDoc(), doc: view.state.doc }),
      markSaved: ({ doc }) => {
        base = doc;
        compare(view.state.doc);
      },
      replace: (content) => {
        base = docOf(content);
        view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: base }, scrollIntoView: true });
        compare(view.state.doc);
      },
    });
    return () => {
      isLeft = true;
      disposeTheme();
      view.destroy();
    };
  }, []);

  return (
    <>
      <div class="code-editor" ref={place} />
      <div class="code-foot small muted">
        <span id={hint} class="grow">
          {codeEditorWords.keysHint}
        </span>
        <label class="check">
          <input type="checkbox" onChange={(event) => wrap.current?.(event.currentTarget.checked)} />
          {codeEditorWords.wrapLines}
        </label>
        <span>{language ?? codeEditorWords.plainText}</span>
      </div>
    </>
  );
}
