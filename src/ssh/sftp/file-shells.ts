import { type FileShell, saysNotRunning } from '../../docker';
import { DomainError } from '../../errors';
import { fileFault } from '../../sandbox';

/**
 * How long the shell of a session that asks for nothing stays open. A container with an open shell counts as used, and
 * its shell takes the place of a transfer.
 */
const IDLE_MS = 20_000;

/** An open shell may have been paused with its container since it was last used. It is looked at at most this often. */
const WAKE_AFTER_MS = 1_000;

interface OpenShell {
  readonly shell: FileShell;
  close(): void;
}

/** The shells of one SFTP session, one after the other: opened when files are asked for, closed when none are. */
export class FileShells {
  private open: Promise<OpenShell> | null = null;
  private idle: NodeJS.Timeout | undefined;

  private usedAt = 0;
  private uses = 0;

  /**
   * @param start opens a shell for as long as `work` runs
   * @param wake resumes the container if it is paused
   */
  constructor(
    private readonly start: (work: (shell: FileShell) => Promise<void>) => Promise<void>,
    private readonly wake: () => Promise<void>,
  ) {}

  /** Runs `work` with a shell. @throws DomainError */
  async use<T>(work: (shell: FileShell) => Promise<T>): Promise<T> {
    clearTimeout(this.idle);
    this.uses += 1;
    try {
      const isIdle = this.uses === 1 && performance.now() - this.usedAt > WAKE_AFTER_MS;
      if (this.open && isIdle) await this.wake();
      const opened = await (this.open ??= this.begin());
      return await work(opened.shell).finally(() => {
        if (!opened.shell.isOpen) this.close();
      });
    } catch (error) {
      if (saysNotRunning(error)) throw new DomainError('container_not_running', { cause: error });
      throw fileFault(error);
    } finally {
      this.uses -= 1;
      this.usedAt = performance.now();
      if (this.uses === 0) this.idle = setTimeout(() => this.close(), IDLE_MS).unref();
    }
  }

  close(): void {
    clearTimeout(this.idle);
    const closing = this.open;
    this.open = null;
    closing?.then(
      (opened) => opened.close(),
      () => undefined,
    );
  }

  private begin(): Promise<OpenShell> {
    const opening = new Promise<OpenShell>((resolve, reject) => {
      const session = this.start((shell) => new Promise<void>((close) => resolve({ shell, close })));
      session
        .then(() => reject(new DomainError('tools_failed')), reject)
        .finally(() => {
          if (this.open === opening) this.open = null;
        });
    });
    return opening;
  }
}
