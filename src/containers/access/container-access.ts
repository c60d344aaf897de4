import { Injectable } from '@nestjs/common';
import { AgentsService } from '../../agents';
import { noteProgram } from '../../audit';
import { type Principal, TokenReach, TokenService } from '../../auth';
import { DomainError } from '../../errors';
import { requestContext } from '../../logging';
import { Clock } from '../../scheduling';
import { TiersService } from '../../tiers';
import type { ContainerReference } from '../model/container-id';
import type { ContainerRow } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { DeletedContainers } from '../rows/deleted-containers';
import type { SettingsPatch } from '../dto/requests';
import { environmentOf } from '../rows/environments';
import { NetworkPolicies } from '../policies/network-policies';

/** The user on whose behalf an action runs. A {@link Principal} is one; internal modules may build their own. */
export type Caller = Pick<Principal, 'userId' | 'tier' | 'sessionExpiresAt' | 'boundTo'>;

/** Whose containers are looked for, and which of them. */
export type Owner = Pick<Caller, 'userId' | 'boundTo'>;

/** Adds the container and its owner to the request's logging and audit context. */
export function noteSubject(row: Pick<ContainerRow, 'id' | 'userId'>): void {
  const context = requestContext.getStore();
  if (context) Object.assign(context, { containerId: row.id, subjectUserId: row.userId });
}

/** Decides whether a caller may do anything with a container, live or deleted, or with a snapshot of it. */
@Injectable()
export class ContainerRights {
  constructor(
    private readonly reach: TokenReach,
    deleted: DeletedContainers,
    tokens: TokenService,
  ) {
    deleted.onPurge((containerId) => tokens.revokeBoundTo(containerId));
  }

  /**
   * Adds the container and its owner to the request's context. Most requests need no more than the row, and get no
   * promise.
   *
   * @throws DomainError `not_authorized` if the container belongs to another user, or the token is for another one
   */
  assertOwner(caller: Owner, row: Pick<ContainerRow, 'id' | 'userId'>): Promise<void> | undefined {
    noteSubject(row);
    if (row.userId !== caller.userId) throw new DomainError('not_authorized');
    return caller.boundTo === null ? undefined : this.reach.assert(caller, row.id);
  }

  /** @returns the ids of the only containers that a list shows the caller; null: all of the user's */
  async listedFor(caller: Owner): Promise<readonly string[] | null> {
    const ids = await this.reach.idsOf(caller);
    return ids && [...ids];
  }
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
    private readonly rights: ContainerRights,
    private readonly agents: AgentsService,
    private readonly tiers: TiersService,
    private readonly policies: NetworkPolicies,
    private readonly clock: Clock,
  ) {}

  /**
   * Finds a container to read, stop or delete. A guest whose session is over may still do so.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`; for an agent's id `agent_not_found`,
   *   `not_authorized` or `invalid_parameters`
   */
  async find(caller: Owner, id: string): Promise<ContainerRow> {
    const reference = await this.repository.resolve(id, { userId: caller.userId });
    if (reference?.kind === 'agent') return this.agents.refuse(caller, reference.id);
    const row = reference && (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    const asserted = this.rights.assertOwner(caller, row);
    if (asserted) await asserted;
    return row;
  }

  /**
   * Finds a container by its name, or else by any form of its id: a name may look like an id.
   *
   * @throws DomainError as {@link find} does
   */
  async findNamed(caller: Owner, nameOrId: string): Promise<ContainerRow> {
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
   * @returns also the patch, with the network and the variables as they are to be
   * @throws DomainError as {@link findInSession} does, `invalid_parameters` if the tier does not allow them or this
   *   machine cannot enforce them, `exec_not_allowed` if the settings have a start command and the tier does not
   *   allow exec
   */
  async findToUpdate(
    caller: Caller,
    id: string,
    patch: SettingsPatch,
  ): Promise<{ readonly row: ContainerRow; readonly patch: SettingsPatch }> {
    const row = await this.findInSession(caller, id);
    this.tiers.assertWithin(caller.tier, patch, patch);
    const { network: asked, start } = patch;
    const network = asked === undefined ? undefined : this.policies.resolve(caller.tier, asked ?? undefined);
    const env = patch.isWhole ? environmentOf(patch) : null;
    if (start) this.tiers.assertExec(caller.tier);
    // That of a merge patch is known under the lease.
    if (patch.isWhole && patch.start) noteProgram(patch.start.command);
    return { row, patch: { ...patch, ...(network && { network }), ...(env && { env }) } };
  }

  /**
   * Resolves the id of a container to restore, deleted or not.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`; for an agent's id as {@link find}
   */
  async resolveDeleted(caller: Owner, id: string): Promise<ContainerReference> {
    const reference = await this.repository.resolve(id, { userId: caller.userId, deleted: true });
    if (reference?.kind === 'agent') return this.agents.refuse(caller, reference.id);
    if (!reference) throw new DomainError('container_not_found');
    return reference;
  }
}
