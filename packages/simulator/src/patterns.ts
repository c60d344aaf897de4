import type { Process } from './process';

const CLASSES: Readonly<Record<string, string>> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: 'A-Za-z0-9',
  upper: 'A-Z',
  lower: 'a-z',
  space: '\\s',
  blank: ' \\t',
  punct: '!-\\/:-@\\[-`{-~',
};

/** A text in which no character has a meaning in a pattern. */
export function quoted(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}

/** A pattern of the shell (`*`, `?`, `[…]`, `\` before literal characters) as a regular expression. */
export function patternSource(pattern: string, any = '[^]'): string {
  return pattern.replace(
    /\\([^])|\*+|\?|\[([!^]?)(\]?(?:\[:\w+:\]|\\[^]|[^\]])*)\]|[\\$.+^()[\]{}|/]/g,
    (whole: string, literal?: string, not?: string, inner?: string) => {
      if (literal !== undefined) return literal.replace(/[^\w\s]/, '\\$&');
      if (whole.startsWith('*')) return `${any}*`;
      if (whole === '?') return any;
      if (inner === undefined) return `\\${whole}`;
      const body = inner.replace(/\[:(\w+):\]|\\?([^\w\s-])/g, (_each, name?: string, char = '') =>
        name === undefined ? `\\${char}` : (CLASSES[name] ?? ''),
      );
      return `[${not === '' ? '' : '^'}${body}]`;
    },
  );
}

export function matches(text: string, pattern: string): boolean {
  return new RegExp(`^${patternSource(pattern)}$`).test(text);
}

/** Removes the shortest or longest match from the beginning or the end. */
export function trimmed(
  text: string,
  pattern: string,
  { side, greedy }: { side: 'prefix' | 'suffix'; greedy: boolean },
): string {
  const whole = new RegExp(`^${patternSource(pattern)}$`);
  const lengths = Array.from({ length: text.length + 1 }, (_each, length) => length);
  for (const length of greedy ? lengths.reverse() : lengths) {
    const cut = side === 'prefix' ? length : text.length - length;
    const [before, after] = [text.slice(0, cut), text.slice(cut)];
    if (whole.test(side === 'prefix' ? before : after)) return side === 'prefix' ? after : before;
  }
  return text;
}

/** The paths that a pattern matches, in order; none if it matches none. */
export async function glob(process: Process, pattern: string): Promise<string[]> {
  const { fs } = process;
  let found = [pattern.startsWith('/') ? '/' : ''];
  const parts = pattern.split('/').filter((part) => part !== '');
  for (const [index, part] of parts.entries()) {
    const end = index < parts.length - 1 || pattern.endsWith('/') ? '/' : '';
    const isPattern = /[*?[]/.test(part.replace(/\\./g, ''));
    const expression = new RegExp(`^${patternSource(part, '[^/]')}$`);
    const next: string[] = [];
    for (const base of found) {
      const names = isPattern
        ? await fs.readdir(process.resolve(base)).catch(() => [])
        : [part.replace(/\\(.)/g, '$1')];
      for (const name of names) {
        const isMatch = !isPattern || (expression.test(name) && (part.startsWith('.') || !name.startsWith('.')));
        const path = base + name;
        if (
          isMatch &&
          (await fs.lstat(process.resolve(path)).then(
            () => true,
            () => false,
          ))
        )
          next.push(path + end);
      }
    }
    found = next;
  }
  return found;
}
