import { type Language, StreamLanguage, type StreamParser } from '@codemirror/language';
import { codeEditorWords } from '../words/code-editor';

/** The languages that the editor highlights. Each is loaded when the first file in it is opened. */
interface Highlighted {
  readonly name: string;
  /** Endings of file names. */
  readonly endings: readonly string[];
  /** Whole file names, for files without an ending. */
  readonly names?: RegExp;
  /** Programs in the first line of a script. */
  readonly programs?: RegExp;
  readonly load: () => Promise<Language>;
}

const stream = async <State>(parser: Promise<StreamParser<State>>): Promise<Language> =>
  StreamLanguage.define(await parser);

const LANGUAGES: readonly Highlighted[] = [
  {
    name: 'JavaScript',
    endings: ['js', 'mjs', 'cjs'],
    programs: /\b(node|deno|bun)\b/,
    load: async () => (await import('@codemirror/lang-javascript')).javascriptLanguage,
  },
  { name: 'JSX', endings: ['jsx'], load: async () => (await import('@codemirror/lang-javascript')).jsxLanguage },
  {
    name: 'TypeScript',
    endings: ['ts', 'mts', 'cts'],
    load: async () => (await import('@codemirror/lang-javascript')).typescriptLanguage,
  },
  { name: 'TSX', endings: ['tsx'], load: async () => (await import('@codemirror/lang-javascript')).tsxLanguage },
  {
    name: 'JSON',
    endings: ['json', 'jsonc', 'webmanifest', 'ipynb', 'map'],
    load: async () => (await import('@codemirror/lang-json')).jsonLanguage,
  },
  {
    name: 'Python',
    endings: ['py', 'pyi', 'pyw'],
    programs: /\bpython/,
    load: async () => (await import('@codemirror/lang-python')).pythonLanguage,
  },
  {
    name: 'HTML',
    endings: ['html', 'htm', 'xhtml', 'vue', 'svelte'],
    load: async () => (await import('@codemirror/lang-html')).htmlLanguage,
  },
  { name: 'CSS', endings: ['css'], load: async () => (await import('@codemirror/lang-css')).cssLanguage },
  {
    name: 'SCSS',
    endings: ['scss'],
    load: () => stream(import('@codemirror/legacy-modes/mode/css').then(({ sCSS }) => sCSS)),
  },
  {
    name: 'Less',
    endings: ['less'],
    load: () => stream(import('@codemirror/legacy-modes/mode/css').then(({ less }) => less)),
  },
  {
    name: 'Markdown',
    endings: ['md', 'markdown', 'mdx'],
    load: async () => (await import('@codemirror/lang-markdown')).markdownLanguage,
  },
  { name: 'YAML', endings: ['yaml', 'yml'], load: async () => (await import('@codemirror/lang-yaml')).yamlLanguage },
  {
    name: 'XML',
    endings: ['xml', 'svg', 'xsd', 'xsl', 'plist'],
    load: () => stream(import('@codemirror/legacy-modes/mode/xml').then(({ xml }) => xml)),
  },
  {
    name: 'Shell',
    endings: ['sh', 'bash', 'zsh', 'ksh'],
    names: /^(\.(bash|zsh)(rc|_profile|env)|\.profile|PKGBUILD)$/,
    programs: /\b(ba|z|k|da)?sh\b/,
    load: () => stream(import('@codemirror/legacy-modes/mode/shell').then(({ shell }) => shell)),
  },
  {
    name: 'Dockerfile',
    endings: ['dockerfile', 'containerfile'],
    names: /^(Docker|Container)file/,
    load: () => stream(import('@codemirror/legacy-modes/mode/dockerfile').then(({ dockerFile }) => dockerFile)),
  },
  {
    name: 'TOML',
    endings: ['toml'],
    names: /^(Pipfile|(Cargo|poetry|uv)\.lock)$/,
    load: () => stream(import('@codemirror/legacy-modes/mode/toml').then(({ toml }) => toml)),
  },
  {
    name: codeEditorWords.settingsFile,
    endings: ['ini', 'cfg', 'conf', 'env', 'properties', 'service', 'desktop'],
    names: /^\.(env(\..*)?|editorconfig|npmrc|gitconfig|gitmodules)$/,
    load: () => stream(import('@codemirror/legacy-modes/mode/properties').then(({ properties }) => properties)),
  },
  {
    name: 'Go',
    endings: ['go'],
    load: () => stream(import('@codemirror/legacy-modes/mode/go').then(({ go }) => go)),
  },
  {
    name: 'Rust',
    endings: ['rs'],
    load: () => stream(import('@codemirror/legacy-modes/mode/rust').then(({ rust }) => rust)),
  },
  {
    name: 'Ruby',
    endings: ['rb', 'rake', 'gemspec'],
    names: /^(Gemfile|Rakefile)$/,
    programs: /\bruby\b/,
    load: () => stream(import('@codemirror/legacy-modes/mode/ruby').then(({ ruby }) => ruby)),
  },
  {
    name: 'C',
    endings: ['c', 'h'],
    load: () => stream(import('@codemirror/legacy-modes/mode/clike').then(({ c }) => c)),
  },
  {
    name: 'C++',
    endings: ['cc', 'cpp', 'cxx', 'hh', 'hpp', 'hxx', 'ino'],
    load: () => stream(import('@codemirror/legacy-modes/mode/clike').then(({ cpp }) => cpp)),
  },
  {
    name: 'C#',
    endings: ['cs'],
    load: () => stream(import('@codemirror/legacy-modes/mode/clike').then(({ csharp }) => csharp)),
  },
  {
    name: 'Java',
    endings: ['java'],
    load: () => stream(import('@codemirror/legacy-modes/mode/clike').then(({ java }) => java)),
  },
  {
    name: 'Kotlin',
    endings: ['kt', 'kts'],
    load: () => stream(import('@codemirror/legacy-modes/mode/clike').then(({ kotlin }) => kotlin)),
  },
  {
    name: 'SQL',
    endings: ['sql'],
    load: () => stream(import('@codemirror/legacy-modes/mode/sql').then(({ standardSQL }) => standardSQL)),
  },
  {
    name: 'Diff',
    endings: ['diff', 'patch'],
    load: () => stream(import('@codemirror/legacy-modes/mode/diff').then(({ diff }) => diff)),
  },
];

/** The language of a file by its name, or by the program that a script's first line names. */
export function languageOf(name: string, firstLine: string): Pick<Highlighted, 'name' | 'load'> | null {
  const byName = LANGUAGES.find(({ names }) => names?.test(name));
  if (byName) return byName;
  const ending = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase();
  const byEnding = LANGUAGES.find(({ endings }) => ending !== undefined && endings.includes(ending));
  if (byEnding || !firstLine.startsWith('#!')) return byEnding ?? null;
  return LANGUAGES.find(({ programs }) => programs?.test(firstLine)) ?? null;
}
