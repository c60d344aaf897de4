import type { SignalName, TerminalSize } from '../../../src/engine';
import { OpenFile, type Output, takeFrom, type Waiter, Waiters } from './streams';

const KEY = { INTERRUPT: 3, END: 4, BACKSPACE: 8, TAB: 9, NEWLINE: 10, RETURN: 13, KILL: 21, WORD: 23, QUIT: 28 };
const SPACE = 32;
const DELETE = 127;

/** The longest line that the kernel keeps. */
const MOST_LINE = 4096;
/** How much may be typed ahead, in bytes. */
const MOST_TYPED = 64 * 1024;

/** The line discipline of a terminal: echo, line editing, and the keys that send signals. */
export class Terminal {
  size: TerminalSize = { columns: 80, rows: 24 };
  /** Programs read whole lines, which can be edited; otherwise single keys. */
  canonical = true;
  echo = true;
  /** The process group that keys send signals to. */
  foreground = 0;

  private line: number[] = [];
  private readonly ready: Buffer[] = [];
  private isEnd = false;
  private isHungUp = false;
  private readonly changed = new Waiters();

  constructor(
    private readonly output: Output,
    private readonly signal: (group: number, signal: SignalName) => void,
  ) {}

  open(): OpenFile {
    return new TerminalFile(this);
  }

  resize(size: TerminalSize): void {
    this.size = size;
    this.signal(this.foreground, 'WINCH');
  }

  /** Takes typed bytes; resolves once there is room for more. */
  async type(who: Waiter, data: Buffer): Promise<void> {
    for (const byte of data) this.key(byte);
    const isFull = (): boolean => this.ready.reduce((sum, { length }) => sum + length, 0) > MOST_TYPED;
    while (isFull() && !this.isHungUp) await this.changed.wait(who);
  }

  hangUp(): void {
    this.isHungUp = true;
    this.changed.wake();
  }

  async read(who: Waiter, most: number): Promise<Buffer | null> {
    while (this.ready.length === 0) {
      if (this.isHungUp) return null;
      if (this.isEnd) {
        this.isEnd = false;
        return null;
      }
      await this.changed.wait(who);
    }
    const taken = takeFrom(this.ready, most);
    this.changed.wake();
    return taken;
  }

  async write(who: Waiter, data: Buffer): Promise<void> {
    const text = data.toString('latin1').replace(/\r?\n/g, '\r\n');
    await this.output.write(who, { stream: 'stdout', data: Buffer.from(text, 'latin1') });
  }

  private key(byte: number): void {
    if (!this.canonical && byte !== KEY.INTERRUPT) {
      this.give(Buffer.from([byte]));
      return;
    }
    switch (byte) {
      case KEY.INTERRUPT:
        this.interrupt('INT', '^C');
        return;
      case KEY.QUIT:
        this.interrupt('QUIT', '^\\');
        return;
      case KEY.END:
        if (this.line.length === 0) this.isEnd = true;
        this.flush();
        return;
      case KEY.KILL:
        while (this.line.length > 0) this.erase();
        return;
      case KEY.WORD:
        while (this.line.at(-1) === SPACE) this.erase();
        while (this.line.length > 0 && this.line.at(-1) !== SPACE) this.erase();
        return;
      case KEY.BACKSPACE:
      case DELETE:
        this.erase();
        return;
      case KEY.RETURN:
      case KEY.NEWLINE:
        this.line.push(KEY.NEWLINE);
        this.show('\r\n');
        this.flush();
        return;
      default:
        if (this.line.length >= MOST_LINE) return;
        this.line.push(byte);
        this.show(byte < SPACE && byte !== KEY.TAB ? `^${String.fromCharCode(byte + 64)}` : String.fromCharCode(byte));
    }
  }

  /** Erases a character with all its bytes. */
  private erase(): void {
    if (this.line.length === 0) return;
    let byte = this.line.pop() ?? 0;
    while ((byte & 0xc0) === 0x80 && this.line.length > 0) byte = this.line.pop() ?? 0;
    this.show('\b \b');
  }

  private flush(): void {
    if (this.line.length > 0) this.ready.push(Buffer.from(this.line));
    this.line = [];
    this.changed.wake();
  }

  private give(data: Buffer): void {
    this.ready.push(data);
    this.changed.wake();
  }

  private interrupt(signal: SignalName, shown: string): void {
    this.line = [];
    this.ready.length = 0;
    this.show(shown);
    this.signal(this.foreground, signal);
  }

  /** @param text one character for each byte */
  private show(text: string): void {
    if (this.echo) this.output.push({ stream: 'stdout', data: Buffer.from(text, 'latin1') });
  }
}

class TerminalFile extends OpenFile {
  override readonly isTerminal = true;

  constructor(private readonly terminal: Terminal) {
    super();
  }

  override read(who: Waiter, most: number): Promise<Buffer | null> {
    return this.terminal.read(who, most);
  }

  override write(who: Waiter, data: Buffer): Promise<void> {
    return this.terminal.write(who, data);
  }
}
