import { readFile, statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { z } from 'zod';
import type { MachineResources } from './container-engine';

const BYTES_PER_MB = 1024 * 1024;

/** Of `GET /info`; everything optional, as no call should fail for its absence. */
const sizes = z.object({
  MemTotal: z.number().positive().optional(),
  NCPU: z.number().positive().optional(),
  DockerRootDir: z.string().min(1).optional(),
});

/** Access to the machine that this process runs on. */
export interface ThisMachine {
  /** Bytes, as the kernel's `MemTotal`. */
  readonly totalMemory: () => number;
  /** The text of `/proc/meminfo`. */
  readonly memoryInfo: () => Promise<string>;
  /** Bytes that are free for users of the file system at this path. @throws Error where there is none */
  readonly freeSpace: (path: string) => Promise<number>;
}

const THIS_MACHINE: ThisMachine = {
  totalMemory: totalmem,
  memoryInfo: () => readFile('/proc/meminfo', 'utf8'),
  freeSpace: async (path) => {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  },
};

/**
 * The machine of a Docker daemon: its size as Docker tells it, and what is free on it. Docker does not tell what is free,
 * so that is read from the kernel, and only if Docker runs on this machine.
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
    return {
      memoryMb: MemTotal === undefined ? null : Math.floor(MemTotal / BYTES_PER_MB),
      cpuShares: NCPU === undefined ? null : NCPU * 1000,
      freeMemoryMb: isHere ? await this.freeMemoryMb() : null,
      freeDiskMb: isHere && DockerRootDir !== undefined ? await this.freeDiskMb(DockerRootDir) : null,
    };
  }

  /**
   * A Unix socket may lead into a virtual machine, as Docker Desktop's does; one with exactly this machine's memory is
   * this machine.
   */
  private isHere(): boolean {
    return this.dockerHost.startsWith('unix:') && this.noted.MemTotal === this.here.totalMemory();
  }

  private async freeMemoryMb(): Promise<number | null> {
    const text = await this.here.memoryInfo().catch(() => '');
    const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1];
    return kilobytes === undefined ? null : Math.floor(Number(kilobytes) / 1024);
  }

  /** null also where Berth is in a container, and Docker's folder out of sight. */
  private async freeDiskMb(path: string): Promise<number | null> {
    try {
      return Math.floor((await this.here.freeSpace(path)) / BYTES_PER_MB);
    } catch {
      return null;
    }
  }
}
