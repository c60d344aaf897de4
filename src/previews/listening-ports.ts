import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Principal } from '../auth';
import type { RunningContainer } from '../containers';
import { ContainerEngine, EngineError, saysNotRunning, saysPaused } from '../engine';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import type { RunSource } from '../sandbox';
import { TiersService } from '../tiers';
import type { PortListView } from './dto';
import { PreviewLinks } from './preview-links';
import { PreviewServer } from './preview-server';

/** The pause between two looks at a container that is watched. */
const EVERY_MS = 3_000;

interface Reader {
  readonly onValue: (ports: PortListView) => void;
  readonly onOver: () => void;
}

/** The readers of one container's ports, who share its looks. */
interface Watch {
  readonly engineId: string;
  readonly look: () => Promise<PortListView>;
  readonly readers: Set<Reader>;
  latest: PortListView | null;
  isFailing: boolean;
}

/** The ports on which programs in containers listen, by the containers' own tables. */
@Injectable()
export class ListeningPorts {
  private readonly watches = new Map<string, Watch>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly links: PreviewLinks,
    private readonly server: PreviewServer,
    private readonly tiers: TiersService,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** What the caller sees of a container: its ports now, and again when one begins or ends, or its access changes. */
  sourceFor({ tier }: Pick<Principal, 'tier'>): RunSource<PortListView> {
    return {
      type: 'ports',
      mayBePaused: false,
      current: async (container) => {
        try {
          return await this.look(container, tier);
        } catch (error) {
          if (!(error instanceof EngineError) || saysNotRunning(error) || saysPaused(error)) throw error;
          if (error.code === 'restart_required') throw new DomainError(error.code, { cause: error });
          throw new DomainError('command_failed', { code: error.code, cause: error });
        }
      },
      follow: (container, reader) => this.follow(container, { tier, reader }),
    };
  }

  private async look({ id: containerId, engineId }: RunningContainer, tier: string): Promise<PortListView> {
    const [listening, open] = await Promise.all([
      this.engine.ports.listening(engineId),
      this.links.publicPorts(containerId),
    ]);
    const isPublicAllowed = this.tiers.limitsOf(tier).publicPreviews;
    return {
      ports: listening.map(({ port, addresses }) => ({
        port,
        addresses,
        access: isPublicAllowed && open.has(port) ? 'public' : 'private',
        url: this.server.originOf({ containerId, port }),
      })),
    };
  }

  private follow(container: RunningContainer, { tier, reader }: { tier: string; reader: Reader }): () => void {
    const { engineId } = container;
    const known = this.watches.get(engineId);
    const watch: Watch = known ?? {
      engineId,
      look: () => this.look(container, tier),
      readers: new Set<Reader>(),
      latest: null,
      isFailing: false,
    };
    watch.readers.add(reader);
    if (watch.latest) reader.onValue(watch.latest);
    if (!known) {
      this.watches.set(engineId, watch);
      void this.run(watch);
    }
    return () => void watch.readers.delete(reader);
  }

  /** Looks while there are readers. Never throws. */
  private async run(watch: Watch): Promise<void> {
    while (watch.readers.size > 0) {
      try {
        const ports = await watch.look();
        watch.isFailing = false;
        if (!isDeepStrictEqual(ports, watch.latest)) {
          watch.latest = ports;
          for (const { onValue } of [...watch.readers]) onValue(ports);
        }
      } catch (error) {
        if (saysNotRunning(error)) {
          for (const { onOver } of [...watch.readers]) onOver();
          break;
        }
        // A paused container keeps its ports. What fails once may succeed at the next look.
        if (!watch.isFailing && !saysPaused(error)) this.noteFault(error, watch.engineId);
        watch.isFailing = true;
      }
      await delay(EVERY_MS, undefined, { ref: false });
    }
    this.watches.delete(watch.engineId);
  }

  private noteFault(error: unknown, engineId: string): void {
    this.logger.warn({ err: error, docker_id: engineId }, 'the listening ports of a container could not be read');
  }
}
