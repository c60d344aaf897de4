import { Logger } from '@nestjs/common';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ContainerSpec, DATA_PATH, type OwnerLabels } from '../../../src/engine';
import type { ContainerFiles, SavedFile } from './files';
import {
  isUp,
  type SimulatedContainer,
  type SimulatedDaemon,
  type SimulatedLayer,
  type SimulatedVolume,
} from './simulated-daemon';

/** How long changes are collected before they are written, in milliseconds. */
const SAVED_AFTER_MS = 500;

interface SavedDaemon {
  readonly id: string;
  readonly images: readonly string[];
  /** Absent in what earlier versions saved. */
  readonly tags?: readonly (readonly [reference: string, imageId: string])[];
  readonly containers: readonly (Omit<SimulatedContainer, 'createdAt' | 'engineId'> & {
    readonly createdAt: string;
    readonly spec: ContainerSpec;
    readonly engineId?: string;
    /** The `engineId` before version 0.8.0. */
    readonly dockerId?: string;
  })[];
  readonly volumes: readonly { readonly name: string; readonly diskMb: number | null; readonly owner: OwnerLabels }[];
  /** Absent before version 0.4.0. */
  readonly layers?: readonly (Omit<SimulatedLayer, 'at'> & { readonly reference: string; readonly at: string })[];
}

/**
 * Saves a simulated daemon in a folder: containers, volumes and images in one file, the data of each volume in another.
 * A server that is killed loses the changes of the last moment. Running containers run again after a restart, without
 * their processes, as after a restart of Docker.
 */
export class SimulationState {
  private readonly logger = new Logger(SimulationState.name);
  private isChanged = false;
  private isLoaded = false;
  private timer: NodeJS.Timeout | null = null;
  private saving: Promise<void> = Promise.resolve();

  constructor(
    private readonly folder: string,
    private readonly daemon: SimulatedDaemon,
    private readonly filesOf: (volume: SimulatedVolume) => ContainerFiles,
  ) {}

  /** @throws Error if the folder cannot be read */
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
    this.note();
  }

  /** Writes unsaved changes. */
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
    for (const { reference, layer, at, instance } of saved.layers ?? []) {
      daemon.layers.set(reference, { layer, at: new Date(at), instance });
    }
    for (const [reference, id] of saved.tags ?? []) daemon.tags.set(reference, id);
    for (const { name, diskMb, owner } of saved.volumes) {
      const volume = daemon.addVolume(name, diskMb, owner);
      const text = await readFile(this.volumeFile(name), 'utf8').catch(() => null);
      if (text !== null) await this.filesOf(volume).restore(JSON.parse(text) as SavedFile[]);
    }
    for (const { dockerId = '', engineId = dockerId, ...each } of saved.containers) {
      const container = { ...each, engineId, createdAt: new Date(each.createdAt) };
      daemon.containers.set(container.engineId, container);
      if (isUp(container.state)) daemon.begin(container);
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
        this.logger.warn({ msg: 'the simulated containers could not be saved; trying again', err: error });
        this.note();
      });
    return this.saving;
  }

  private async write(): Promise<void> {
    if (!this.isLoaded || !this.isChanged) return;
    this.isChanged = false;
    const { daemon } = this;
    for (const container of daemon.containers.values()) {
      if (daemon.volumes.get(container.spec.volumeName)?.files?.isUnsaved === true) await daemon.bringLayer(container);
    }
    const saved: SavedDaemon = {
      id: daemon.id,
      images: [...daemon.images],
      tags: [...daemon.tags],
      containers: [...daemon.containers.values()].map((each) => ({ ...each, createdAt: each.createdAt.toISOString() })),
      volumes: [...daemon.volumes].map(([name, { diskMb, owner }]) => ({ name, diskMb, owner })),
      layers: [...daemon.layers].map(([reference, { at, ...layer }]) => ({
        reference,
        at: at.toISOString(),
        ...layer,
      })),
    };
    for (const [name, volume] of daemon.volumes) {
      const { files } = volume;
      if (files?.isUnsaved !== true) continue;
      files.isUnsaved = false;
      await replace(this.volumeFile(name), JSON.stringify(await files.save(DATA_PATH)));
    }
    await replace(this.file, JSON.stringify(saved));
    for (const file of await readdir(join(this.folder, 'volumes'))) {
      if (!daemon.volumes.has(file.replace(/\.json$/, '')))
        await rm(join(this.folder, 'volumes', file), { force: true });
    }
  }
}

/** Replaces a file atomically. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}
