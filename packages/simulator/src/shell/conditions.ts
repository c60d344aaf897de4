import { may } from '../file-system';
import { type Node, sizeOf } from '../file-tree';
import type { Process } from '../process';

/** What `test` and `[` are asked. @throws Error with words for people */
export function holds(args: readonly string[], process: Process): boolean {
  const condition = new Condition(args, process);
  return condition.whole();
}

class Condition {
  private at = 0;

  constructor(
    private readonly args: readonly string[],
    private readonly process: Process,
  ) {}

  whole(): boolean {
    if (this.args.length === 0) return false;
    if (this.args.length === 1) return this.args[0] !== '';
    if (this.args.length === 2 && this.args[0] === '!') return this.args[1] === '';
    const result = this.either();
    if (this.at < this.args.length) throw new Error(`${this.args[this.at] ?? ''}: unexpected operator`);
    return result;
  }

  private either(): boolean {
    let result = this.both();
    while (this.take('-o')) result = this.both() || result;
    return result;
  }

  private both(): boolean {
    let result = this.not();
    while (this.take('-a')) result = this.not() && result;
    return result;
  }

  private not(): boolean {
    const isOperand = isBinary(this.args[this.at + 1]);
    if (!isOperand && this.take('!')) return !this.not();
    return this.primary();
  }

  private primary(): boolean {
    const [first, second, third] = this.args.slice(this.at, this.at + 3);
    if (first === undefined) throw new Error('argument expected');
    if (third !== undefined && isBinary(second)) {
      this.at += 3;
      return this.compared(first, second ?? '', third);
    }
    if (first === '(') {
      this.at += 1;
      const result = this.either();
      if (!this.take(')')) throw new Error('closing paren expected');
      return result;
    }
    if (second !== undefined && /^-[bcdefghkLnprsStuwxz]$/.test(first)) {
      this.at += 2;
      return this.unary(first, second);
    }
    this.at += 1;
    return first !== '';
  }

  private unary(operator: string, text: string): boolean {
    if (operator === '-n') return text !== '';
    if (operator === '-z') return text === '';
    if (operator === '-t')
      return (
        this.process.files.get(Number(text))?.terminal !== undefined &&
        this.process.files.get(Number(text))?.terminal !== null
      );
    const node = this.node(text, operator !== '-L' && operator !== '-h');
    if (!node) return false;
    switch (operator) {
      case '-e':
        return true;
      case '-f':
        return node.kind === 'file' || (node.kind === 'made' && !node.device);
      case '-d':
        return node.kind === 'directory';
      case '-L':
      case '-h':
        return node.kind === 'link';
      case '-c':
        return node.kind === 'made' && node.device;
      case '-s':
        return sizeOf(node) > 0;
      case '-r':
        return may(this.process, node, 4);
      case '-w':
        return may(this.process, node, 2);
      case '-x':
        return node.kind === 'directory'
          ? may(this.process, node, 1)
          : (node.mode & 0o111) !== 0 && may(this.process, node, 1);
      default:
        return false;
    }
  }

  private compared(left: string, operator: string, right: string): boolean {
    switch (operator) {
      case '=':
      case '==':
        return left === right;
      case '!=':
        return left !== right;
      case '<':
        return left < right;
      case '>':
        return left > right;
      case '-nt':
      case '-ot': {
        const [one, other] = [this.node(left, true), this.node(right, true)];
        if (!one || !other) return operator === '-nt' ? one !== null : other !== null;
        return operator === '-nt' ? one.modifiedMs > other.modifiedMs : one.modifiedMs < other.modifiedMs;
      }
      case '-ef':
        return this.node(left, true) === this.node(right, true);
    }
    const [one, other] = [numberOf(left), numberOf(right)];
    switch (operator) {
      case '-eq':
        return one === other;
      case '-ne':
        return one !== other;
      case '-lt':
        return one < other;
      case '-le':
        return one <= other;
      case '-gt':
        return one > other;
      default:
        return one >= other;
    }
  }

  private node(path: string, follow: boolean): Node | null {
    try {
      return this.process.fs.place(this.process, path, { follow }).node;
    } catch {
      return null;
    }
  }

  private take(word: string): boolean {
    if (this.args[this.at] !== word) return false;
    this.at += 1;
    return true;
  }
}

function isBinary(word: string | undefined): boolean {
  return word !== undefined && /^(?:=|==|!=|<|>|-(?:eq|ne|lt|le|gt|ge|nt|ot|ef))$/.test(word);
}

function numberOf(text: string): number {
  if (!/^\s*[-+]?\d+\s*$/.test(text)) throw new Error(`Illegal number: ${text}`);
  return Number(text);
}
