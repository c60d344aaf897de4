import { Injectable } from '@nestjs/common';
import { z } from 'zod';
import {
  ContainersService,
  CreateContainerDto,
  ForkContainerDto,
  Forks,
  SnapshotsService,
  StatusWait,
} from '../containers';
import { DomainError } from '../errors';
import { createValidationPipe } from '../http';
import { ContainerPorts, LINK_SECONDS } from '../previews';
import { defineTool, SANDBOX, type Tool, type ToolCall } from './tool';

/** How long a call waits for a sandbox or a snapshot: less than clients usually wait for an answer. */
const WAIT_MS = 45_000;

const PAGE = 20;

const SANDBOX_VIEW = z.object({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  status_reason: z.string().nullable(),
  image: z.string(),
  memory_mb: z.number(),
  cpu_shares: z.number(),
  disk_mb: z.number(),
  expires_at: z.string().nullable(),
});
/** The tier's limits apply. */
const AMOUNT = z.number().optional();

type SandboxView = z.output<typeof SANDBOX_VIEW>;

/** A container or an agent, as the services show it. */
type Shown = Awaited<ReturnType<ContainersService['list']>>['containers'][number];

const pipe = createValidationPipe();

/** Tools for whole sandboxes, and for their ports. */
@Injectable()
export class SandboxTools {
  constructor(
    private readonly containers: ContainersService,
    private readonly statusWait: StatusWait,
    private readonly forks: Forks,
    private readonly snapshots: SnapshotsService,
    private readonly ports: ContainerPorts,
  ) {}

  readonly tools: readonly Tool[] = [
    defineTool({
      name: 'sandbox_create',
      title: 'Create a sandbox',
      description:
        'Create an isolated Linux sandbox and wait until it runs: from an image, a snapshot (snapshot) or as a copy ' +
        'of a sandbox (fork_of). Only /home/user is sure to persist. Delete it when done.',
      annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false },
      input: {
        name: z.string().optional().describe('A-Z, a-z, 0-9, "-"'),
        image: z.string().optional().describe('Default: sandbox'),
        snapshot: z.string().optional().describe('Snapshot id'),
        fork_of: SANDBOX.optional(),
        memory_mb: AMOUNT,
        cpu_shares: AMOUNT.describe('1000 is one CPU'),
        disk_mb: AMOUNT,
        env: z.record(z.string(), z.string()).optional(),
        network: z.enum(['internet', 'none']).optional(),
        auto_stop_seconds: AMOUNT.describe('Stop when idle'),
      },
      output: { sandbox: SANDBOX_VIEW },
      scopeOf: () => 'write',
      auditOf: ({ fork_of: source }) => ({ action: source === undefined ? 'container.create' : 'container.fork' }),
      isCreation: () => true,
      run: async ({ fork_of: source, ...settings }, call) => ({ sandbox: await this.create(source, settings, call) }),
    }),
    defineTool({
      name: 'sandbox_list',
      title: 'List sandboxes',
      description: 'List your sandboxes, newest first, or show one.',
      annotations: { readOnlyHint: true },
      input: { sandbox: SANDBOX.optional(), cursor: z.string().max(400).optional().describe('next of a page') },
      output: { sandboxes: z.array(SANDBOX_VIEW), next: z.string().nullable() },
      scopeOf: () => 'read',
      auditOf: () => null,
      run: async ({ sandbox, cursor }, { caller }) => {
        if (sandbox !== undefined) {
          const { id } = await this.containers.findNamed(caller, sandbox);
          return { sandboxes: [viewOf(await this.containers.get(caller, id))].flat(), next: null };
        }
        const query = { limit: PAGE, ...(cursor !== undefined && { cursor }) };
        const { containers, next_cursor: next } = await this.containers.list(caller, query);
        return { sandboxes: containers.flatMap(viewOf), next };
      },
    }),
    defineTool({
      name: 'sandbox_control',
      title: 'Start, stop or snapshot a sandbox',
      description:
        'start: run a stopped sandbox, with its files. stop: end all its processes, keep its files. snapshot: save ' +
        'its files as a snapshot, for sandbox_create.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: false },
      input: {
        sandbox: SANDBOX,
        action: z.enum(['start', 'stop', 'snapshot']),
        name: z
          .string()
          .regex(/^[A-Za-z0-9-]{1,64}$/)
          .optional()
          .describe('Of the snapshot'),
      },
      output: { id: z.string(), status: z.string(), snapshot: z.string().optional() },
      scopeOf: () => 'write',
      auditOf: ({ action }) => ({ action: `container.${action}` }),
      isCreation: ({ action }) => action === 'snapshot',
      run: async ({ sandbox, action, name }, call) => {
        const { caller, signal } = call;
        const { id } = await this.containers.findNamed(caller, sandbox);
        if (action !== 'snapshot') return { id, status: (await this.containers[action](caller, id)).status };
        const made = await this.snapshots.create(caller, id, name === undefined ? {} : { name });
        const waiting = this.snapshots.wait(caller, made.id, { timeoutMs: WAIT_MS, signal });
        const { status } = await unlessLate(waiting, () => this.snapshots.get(caller, made.id));
        return { id, status, snapshot: made.id };
      },
    }),
    defineTool({
      name: 'sandbox_delete',
      title: 'Delete a sandbox',
      description: 'Delete a sandbox with its processes. Its user can restore it until restorable_until.',
      annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true },
      input: { sandbox: SANDBOX },
      output: { id: z.string(), name: z.string(), restorable_until: z.string().nullable() },
      scopeOf: () => 'write',
      auditOf: () => ({ action: 'container.delete' }),
      run: async ({ sandbox }, { caller }) => {
        const { id } = await this.containers.findNamed(caller, sandbox);
        const deleted = await this.containers.delete(caller, id);
        return { id, name: deleted.name, restorable_until: 'purge_at' in deleted ? deleted.purge_at : null };
      },
    }),
    defineTool({
      name: 'port_link',
      title: 'Link to a port',
      description:
        'Create a URL under which people with it see what listens on a port of the sandbox, until it expires.',
      annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false },
      input: {
        sandbox: SANDBOX,
        port: z.int().min(1).max(65_535),
        expires_in: z.int().min(LINK_SECONDS.min).max(LINK_SECONDS.max).optional().describe('Seconds; default: a day'),
      },
      output: { url: z.string(), port: z.number(), expires_at: z.string() },
      scopeOf: () => 'exec',
      auditOf: () => ({ action: 'container.link_create' }),
      run: async ({ sandbox, port, expires_in: seconds }, { caller }) => {
        const { id } = await this.containers.findNamed(caller, sandbox);
        const asked = { port: String(port), ...(seconds !== undefined && { expires_in: seconds }) };
        const link = await this.ports.createLink(caller, id, asked);
        return { url: link.url, port, expires_at: link.expires_at };
      },
    }),
  ];

  private async create(
    source: string | undefined,
    settings: object,
    { caller, signal }: ToolCall,
  ): Promise<SandboxView> {
    const id =
      source === undefined ? await this.createNew(settings, caller) : await this.fork(source, settings, caller);
    const waiting = this.statusWait.until(caller, id, { status: 'running', timeoutMs: WAIT_MS, signal });
    const [view] = viewOf(await unlessLate(waiting, () => this.containers.get(caller, id)));
    if (!view) throw new DomainError('internal_error');
    if (view.status !== 'error') return view;
    const { name, status, status_reason: reason } = view;
    throw new DomainError('status_unreachable', { fields: { id, name, status, status_reason: reason } });
  }

  private async createNew(settings: object, caller: ToolCall['caller']): Promise<string> {
    const body = 'snapshot' in settings ? settings : { image: 'sandbox', ...settings };
    // The same rules as for the route.
    const asked: unknown = await pipe.transform(body, { type: 'body', metatype: CreateContainerDto });
    return (await this.containers.create(caller, asked as CreateContainerDto)).db_id;
  }

  private async fork(source: string, settings: object, caller: ToolCall['caller']): Promise<string> {
    const { id } = await this.containers.findNamed(caller, source);
    const asked: unknown = await pipe.transform(settings, { type: 'body', metatype: ForkContainerDto });
    const made = await this.forks.fork(caller, id, asked as ForkContainerDto, {});
    const [first] = 'containers' in made ? made.containers : [made];
    if (!first) throw new DomainError('internal_error');
    return first.db_id;
  }
}

/** @returns none for an agent */
function viewOf(shown: Shown | Awaited<ReturnType<ContainersService['get']>>): SandboxView[] {
  if (!('db_id' in shown)) return [];
  const { db_id: id, name, status, status_reason: reason, image, resources, expires_at: end } = shown;
  return [Object.assign({ id, name, status, status_reason: reason, image }, resources, { expires_at: end })];
}

/** What is waited for; or how it is when the wait is over: the operation goes on, or has failed. */
async function unlessLate<T, E>(waiting: Promise<T>, look: () => Promise<E>): Promise<T | E> {
  try {
    return await waiting;
  } catch (error) {
    const isKnown = error instanceof DomainError && /^status_(not_reached|unreachable)$/.test(error.kind);
    if (!isKnown) throw error;
    return look();
  }
}
