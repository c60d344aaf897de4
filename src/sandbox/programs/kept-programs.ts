import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { RunningContainer } from '../../containers';
import {
  ContainerEngine,
  type ContainerProcess,
  type ListedProgram,
  type ProcessRequest,
  saysNotRunning,
  saysPaused,
} from '../../engine';
import { LOGGER, type Logger } from '../../logging';
import { Clock, LruMap } from '../../scheduling';
import { Secrets, SecretsError } from '../../secrets';

/**
 * The kinds of programs that outlive their clients, and the server:
 *
 * - `process` is a background process.
 * - `start` is the container's start command.
 * - `terminal` is a shell with a terminal.
 */
export type KeptKind = 'process' | 'start' | 'terminal';

/** A program that the supervisor of its container keeps. */
export interface KeptProgram {
  readonly id: string;
  readonly kind: KeptKind;
  readonly containerId: string;
  readonly userId: string;
  readonly engineId: string;
  /** null for the image's own user. */
  readonly runAs: string | null;
  /** The program and its arguments, shortened if they are long. They may contain secrets: only for the user. */
  readonly command: readonly string[];
  readonly startedAt: Date;
  /** A name that its user gave it. */
  readonly tag?: string | undefined;
}

/** A kept program, with its present state as its sandbox tells it. */
export interface FoundProgram extends KeptProgram {
  readonly state: ListedProgram;
}

/** A container in which programs are kept. */
type InContainer = Pick<RunningContainer, 'id' | 'userId' | 'engineId'>;

interface NewProgram extends Omit<ProcessRequest, 'kept' | 'owner' | 'id'> {
  readonly kind: KeptKind;
  readonly id?: string;
  /** At most 128 bytes. */
  readonly tag?: string | undefined;
}

/** What is sealed into the owner of a program. The container, Docker's id and the program's id are bound to it. */
const owner = z.object({
  kind: z.string(),
  user: z.string(),
  runAs: z.string().nullable(),
  command: z.array(z.string()),
  at: z.number(),
  tag: z.string().optional(),
});

const KINDS: readonly string[] = ['process', 'start', 'terminal'] satisfies KeptKind[];

/** The supervisor takes 1,024 bytes; sealing makes a third more of it, and 60 bytes. */
const MOST_COMMAND_BYTES = 480;
const MOST_RUN_AS = 64;

/** Between SIGTERM and SIGKILL of a program that no server has started. */
const GRACE_MS = 2_000;

/** Containers whose last list is kept, for when they are paused. */
const MOST_KNOWN = 1_000;

/**
 * The programs that sandboxes keep. Their supervisors are the only ledger: a program survives every process of Berth,
 * and each process can attach to it. A sandbox may claim anything, so the owner of a program is sealed with the
 * server's key, for its container and its id: a program without a valid one is not shown, and is ended.
 */
@Injectable()
export class KeptPrograms {
  /** The last list of each container, and what was started since, by Docker id. */
  private readonly known = new LruMap<readonly FoundProgram[]>(MOST_KNOWN);

  constructor(
    private readonly engine: ContainerEngine,
    private readonly secrets: Secrets,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Starts a program, with the container's variables. @throws EngineError as `EnginePrograms.start` */
  async start(
    container: InContainer & Pick<RunningContainer, 'environment'>,
    { kind, id = randomUUID(), tag, ...request }: NewProgram,
  ): Promise<{ readonly kept: KeptProgram; readonly program: ContainerProcess }> {
    const { command, user, env } = request;
    const { engineId, userId, id: containerId } = container;
    const startedAt = this.clock.now();
    const shown = shortened(command, MOST_COMMAND_BYTES - Buffer.byteLength(JSON.stringify(tag ?? '')) + 2);
    const kept = { id, kind, containerId, userId, engineId, runAs: user ?? null, command: shown, startedAt, tag };
    const program = await this.engine.programs.start(engineId, {
      ...request,
      id,
      env: container.environment(env),
      kept: true,
      owner: this.seal(kept),
    });
    const { pid, from, to, startedAt: at } = program;
    const name = { owner: '', program: command[0] ?? '', isKept: true, hasTerminal: request.terminal !== undefined };
    const state: ListedProgram = { id, ...name, pid, from, to, startedAt: at, readers: 1, exit: null };
    this.known.set(engineId, [...(this.known.get(engineId) ?? []), { ...kept, state }]);
    return { kept, program };
  }

  /**
   * The kept programs of a container, running and ended, oldest first; of a paused container, those that were known.
   *
   * @throws EngineError as `EnginePrograms.list`
   */
  async list(container: InContainer, ...kinds: readonly KeptKind[]): Promise<FoundProgram[]> {
    const all = await this.listAll(container);
    return all.filter(({ kind }) => kinds.includes(kind));
  }

  /** @throws EngineError as `EnginePrograms.list` */
  async find(container: InContainer, kind: KeptKind, id: string): Promise<FoundProgram | null> {
    return (await this.list(container, kind)).find((each) => each.id === id) ?? null;
  }

  /**
   * Ends a program with all that it started.
   *
   * @returns `ended` also if its container does not run
   * @throws EngineError if the program may still run
   */
  async end(
    { engineId, id, runAs }: Pick<KeptProgram, 'engineId' | 'id' | 'runAs'>,
    { signal = 'TERM', graceMs }: { signal?: 'TERM' | 'HUP'; graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    try {
      return await this.engine.programs.end(engineId, { id, user: runAs ?? undefined, signal, graceMs });
    } catch (error) {
      if (saysNotRunning(error)) return 'ended';
      throw error;
    }
  }

  /** Has the sandbox forget a program that has ended, in the background. The sandbox bounds those that remain. */
  forget({ engineId, id }: Pick<KeptProgram, 'engineId' | 'id'>): void {
    this.engine.programs.forget(engineId, id).catch((error: unknown) => {
      this.logger.debug({ err: error, program: id }, 'a program was not forgotten');
    });
  }

  /** Ends a program that nobody may use, and has it forgotten. Never throws. */
  async discard(program: Pick<KeptProgram, 'engineId' | 'id' | 'runAs'>): Promise<void> {
    try {
      await this.end(program, { graceMs: GRACE_MS });
      this.forget(program);
    } catch (error) {
      this.logger.warn({ err: error, program: program.id }, 'a program that nobody owns could not be ended');
    }
  }

  private async listAll(container: InContainer): Promise<readonly FoundProgram[]> {
    const { engineId } = container;
    try {
      const listed = await this.engine.programs.list(engineId);
      const found = listed.flatMap((state) => (state.isKept ? (this.ownedIn(container, state) ?? []) : []));
      found.sort((one, other) => one.startedAt.getTime() - other.startedAt.getTime() || (one.id < other.id ? -1 : 1));
      this.known.set(engineId, found);
      return found;
    } catch (error) {
      const known = this.known.get(engineId);
      if (saysPaused(error) && known) return known;
      throw error;
    }
  }

  private seal({ kind, userId, runAs, command, startedAt, tag, ...program }: KeptProgram): string {
    const text: z.infer<typeof owner> = {
      kind,
      user: userId,
      runAs: runAs !== null && runAs.length <= MOST_RUN_AS ? runAs : null,
      command: [...command],
      at: startedAt.getTime(),
      tag,
    };
    return this.secrets.seal(JSON.stringify(text), sealContext(program));
  }

  /** @returns null for a program that this Berth has not started; it is ended */
  private ownedIn({ id: containerId, engineId, userId }: InContainer, state: ListedProgram): FoundProgram | null {
    const { id } = state;
    try {
      const opened = this.secrets.open(state.owner, sealContext({ id, containerId, engineId }));
      const { kind, user, runAs, command, at, tag } = owner.parse(JSON.parse(opened));
      // A later version may have other kinds.
      if (!KINDS.includes(kind) || user !== userId) return null;
      return {
        id,
        kind: kind as KeptKind,
        containerId,
        userId,
        engineId,
        runAs,
        command,
        startedAt: new Date(at),
        tag,
        state,
      };
    } catch (error) {
      // Sealed by a later version, in another form.
      if (!(error instanceof SecretsError)) return null;
      this.logger.warn({ container_id: containerId, program: id }, 'a sandbox claims a program that is none of Berth');
      void this.discard({ engineId, id, runAs: null });
      return null;
    }
  }
}

/** What a program's owner is authenticated with, so that it cannot be used for another program or container. */
function sealContext({ id, containerId, engineId }: Pick<KeptProgram, 'id' | 'containerId' | 'engineId'>): string {
  return `programs.owner:${containerId}:${engineId}:${id}`;
}

/** As much of a command as there is room for; what is cut ends with an ellipsis. */
function shortened(command: readonly string[], most: number): string[] {
  const shown: string[] = [];
  let left = most;
  for (const part of command) {
    const bytes = Buffer.byteLength(JSON.stringify(part));
    if (bytes > left) return [...shown, `${cut(part, left)}…`];
    shown.push(part);
    left -= bytes + 1;
  }
  return shown;
}

function cut(text: string, bytes: number): string {
  let [end, left] = [0, bytes];
  for (const character of text) {
    left -= Buffer.byteLength(JSON.stringify(character)) - 2;
    if (left < 0) break;
    end += character.length;
  }
  return text.slice(0, end);
}
