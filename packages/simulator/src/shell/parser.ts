import type { Chain, Command, Compound, List, Part, Pipeline, Redirection, Word } from './syntax';

/** What is no script. */
export class SyntaxFault extends Error {
  override readonly name = 'SyntaxFault';

  constructor(
    message: string,
    /** More of it could make it one. */
    readonly isIncomplete: boolean,
  ) {
    super(message);
  }
}

const RESERVED = new Set(['then', 'else', 'elif', 'fi', 'do', 'done', 'esac', '}', 'in']);
const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;
const DEEPEST = 200;

interface Pending {
  readonly end: string;
  readonly isQuoted: boolean;
  readonly stripTabs: boolean;
  readonly take: (text: Word) => void;
}

/** @throws SyntaxFault */
export function parseScript(text: string): List {
  const parser = new Parser(text);
  const list = parser.list([]);
  parser.expectEnd();
  return list;
}

/** The grammar of POSIX's shell, by recursive descent; texts have one character for each byte. */
class Parser {
  private at = 0;
  private depth = 0;
  private readonly heredocs: Pending[] = [];

  constructor(private readonly text: string) {}

  expectEnd(): void {
    this.skipLines();
    if (this.at < this.text.length) throw this.unexpected();
  }

  /** @param until reserved words that end it */
  list(until: readonly string[]): List {
    this.depth += 1;
    if (this.depth > DEEPEST) throw new SyntaxFault('nested too deeply', false);
    const chains: Chain[] = [];
    for (;;) {
      this.skipLines();
      if (this.at >= this.text.length || this.peek() === ')' || this.startsWith(';;')) break;
      const word = this.reserved();
      if (word !== null && until.includes(word)) break;
      if (word !== null && RESERVED.has(word)) throw this.unexpected();
      chains.push(this.chain());
    }
    this.depth -= 1;
    return chains;
  }

  private chain(): Chain {
    const first = this.pipeline();
    const rest: { on: '&&' | '||'; pipeline: Pipeline }[] = [];
    for (;;) {
      this.skipBlanks();
      const on = this.startsWith('&&') ? '&&' : this.startsWith('||') ? '||' : null;
      if (!on) break;
      this.at += 2;
      this.skipLines();
      rest.push({ on, pipeline: this.pipeline() });
    }
    this.skipBlanks();
    const background = this.peek() === '&';
    if (background) this.at += 1;
    else if (this.peek() === ';' && !this.startsWith(';;')) this.at += 1;
    else if (this.at < this.text.length && !'\n);'.includes(this.peek())) throw this.unexpected();
    return { first, rest, background };
  }

  private pipeline(): Pipeline {
    this.skipBlanks();
    const negated = this.reserved() === '!';
    if (negated) this.at += 1;
    const commands = [this.command()];
    for (;;) {
      this.skipBlanks();
      if (this.peek() !== '|' || this.startsWith('||')) return { commands, negated };
      this.at += 1;
      this.skipLines();
      commands.push(this.command());
    }
  }

  private command(): Command {
    this.skipBlanks();
    const compound = this.compound();
    if (!compound) return this.simple();
    const redirections: Redirection[] = [];
    for (let next = this.redirection(); next; next = this.redirection()) redirections.push(next);
    return { ...compound, redirections };
  }

  private compound(): Compound | null {
    if (this.peek() === '(') {
      this.at += 1;
      const body = this.list([]);
      this.expect(')');
      return { is: 'subshell', body };
    }
    const word = this.reserved();
    switch (word) {
      case null:
        break;
      case '{':
        this.at += 1;
        return { is: 'group', body: this.body('}') };
      case 'if':
        return this.conditional();
      case 'while':
      case 'until': {
        this.at += word.length;
        const condition = this.body('do');
        return { is: 'loop', until: word === 'until', condition, body: this.body('done') };
      }
      case 'for':
        return this.forLoop();
      case 'case':
        return this.caseOf();
    }
    const named = /^(?:function[ \t]+)?([A-Za-z_][A-Za-z0-9_-]*)[ \t]*\([ \t]*\)/.exec(
      this.text.slice(this.at, this.at + 200),
    );
    if (!named) return null;
    this.at += named[0].length;
    this.skipLines();
    return { is: 'function', name: named[1] ?? '', body: this.command() };
  }

  private conditional(): Compound {
    const branches: { condition: List; body: List }[] = [];
    let otherwise: List | null = null;
    this.at += 'if'.length;
    for (;;) {
      const condition = this.body('then');
      const body = this.list(['elif', 'else', 'fi']);
      branches.push({ condition, body });
      const word = this.reserved();
      if (word === null) throw this.unexpected();
      this.at += word.length;
      if (word === 'elif') continue;
      if (word === 'else') otherwise = this.body('fi');
      return { is: 'if', branches, otherwise };
    }
  }

  private forLoop(): Compound {
    this.at += 'for'.length;
    this.skipBlanks();
    const name = NAME.exec(this.text.slice(this.at, this.at + 200))?.[0];
    if (name === undefined) throw this.unexpected();
    this.at += name.length;
    this.skipLines();
    let words: Word[] | null = null;
    if (this.reserved() === 'in') {
      this.at += 2;
      words = [];
      for (let word = this.word(); word; word = this.word()) words.push(word);
    }
    this.skipBlanks();
    if (this.peek() === ';') this.at += 1;
    this.skipLines();
    if (this.reserved() !== 'do') throw this.unexpected();
    this.at += 2;
    return { is: 'for', name, words, body: this.body('done') };
  }

  private caseOf(): Compound {
    this.at += 'case'.length;
    const word = this.word();
    if (!word) throw this.unexpected();
    this.skipLines();
    if (this.reserved() !== 'in') throw this.unexpected();
    this.at += 2;
    const branches: { patterns: Word[]; body: List }[] = [];
    for (;;) {
      this.skipLines();
      if (this.reserved() === 'esac') break;
      if (this.peek() === '(') this.at += 1;
      const patterns: Word[] = [];
      do {
        if (this.peek() === '|') this.at += 1;
        const pattern = this.word();
        if (!pattern) throw this.unexpected();
        patterns.push(pattern);
        this.skipBlanks();
      } while (this.peek() === '|');
      this.expect(')');
      branches.push({ patterns, body: this.list(['esac']) });
      this.skipLines();
      if (this.startsWith(';;')) this.at += 2;
    }
    this.at += 'esac'.length;
    return { is: 'case', word, branches };
  }

  private body(end: string): List {
    const list = this.list([end]);
    if (this.reserved() !== end) throw this.unexpected();
    this.at += end.length;
    return list;
  }

  private simple(): Command {
    const assignments: { name: string; value: Word }[] = [];
    const words: Word[] = [];
    const redirections: Redirection[] = [];
    for (;;) {
      this.skipBlanks();
      const redirection = this.redirection();
      if (redirection) {
        redirections.push(redirection);
        continue;
      }
      const name =
        words.length === 0 ? /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(this.text.slice(this.at, this.at + 200)) : null;
      if (name) {
        this.at += name[0].length;
        assignments.push({ name: name[1] ?? '', value: /[ \t]/.test(this.peek()) ? [] : (this.word() ?? []) });
        continue;
      }
      const word = this.word();
      if (!word) break;
      words.push(word);
    }
    if (assignments.length + words.length + redirections.length === 0) throw this.unexpected();
    return { is: 'simple', assignments, words, redirections };
  }

  private redirection(): Redirection | null {
    this.skipBlanks();
    const found = /^(\d*)(<<-?|<&|<>|>>|>&|>\||<|>)|^(&>)/.exec(this.text.slice(this.at, this.at + 20));
    if (!found) return null;
    this.at += found[0].length;
    const descriptor = (found[1] ?? '') === '' ? null : Number(found[1]);
    const operator = found[2] ?? '&>';
    this.skipBlanks();
    if (operator === '<<' || operator === '<<-') {
      const from = this.at;
      if (!this.word()) throw this.unexpected();
      const raw = this.text.slice(from, this.at);
      const taken: { text: Word } = { text: [] };
      this.heredocs.push({
        end: raw.replace(/['"\\]/g, ''),
        isQuoted: /['"\\]/.test(raw),
        stripTabs: operator === '<<-',
        take: (text) => (taken.text = text),
      });
      return {
        descriptor,
        operator: '<<',
        get target() {
          return taken.text;
        },
      };
    }
    const target = this.word();
    if (!target) throw this.unexpected();
    return { descriptor, operator: operator as Redirection['operator'], target };
  }

  private word(): Word | null {
    this.skipBlanks();
    const parts: Part[] = [];
    while (this.at < this.text.length && !' \t\n;&|<>()'.includes(this.peek())) this.part(parts);
    return parts.length > 0 ? parts : null;
  }

  private part(parts: Part[]): void {
    const char = this.peek();
    switch (char) {
      case "'": {
        const end = this.text.indexOf("'", this.at + 1);
        if (end < 0) throw this.incomplete();
        parts.push({ is: 'text', text: this.text.slice(this.at + 1, end), quoted: true });
        this.at = end + 1;
        return;
      }
      case '"':
        this.at += 1;
        parts.push({ is: 'text', text: '', quoted: true });
        this.quoted(parts, '"');
        return;
      case '\\': {
        const next = this.text[this.at + 1];
        if (next === undefined) throw this.incomplete();
        this.at += 2;
        if (next !== '\n') parts.push({ is: 'text', text: next, quoted: true });
        return;
      }
      case '$':
        this.dollar(parts, false);
        return;
      case '`':
        this.backquoted(parts, false);
        return;
    }
    const end = /[ \t\n;&|<>()'"\\$`]/g;
    end.lastIndex = this.at + 1;
    const found = end.exec(this.text)?.index ?? this.text.length;
    parts.push({ is: 'text', text: this.text.slice(this.at, found), quoted: false });
    this.at = found;
  }

  /** What is between double quotes, or in a text of a `<<`. */
  private quoted(parts: Part[], end: '"' | null): void {
    let text = '';
    const flush = (): void => {
      if (text !== '') parts.push({ is: 'text', text, quoted: true });
      text = '';
    };
    for (;;) {
      const char = this.text[this.at];
      if (char === undefined) {
        if (end === null) break;
        throw this.incomplete();
      }
      if (char === end) {
        this.at += 1;
        break;
      }
      if (char === '\\') {
        const next = this.text[this.at + 1] ?? '';
        this.at += 2;
        if (next === '\n') continue;
        text += '$`\\'.includes(next) || (next === '"' && end === '"') ? next : `\\${next}`;
      } else if (char === '$' || char === '`') {
        flush();
        if (char === '$') this.dollar(parts, true);
        else this.backquoted(parts, true);
      } else {
        text += char;
        this.at += 1;
      }
    }
    flush();
  }

  private dollar(parts: Part[], quoted: boolean): void {
    this.at += 1;
    if (this.startsWith('((')) {
      const end = this.arithmeticEnd();
      if (end !== null) {
        const inner = new Parser(this.text.slice(this.at + 2, end));
        const word: Part[] = [];
        inner.quoted(word, null);
        parts.push({ is: 'arithmetic', word, quoted });
        this.at = end + 2;
        return;
      }
    }
    if (this.peek() === '(') {
      this.at += 1;
      const list = this.list([]);
      this.expect(')');
      parts.push({ is: 'command', list, quoted });
      return;
    }
    if (this.peek() === '{') {
      this.braces(parts, quoted);
      return;
    }
    const name = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])/.exec(this.text.slice(this.at, this.at + 200))?.[0];
    if (name === undefined) {
      parts.push({ is: 'text', text: '$', quoted });
      return;
    }
    this.at += name.length;
    parts.push({ is: 'parameter', name, operator: '', word: [], quoted });
  }

  private arithmeticEnd(): number | null {
    let open = 0;
    for (let at = this.at; at < this.text.length; at += 1) {
      if (this.text[at] === '(') open += 1;
      if (this.text[at] !== ')') continue;
      open -= 1;
      if (open === 1 && this.text[at + 1] === ')') return at;
      if (open === 1) return null;
    }
    return null;
  }

  private braces(parts: Part[], quoted: boolean): void {
    this.at += 1;
    const isLength = /^#(?:[A-Za-z_0-9@*])/.test(this.text.slice(this.at, this.at + 2));
    if (isLength) this.at += 1;
    const name = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])/.exec(this.text.slice(this.at, this.at + 200))?.[0];
    if (name === undefined) throw this.unexpected();
    this.at += name.length;
    const operator = isLength
      ? 'length'
      : (/^(?::[-=?+]|##?|%%?|\/\/?|[-=?+:])/.exec(this.text.slice(this.at, this.at + 2))?.[0] ?? '');
    if (!isLength) this.at += operator.length;
    const word: Part[] = [];
    while (this.peek() !== '}') {
      if (this.at >= this.text.length) throw this.incomplete();
      const char = this.peek();
      if (quoted && !'$`\\"'.includes(char)) {
        word.push({ is: 'text', text: char, quoted: !'#%/'.includes(operator[0] ?? '') });
        this.at += 1;
      } else if (!quoted && ' \t\n;&|<>()'.includes(char)) {
        word.push({ is: 'text', text: char, quoted: false });
        this.at += 1;
      } else {
        const before = this.at;
        this.partWithin(word);
        if (this.at === before) throw this.unexpected();
      }
    }
    this.at += 1;
    parts.push({ is: 'parameter', name, operator, word, quoted });
  }

  /** A part that ends before a brace does. */
  private partWithin(parts: Part[]): void {
    if (!`'"\\$\``.includes(this.peek())) {
      const end = /[} \t\n;&|<>()'"\\$`]/g;
      end.lastIndex = this.at + 1;
      const found = end.exec(this.text)?.index ?? this.text.length;
      parts.push({ is: 'text', text: this.text.slice(this.at, found), quoted: false });
      this.at = found;
    } else this.part(parts);
  }

  private backquoted(parts: Part[], quoted: boolean): void {
    const found = /`((?:[^`\\]|\\[^])*)`/y;
    found.lastIndex = this.at;
    const [whole, inner] = found.exec(this.text) ?? [];
    if (whole === undefined || inner === undefined) throw this.incomplete();
    this.at += whole.length;
    parts.push({ is: 'command', list: parseScript(inner.replace(/\\([$`\\])/g, '$1')), quoted });
  }

  private skipBlanks(): void {
    for (;;) {
      const char = this.peek();
      if (char === ' ' || char === '\t') this.at += 1;
      else if (char === '\\' && this.text[this.at + 1] === '\n') this.at += 2;
      else if (char === '#') {
        const end = this.text.indexOf('\n', this.at);
        this.at = end < 0 ? this.text.length : end;
      } else return;
    }
  }

  /** And `;` alone is no command. */
  private skipLines(): void {
    for (;;) {
      this.skipBlanks();
      if (this.peek() !== '\n') return;
      this.at += 1;
      this.readHeredocs();
    }
  }

  private readHeredocs(): void {
    for (const pending of this.heredocs.splice(0)) {
      let text = '';
      for (;;) {
        if (this.at >= this.text.length) throw this.incomplete();
        const found = this.text.indexOf('\n', this.at);
        const end = found < 0 ? this.text.length : found;
        let line = this.text.slice(this.at, end);
        this.at = Math.min(end + 1, this.text.length);
        if (pending.stripTabs) line = line.replace(/^\t+/, '');
        if (line === pending.end) break;
        if (found < 0) throw this.incomplete();
        text += `${line}\n`;
      }
      const parts: Part[] = [{ is: 'text', text: '', quoted: true }];
      if (pending.isQuoted) parts.push({ is: 'text', text, quoted: true });
      else new Parser(text).quoted(parts, null);
      pending.take(parts);
    }
  }

  /** The word here, if no part of it is quoted and it stands alone. */
  private reserved(): string | null {
    const [, word] = /^([a-z]+|[!{}])(?=$|[ \t\n;&|<>()])/.exec(this.text.slice(this.at, this.at + 20)) ?? [];
    return word ?? null;
  }

  private expect(text: string): void {
    this.skipLines();
    if (!this.startsWith(text)) throw this.unexpected();
    this.at += text.length;
  }

  private startsWith(text: string): boolean {
    return this.text.startsWith(text, this.at);
  }

  private peek(): string {
    return this.text[this.at] ?? '';
  }

  private unexpected(): SyntaxFault {
    if (this.at >= this.text.length) return this.incomplete();
    const line = this.text.slice(0, this.at).split('\n').length;
    const shown = /^\S{1,20}/.exec(this.text.slice(this.at))?.[0] ?? 'newline';
    return new SyntaxFault(`${String(line)}: Syntax error: "${shown}" unexpected`, false);
  }

  private incomplete(): SyntaxFault {
    return new SyntaxFault('Syntax error: end of file unexpected', true);
  }
}
