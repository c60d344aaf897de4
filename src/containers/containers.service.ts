import { Injectable } from '@nestjs/common';
import { type AgentDeletedView, AgentsService, type AgentStoppedView, type AgentView } from '../agents';
import type { ExecRequest } from '../engine';
import { DomainError } from '../errors';
import type { TaggedRequest } from '../http';
import type { RequestKey } from '../idempotency';
import { type Caller, ContainerAccess, type Owner } from './access/container-access';
import { agentIdOf } from './model/container-id';
import { type ContainerEntry, ContainerUsage, type RunningContainer } from './access/container-usage';
import { ContainerViews, type ListQuery } from './container-views';
import type { ContainerRow } from './model/container.entity';
import { settingsTag } from './model/settings-tag';
import { Creation } from './creation/creation';
import type { CreateRequest } from './creation/specification';
import type { SettingsPatch } from './dto/requests';
import * as answer from './dto/responses';
import type { ContainerListView, ContainerView } from './dto/responses';
import { deleting } from './operations/delete';
import { OperationRunner } from './operations/operation-runner';
import { pausing } from './operations/pause';
import { resuming } from './operations/resume';
import { starting } from './operations/start';
import { stopping } from './operations/stop';
import { updating } from './operations/update';
import { Restoration } from './restoration';
import type { Variables } from './rows/environments';

interface EnterOptions {
  readonly mayBePaused?: boolean;
}

/** Conditions on the settings' entity tag, and its receiver; by default none. */
interface TagOptions {
  readonly tag?: TaggedRequest;
}

/**
 * The REST API's operations on a user's containers, also for other modules. Ids may have any form that the API
 * accepts. All methods throw {@link DomainError}: `container_not_found`, `ambiguous_id`, `not_authorized`, and those
 * that each method documents.
 */
@Injectable()
export class ContainersService {
  constructor(
    private readonly access: ContainerAccess,
    private readonly views: ContainerViews,
    private readonly creation: Creation,
    private readonly operations: OperationRunner,
    private readonly restoration: Restoration,
    private readonly usage: ContainerUsage,
    private readonly agents: AgentsService,
  ) {}

  /**
   * Accepts a new container. It is created in the background, and events report the progress.
   *
   * @throws DomainError `invalid_parameters`, `container_limit_reached`, `name_taken`, `guest_session_expired`,
   *   `idempotency_key_reused`, `no_capacity`, `exec_not_allowed`
   */
  async create(caller: Caller, request: CreateRequest, key: RequestKey = {}): Promise<answer.ContainerCreatedView> {
    return this.creation.accept(caller, request, key);
  }

  /**
   * One page of the caller's containers, newest first, and the event number to watch from. The first page includes
   * the online agents.
   */
  async list(caller: Caller, query: ListQuery = {}): Promise<ContainerListView> {
    return this.views.list(caller, query);
  }

  /** @param options.tag gets the settings' tag; its conditions are ignored */
  async get(caller: Caller, id: string, { tag }: TagOptions = {}): Promise<ContainerView | AgentView> {
    const agentId = agentIdOf(id);
    if (agentId !== null) return this.agents.get(caller, agentId);
    const row = await this.access.find(caller, id);
    tag?.answerWith(settingsTag(row));
    return this.views.of(caller, row);
  }

  /** See {@link starting}. @throws DomainError as it does, `guest_session_expired` */
  async start(caller: Caller, id: string): Promise<answer.ContainerStartedView> {
    return answer.started(await this.operations.run(await this.access.findInSession(caller, id), starting()));
  }

  /** See {@link stopping}; an agent is disconnected. @throws DomainError as it does */
  async stop(caller: Caller, id: string): Promise<answer.ContainerStoppedView | AgentStoppedView> {
    const agentId = agentIdOf(id);
    if (agentId !== null) return this.agents.stop(caller, agentId);
    return answer.stopped(await this.operations.run(await this.access.find(caller, id), stopping()));
  }

  /** See {@link pausing}. @throws DomainError as it does, `guest_session_expired` */
  async pause(caller: Caller, id: string): Promise<answer.ContainerPausedView> {
    return answer.paused(await this.operations.run(await this.access.findInSession(caller, id), pausing()));
  }

  /** See {@link resuming}. @throws DomainError as it does, `guest_session_expired` */
  async resume(caller: Caller, id: string): Promise<answer.ContainerResumedView> {
    return answer.resumed(await this.operations.run(await this.access.findInSession(caller, id), resuming()));
  }

  /**
   * A soft deletion: the name and the place in the tier's limit are free at once, the volume is kept until
   * `purge_at`.
   *
   * @param options.force delete the container even if Docker refuses
   * @throws DomainError `delete_failed`, `operation_in_progress`
   */
  async delete(
    caller: Caller,
    id: string,
    { force = false }: { force?: boolean } = {},
  ): Promise<answer.ContainerDeletedView | AgentDeletedView> {
    const agentId = agentIdOf(id);
    if (agentId !== null) return this.agents.delete(caller, agentId);
    const row = await this.access.find(caller, id);
    return answer.deleted(await this.operations.run(row, deleting({ isForced: force })));
  }

  /**
   * Restores a deleted container as `stopped`, if its data is still kept; the next start recreates it. A live
   * container is left unchanged.
   *
   * @throws DomainError `name_taken`, `container_limit_reached`, `guest_session_expired`, `operation_in_progress`,
   *   `removal_pending`
   */
  async restore(caller: Caller, id: string): Promise<answer.ContainerRestoredView> {
    const reference = await this.access.resolveDeleted(caller, id);
    return answer.restored(await this.restoration.restore(caller, reference));
  }

  /**
   * Changes the name, resources, network, environment variables, labels, start command and idle limits; absent ones
   * stay, and null removes an optional one. Another size or network recreates the container, which keeps its data.
   * Other variables are those of the programs that are started from then on. The patch is applied to the settings under
   * the container's lease, so that concurrent patches of different settings all hold.
   *
   * @throws DomainError `invalid_parameters`, `name_taken`, `update_failed`, `operation_in_progress`,
   *   `guest_session_expired`, `no_capacity`, `exec_not_allowed`, `precondition_failed`
   */
  async update(
    caller: Caller,
    id: string,
    patch: SettingsPatch,
    { tag }: TagOptions = {},
  ): Promise<answer.ContainerUpdatedView> {
    const allowed = await this.access.findToUpdate(caller, id, patch);
    const updated = await this.operations.run(allowed.row, updating(allowed.patch, tag));
    tag?.answerWith(settingsTag(updated.row));
    return answer.updated(updated);
  }

  /**
   * Replaces all labels. Makes no Docker call.
   *
   * @throws DomainError `operation_in_progress`, `guest_session_expired`, `precondition_failed`
   */
  async replaceLabels(
    caller: Caller,
    id: string,
    labels: Readonly<Record<string, string>>,
    { tag }: TagOptions = {},
  ): Promise<ContainerView> {
    const row = await this.access.findInSession(caller, id);
    const relabelled = await this.operations.run(row, updating({ labels, isWhole: true }, tag));
    tag?.answerWith(settingsTag(relabelled.row));
    return this.views.of(caller, relabelled.row);
  }

  /**
   * Records a use, so that the container does not count as idle. For internal modules whose traffic the API does not
   * see, such as terminals and proxies. Call it at every use: it writes at most once a minute, and emits no event.
   */
  async touch(caller: Owner, id: string): Promise<void> {
    await this.usage.note(await this.access.find(caller, id));
  }

  /** Like {@link touch}; resumes the container if it is paused. @throws DomainError as {@link resumed} */
  async touchResumed(caller: Owner, id: string): Promise<void> {
    await this.usage.note(await this.awake(await this.access.find(caller, id)));
  }

  /**
   * Records a use that a client requests: immediately. A paused container stays paused.
   *
   * @throws DomainError `guest_session_expired`
   */
  async touchNow(caller: Caller, id: string): Promise<ContainerView> {
    const row = await this.access.findInSession(caller, id);
    await this.usage.touch(row);
    return this.views.of(caller, await this.access.find(caller, row.id));
  }

  /**
   * Runs a command in a running container, or in a paused one, which is resumed first, and waits for its end; the
   * container counts as used until then. For internal modules such as terminals and file managers: the request is the
   * engine's own, so output is passed to `onOutput`, and `timeoutMs` bounds the wait. The command gets the container's
   * variables too. Operations on the container do not wait for the command: a stop ends it, usually with exit code 137.
   *
   * @throws DomainError as {@link resumed}, `container_not_running`, `exec_not_allowed`; EngineError
   *   `command_not_started`, `timed_out`, `output_too_large` and `aborted` (what may continue in the container: see
   *   the engine's port), `docker_unavailable`
   */
  async exec(caller: Caller, id: string, request: ExecRequest): Promise<{ exitCode: number }> {
    return this.inside(caller, id, (container) => this.usage.exec(container, request));
  }

  /**
   * Enters a running container, which counts as used until it is left. A paused container is resumed first.
   *
   * @param options.mayBePaused leaves a paused container paused: nothing is run in it
   * @throws DomainError as {@link resumed}; `container_not_running`, `exec_not_allowed`
   */
  async enter(caller: Caller, id: string, { mayBePaused = false }: EnterOptions = {}): Promise<ContainerEntry> {
    const row = await this.access.findToEnter(caller, id);
    if (mayBePaused) return this.usage.enter(row);
    return this.usage.enter(await this.awake(row), (error) => this.awakeAgain(caller, id, error));
  }

  /** {@link enter}s a container, runs `work`, and leaves. @throws DomainError as {@link enter}, `ContainerEntry.run` */
  async inside<T>(
    caller: Caller,
    id: string,
    work: (container: RunningContainer) => Promise<T>,
    options?: EnterOptions,
  ): Promise<T> {
    const entry = await this.enter(caller, id, options);
    try {
      return await entry.run(work);
    } finally {
      await entry.leave();
    }
  }

  /**
   * Resumes a container that the caller is about to use, if it is paused.
   *
   * @throws DomainError `no_capacity`, `resume_failed`, `operation_in_progress`, `guest_session_expired`
   */
  async resumed(caller: Caller, id: string): Promise<void> {
    await this.awake(await this.access.findInSession(caller, id));
  }

  /**
   * Waits for a snapshot that is being made of the container. A paused container stays paused.
   *
   * @throws DomainError `operation_in_progress`
   */
  async afterSnapshot(caller: Owner, id: string): Promise<ContainerRow> {
    return this.operations.afterSnapshot(await this.access.find(caller, id));
  }

  /**
   * Checks that the caller may work inside their own containers.
   *
   * @throws DomainError `guest_session_expired`, `exec_not_allowed`
   */
  assertMayEnter(caller: Caller): void {
    this.access.assertMayEnter(caller);
  }

  /** Finds a container, running or not, for past or present work inside it. Records a use. */
  async findToUse(caller: Caller, id: string): Promise<ContainerRow> {
    const row = await this.access.findToEnter(caller, id);
    await this.usage.note(row);
    return row;
  }

  /**
   * Finds the row for any form of a container's id.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`; for an agent's id `agent_not_found`,
   *   `not_authorized` or `invalid_parameters`
   */
  async find(caller: Owner, id: string): Promise<ContainerRow> {
    return this.access.find(caller, id);
  }

  /** Like {@link find}, by the container's name, or else by any form of its id. */
  async findNamed(caller: Owner, nameOrId: string): Promise<ContainerRow> {
    return this.access.findNamed(caller, nameOrId);
  }

  /** The names of the container's environment variables. @throws SecretsError */
  async variables(caller: Caller, id: string): Promise<answer.VariableListView> {
    const names = Object.keys(this.environmentOf(await this.access.find(caller, id))).sort();
    return { variables: names.map((name) => ({ name })), count: names.length };
  }

  /** @throws DomainError `variable_not_found`, `guest_session_expired`, `exec_not_allowed`; SecretsError */
  async variable(caller: Caller, id: string, name: string): Promise<answer.VariableView> {
    const variables = new Map(Object.entries(this.environmentOf(await this.access.findToEnter(caller, id))));
    const value = variables.get(name);
    if (value === undefined) throw new DomainError('variable_not_found');
    return { name, value };
  }

  /** The variables of the container's programs. @throws SecretsError */
  environmentOf(row: ContainerRow): Variables {
    return this.usage.environmentOf(row);
  }

  /** Makes a container ready for programs: waits for a snapshot that suspends it, and resumes it if it is paused. */
  private async awake(row: ContainerRow): Promise<ContainerRow> {
    const settled = await this.operations.afterSnapshot(row);
    return settled.status === 'paused' ? this.operations.run(settled, resuming()) : settled;
  }

  /**
   * A snapshot may suspend the container between the read of its row and the first call to Docker.
   *
   * @throws `error` if the container was paused otherwise
   */
  private async awakeAgain(caller: Caller, id: string, error: unknown): Promise<ContainerRow> {
    const row = await this.access.findToEnter(caller, id);
    const isOver = row.operation === null && row.status === 'running';
    if (!isOver && row.operation !== 'snapshot') throw error;
    return this.awake(row);
  }
}
