import { Injectable } from '@nestjs/common';
import { AgentsService } from '../../agents';
import { noteProgram } from '../../audit';
import type { Principal } from '../../auth';
import { DomainError } from '../../errors';
import { requestContext } from '../../logging';
import type { NetworkPolicy } from '../../network-policy';
import { Clock } from '../../scheduling';
import { TiersService } from '../../tiers';
import type { ContainerReference } from '../model/container-id';
import type { ContainerRow } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import type { PatchContainerDto, UpdateContainerDto } from '../dto/requests';
import { environmentOf, Environments, type Variables } from '../rows/environments';
import { NetworkPolicies } from '../policies/network-policies';
import type { Change, Wanted } from '../operations/update';
import { type StartCommand, startCommandOf } from '../model/start-command';
import { mergedSettings } from './settings-patch';

/** The user on whose behalf an action runs. A {@link Principal} is one; internal modules may build their own. */
export type Caller = Pick<Principal, 'userId' | 'tier' | 'sessionExpiresAt'>;

/** A change of a container's settings that its user may make. */
interface Asked {
  readonly row: ContainerRow;
  readonly change: Change;
}

type PlainSettings = Readonly<Omit<PatchContainerDto, 'network' | keyof MoreSettings>>;

/** Settings in the form of the row; absent ones stay. */
interface MoreSettings {
  readonly network?: NetworkPolicy | null | undefined;
  readonly env?: Variables | undefined;
  readonly labels?: Variables | undefined;
  readonly start?: StartCommand | null | undefined;
}

/** Adds the container and its owner to the request's logging and audit context. */
export function noteSubject(row: Pick<ContainerRow, 'id' | 'userId'>): void {
  const context = requestContext.getStore();
  if (context) Object.assign(context, { containerId: row.id, subjectUserId: row.userId });
}

/**
 * Adds the container and its owner to the request's context.
 *
 * @throws DomainError `not_authorized` if the container belongs to another user
 */
export function assertOwner(caller: { readonly userId: string }, row: Pick<ContainerRow, 'id' | 'userId'>): void {
  noteSubject(row);
  if (row.userId !== caller.userId) throw new DomainError('not_authorized');
}

/**
 * Finds any user's container, for an operator, and adds it and its owner to the request's context.
 *
 * @param id any form of the container's ids
 * @throws DomainError `container_not_found`, `ambiguous_id`
 */
export async function findForOperator(repository: ContainerRepository, id: string): Promise<ContainerRow> {
  const reference = await repository.resolve(id);
  const row = reference && (await repository.find(reference));
  if (!row) throw new DomainError('container_not_found');
  noteSubject(row);
  return row;
}

/** @throws DomainError `guest_session_expired` if the caller is a guest whose session is over */
export function assertSession({ sessionExpiresAt }: { readonly sessionExpiresAt: Date | null }, now: Date): void {
  if (sessionExpiresAt !== null && sessionExpiresAt <= now) throw new DomainError('guest_session_expired');
}

/** Finds a caller's containers, by any form of their ids, and checks what the caller may do with them. */
@Injectable()
export class ContainerAccess {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly agents: AgentsService,
    private readonly tiers: TiersService,
    private readonly policies: NetworkPolicies,
    private readonly environments: Environments,
    private readonly clock: Clock,
  ) {}

  /**
   * Finds a container to read, stop or delete. A guest whose session is over may still do so.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`; for an agent's id `agent_not_found`,
   *   `not_authorized` or `invalid_parameters`
   */
  async find(caller: Pick<Caller, 'userId'>, id: string): Promise<ContainerRow> {
    const reference = await this.repository.resolve(id, { userId: caller.userId });
    if (reference?.kind === 'agent') return this.agents.refuse(caller, reference.id);
    const row = reference && (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    assertOwner(caller, row);
    return row;
  }

  /**
   * Finds a container by its name, or else by any form of its id: a name may look like an id.
   *
   * @throws DomainError as {@link find} does
   */
  async findNamed(caller: Pick<Caller, 'userId'>, nameOrId: string): Promise<ContainerRow> {
    const named = await this.repository.idOfName({ userId: caller.userId, name: nameOrId });
    return this.find(caller, named ?? nameOrId);
  }

  /** Finds a container to start, change or use. @throws DomainError as {@link find} does, `guest_session_expired` */
  async findInSession(caller: Caller, id: string): Promise<ContainerRow> {
    const row = await this.find(caller, id);
    assertSession(caller, this.clock.now());
    return row;
  }

  /**
   * Finds a container to run something inside it.
   *
   * @throws DomainError as {@link findInSession} does, `exec_not_allowed`
   */
  async findToEnter(caller: Caller, id: string): Promise<ContainerRow> {
    const row = await this.findInSession(caller, id);
    this.tiers.assertExec(caller.tier);
    return row;
  }

  /** @throws DomainError `guest_session_expired`, `exec_not_allowed` */
  assertMayEnter(caller: Caller): void {
    assertSession(caller, this.clock.now());
    this.tiers.assertExec(caller.tier);
  }

  /**
   * Finds a container to change its settings, and checks the new settings.
   *
   * @param settings absent ones stay as they are
   * @throws DomainError as {@link findInSession} does, `invalid_parameters` if the tier does not allow them or this
   *   machine cannot enforce them, `exec_not_allowed` if the settings have a start command and the tier does not
   *   allow exec
   */
  async findToUpdate(caller: Caller, id: string, settings: Readonly<UpdateContainerDto>): Promise<Asked> {
    const row = await this.findInSession(caller, id);
    this.tiers.assertWithin(caller.tier, settings, settings);
    const network = settings.network && this.policies.resolve(caller.tier, settings.network);
    const env = environmentOf(settings) ?? undefined;
    const start = settings.start && this.checkedStart(caller, startCommandOf(settings.start));
    return { row, change: (leased) => this.wanted(leased, settings, { network, env, start }) };
  }

  /**
   * As {@link findToUpdate}, for a merge patch (RFC 7396). It is merged with the row under the lease.
   *
   * @throws DomainError as {@link findToUpdate} does; the returned change also `invalid_parameters`, if the merged
   *   settings are invalid
   */
  async findToPatch(caller: Caller, id: string, patch: Readonly<PatchContainerDto>): Promise<Asked> {
    const row = await this.findInSession(caller, id);
    this.tiers.assertWithin(caller.tier, patch, patch);
    const network =
      patch.network === undefined ? undefined : this.policies.resolve(caller.tier, patch.network ?? undefined);
    if (patch.start) this.tiers.assertExec(caller.tier);
    return {
      row,
      change: (leased) => {
        const { labels, start } = leased;
        const merged = mergedSettings({ labels, start, env: () => this.environments.open(leased) }, patch);
        if (merged.start) this.checkedStart(caller, merged.start);
        return this.wanted(leased, patch, { ...merged, network });
      },
    };
  }

  /**
   * Resolves the id of a container to restore, deleted or not.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`; for an agent's id as {@link find}
   */
  async resolveDeleted(caller: Pick<Caller, 'userId'>, id: string): Promise<ContainerReference> {
    const reference = await this.repository.resolve(id, { userId: caller.userId, deleted: true });
    if (reference?.kind === 'agent') return this.agents.refuse(caller, reference.id);
    if (!reference) throw new DomainError('container_not_found');
    return reference;
  }

  /** @throws DomainError `exec_not_allowed` */
  private checkedStart({ tier }: Caller, start: StartCommand): StartCommand {
    this.tiers.assertExec(tier);
    noteProgram(start.command);
    return start;
  }

  /** @param more the settings that take more than a copy */
  private wanted(row: ContainerRow, settings: PlainSettings, more: MoreSettings): Wanted {
    const env = more.env && this.environments.replacement(row.id, more.env);
    return {
      name: settings.name ?? row.name,
      memoryMb: settings.memory_mb ?? row.memoryMb,
      cpuShares: settings.cpu_shares ?? row.cpuShares,
      diskMb: settings.disk_mb ?? row.diskMb,
      network: more.network ?? row.network,
      autoStopSeconds: settings.auto_stop_seconds,
      idleAction: settings.idle_action,
      autoDeleteSeconds: settings.auto_delete_seconds,
      autoStart: settings.auto_start === null ? false : settings.auto_start,
      start: more.start,
      labels: more.labels,
      // Equal variables count as absent.
      ...(env?.differsFrom(row) === true && { env }),
    };
  }
}
