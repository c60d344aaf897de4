import { type Actor, type FileSystem, may } from '../file-system';
import { unless } from '../errno';

/** A pattern of the shell's (`*`, `?`, `[…]`, with `\` before what stands for itself) as a regular expression. */
export function patternSource(pattern: string, { slashes = true }: { slashes?: boolean } = {}): string {
  const any = slashes ? '[^]' : '[^/]';
  let source = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] ?? '';
    if (char === '\\') {
      at += 1;
      source += escaped(pattern[at] ?? '\\');
    } else if (char === '*') source += `${any}*`;
    else if (char === '?') source += any;
    else if (char === '[') {
      const end = pattern.indexOf(']', at + (/^\[[!^]?\]/.test(pattern.slice(at)) ? 3 : 1));
      if (end < 0) source += '\\[';
      else {
        source += classOf(pattern.slice(at + 1, end));
        at = end;
      }
    } else source += escaped(char);
  }
  return source;
}

const CLASSES: Readonly<Record<string, string>> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: 'A-Za-z0-9',
  upper: 'A-Z',
  lower: 'a-z',
  space: '\\s',
  blank: ' \\t',
  punct: '!-/:-@\\[-`{-~',
};

function classOf(inner: string): string {
  const negated = /^[!^]/.test(inner);
  const body = (negated ? inner.slice(1) : inner)
    .replace(/\[:(\w+):\]?/g, (_whole, name: string) => CLASSES[name] ?? '')
    .replace(/\\(?![\\s])/g, '\\\\')
    .replace(/[\]^]/g, '\\$&');
  return `[${negated ? '^' : ''}${body}]`;
}

export function matches(text: string, pattern: string): boolean {
  return new RegExp(`^${patternSource(pattern)}$`).test(text);
}

export function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** Takes the shortest or longest match off the beginning or end. */
export function trimmed(text: string, pattern: string, operator: '#' | '##' | '%' | '%%'): string {
  const source = patternSource(pattern);
  const whole = new RegExp(`^${source}$`);
  const lengths = Array.from({ length: text.length + 1 }, (_each, length) => length);
  if (operator === '##' || operator === '%%') lengths.reverse();
  for (const length of lengths) {
    const atStart = operator.startsWith('#');
    const part = atStart ? text.slice(0, length) : text.slice(text.length - length);
    if (whole.test(part)) return atStart ? text.slice(length) : text.slice(0, text.length - length);
  }
  return text;
}

/** The paths that a pattern matches, in order; none if it matches none. */
export function glob(fs: FileSystem, actor: Actor, pattern: string): string[] {
  const isAbsolute = pattern.startsWith('/');
  let found = [isAbsolute ? '/' : ''];
  const parts = pattern.split('/').filter((part) => part !== '');
  for (const [index, part] of parts.entries()) {
    const isLast = index === parts.length - 1;
    const expression = new RegExp(`^${patternSource(part, { slashes: false })}$`);
    const isPattern = /[*?[]/.test(part.replace(/\\./g, ''));
    found = found.flatMap((base) => {
      if (!isPattern) {
        const path = base + part.replace(/\\(.)/g, '$1');
        return fs.exists(actor, path, { follow: false }) ? [isLast ? path : `${path}/`] : [];
      }
      const directory = unless(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'], () => fs.directory(actor, base || '.'));
      if (!directory || !may(actor, directory, 4)) return [];
      return directory
        .names()
        .filter((name) => expression.test(name) && (part.startsWith('.') || !name.startsWith('.')))
        .map((name) => (isLast ? base + name : `${base}${name}/`));
    });
  }
  return pattern.endsWith('/') ? found.map((path) => `${path}/`) : found;
}
