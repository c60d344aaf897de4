import type { ContainerInspectInfo } from 'dockerode';
import { setTimeout as delay } from 'node:timers/promises';
import { RealDocker } from '../support/docker/real-docker';
import { Cohabitation, type LifeSign } from './cohabitation';
import { Journal } from './journal';

const AGAIN_MS = 200;

/** Watches one Docker directly, without the proxies, for containers that run on one volume at once. */
export class DockerWatch {
  private readonly stopped = new AbortController();
  private readonly ended: Promise<void>;

  constructor(
    private readonly instance: string,
    private readonly docker: RealDocker,
    private readonly cohabitation: Cohabitation,
    private readonly journal: Journal,
  ) {
    this.ended = this.watch();
  }

  async close(): Promise<void> {
    this.stopped.abort();
    await this.ended;
  }

  private async watch(): Promise<void> {
    while (!this.stopped.signal.aborted) {
      // While Docker is away there is nothing to watch.
      await this.connection().catch(() => undefined);
      await delay(AGAIN_MS);
    }
  }

  private async connection(): Promise<void> {
    const { docker, id: node } = this.docker;
    const label = [`berth.instance=${this.instance}`];
    const filters = { type: ['container'], event: ['start', 'die', 'pause', 'unpause'], label };
    const stream = await docker.getEvents({ filters, abortSignal: this.stopped.signal } as object);
    this.complain(this.cohabitation.reset(node, await this.running(label)));
    // The stream was opened before the list was made, so it begins with events that the list already contains. They
    // are processed without complaints.
    const listedAt = Date.now();
    let rest = '';
    for await (const chunk of stream) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const { Action, Actor, timeNano } = JSON.parse(line) as DockerEvent;
        const found = Action === 'start' ? await this.docker.inspect(Actor.ID).catch(() => null) : null;
        // Of a helper that is gone by now, nothing is known, and it is taken for one that measures.
        const details = Action !== 'start' ? {} : found === null ? { volumes: [] } : detailsIn(found);
        const sign = { action: Action, engineId: Actor.ID, node, ...known(Actor.Attributes), ...details };
        if (found !== null) await this.noteEnds(sign, found);
        this.journal.note('docker', Action, sign);
        const complaints = this.cohabitation.take(sign);
        if (timeNano / 1e6 > listedAt) this.complain(complaints);
      }
    }
  }

  /** Inspects each container: for a moment after a stop, Docker 26.1 still lists it as running. */
  private async running(label: string[]): Promise<({ engineId: string } & Known)[]> {
    const { docker } = this.docker;
    const listed = await docker.listContainers({ filters: { label, status: ['running'] } });
    const inspected = await Promise.all(listed.map(async ({ Id }) => docker.getContainer(Id).inspect()));
    return inspected
      .filter(({ State }) => State.Running)
      .map((found) => ({ engineId: found.Id, ...known(found.Config.Labels), ...detailsIn(found) }));
  }

  /**
   * Docker 26.1 reports the end of a container only after its state is on the disk, and answers a stop before that. On
   * a busy disk the next container's start is reported first, so the times in their states decide.
   */
  private async noteEnds(sign: Omit<LifeSign, 'action'>, started: ContainerInspectInfo): Promise<void> {
    for (const engineId of this.cohabitation.beside(sign)) {
      const State = (await this.docker.inspect(engineId).catch(() => null))?.State;
      this.journal.note('docker', 'beside', { engineId, State, started: started.State });
      if (!State || State.Running || Date.parse(State.FinishedAt) > Date.parse(started.State.StartedAt)) continue;
      this.cohabitation.take({ ...sign, engineId, action: 'die' });
    }
  }

  private complain(complaints: readonly string[]): void {
    for (const complaint of complaints) this.journal.complain(complaint);
  }
}

/** A helper that measures has one volume to read; one that sends its volume to another node has its name. */
function detailsIn({ Name, Mounts, State }: ContainerInspectInfo): Pick<LifeSign, 'volumes' | 'isSuspended'> {
  const isCopying = Mounts.some(({ RW }) => RW) || Name.endsWith('-send');
  const volumes = isCopying ? Mounts.map(({ Name: volume = '' }) => volume) : [];
  return { volumes, isSuspended: State.Paused };
}

type Labels = Readonly<Record<string, string>>;

interface DockerEvent {
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Labels };
  readonly timeNano: number;
}

type Known = Pick<LifeSign, 'containerId' | 'isWorker'>;

/** Reads the labels. */
function known(labels: Labels): Known {
  // On a helper container the label exists without a value.
  return { containerId: labels['berth.container_id'] ?? '', isWorker: (labels['berth.generation'] ?? '') === '' };
}
