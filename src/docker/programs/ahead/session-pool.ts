import { randomUUID } from 'node:crypto';
import type { ProcessRequest } from '../../port/container-process';
import type { SessionCounts } from '../../connection/daemon';
import type { ExecSession } from '../exec-session';
import { AheadSession } from './ahead-session';
import { commonVariables, lineOf, passThroughShell, type SessionTerms, suits, type Unsuitable } from './session-line';

/** How long after its last program a container keeps its sessions. */
const KEEP_MS = 10 * 60_000;
const EXPIRE_EVERY_MS = 30_000;
/** Pause after a session could not be opened, for example because the image has no shell. */
const RETRY_AFTER_MS = 10_000;
/** A reserved session that is not taken within this time is closed. */
const RESERVED_MS = 10_000;
/**
 * When the next session is opened: soon after the program's end, so that the response comes first; and at the latest
 * some time after its start.
 */
const OPEN_AFTER_MS = { end: 5, start: 100 } as const;
/**
 * Sessions that are being opened at once on a machine: for programs, and for containers that none was started in yet.
 * The latter would slow down the creations that are still under way.
 */
const OPENING_AT_ONCE = { programs: 4, prepared: 1 } as const;
/** For how long a user whose session was not ready in time has two. */
const BUSY_MS = 60_000;

/** The host's available memory that an idle session takes under gVisor (20240729). */
const SESSION_MB = 4.1;

/** Kinds of sessions in a container: a client may name any number of users. */
const MOST_SHELVES = 4;

export interface SessionSettings {
  readonly memoryMb: number;
  readonly scripts: Readonly<Record<'pipes' | 'terminal', readonly string[]>>;
}

/**
 * What a session depends on, of the program that it is wanted for. `env` is absent for Berth's own programs, which do
 * not get the container's variables.
 */
export type AheadProgram = Pick<ProcessRequest, 'command' | 'env' | 'user' | 'terminal'>;

/** Why a program did not get a session: there was none, or it did not suit, or its shell declined. */
type MissReason = Unsuitable | 'none' | 'declined';

/** The calls to Docker. */
interface PoolCalls {
  open(dockerId: string, request: ProcessRequest): Promise<ExecSession>;
  /** Kills programs by their marker. @throws EngineError if they may still be running */
  kill(dockerId: string, marker: string, user: string | undefined): Promise<void>;
  /** Ends the user's sessions that wait with a terminal, also those of other processes. */
  endTerminals(dockerId: string, user: string | undefined): Promise<void>;
  /** Whether the variables that every program in the container gets pass through a shell unchanged. */
  passesVariables(dockerId: string): Promise<boolean>;
  /** Whether the container is being ended: a session that is opened then would miss SIGTERM, and delay the end. */
  isEnding(dockerId: string): boolean;
}

/** The sessions of one user of a container, with or without a terminal; those for Berth's own programs may be apart. */
interface Shelf {
  readonly key: string;
  readonly dockerId: string;
  readonly user: string | undefined;
  readonly terminal: boolean;
  /** What the next session is opened with. */
  terms: SessionTerms;
  /** Those that are being opened or wait for their program, oldest first. */
  readonly sessions: Set<AheadSession>;
  /** Markers of shells that may still wait in the container, although their connections broke. */
  readonly left: Set<string>;
  /** Whether sessions with a terminal of a process that died may wait in the container. */
  isUncleared: boolean;
  retryAt: number;
  busyUntil: number;
  isFilling: boolean;
}

interface Container {
  readonly shelves: Map<string, Shelf>;
  usedAt: number;
  /** When {@link SessionPool.keep} opened a session, which stays without being used; null once a user has it. */
  keptAt: number | null;
}

interface Reserved {
  readonly session: AheadSession;
  readonly shelf: Shelf;
  readonly timer: NodeJS.Timeout;
}

/**
 * Sessions that are opened ahead of programs, in the containers of one machine. A container in use has one or two for
 * each user that programs run as. A session belongs to one container, one user and one set of variables from its
 * opening on, and is for one program.
 */
export class SessionPool {
  /** By Docker id; the least recently used first. */
  private readonly containers = new Map<string, Container>();
  private readonly reserved = new Map<string, Reserved>();
  private readonly most: number;
  /** Sessions that are being opened or wait for their program, including the reserved ones. */
  private readonly idle = new Set<AheadSession>();
  private opening = 0;
  private expiry: NodeJS.Timeout | undefined;
  private isClosed = false;

  /**
   * @param settings memoryMb: what all sessions may take together; 0: there are none; scripts: those of Berth's own
   *   that are often run without and with a terminal
   */
  constructor(
    private readonly settings: SessionSettings,
    private readonly calls: PoolCalls,
    private readonly counts: SessionCounts,
  ) {
    this.most = Math.floor(settings.memoryMb / SESSION_MB);
  }

  /**
   * Opens the first session of a container that has just started, as a program is likely to follow. One that
   * {@link keep} opened remains if it suits.
   *
   * @param env the variables that programs will probably have
   */
  prepare(dockerId: string, env: Readonly<Record<string, string>> = {}): void {
    if (this.most === 0 || this.isClosed) return;
    const container = this.containers.get(dockerId);
    if (container) container.keptAt = null;
    const shelf = this.use(dockerId, { command: [], env });
    shelf.terms = { ...shelf.terms, env };
    for (const session of shelf.sessions) if (!suits(session.spec.terms, env)) this.drop(shelf, session);
    this.fillAfter(shelf, 0, OPENING_AT_ONCE.prepared);
  }

  /**
   * Opens a session in a container that no user has yet, unless it has one or there is no room. It stays until
   * {@link prepare} is called for a user, or another container needs its room.
   */
  keep(dockerId: string): void {
    const shelves = [...(this.containers.get(dockerId)?.shelves.values() ?? [])];
    const hasOne = shelves.some(({ sessions, isFilling }) => sessions.size > 0 || isFilling);
    if (hasOne || this.isClosed || this.idle.size >= this.most) return;
    const shelf = this.use(dockerId, { command: [] });
    const container = this.containers.get(dockerId);
    if (container) container.keptAt = container.usedAt;
    this.fillAfter(shelf, 0, OPENING_AT_ONCE.prepared);
  }

  /** Closes what {@link keep} opened, unless a program has used it since. */
  unkeep(dockerId: string): void {
    const container = this.containers.get(dockerId);
    if (!container || container.keptAt === null) return;
    if (container.keptAt === container.usedAt) this.discard(dockerId);
    else container.keptAt = null;
  }

  /**
   * Reserves a session for a program that is about to be started, and has the next one opened.
   *
   * @returns the session's marker, which the program must be started with; null if there is no session
   */
  reserve(dockerId: string, program: AheadProgram): string | null {
    if (this.most === 0 || this.isClosed) return null;
    const shelf = this.use(dockerId, program);
    const session = this.suitable(shelf, program);
    this.fillAfter(shelf, OPEN_AFTER_MS.start);
    if (!session) return null;
    if (!session.isReady) shelf.busyUntil = performance.now() + BUSY_MS;
    shelf.sessions.delete(session);
    const { marker } = session.spec;
    const timer = setTimeout(() => {
      this.reserved.delete(marker);
      session.close();
    }, RESERVED_MS).unref();
    this.reserved.set(marker, { session, shelf, timer });
    return marker;
  }

  /**
   * Starts a program in the session that was reserved for it.
   *
   * @returns null if the program has none, or could not start in it: it certainly did not run there
   * @throws EngineError as {@link AheadSession.begin}
   */
  async start(request: ProcessRequest): Promise<AheadSession | null> {
    const found = this.reserved.get(request.marker ?? '');
    if (!found) return null;
    const { session, shelf, timer } = found;
    clearTimeout(timer);
    this.reserved.delete(session.spec.marker);
    const { line, isEvaluated, unsuitable } = lineOf(session.spec.terms, request);
    if (line === undefined) {
      session.close();
      this.miss(unsuitable);
      return null;
    }
    this.forget(session);
    const beginning = await session.begin(line, { hasInput: request.stdin === true, isEvaluated });
    if (beginning === 'not_run') {
      this.miss('declined');
      return null;
    }
    this.counts.taken += 1;
    void session.whenGone().then(() => this.fillAfter(shelf, OPEN_AFTER_MS.end));
    return session;
  }

  /** Closes a container's sessions, as it ends, is paused, or is gone. */
  discard(dockerId: string): void {
    const container = this.containers.get(dockerId);
    this.containers.delete(dockerId);
    for (const { sessions } of container?.shelves.values() ?? []) for (const session of sessions) session.close();
    for (const { session } of this.reserved.values()) if (session.spec.dockerId === dockerId) session.close();
  }

  /** Closes all sessions, and opens no others. */
  close(): void {
    this.isClosed = true;
    clearInterval(this.expiry);
    for (const dockerId of [...this.containers.keys()]) this.discard(dockerId);
  }

  private use(dockerId: string, program: AheadProgram): Shelf {
    const container = this.containers.get(dockerId) ?? { shelves: new Map<string, Shelf>(), usedAt: 0, keptAt: null };
    container.usedAt = performance.now();
    // Map keeps the order of insertion.
    this.containers.delete(dockerId);
    this.containers.set(dockerId, container);
    this.expiry ??= setInterval(() => this.expire(), EXPIRE_EVERY_MS).unref();
    const { user } = program;
    const terminal = program.terminal === true;
    const key = keyOf(program, container.shelves);
    const shelf = container.shelves.get(key) ?? {
      key,
      dockerId,
      user,
      terminal,
      terms: { env: program.env ?? {}, texts: this.settings.scripts[terminal ? 'terminal' : 'pipes'] },
      sessions: new Set(),
      left: new Set(),
      isUncleared: terminal,
      retryAt: 0,
      busyUntil: 0,
      isFilling: false,
    };
    container.shelves.delete(key);
    container.shelves.set(key, shelf);
    const [oldest] = container.shelves.values();
    if (container.shelves.size > MOST_SHELVES && oldest) {
      container.shelves.delete(oldest.key);
      for (const session of oldest.sessions) this.drop(oldest, session);
    }
    return shelf;
  }

  /**
   * Finds a session for the program. Sessions with other variables are closed, as the container's variables have
   * probably changed; the next one is opened with the variables that both have.
   */
  private suitable(shelf: Shelf, program: AheadProgram): AheadSession | null {
    const { env = {} } = program;
    if (!suits(shelf.terms, env)) {
      const common = { ...shelf.terms, env: commonVariables(shelf.terms.env, env) };
      shelf.terms = suits(common, env) ? common : { ...shelf.terms, env };
    }
    const sessions = [...shelf.sessions];
    const found = sessions.filter((session) => suits(session.spec.terms, env));
    for (const session of sessions) if (!found.includes(session)) this.drop(shelf, session);
    const session = found.find(({ isReady }) => isReady) ?? found[0];
    const unsuitable = session ? lineOf(session.spec.terms, { ...program, stdin: true }).unsuitable : undefined;
    if (session && unsuitable === undefined) return session;
    this.miss(unsuitable ?? (sessions.length > 0 ? 'variables' : 'none'));
    return null;
  }

  private fillAfter(shelf: Shelf, ms: number, atOnce: number = OPENING_AT_ONCE.programs): void {
    setTimeout(() => void this.fill(shelf, atOnce).catch(() => undefined), ms).unref();
  }

  /** Opens the sessions that a shelf lacks, one after the other, while fewer than `atOnce` are being opened. */
  private async fill(shelf: Shelf, atOnce: number): Promise<void> {
    if (shelf.isFilling) return;
    shelf.isFilling = true;
    try {
      while (this.lacks(shelf)) {
        if (this.opening >= atOnce) {
          this.fillAfter(shelf, OPEN_AFTER_MS.start, atOnce);
          return;
        }
        if (!(await this.openOne(shelf))) return;
      }
    } finally {
      shelf.isFilling = false;
    }
  }

  private lacks(shelf: Shelf): boolean {
    const now = performance.now();
    if (this.isClosed || now < shelf.retryAt) return false;
    if (this.calls.isEnding(shelf.dockerId)) return false;
    if (this.containers.get(shelf.dockerId)?.shelves.get(shelf.key) !== shelf) return false;
    const wanted = !shelf.terminal && now < shelf.busyUntil ? 2 : 1;
    return shelf.sessions.size < wanted;
  }

  /** @returns false if no other is to be opened now */
  private async openOne(shelf: Shelf): Promise<boolean> {
    const { dockerId, user, terminal, left } = shelf;
    this.opening += 1;
    try {
      if (!(await this.calls.passesVariables(dockerId))) return false;
      for (const marker of left) {
        await this.calls.kill(dockerId, marker, user);
        left.delete(marker);
      }
      if (shelf.isUncleared) await this.calls.endTerminals(dockerId, user);
      shelf.isUncleared = false;
      const { terms } = shelf;
      if (!passThroughShell(Object.keys(terms.env))) return false;
      // The container may have ended meanwhile, or the server.
      if (!this.lacks(shelf) || !this.makeRoom(shelf)) return false;
      const session = new AheadSession(
        { dockerId, user, terminal, terms, marker: randomUUID() },
        {
          open: (request) => this.calls.open(dockerId, request),
          kill: (marker) => this.calls.kill(dockerId, marker, user),
        },
      );
      this.add(shelf, session);
      if (await session.whenReady()) return true;
      // Unless it was closed here.
      if (shelf.sessions.has(session)) shelf.retryAt = performance.now() + RETRY_AFTER_MS;
      return false;
    } catch {
      shelf.retryAt = performance.now() + RETRY_AFTER_MS;
      return false;
    } finally {
      this.opening -= 1;
    }
  }

  private add(shelf: Shelf, session: AheadSession): void {
    shelf.sessions.add(session);
    this.idle.add(session);
    this.counts.open += 1;
    void session.whenGone().then(async () => {
      this.forget(session);
      // False if it was taken, or closed here.
      if (!shelf.sessions.delete(session)) return;
      if (!(await session.hasEnded())) shelf.left.add(session.spec.marker);
    });
  }

  private miss(reason: MissReason): void {
    this.counts.missed[reason] = (this.counts.missed[reason] ?? 0) + 1;
  }

  /** The session does not wait for a program any more. */
  private forget(session: AheadSession): void {
    if (this.idle.delete(session)) this.counts.open -= 1;
  }

  private drop(shelf: Shelf, session: AheadSession): void {
    shelf.sessions.delete(session);
    session.close();
  }

  /** Closes a session of the least recently used container, if there are too many. @returns false if there is none */
  private makeRoom({ dockerId: own }: Shelf): boolean {
    if (this.idle.size < this.most) return true;
    for (const [dockerId, { shelves }] of this.containers) {
      if (dockerId === own) return false;
      const full = [...shelves.values()].find(({ sessions }) => sessions.size > 0);
      const [session] = full?.sessions ?? [];
      if (!full || !session) continue;
      this.drop(full, session);
      this.forget(session);
      return true;
    }
    return false;
  }

  private expire(): void {
    const now = performance.now();
    for (const [dockerId, { usedAt, keptAt }] of this.containers) {
      if (keptAt === null && now - usedAt > KEEP_MS) this.discard(dockerId);
    }
    if (this.containers.size > 0) return;
    clearInterval(this.expiry);
    this.expiry = undefined;
  }
}

/**
 * Berth's own programs share the sessions of a user's programs as long as those have no variables. Otherwise each would
 * close the sessions of the other.
 */
function keyOf({ user, terminal, env }: AheadProgram, shelves: ReadonlyMap<string, Shelf>): string {
  const key = `${terminal === true ? 'terminal' : 'pipes'} ${user ?? ''}`;
  const others = shelves.get(key)?.terms.env ?? {};
  return env === undefined && Object.keys(others).length > 0 ? `own ${key}` : key;
}
