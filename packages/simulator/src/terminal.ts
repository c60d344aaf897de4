import type { SignalName, TerminalSize } from '../../../src/docker/programs/container-process';
import { OpenFile, type Output, type TerminalSettings, type Waiter, Waiters } from './streams';

const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACE = 8;
const NEWLINE = 10;
const RETURN = 13;
const CTRL_U = 21;
const CTRL_W = 23;
const CTRL_BACKSLASH = 28;
const DELETE = 127;
const ESCAPE = 27;

/** The longest line that the kernel keeps. */
const MOST_LINE = 4096;
/** How much may be typed ahead. */
const MOST_TYPED = 64 * 1024;

/** A terminal's line discipline: echo, editing of the line, the keys that are signals. */
export class Terminal implements TerminalSettings {
  size: TerminalSize = { columns: 80, rows: 24 };
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

  /** A descriptor of it. */
  open(): OpenFile {
    return new TerminalFile(this);
  }

  resize(size: TerminalSize): void {
    this.size = size;
    this.signal(this.foreground, 'WINCH');
  }

  /** What was typed. @returns once there is room for more */
  async type(who: Waiter, data: Buffer): Promise<void> {
    for (const byte of data) this.key(byte);
    while (this.typed > MOST_TYPED && !this.isHungUp) await this.changed.wait(who);
  }

  /** Nobody types any more. */
  hangUp(): void {
    this.isHungUp = true;
    this.changed.wake();
  }

  async read(who: Waiter, most: number): Promise<Buffer | null> {
    for (;;) {
      const first = this.ready[0];
      if (first) {
        const taken = first.subarray(0, most);
        if (taken.length === first.length) this.ready.shift();
        else this.ready[0] = first.subarray(most);
        this.changed.wake();
        return taken;
      }
      if (this.isHungUp) return null;
      if (this.isEnd) {
        this.isEnd = false;
        return null;
      }
      await this.changed.wait(who);
    }
  }

  async write(who: Waiter, data: Buffer): Promise<void> {
    const text = data.toString('latin1').replace(/\r?\n/g, '\r\n');
    await this.output.write(who, { stream: 'stdout', data: Buffer.from(text, 'latin1') });
  }

  private get typed(): number {
    return this.ready.reduce((sum, { length }) => sum + length, 0);
  }

  private key(byte: number): void {
    if (!this.canonical) {
      if (byte === CTRL_C) this.interrupt('INT', '^C');
      else this.give(Buffer.from([byte]));
      return;
    }
    switch (byte) {
      case CTRL_C:
        this.interrupt('INT', '^C');
        return;
      case CTRL_BACKSLASH:
        this.interrupt('QUIT', '^\\');
        return;
      case CTRL_D:
        if (this.line.length === 0) this.isEnd = true;
        else this.flush();
        this.changed.wake();
        return;
      case CTRL_U:
        while (this.line.length > 0) this.erase();
        return;
      case CTRL_W:
        while (this.line.at(-1) === 32) this.erase();
        while (this.line.length > 0 && this.line.at(-1) !== 32) this.erase();
        return;
      case BACKSPACE:
      case DELETE:
        this.erase();
        return;
      case RETURN:
      case NEWLINE:
        this.line.push(NEWLINE);
        if (this.echo) this.say('\r\n');
        this.flush();
        return;
      default:
        if (this.line.length >= MOST_LINE) return;
        this.line.push(byte);
        if (this.echo)
          this.say(byte === ESCAPE ? '^[' : byte < 32 && byte !== 9 ? `^${String.fromCharCode(byte + 64)}` : byte);
    }
  }

  /** Of a character of several bytes, all. */
  private erase(): void {
    if (this.line.length === 0) return;
    let byte = this.line.pop() ?? 0;
    while ((byte & 0xc0) === 0x80 && this.line.length > 0) byte = this.line.pop() ?? 0;
    if (this.echo) this.say('\b \b');
  }

  private flush(): void {
    this.give(Buffer.from(this.line));
    this.line = [];
  }

  private give(data: Buffer): void {
    this.ready.push(data);
    this.changed.wake();
  }

  private interrupt(signal: SignalName, shown: string): void {
    this.line = [];
    this.ready.length = 0;
    if (this.echo) this.say(shown);
    this.signal(this.foreground, signal);
  }

  private say(what: string | number): void {
    const data = typeof what === 'number' ? Buffer.from([what]) : Buffer.from(what, 'latin1');
    this.output.push({ stream: 'stdout', data });
  }
}

class TerminalFile extends OpenFile {
  constructor(override readonly terminal: Terminal) {
    super();
  }

  override read(who: Waiter, most: number): Promise<Buffer | null> {
    return this.terminal.read(who, most);
  }

  override write(who: Waiter, data: Buffer): Promise<void> {
    return this.terminal.write(who, data);
  }
}
