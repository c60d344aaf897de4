import { Logger } from '@nestjs/common';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerSpec, OwnerLabels } from '../../../src/docker/port/engine-containers';
import { DirectoryNode, FileNode, LinkNode, type Node, type Space } from './file-tree';
import { type SimulatedContainer, type SimulatedDaemon, SimulatedVolume } from './simulated-daemon';

/** How long changes are gathered before they are written, in milliseconds. */
const SAVED_AFTER_MS = 500;

interface SavedDaemon {
  readonly id: string;
  readonly images: readonly string[];
  readonly containers: readonly (Omit<SimulatedContainer, 'createdAt'> & {
    readonly createdAt: string;
    readonly spec: ContainerSpec;
  })[];
  readonly volumes: readonly { readonly name: string; readonly diskMb: number | null; readonly owner: OwnerLabels }[];
}

/** A file as it is saved; names have one character for each byte. */
interface SavedNode {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly modifiedMs: number;
  /** Base64. */
  readonly data?: string;
  readonly link?: string;
  readonly entries?: Readonly<Record<string, SavedNode>>;
}

/**
 * What a simulated daemon keeps in a folder: what there is in one file, and each volume's files in another. A server
 * that is killed loses what was changed in the last moment; containers that ran run again, without their processes, as
 * after a restart of Docker.
 */
export class SimulationState {
  private readonly logger = new Logger(SimulationState.name);
  private readonly changed = new Set<SimulatedVolume>();
  private isChanged = false;
  private isLoaded = false;
  private timer: NodeJS.Timeout | null = null;
  private saving: Promise<void> = Promise.resolve();

  constructor(
    private readonly folder: string,
    private readonly daemon: SimulatedDaemon,
  ) {}

  /** @throws Error if what is there cannot be read */
  async load(): Promise<void> {
    if (this.isLoaded) return;
    this.isLoaded = true;
    await mkdir(join(this.folder, 'volumes'), { recursive: true });
    const { daemon } = this;
    const text = await readFile(this.file, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    });
    if (text !== null) await this.restore(JSON.parse(text) as SavedDaemon);
    daemon.onChange = () => this.note();
    daemon.onVolumeChange = (volume) => {
      this.changed.add(volume);
      this.note();
    };
    this.note();
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    await this.save();
  }

  private get file(): string {
    return join(this.folder, 'daemon.json');
  }

  private volumeFile(name: string): string {
    return join(this.folder, 'volumes', `${name}.json`);
  }

  private async restore(saved: SavedDaemon): Promise<void> {
    const { daemon } = this;
    daemon.id = saved.id;
    for (const image of saved.images) daemon.images.add(image);
    for (const { name, diskMb, owner } of saved.volumes) {
      const volume = daemon.addVolume(name, diskMb, owner);
      const text = await readFile(this.volumeFile(name), 'utf8').catch(() => null);
      if (text !== null) fill(volume.root, JSON.parse(text) as SavedNode);
    }
    for (const each of saved.containers) {
      const container = { ...each, createdAt: new Date(each.createdAt) };
      daemon.containers.set(container.dockerId, container);
      if (container.state === 'running') daemon.begin(container);
    }
  }

  private note(): void {
    this.isChanged = true;
    this.timer ??= setTimeout(() => {
      this.timer = null;
      void this.save();
    }, SAVED_AFTER_MS).unref();
  }

  private save(): Promise<void> {
    this.saving = this.saving
      .then(() => this.write())
      .catch((error: unknown) => {
        this.logger.warn({ msg: 'what is simulated could not be saved; tried again', err: error });
        this.note();
      });
    return this.saving;
  }

  private async write(): Promise<void> {
    if (!this.isLoaded || !this.isChanged) return;
    this.isChanged = false;
    const { daemon } = this;
    const saved: SavedDaemon = {
      id: daemon.id,
      images: [...daemon.images],
      containers: [...daemon.containers.values()].map((each) => ({ ...each, createdAt: each.createdAt.toISOString() })),
      volumes: [...daemon.volumes].map(([name, { diskMb, owner }]) => ({ name, diskMb, owner })),
    };
    for (const [name, volume] of daemon.volumes) {
      if (this.changed.delete(volume)) await replace(this.volumeFile(name), JSON.stringify(savedNode(volume.root)));
    }
    this.changed.clear();
    await replace(this.file, JSON.stringify(saved));
    for (const file of await readdir(join(this.folder, 'volumes'))) {
      if (!daemon.volumes.has(file.replace(/\.json$/, '')))
        await rm(join(this.folder, 'volumes', file), { force: true });
    }
  }
}

/** Whole or not at all. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}

function savedNode(node: Node): SavedNode {
  const { mode, uid, gid, modifiedMs } = node;
  const facts = { mode, uid, gid, modifiedMs };
  switch (node.kind) {
    case 'directory': {
      const entries = node.names().map((name) => [name, node.get(name)] as const);
      const kept = entries.flatMap(([name, inner]) => (inner ? [[name, savedNode(inner)] as const] : []));
      return { ...facts, entries: Object.fromEntries(kept) };
    }
    case 'link':
      return { ...facts, link: node.target };
    case 'file':
      return { ...facts, data: node.read(0, node.size).toString('base64') };
    case 'made':
      return { ...facts, data: '' };
  }
}

function fill(directory: DirectoryNode, saved: SavedNode): void {
  const { mode, uid, gid } = saved;
  Object.assign(directory, { mode, uid, gid });
  for (const [name, each] of Object.entries(saved.entries ?? {})) directory.set(name, nodeOf(each, directory.space));
  directory.modifiedMs = saved.modifiedMs;
}

function nodeOf(saved: SavedNode, space: Space): Node {
  let node: Node;
  if (saved.link !== undefined) node = new LinkNode(saved.link, saved);
  else if (saved.entries) {
    node = new DirectoryNode(saved, space);
    fill(node, saved);
  } else {
    node = new FileNode(saved, space);
    node.write(0, Buffer.from(saved.data ?? '', 'base64'));
  }
  node.modifiedMs = saved.modifiedMs;
  return node;
}
