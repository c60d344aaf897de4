import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import type { ContainerProcess, ExecOutput } from '../../../src/engine';

const CHUNK = Buffer.alloc(32 * 1024, 'a line of some length\r\n');

/** A fake shell that prints a prompt, and after the first input writes as fast as it is read. */
export class FloodingShell implements ContainerProcess {
  readonly stdin = new PassThrough();
  readonly output: AsyncIterable<ExecOutput> = this.read();
  private isOver = false;
  private wake = (): void => undefined;

  readonly id = 'flooding';
  readonly pid = 2;
  readonly startedAt = 0;
  readonly from = 0;
  readonly to = 0;

  resize = (): Promise<void> => Promise.resolve();
  exit = (): Promise<{ exitCode: number }> => Promise.resolve({ exitCode: 0 });

  close(): void {
    this.isOver = true;
    this.wake();
  }

  private async *read(): AsyncGenerator<ExecOutput> {
    yield { stream: 'stdout', data: Buffer.from('$ ') };
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      this.stdin.once('data', () => resolve());
    });
    while (!this.isOver) {
      await turn();
      yield { stream: 'stdout', data: CHUNK };
    }
  }
}
