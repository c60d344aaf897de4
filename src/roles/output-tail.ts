import { StringDecoder } from 'node:string_decoder';

/** How much of the end is told, in characters. */
const TOLD = 2_048;

/** What is hidden in the output must be found whole; this is as long as a variable of a container may be. */
const LONGEST_SECRET = 4_096;

/** So short a value is no secret, and would be found in every other word. */
const SHORTEST_SECRET = 4;

const HIDDEN = '***';

/** Keeps the end of what a program says, to be shown to its user: as plain text, and without the values of secrets. */
export class OutputTail {
  private readonly secrets: readonly string[];
  private readonly decoder = new StringDecoder('utf8');
  private kept = '';
  private isCut = false;

  /** @param secrets values that must not be told */
  constructor(secrets: readonly string[]) {
    this.secrets = secrets
      .flatMap((secret) => plain(secret).split('\n'))
      .map((line) => line.trim())
      .filter((line) => line.length >= SHORTEST_SECRET)
      // The longest first: a secret may be part of another one.
      .sort((a, b) => b.length - a.length);
  }

  takeBytes(bytes: Buffer): void {
    this.take(this.decoder.write(bytes));
  }

  take(text: string): void {
    this.kept += text;
    const most = TOLD + 4 * LONGEST_SECRET;
    if (this.kept.length <= most * 2) return;
    this.kept = this.kept.slice(-most);
    this.isCut = true;
  }

  /** The last 2,048 characters. */
  toString(): string {
    let text = plain(this.kept);
    for (const secret of this.secrets) text = text.replaceAll(secret, HIDDEN);
    text = text.replace(/(:\/\/)[^/\s@]+@/g, `$1${HIDDEN}@`);
    // What was cut at its beginning may begin with the rest of a secret.
    if (this.isCut) text = text.slice(LONGEST_SECRET);
    return text.slice(-TOLD).trim();
  }
}

/** Without what a terminal would obey, or what would show as something else than it is. */
function plain(text: string): string {
  return (
    text
      .replace(/\r\n?/g, '\n')
      // oxlint-disable-next-line no-control-regex -- these are what is removed
      .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g, '')
      .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => (/[\n\t]/.test(character) ? character : ''))
      .replace(/\n{3,}/g, '\n\n')
  );
}
