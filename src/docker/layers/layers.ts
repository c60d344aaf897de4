import type Docker from 'dockerode';
import { randomUUID } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { untilAborted } from '../../scheduling';
import {
  EngineError,
  type LayerCommit,
  type LayerImage,
  type Listed,
  type ListedLayer,
  plainId,
  PROOF_FILE,
  SESSION_VARIABLE,
  type WrittenLayer,
} from '../../engine';
import { abortable } from '../connection/client';
import type { DockerDaemon } from '../connection/daemon';
import { ignoringRefusal, unlessMissing } from '../connection/errors';
import { jsonElements, openChanges, openImage } from '../connection/streams';
import { containerOf, remove, start } from '../connection/container-verbs';
import { claimedLabels, containerLabels, LABELS, probeLabels } from '../model/labels';
import { isKnownState } from '../model/inspect';
import type { SandboxHost } from '../host/sandbox-host';
import { type LayerChanges, readChanges } from './layer-changes';
import type { LayerWork, TransferringLayers } from './layer-transfer';

/** Docker (26.1) refuses to commit to an image of 125 layers: "max depth exceeded". */
const MOST_LAYERS = 100;

/** Docker reads and writes some 100 MB/s for a commit; to another machine it is what the network carries. */
const COMMIT_MS = 30 * 60_000;

/** How long the container of the proof may take to write its file. */
const PROOF_MS = 10_000;
const PROOF_MEMORY = 64 * 1024 * 1024;

const config = z.object({
  Env: z.array(z.string()).nullish(),
  User: z.string().nullish(),
  Entrypoint: z.array(z.string()).nullish(),
  Cmd: z.array(z.string()).nullish(),
  WorkingDir: z.string().nullish(),
  Labels: z.record(z.string(), z.string()).nullish(),
});
type Configuration = z.infer<typeof config>;

const container = z.object({
  Image: z.string(),
  State: z.object({ Running: z.boolean(), Paused: z.boolean() }),
  Config: config,
  SizeRw: z.number().nullish(),
});

const image = z.object({
  Id: z.string(),
  Config: config.nullish(),
  Size: z.number(),
  RootFS: z.object({ Layers: z.array(z.string()).nullish() }),
});
type Image = z.infer<typeof image>;

const listing = z.array(z.object({ Id: z.string(), Created: z.number(), RepoTags: z.array(z.string()).nullish() }));

/** The writable layers of a daemon's containers. The methods of {@link TransferringLayers} are documented there. */
export class Layers implements TransferringLayers {
  private proved = false;
  private proving: Promise<boolean> | null = null;

  constructor(
    private readonly daemon: DockerDaemon,
    private readonly host: SandboxHost,
  ) {}

  async persist({ name, written }: { name: string; written?: string }): Promise<boolean> {
    if (this.proved) return true;
    const prove = (): Promise<boolean> => (written === undefined ? this.prove(name) : this.proveBy(plainId(written)));
    this.proving ??= prove().finally(() => (this.proving = null));
    this.proved = await this.proving;
    return this.proved;
  }

  async measure(engineId: string): Promise<WrittenLayer | null> {
    const { isOnHost, isWritten } = await this.changesOf(engineId);
    if (!isOnHost) return null;
    const { SizeRw: bytes, Image: base } = await this.inspect(engineId);
    const isOnLayer = (await this.findImage(base))?.Config?.Labels?.[LABELS.layer] === this.host.instance;
    return { bytes: bytes ?? 0, isWritten, isOnLayer };
  }

  async commit({ engineId, reference, mostBytes, signal: abortion }: LayerCommit): Promise<LayerImage> {
    const { Image: base, State, Config, SizeRw: bytes } = await this.inspect(engineId);
    if (State.Running && !State.Paused) {
      throw new EngineError('container_not_running', `commit container: ${engineId} is neither paused nor stopped`);
    }
    assertWithin(bytes ?? 0, mostBytes);
    const before = await this.findImage(base);
    const body = imageConfig(Config, before?.Config ?? {}, this.host.instance);
    await this.longCall('commit container', abortion, (docker, signal) =>
      commit(docker, { id: engineId, reference, body }, signal),
    );
    return this.sizeOf(reference, before);
  }

  /**
   * An image that Docker has exported and imported has no configuration: it is taken from a container that is created
   * with it, and never started.
   */
  async flatten({
    reference,
    signal: abortion,
  }: Omit<LayerCommit, 'engineId' | 'mostBytes'>): Promise<LayerImage | null> {
    const deep = await this.findImage(reference);
    if (deep === null) throw new EngineError('image_not_found', `flatten image: no such image ${reference}`);
    if (!isDeep(deep)) return null;
    const [repo = '', tag = ''] = reference.split(':');
    const flat = `${repo}:${tag}-flat`;
    const { instance, process } = this.host;
    const probe = probeLabels({ instance, process });
    await this.longCall('flatten image', abortion, async (docker, signal) => {
      try {
        const source = await create(docker, { Image: deep.Id, Labels: probe }, signal);
        try {
          const files = await source.export(abortable(signal, {}));
          const changes = [`LABEL ${LABELS.layer}=${instance}`];
          const said = await docker.importImage(files, abortable(signal, { repo, tag: `${tag}-flat`, changes }));
          assertImported(await text(said));
        } finally {
          await remove(source, signal);
        }
        const configured = await create(docker, { Image: flat, Cmd: ['none'], Labels: probe }, signal);
        try {
          const Labels = { ...containerLabels({ [LABELS.layer]: instance }), ...deep.Config?.Labels };
          await commit(docker, { id: configured.id, reference, body: { ...deep.Config, Labels } }, signal);
        } finally {
          await remove(configured, signal);
        }
      } finally {
        await ignoringRefusal(docker.getImage(flat).remove(abortable(signal, {})));
      }
      // Docker refuses if a container needs it.
      await ignoringRefusal(docker.getImage(deep.Id).remove(abortable(signal, {})));
    });
    return this.sizeOf(reference, null);
  }

  async list({ instance }: { instance: string }): Promise<Listed<ListedLayer>> {
    const filters = { label: [`${LABELS.layer}=${instance}`] };
    const items = await this.daemon.call('list images', async (signal, docker) =>
      isKnownState(listing, await docker.listImages({ filters, abortSignal: signal })),
    );
    const layers = items.flatMap(({ Id: imageId, Created, RepoTags }) =>
      (RepoTags?.length ? RepoTags : [imageId]).map((reference) => ({
        reference,
        imageId,
        createdAt: new Date(Created * 1000),
      })),
    );
    return { items: layers, silent: [] };
  }

  async send({ reference, signal: abortion }: LayerWork, output: Writable): Promise<void> {
    await this.longCall('save image', abortion, async (docker, signal) => {
      await pipeline(await openImage(docker, reference, signal), output, { signal });
    });
  }

  async receive({ signal: abortion }: LayerWork, input: Readable): Promise<void> {
    await this.longCall('load image', abortion, async (docker, signal) => {
      const said = await text(await docker.loadImage(input, abortable(signal, { quiet: true })));
      // Docker reports most failures in the body of a 200.
      if (said.includes('"error"')) throw new EngineError('docker_error', `load image: ${said.slice(0, 500)}`);
    });
  }

  /** Runs a container like a sandbox, without a network, that writes a file into its layer. */
  private async prove(name: string): Promise<boolean> {
    const { instance, process, capabilities } = this.host;
    const { runtime } = capabilities;
    return this.daemon.call('probe layer', async (signal, docker) => {
      const probe = await create(
        docker,
        {
          Image: name,
          Entrypoint: ['/bin/sh', '-c', `echo written >${PROOF_FILE}; sleep ${String(PROOF_MS / 1000)}`],
          Cmd: [],
          User: '0:0',
          Labels: probeLabels({ instance, process }),
          HostConfig: { Runtime: runtime, Init: true, NetworkMode: 'none', Memory: PROOF_MEMORY },
        },
        signal,
      );
      try {
        await start(probe, signal);
        const end = performance.now() + PROOF_MS;
        while (!(await changesIn(docker, probe.id, signal)).hasProof) {
          if (performance.now() >= end) return false;
          await delay(100, undefined, { signal });
        }
        return true;
      } finally {
        await remove(probe, signal);
      }
    });
  }

  private async proveBy(engineId: string): Promise<boolean> {
    return (await this.changesOf(engineId)).hasProof;
  }

  private async changesOf(engineId: string): Promise<LayerChanges> {
    return this.daemon.call('inspect layer', (signal, docker) => changesIn(docker, engineId, signal));
  }

  private async inspect(engineId: string): Promise<z.infer<typeof container>> {
    return this.daemon.call('inspect layer', async (signal, docker) => {
      const answer: unknown = await containerOf(docker, engineId).inspect(abortable(signal, { size: true }));
      return isKnownState(container, answer);
    });
  }

  private async findImage(name: string): Promise<Image | null> {
    return this.daemon.call('inspect image', async (_signal, docker) => {
      const answer: Promise<unknown> = docker.getImage(name).inspect();
      return unlessMissing(answer.then((found) => isKnownState(image, found)));
    });
  }

  /** @param below the image that the layer is on; null: the layer is all of it */
  private async sizeOf(reference: string, below: Image | null): Promise<LayerImage> {
    const made = await this.findImage(reference);
    if (made === null) throw new EngineError('docker_error', `commit container: Docker made no image ${reference}`);
    return { imageId: made.Id, bytes: Math.max(0, made.Size - (below?.Size ?? 0)), isDeep: isDeep(made) };
  }

  /** Docker reads and writes as much as there is, so only a generous limit applies, and the caller's signal. */
  private async longCall<T>(
    what: 'commit container' | 'flatten image' | 'save image' | 'load image',
    abortion: AbortSignal | undefined,
    run: (docker: Docker, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const aborted = (): EngineError => new EngineError('aborted', `${what}: aborted`);
    if (abortion?.aborted) throw aborted();
    const { streams } = this.daemon.clients;
    return this.daemon.call(
      what,
      (signal) => untilAborted(run(streams, signal), { signal: abortion, aborted }),
      COMMIT_MS,
    );
  }
}

/**
 * The configuration of the image of a container's layer. Docker adds what is missing here from the container: a
 * variable or a label of the container's own can only be made empty. Entrypoint and command cannot even be emptied; an
 * image without any keeps the sandbox's, which every creation replaces.
 */
function imageConfig(own: Configuration, base: Configuration, instance: string): object {
  const inBase = new Map((base.Env ?? []).map((variable) => [nameOf(variable), variable]));
  const Env = (own.Env ?? []).map((variable) => inBase.get(nameOf(variable)) ?? `${nameOf(variable)}=`);
  return {
    Env: [...new Set([...Env, ...inBase.values(), `${SESSION_VARIABLE}=`])],
    // Without a user, Docker would keep the main process's.
    User: orElse(base.User, '0'),
    WorkingDir: orElse(base.WorkingDir, '/'),
    Labels: containerLabels({ [LABELS.layer]: instance }, claimedLabels(own.Labels)),
    ...(base.Entrypoint?.length && { Entrypoint: base.Entrypoint }),
    ...(base.Cmd?.length && { Cmd: base.Cmd }),
  };
}

/** @throws EngineError `data_too_large` */
function assertWithin(bytes: number, mostBytes: number): void {
  if (bytes <= mostBytes) return;
  throw new EngineError('data_too_large', `commit container: a layer of ${String(bytes)} bytes is too large`);
}

function isDeep({ RootFS }: Image): boolean {
  return (RootFS.Layers?.length ?? 0) >= MOST_LAYERS;
}

function nameOf(variable: string): string {
  return variable.split('=', 1)[0] ?? variable;
}

function orElse(value: string | null | undefined, otherwise: string): string {
  return value == null || value === '' ? otherwise : value;
}

/** Creates a container that belongs to no user; if this process dies, it is removed like a probe. */
async function create(
  docker: Docker,
  options: Docker.ContainerCreateOptions & { Labels: Record<string, string> },
  signal: AbortSignal,
): Promise<Docker.Container> {
  const query = { name: `berth-layer-${randomUUID()}` };
  const body = { HostConfig: { NetworkMode: 'none' }, ...options, Labels: containerLabels(options.Labels) };
  return docker.createContainer(abortable(signal, { _query: query, _body: body }));
}

/** Docker would itself pause the container, but go on if it cannot: the caller has paused it. */
async function commit(
  docker: Docker,
  { id, reference, body }: { id: string; reference: string; body: object },
  signal: AbortSignal,
): Promise<void> {
  const [repo, tag] = reference.split(':');
  const query = { container: id, repo, tag, pause: false };
  await containerOf(docker, id).commit(abortable(signal, { _query: query, _body: body }));
}

/** An import reports its failure in the body of a 200. */
function assertImported(said: string): void {
  if (said.includes('"status":"sha256:') && !said.includes('"error"')) return;
  throw new EngineError('docker_error', `flatten image: ${said.slice(0, 500)}`);
}

/** Docker (26.1) lists the changes of a container that has changed nothing as null, for which dockerode gives bytes. */
async function changesIn(docker: Docker, engineId: string, signal: AbortSignal): Promise<LayerChanges> {
  return readChanges(jsonElements(await openChanges(docker, engineId, signal), { isNullEmpty: true }));
}
