import type { EngineCapabilities } from '../../engine';

/** The volume that shows the supervisor's program, and the folder on Docker's machine that has it. */
export interface SupervisorMount {
  readonly volume: string;
  readonly device: string;
}

/** Options of a volume that shows a folder of Docker's machine, mounted read-only by that machine's kernel. */
export function shownReadOnly(device: string): Record<string, string> {
  return { type: 'none', o: 'bind,ro', device };
}

/** Options of the data volume's driver, which limit the volume's size if the kernel can. */
export function volumeOptions(diskMb: number, { diskQuota }: EngineCapabilities): Record<string, string> {
  return diskQuota === 'enforced' ? { size: sizeOption(diskMb) } : {};
}

/** A size in the format of Docker's drivers, in which `M` is 1024 × 1024 bytes. */
export function sizeOption(megabytes: number): string {
  return `${String(megabytes)}M`;
}
