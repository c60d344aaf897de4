import { Inject, Injectable } from '@nestjs/common';
import { In } from 'typeorm';
import { type Config, CONFIG } from '../config';
import { type Caller, ContainersService, type ContainerView, faultOfLabels, Forks, StatusWait } from '../containers';
import { Database } from '../database';
import { DomainError, errorAnswer, invalidParameters } from '../errors';
import { decodeCursor, encodeCursor } from '../http';
import type { ConnectDto, ForkDto, ListDto, NetworkDto, NewSandboxDto } from './control.dto';
import { E2bError } from './e2b-error';
import { E2bSandboxEntity } from './e2b-sandbox.entity';
import { networkOf, portsOf } from './network-rules';
import { SandboxAccess, UUID } from './sandbox-access';
import { cpuCountOf } from './sandbox-metrics';

/** The version of envd whose features are served. */
export const ENVD_VERSION = '0.6.4';

const DEFAULT_TIMEOUT_SECONDS = 300;
/** How long a creation may take. */
const CREATION_MS = 120_000;
/** Containers that are read at once for a list. */
const PAGE = 200;
/** The end of a container that has none: clients require one. */
const NEVER = '9999-12-31T23:59:59.000Z';

/** Settings that Berth does not have, and what does their work. */
const REFUSED = {
  iam: 'is not available: pass credentials in envVars',
  volumeMounts: 'is not available: keep files in the sandbox, or in a snapshot',
} as const;

/** The sandboxes of E2B's clients: containers, through the services of Berth's own API. */
@Injectable()
export class E2bSandboxes {
  constructor(
    private readonly containers: ContainersService,
    private readonly statusWait: StatusWait,
    private readonly forks: Forks,
    private readonly access: SandboxAccess,
    private readonly database: Database,
    @Inject(CONFIG) private readonly config: Pick<Config, 'PREVIEW_DOMAIN' | 'PREVIEW_PORT' | 'E2B_PUBLIC_PORTS'>,
  ) {}

  /**
   * Creates a container and waits until it runs.
   *
   * @throws DomainError as {@link ContainersService.create}, {@link StatusWait.until}; E2bError
   */
  async create(caller: Caller, body: Readonly<NewSandboxDto>, signal: AbortSignal): Promise<object> {
    for (const [field, words] of Object.entries(REFUSED)) {
      const value = body[field as keyof typeof REFUSED];
      if (value != null && Object.keys(value).length > 0) throw new E2bError(400, words, field);
    }
    if (body.autoResume?.enabled === true) {
      throw new E2bError(400, 'is not available: resume with connect, or set auto_start for previews', 'autoResume');
    }
    const metadata = metadataOf(body.metadata);
    const network = networkOf({ ...body.network, allow_internet_access: body.allow_internet_access });
    const fits = faultOfLabels(metadata) === null;
    const pauses = body.autoPauseMemory === false ? 'stop' : 'pause';
    const created = await this.containers.create(caller, {
      ...(UUID.test(body.templateID) ? { snapshot: body.templateID } : { image: imageOf(body.templateID) }),
      ...(body.envVars && { env: body.envVars }),
      ...(fits && { labels: metadata }),
      ...(network !== undefined && { network }),
      lifetime_seconds: lifetimeOf(body.timeout),
      end_action: body.autoPause === true ? pauses : 'delete',
    });
    const id = created.db_id;
    const row = await this.access.rowFor({
      containerId: id,
      template: body.templateID,
      metadata: fits ? null : metadata,
      ...portsOf(body.network ?? {}, this.config.E2B_PUBLIC_PORTS === 'on'),
    });
    if (created.status !== 'running') {
      try {
        await this.untilRunning(caller, id, signal);
      } catch (error) {
        // The client never learns the id, so it cannot delete the failed container.
        await this.containers.delete(caller, id).catch(() => undefined);
        throw error;
      }
    }
    return this.sandboxView(row);
  }

  async get(caller: Caller, id: string): Promise<object> {
    const view = await this.find(caller, id);
    const row = await this.access.rowFor({ containerId: id, template: templateOf(view), metadata: null });
    const { network } = view;
    return {
      ...listedView(view, row),
      ...this.sandboxView(row),
      allowInternetAccess: network === 'internet',
      lifecycle: { autoResume: false, onTimeout: view.end_action === 'delete' ? 'kill' : 'pause' },
    };
  }

  /**
   * One page of the running and paused sandboxes, or those of the states asked for.
   *
   * @returns the sandboxes, and the token of the next page; null on the last
   * @throws DomainError `invalid_parameters`
   */
  async list(caller: Caller, query: Readonly<ListDto>): Promise<{ items: object[]; next: string | null }> {
    const { limit = 100, order = 'desc', nextToken } = query;
    const isWanted = filterOf(query);
    const isAfterToken = order === 'asc' && nextToken !== undefined ? newerThan(nextToken) : () => true;
    const found: Listed[] = [];
    // Containers are listed newest first: of the opposite order, all are read. The tier bounds how many there are.
    const isEnough = (): boolean => order === 'desc' && found.length > limit;
    let cursor = order === 'desc' ? nextToken : undefined;
    do {
      const page = await this.containers.list(caller, { limit: PAGE, ...(cursor !== undefined && { cursor }) });
      const views = page.containers.filter((view): view is typeof view & ContainerView => 'end_action' in view);
      const rows = await this.rowsOf(views.map(({ db_id }) => db_id));
      const listed = views.map((view) => listedView(view, rows.get(view.db_id)));
      found.push(...listed.filter((each) => isWanted(each) && isAfterToken(each)));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined && !isEnough());
    if (order === 'asc') found.reverse();
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    return { items, next: last ? encodeCursor({ createdAt: new Date(last.startedAt), id: last.sandboxID }) : null };
  }

  async kill(caller: Caller, id: string): Promise<void> {
    await this.find(caller, id);
    await this.containers.delete(caller, id);
  }

  /** Moves the end of the sandbox: `timeout` seconds from now. */
  async setTimeout(caller: Caller, id: string, timeout: number | undefined): Promise<void> {
    await this.find(caller, id);
    await this.containers.update(caller, id, { lifetime_seconds: lifetimeOf(timeout) });
  }

  /** Like {@link setTimeout}, but never moves the end nearer. */
  async extend(caller: Caller, id: string, timeout: number | undefined): Promise<void> {
    const { ends_at: end, status } = await this.find(caller, id);
    const seconds = lifetimeOf(timeout);
    const isLater = end === null ? status !== 'running' : Date.now() + seconds * 1000 > Date.parse(end);
    if (isLater) await this.containers.update(caller, id, { lifetime_seconds: seconds });
  }

  /** Resumes or starts the sandbox if it does not run. @returns also whether it did not run */
  async connect(caller: Caller, id: string, body: Readonly<ConnectDto>): Promise<{ resumed: boolean; view: object }> {
    const view = await this.find(caller, id);
    const row = await this.access.rowFor({ containerId: id, template: templateOf(view), metadata: null });
    const resumed = view.status !== 'running';
    await this.extend(caller, id, body.timeout);
    if (view.status === 'paused' && body.memory === false) await this.containers.stop(caller, id);
    if (view.status === 'paused' && body.memory !== false) await this.containers.resume(caller, id);
    else if (resumed) await this.containers.start(caller, id);
    return { resumed, view: this.sandboxView(row) };
  }

  async pause(caller: Caller, id: string, memory: boolean | undefined): Promise<void> {
    const { status } = await this.find(caller, id);
    if (status !== 'running') throw new E2bError(409, `the sandbox is ${status}`);
    await (memory === false ? this.containers.stop(caller, id) : this.containers.pause(caller, id));
  }

  async setNetwork(caller: Caller, id: string, body: Readonly<NetworkDto>): Promise<void> {
    await this.find(caller, id);
    await this.containers.update(caller, id, { network: networkOf({ ...body }) ?? 'internet' });
  }

  async fork(
    caller: Caller,
    id: string,
    { count = 1, timeout }: Readonly<ForkDto>,
    signal: AbortSignal,
  ): Promise<object[]> {
    const source = await this.find(caller, id);
    const { template, metadata, isPublic, requestHost } = await this.access.rowFor({
      containerId: id,
      template: templateOf(source),
      metadata: null,
    });
    const forked = await this.forks.fork(caller, id, { count }, {});
    const copies = 'containers' in forked ? forked.containers : [forked];
    return Promise.all(
      copies.map(async ({ db_id }) => {
        try {
          const row = await this.access.rowFor({ containerId: db_id, template, metadata, isPublic, requestHost });
          await this.untilRunning(caller, db_id, signal);
          await this.containers.update(caller, db_id, {
            lifetime_seconds: lifetimeOf(timeout),
            end_action: source.end_action,
          });
          return { sandbox: this.sandboxView(row) };
        } catch (error) {
          const { status, body } = errorAnswer(error, '');
          return { error: { code: status, message: body.error } };
        }
      }),
    );
  }

  /** One of the caller's containers; another user's is not found. @throws DomainError `container_not_found` */
  async find(caller: Caller, id: string): Promise<ContainerView> {
    if (!UUID.test(id)) throw new DomainError('container_not_found');
    try {
      return (await this.containers.get(caller, id)) as ContainerView;
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'not_authorized') throw new DomainError('container_not_found');
      throw error;
    }
  }

  private async untilRunning(caller: Caller, id: string, signal: AbortSignal): Promise<void> {
    await this.statusWait.until(caller, id, { status: 'running', timeoutMs: CREATION_MS, signal });
  }

  private async rowsOf(ids: readonly string[]): Promise<Map<string, E2bSandboxEntity>> {
    if (ids.length === 0) return new Map();
    const rows = await this.database.manager.findBy(E2bSandboxEntity, { containerId: In([...ids]) });
    return new Map(rows.map((row) => [row.containerId, row]));
  }

  private sandboxView(row: E2bSandboxEntity): object {
    return {
      sandboxID: row.containerId,
      templateID: row.template,
      clientID: 'berth',
      envdVersion: ENVD_VERSION,
      envdAccessToken: this.access.tokenOf(row),
      trafficAccessToken: this.access.trafficTokenOf(row),
      domain: this.config.PREVIEW_PORT === 'off' ? null : this.config.PREVIEW_DOMAIN,
    };
  }
}

type Listed = ReturnType<typeof listedView>;

/** @throws DomainError `invalid_parameters` */
function filterOf(query: Readonly<ListDto>): (sandbox: Listed) => boolean {
  const pairs = [...new URLSearchParams(query.metadata ?? '')];
  const metadata = pairs.map((pair) => pair.map(decoded) as [string, string]);
  const states: readonly string[] = query.state?.split(',') ?? ['running', 'paused'];
  const since = query.startedAfter === undefined ? -Infinity : Date.parse(query.startedAfter);
  if (Number.isNaN(since)) throw invalidParameters([{ field: 'startedAfter', message: 'must be a time' }]);
  return (sandbox) =>
    states.includes(sandbox.state) &&
    Date.parse(sandbox.startedAt) >= since &&
    (query.template === undefined || query.template === sandbox.templateID) &&
    metadata.every(([key, value]) => sandbox.metadata[key] === value);
}

/** @throws DomainError `invalid_parameters` */
function newerThan(token: string): (sandbox: Listed) => boolean {
  const { createdAt, id } = decodeCursor(token);
  return ({ startedAt, sandboxID }) => {
    const later = Date.parse(startedAt) - createdAt.getTime();
    return later > 0 || (later === 0 && sandboxID > id);
  };
}

function templateOf({ template, image }: ContainerView): string {
  return template?.name ?? image;
}

/** E2B's own templates, and the images in their place. */
const TEMPLATES: Readonly<Record<string, string>> = { base: 'sandbox', 'code-interpreter-v1': 'code' };

/** The image, or the template of Berth, that a template of E2B stands for. */
export function imageOf(template: string): string {
  return TEMPLATES[template] ?? template;
}

function lifetimeOf(timeout: number | undefined): number {
  return Math.max(1, timeout ?? DEFAULT_TIMEOUT_SECONDS);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidParameters([{ field: 'metadata', message: 'must be URL-encoded twice' }]);
  }
}

function metadataOf(value: Readonly<Record<string, unknown>> = {}): Record<string, string> {
  const entries = Object.entries(value);
  const isText = entries.every((pair): pair is [string, string] => typeof pair[1] === 'string');
  if (!isText || JSON.stringify(value).length > 16_384) {
    throw invalidParameters([{ field: 'metadata', message: 'must have string values, 16 KiB in all' }]);
  }
  return Object.fromEntries(entries);
}

function listedView(view: ContainerView, row: E2bSandboxEntity | undefined) {
  return {
    sandboxID: view.db_id,
    templateID: row?.template ?? templateOf(view),
    alias: view.name,
    clientID: 'berth',
    startedAt: view.created_at,
    endAt: view.ends_at ?? view.expires_at ?? NEVER,
    cpuCount: cpuCountOf(view.resources.cpu_shares),
    memoryMB: view.resources.memory_mb,
    diskSizeMB: view.resources.disk_mb,
    metadata: row?.metadata ?? view.labels,
    state: STATES[view.status],
    envdVersion: ENVD_VERSION,
    volumeMounts: [],
  };
}

/** A stopped container is a sandbox that was paused without its memory; a failed one is no sandbox. */
const STATES = {
  creating: 'running',
  running: 'running',
  paused: 'paused',
  stopped: 'paused',
  error: 'error',
} as const;
