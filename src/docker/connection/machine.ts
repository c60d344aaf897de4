import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { z } from 'zod';
import type { MachineResources } from '../../engine';

const BYTES_PER_MB = 1024 * 1024;

/** Fields of `GET /info`; all optional, so that no call fails if one is missing. */
const sizes = z.object({
  MemTotal: z.number().positive().optional(),
  NCPU: z.number().positive().optional(),
  DockerRootDir: z.string().min(1).optional(),
});

/** Access to the machine that this process runs on. */
export interface ThisMachine {
  /** In bytes, as `MemTotal` in `/proc/meminfo`. */
  readonly totalMemory: () => number;
  /** The text of `/proc/meminfo`. @throws Error if there is no such file */
  readonly memoryInfo: () => string;
  /**
   * Size of the file system at this path, in bytes; `free` is what unprivileged users may use.
   *
   * @throws Error if there is none
   */
  readonly space: (path: string) => Promise<{ readonly total: number; readonly free: number }>;
}

const THIS_MACHINE: ThisMachine = {
  totalMemory: totalmem,
  // Synchronous: the kernel answers at once, while the thread pool of a busy machine would take several milliseconds.
  memoryInfo: () => readFileSync('/proc/meminfo', 'utf8'),
  space: async (path) => {
    const { blocks, bavail, bsize } = await statfs(path);
    return { total: blocks * bsize, free: bavail * bsize };
  },
};

/**
 * The machine of a Docker daemon: its size as Docker reports it, and its free memory and disk space. Docker does not
 * report free resources, so they are read from the kernel, and only if Docker runs on this machine.
 */
export class DockerMachine {
  private noted: z.infer<typeof sizes> = {};

  constructor(
    private readonly dockerHost: string,
    private readonly here: ThisMachine = THIS_MACHINE,
  ) {}

  /** Remembers the sizes in an answer to `GET /info`. */
  note(info: unknown): void {
    const parsed = sizes.safeParse(info);
    if (parsed.success) this.noted = parsed.data;
  }

  async resources(): Promise<MachineResources> {
    const { MemTotal, NCPU, DockerRootDir } = this.noted;
    const isHere = this.isHere();
    const disk = isHere && DockerRootDir !== undefined ? await this.disk(DockerRootDir) : null;
    return {
      memoryMb: MemTotal === undefined ? null : inMb(MemTotal),
      cpuShares: NCPU === undefined ? null : NCPU * 1000,
      freeMemoryMb: isHere ? this.freeMemoryMb() : null,
      diskMb: disk && inMb(disk.total),
      freeDiskMb: disk && inMb(disk.free),
    };
  }

  /**
   * Whether Docker runs on this machine. A Unix socket may lead into a virtual machine, as Docker Desktop's does, so
   * the daemon must also report exactly this machine's memory.
   */
  private isHere(): boolean {
    return this.dockerHost.startsWith('unix:') && this.noted.MemTotal === this.here.totalMemory();
  }

  private freeMemoryMb(): number | null {
    const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(this.memoryInfo())?.[1];
    return kilobytes === undefined ? null : Math.floor(Number(kilobytes) / 1024);
  }

  private memoryInfo(): string {
    try {
      return this.here.memoryInfo();
    } catch {
      return '';
    }
  }

  /** null also if Berth runs in a container that does not see Docker's data folder. */
  private async disk(path: string): Promise<Awaited<ReturnType<ThisMachine['space']>> | null> {
    try {
      return await this.here.space(path);
    } catch {
      return null;
    }
  }
}

function inMb(bytes: number): number {
  return Math.floor(bytes / BYTES_PER_MB);
}
