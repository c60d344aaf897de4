import { type FileShell, saysNotRunning } from '../../docker';
import { DomainError } from '../../errors';
import { fileFault } from '../../sandbox';

/**
 * How long the shell of a session that asks for nothing stays open. A container with an open shell counts as used, and
 * its shell takes the place of a transfer.
 */
const IDLE_MS = 20_000;

interface OpenShell {
  readonly shell: FileShell;
  close(): void;
}

/** The shells of one SFTP session, one after the other: opened when files are asked for, closed when none are. */
export class FileShells {
  private open: Promise<OpenShell> | null = null;
  private idle: NodeJS.Timeout | undefined;

  /** @param start opens a shell for as long as `work` runs */
  constructor(private readonly start: (work: (shell: FileShell) => Promise<void>) => Promise<void>) {}

  /** Runs `work` with a shell. Calls must not overlap. @throws DomainError */
  async use<T>(work: (shell: FileShell) => Promise<T>): Promise<T> {
    clearTimeout(this.idle);
    const opened = await (this.open ??= this.begin());
    try {
      return await work(opened.shell);
    } catch (error) {
      if (saysNotRunning(error)) throw new DomainError('container_not_running', { cause: error });
      throw fileFault(error);
    } finally {
      if (!opened.shell.isOpen) this.close();
      this.idle = setTimeout(() => this.close(), IDLE_MS).unref();
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
