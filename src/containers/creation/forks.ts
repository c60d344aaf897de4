import { Injectable } from '@nestjs/common';
import { insufficientScope } from '../../auth';
import { DomainError } from '../../errors';
import { IdempotencyKeys, onceOnly, type RequestKey } from '../../idempotency';
import { type Caller, ContainerAccess } from '../access/container-access';
import { type ContainerCreatedView, created } from '../dto/responses';
import type { ForkContainerDto, ForkedContainersView } from '../dto/snapshots';
import type { ContainerRow } from '../model/container.entity';
import { nameAfter } from '../model/snapshot.entity';
import { creating } from '../operations/create';
import { OperationRunner } from '../operations/operation-runner';
import { SnapshotMaking } from '../snapshots/snapshot-making';
import { SnapshotRemoval } from '../snapshots/snapshot-removal';
import { Insertion, type NewRow } from './insertion';
import { endsOf, type Specification, Specifications } from './specification';

type Forked = ContainerCreatedView | ForkedContainersView;

/** Makes copies of containers, from a snapshot that exists only meanwhile. */
@Injectable()
export class Forks {
  constructor(
    private readonly containers: ContainerAccess,
    private readonly keys: IdempotencyKeys,
    private readonly specifications: Specifications,
    private readonly making: SnapshotMaking,
    private readonly insertion: Insertion,
    private readonly operations: OperationRunner,
    private readonly removal: SnapshotRemoval,
  ) {}

  /**
   * Accepts copies of a container: all of them or none. They are created in the background, and events report the
   * progress; each waits for the snapshot of the container.
   *
   * @returns the copy; or with `count` all of them
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `guest_session_expired`,
   *   `container_limit_reached`, `name_taken`, `no_capacity`, `invalid_parameters` if the files outside the home are
   *   larger than the container's disk, `container_not_running` if the container's own creation
   *   is under way or has failed, `operation_in_progress`, `idempotency_key_reused`, `snapshot_failed`,
   *   `insufficient_permissions` if the token is for one container without its forks
   */
  async fork(
    caller: Caller,
    id: string,
    request: Readonly<ForkContainerDto>,
    { key, onReplayed }: RequestKey,
  ): Promise<Forked> {
    if (caller.boundTo?.withForks === false) throw insufficientScope();
    const source = await this.containers.findInSession(caller, id);
    const once = onceOnly(key, { route: 'fork', container: source.id, ...request });
    const earlier = await this.keys.earlier<Forked>(caller.userId, once);
    if (earlier) {
      onReplayed?.();
      return earlier;
    }
    const settings = this.specifications.ofCopy(caller.tier, source);
    const copies = this.copiesOf(source, settings, namesOf(request));
    const views = copies.map(({ row }) => created(row, { session: caller, tier: settings.limits }));
    const [view] = views;
    if (!view) throw new DomainError('internal_error');
    const answer: Forked = request.count === undefined ? view : { containers: views };
    const made = await this.making.begin(source, {
      name: null,
      description: null,
      labels: {},
      isTransient: true,
      onlyCopy: ({ nodeId }) => {
        const [copy, ...more] = copies;
        return more.length === 0 && copy?.row.nodeId === nodeId ? copy.row : null;
      },
      limits: settings.limits,
      around: async (snapshot, insertSnapshot) => {
        const options = { tier: settings.limits, once, answer, insertSnapshot };
        return { ...(await this.insertion.insertCopies(copies, snapshot, options)), snapshotId: snapshot.id };
      },
    });
    if (made.isReplayed) onReplayed?.();
    else void this.create(copies).then(() => this.removal.discard(made.snapshotId));
    return made.answer;
  }

  private copiesOf(source: ContainerRow, settings: Specification, names: readonly (string | null)[]): NewRow[] {
    const request = { labels: source.labels, ...endsOf(source) };
    return names.map((name) => {
      const { row, grant } = this.insertion.newRow({ userId: source.userId, request, settings, snapshot: null });
      return { row: { ...row, name: name ?? nameAfter(source, row.id), forkedFrom: source.id }, grant };
    });
  }

  /** Resolves once each copy is made or has failed. Never rejects. */
  private async create(copies: readonly NewRow[]): Promise<void> {
    const creation = creating({ isNew: true });
    await Promise.all(copies.map(({ row, grant }) => this.operations.runCreation(row, grant, creation)));
  }
}

/** With a count, a given name is that of all copies, with a number. */
function namesOf({ name, count }: Readonly<ForkContainerDto>): (string | null)[] {
  if (count === undefined) return [name ?? null];
  const numbered = (at: number): string | null => (name === undefined ? null : `${name.slice(0, 61)}-${String(at)}`);
  return Array.from({ length: count }, (_none, at) => numbered(at + 1));
}
