const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
};

/** @returns what `\n` and the like mean; `isCut` after `\c`, behind which nothing is shown */
export function unescaped(text: string): { text: string; isCut: boolean } {
  let result = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (char !== '\\') {
      result += char;
      continue;
    }
    const rest = text.slice(at + 1);
    const [octal] = /^0?[0-7]{1,3}/.exec(rest) ?? [];
    const [hex] = /^x[0-9a-fA-F]{1,2}/.exec(rest) ?? [];
    if (rest.startsWith('c')) return { text: result, isCut: true };
    if (octal !== undefined) {
      result += String.fromCharCode(Number.parseInt(octal, 8) & 255);
      at += octal.length;
    } else if (hex !== undefined) {
      result += String.fromCharCode(Number.parseInt(hex.slice(1), 16));
      at += hex.length;
    } else if (Object.hasOwn(ESCAPES, rest.slice(0, 1))) {
      result += ESCAPES[rest.slice(0, 1)] ?? '';
      at += 1;
    } else result += char;
  }
  return { text: result, isCut: false };
}

/** What `printf` writes; its format again and again while there are arguments. */
export function formatted([format = '', ...given]: readonly string[]): string {
  const args = [...given];
  let result = '';
  do {
    const before = args.length;
    const piece = once(format, args);
    result += piece.text;
    if (piece.isCut || before === args.length) break;
  } while (args.length > 0);
  return result;
}

function once(format: string, args: string[]): { text: string; isCut: boolean } {
  let isCut = false;
  const text = format.replace(
    /%([-+ 0#]*)(\*|\d+)?(?:\.(\*|\d+))?([%bcdiouxXeEfgGsq])|\\[^]?(?:[0-7]{0,3}|)|[^%\\]+/g,
    (
      whole: string,
      flags: string | undefined,
      width: string | undefined,
      precision: string | undefined,
      kind: string | undefined,
    ) => {
      if (kind === undefined) return whole.startsWith('\\') ? unescaped(whole).text : whole;
      if (kind === '%') return '%';
      const wide = Number(width === '*' ? args.shift() : (width ?? 0));
      const digits = precision === undefined ? null : Number(precision === '*' ? args.shift() : precision);
      const arg = args.shift() ?? '';
      const value = valueOf(arg, { kind, digits, onCut: () => (isCut = true) });
      const signed =
        (flags ?? '').includes('+') && /^[diefgEG]$/.test(kind) && !value.startsWith('-') ? `+${value}` : value;
      if ((flags ?? '').includes('-')) return signed.padEnd(wide);
      if ((flags ?? '').includes('0') && kind !== 's')
        return signed.startsWith('-') ? `-${signed.slice(1).padStart(wide - 1, '0')}` : signed.padStart(wide, '0');
      return signed.padStart(wide);
    },
  );
  return { text, isCut };
}

function valueOf(
  arg: string,
  { kind, digits, onCut }: { kind: string; digits: number | null; onCut: () => void },
): string {
  switch (kind) {
    case 's':
      return digits === null ? arg : arg.slice(0, digits);
    case 'q':
      return /^[\w./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`;
    case 'c':
      return arg.slice(0, 1);
    case 'b': {
      const { text, isCut } = unescaped(arg);
      if (isCut) onCut();
      return text;
    }
    case 'e':
    case 'E':
      return (Number(arg) || 0).toExponential(digits ?? 6);
    case 'f':
      return (Number(arg) || 0).toFixed(digits ?? 6);
    case 'g':
    case 'G':
      return String(Number(arg) || 0);
  }
  const character = /^['"](.)/.exec(arg)?.[1];
  const number = character === undefined ? Math.trunc(Number(arg) || 0) : character.charCodeAt(0);
  const base = { o: 8, x: 16, X: 16 }[kind] ?? 10;
  const text = Math.abs(number)
    .toString(base)
    .padStart(digits ?? 0, '0');
  return (number < 0 ? '-' : '') + (kind === 'X' ? text.toUpperCase() : text);
}
