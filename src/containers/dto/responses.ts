import { ApiExtraModels, ApiProperty, ApiPropertyOptional, getSchemaPath, OmitType, PickType } from '@nestjs/swagger';
import { Amount, Choice, Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
import { AgentView } from '../../agents';
import { ApiNextCursor } from '../../http';
import { AUTO_END_SECONDS, IDLE_ACTIONS, type IdleAction, type Tier } from '../../tiers';
import {
  CONTAINER_STATUSES,
  containerFacts,
  ContainerFactsView,
  type ContainerRow,
  DeletedContainerFactsView,
  END_ACTIONS,
  type EndAction,
  isUp,
  MAX_LIFETIME_SECONDS,
  ROLE_STATUSES,
  type RoleStatus,
  type Started,
} from '../model/container.entity';
import { SHOWN_START_SCHEMA, type StartCommand } from '../model/start-command';

/** The template that a container was created from. */
class UsedTemplateView {
  @Text({ example: 'node-tools' }) readonly name: string;
  @Text('Version of the template at creation.', { example: '2026-11' })
  readonly version: string;
}

const USED_TEMPLATE = {
  type: UsedTemplateView,
  nullable: true,
  example: null,
  description: 'Template that the container was created from; null if none.',
};

function usedTemplate({ templateName: name, templateVersion }: ContainerRow): UsedTemplateView | null {
  return name === null ? null : { name, version: templateVersion ?? '' };
}

class VariableNameView {
  @Text({ example: 'API_TOKEN' }) readonly name: string;
}

/** The names of a container's environment variables, in the response of `GET /api/containers/:id/env`. */
export class VariableListView {
  @ApiProperty({ type: [VariableNameView], description: 'Sorted by name.' })
  readonly variables: VariableNameView[];
  @Count({ example: 1 }) readonly count: number;
}

/** An environment variable of a container with its value, which may be a secret. */
export class VariableView extends VariableNameView {
  @Text({ example: 'hunter2' }) readonly value: string;
}

/** A container in the response of `GET /api/containers/:id`. */
export class ContainerView extends ContainerFactsView {
  @Uuid() readonly user_id: string;
  @Text(
    'Machine-readable reason for the status, such as image_not_found, or oom (the memory limit was exceeded, ' +
      'which ends all processes under gVisor). Null if the status needs no reason.',
    { nullable: true, example: null },
  )
  readonly status_reason: string | null;
  @Choice(
    ROLE_STATUSES,
    'Progress of the role installation, which runs in the background. Null if there is nothing to install.',
    { nullable: true, example: 'installed' },
  )
  readonly role_status: RoleStatus | null;
  @Timestamp() readonly created_at: string;
  @Timestamp() readonly updated_at: string;
  @Timestamp() readonly last_used_at: string;
  @Count('Whole seconds since last_used_at.', { example: 120 })
  readonly idle_seconds: number;
  @Timestamp(
    'When the run, or the guest session, ends. Null if neither is limited, and for stopped containers outside a ' +
      'guest session.',
    { nullable: true },
  )
  readonly expires_at: string | null;
  @Count(
    "Seconds of inactivity until the container is idle. Null: the tier default. The tier's limit applies if it " +
      'is lower.',
    { nullable: true, minimum: AUTO_END_SECONDS.min, maximum: AUTO_END_SECONDS.max, example: null },
  )
  readonly auto_stop_seconds: number | null;
  @Choice(IDLE_ACTIONS, 'Action when the container is idle. Null: the tier default.', { nullable: true, example: null })
  readonly idle_action: IdleAction | null;
  @Count('Seconds from the stop or last use until a stopped container is deleted. Null: the tier default.', {
    nullable: true,
    minimum: AUTO_END_SECONDS.min,
    maximum: AUTO_END_SECONDS.max,
    example: null,
  })
  readonly auto_delete_seconds: number | null;
  @Count('Seconds that each run may last. Null: as the tier and the session allow.', {
    nullable: true,
    minimum: 1,
    maximum: MAX_LIFETIME_SECONDS,
    example: null,
  })
  readonly lifetime_seconds: number | null;
  @Choice(END_ACTIONS, 'Action at the end of the lifetime.', { example: 'stop' })
  readonly end_action: EndAction;
  @Timestamp('When the lifetime of this run is over. Null without one, and if the container is not running.', {
    nullable: true,
  })
  readonly ends_at: string | null;
  @Flag('True if a preview request or an SSH session starts the stopped container.', { example: false })
  readonly auto_start: boolean;
  @Text('Null if the container is not running.', { nullable: true, example: '172.20.0.2' })
  readonly ip_address: string | null;
  @Text('Runtime: runsc (gVisor) or runc. Null before the first run.', { nullable: true, example: 'runsc' })
  readonly runtime: string | null;
  @ApiProperty({
    ...SHOWN_START_SCHEMA,
    selfRequired: true,
    example: null,
    description: 'Command to run after each start; null if none.',
  })
  readonly start: StartCommand | null;
  @Flag(
    'True if the start command is ready. False while the container is not running, and after the time limit for ' +
      'readiness. Null if "start" has no "ready".',
    { nullable: true, example: null },
  )
  readonly ready: boolean | null;
  @ApiProperty(USED_TEMPLATE) readonly template: UsedTemplateView | null;
  @Choice(
    ['reachable', 'unreachable'],
    "Only in a cluster: whether the container's node is reachable. While it is not, the status is the last known " +
      'one, and requests that need the node are refused.',
    { required: false, example: 'reachable' },
  )
  readonly node_state?: 'reachable' | 'unreachable';
}

/** The data of a view that is not in the row. */
export interface ViewedAt {
  readonly now: Date;
  /** When the session of the container's user ends; null: the user has no session limit. */
  readonly sessionEnd: Date | null;
}

export function containerView(row: ContainerRow, { now, sessionEnd }: ViewedAt): ContainerView {
  // A row keeps the end of a run whose container went missing, because the next start continues that run.
  const runs = isUp(row.status) && row.deletedAt === null;
  const end = runs ? row.expiresAt : sessionEnd;
  // Not spread into a literal: each member after a spread costs V8 a microsecond, and a list has many containers.
  const view = Object.assign(containerFacts(row), {
    user_id: row.userId,
    status_reason: row.statusReason,
    role_status: row.roleStatus,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
    last_used_at: row.lastUsedAt.toISOString(),
    idle_seconds: Math.max(0, Math.floor((now.getTime() - row.lastUsedAt.getTime()) / 1000)),
    expires_at: end?.toISOString() ?? null,
    auto_stop_seconds: row.autoStopSeconds,
    idle_action: row.idleAction,
    auto_delete_seconds: row.autoDeleteSeconds,
    lifetime_seconds: row.lifetimeSeconds,
    end_action: row.endAction,
    ends_at: runs ? (row.endsAt?.toISOString() ?? null) : null,
    auto_start: row.autoStart,
    ip_address: row.ipAddress,
    runtime: row.runtime,
    start: row.start,
    ready: row.start?.ready == null ? null : row.startReady === true,
    template: usedTemplate(row),
  });
  if (row.nodeId === null) return view;
  return Object.assign(view, { node_state: nodeStateOf(row) });
}

function nodeStateOf({ unreachableSince }: ContainerRow): 'reachable' | 'unreachable' {
  return unreachableSince === null ? 'reachable' : 'unreachable';
}

/** The statuses that the list can be filtered by; `deleted` selects containers that can still be restored. */
export const LISTED_STATUSES = [...CONTAINER_STATUSES, 'deleted'] as const;
export type ListedStatus = (typeof LISTED_STATUSES)[number];

/** A container in the response of `GET /api/containers`. */
export class ListedContainerView extends OmitType(ContainerView, ['status']) {
  @Choice(LISTED_STATUSES, '`deleted` appears only with `status=deleted`.', {
    enumName: 'ListedStatus',
    example: 'running',
  })
  readonly status: ListedStatus;
  @Timestamp('Present only if the container is deleted.', { required: false })
  readonly deleted_at?: string;
  @Timestamp('Present only if the container is deleted: restorable until this time; null if kept forever.', {
    required: false,
    nullable: true,
  })
  readonly purge_at?: string | null;
}

export function listedContainer(row: ContainerRow, at: ViewedAt): ListedContainerView {
  const view = containerView(row, at);
  if (row.deletedAt === null) return view;
  return Object.assign(view, {
    status: 'deleted',
    ip_address: null,
    deleted_at: row.deletedAt.toISOString(),
    purge_at: row.purgeAt?.toISOString() ?? null,
  });
}

/** A container as administrators see it: without its start command, which may hold secrets. */
export class AnyContainerView extends OmitType(ListedContainerView, ['start']) {
  @Text('Only in a cluster: the node of the container.', { required: false, example: 'node-3' })
  readonly node?: string;
}

/** @param nodes node names by their ids */
export function anyContainer(row: ContainerRow, at: ViewedAt, nodes: ReadonlyMap<string, string>): AnyContainerView {
  const { start: _hidden, ...view } = listedContainer(row, at);
  return row.nodeId === null ? view : Object.assign(view, { node: nodes.get(row.nodeId) ?? row.nodeId });
}

/** How much of the tier's limit the user's containers use, regardless of filter and page. */
class ContainerUsageView {
  @Count('Number of existing containers of the user.', { example: 2 })
  readonly containers: number;
  @Count("Maximum allowed by the user's tier.", { example: 5 })
  readonly limit: number;
}

/** The response of `GET /api/containers`. */
@ApiExtraModels(ListedContainerView, AgentView)
export class ContainerListView {
  @ApiProperty({
    type: 'array',
    items: { oneOf: [{ $ref: getSchemaPath(ListedContainerView) }, { $ref: getSchemaPath(AgentView) }] },
    description: 'Containers, newest first. The first page also has the online agents, at the end.',
  })
  readonly containers: readonly (ListedContainerView | AgentView)[];
  @Count('Number of entries in "containers" on this page, including agents.', { example: 2 })
  readonly count: number;
  @ApiProperty({ type: ContainerUsageView }) readonly usage: ContainerUsageView;
  @Count('Same as "usage.limit".', { example: 5 }) readonly limit: number;
  @Count('Position to watch from: all later changes are events with a greater "seq".', { example: 41 })
  readonly event_seq: number;
  @ApiNextCursor() readonly next_cursor: string | null;
}

/** The response of `POST /api/containers`. */
export class ContainerCreatedView extends ContainerFactsView {
  @Uuid() readonly user_id: string;
  @Timestamp() readonly created_at: string;
  @ApiProperty({
    type: Boolean,
    enum: [true],
    description: 'True: the creation continues in the background, unless the container is already running.',
  })
  readonly async: true;
  @Choice(
    ['container is being created', 'container created'],
    '"container created" if the container was started in advance and is already running.',
    { example: 'container is being created' },
  )
  readonly message: string;
  @ApiProperty({
    ...SHOWN_START_SCHEMA,
    selfRequired: true,
    example: null,
    description: 'The start command, with defaults filled in.',
  })
  readonly start: StartCommand | null;
  @ApiProperty(USED_TEMPLATE) readonly template: UsedTemplateView | null;
  @Timestamp('Guests only: when the session, and so the run, ends.', { required: false })
  readonly expires_at?: string;
  @Amount('Maximum duration of a session or run; only if the tier has a limit (session_seconds).', {
    required: false,
    minimum: 1,
    example: 180_000,
  })
  readonly session_limit_seconds?: number;
}

const RESUMED = {
  type: Boolean,
  enum: [true],
  description: 'Present only if the container was paused, and resumed first.',
};

/** The response of `POST /api/containers/:id/stop`. */
export class ContainerStoppedView extends PickType(ContainerFactsView, ['id', 'name', 'status']) {
  @Choice(['container stopped']) readonly message: string;
  @ApiPropertyOptional(RESUMED)
  readonly resumed?: true;
}

/** The response of `POST /api/containers/:id/pause`. */
export class ContainerPausedView extends PickType(ContainerFactsView, ['id', 'name', 'status']) {
  @Choice(['container paused']) readonly message: string;
}

/** The response of `POST /api/containers/:id/resume`. */
export class ContainerResumedView extends PickType(ContainerFactsView, ['id', 'name', 'status']) {
  @Choice(['container resumed']) readonly message: string;
}

/** The response of `POST /api/containers/:id/start`. */
export class ContainerStartedView extends PickType(ContainerFactsView, ['id', 'name', 'status']) {
  @Choice(['container started', 'container recreated and started'])
  readonly message: string;
  @ApiPropertyOptional(RESUMED) readonly resumed?: true;
  @ApiPropertyOptional({
    type: Boolean,
    enum: [true],
    description: 'Present, with the next two fields, only if the container was missing from Docker and was recreated.',
  })
  readonly recreated?: true;
  @Text('Previous Docker id.', { required: false, example: '9a8b7c6d'.repeat(8) })
  readonly old_id?: string;
  @Flag('True if the data volume still existed.', { required: false, example: true })
  readonly volume_kept?: boolean;
  @ApiPropertyOptional({
    type: Boolean,
    enum: [true],
    description: 'Present only if the original image version was no longer available and another version was used.',
  })
  readonly image_changed?: true;
}

/** The response of `DELETE /api/containers/:id`. */
@ApiExtraModels(DeletedContainerFactsView)
export class ContainerDeletedView extends PickType(ContainerFactsView, ['id', 'db_id', 'name']) {
  @Choice(['container deleted']) readonly message: string;
  @ApiPropertyOptional(RESUMED)
  readonly resumed?: true;
  @Timestamp('The data volume is kept at least until this time; null if kept forever.', { nullable: true })
  readonly purge_at: string | null;
  @ApiPropertyOptional({
    type: Boolean,
    enum: [true],
    description:
      'Present only if the container was deleted by force and Docker still has it. It cannot be restored until it ' +
      'is removed.',
  })
  readonly removal_pending?: true;
}

/** The response of `POST /api/containers/:id/restore`. */
export class ContainerRestoredView extends PickType(ContainerFactsView, ['id', 'db_id', 'name', 'status']) {
  @Choice(['container restored']) readonly message: string;
}

const ApiRootKept = (): PropertyDecorator =>
  ApiPropertyOptional({
    description:
      'Present only if the container was recreated: true if files outside `/home/user`, such as installed ' +
      'packages, were kept.',
  });

/** The response of `PATCH /api/containers/:id`. */
export class ContainerUpdatedView {
  @Choice(['settings updated']) readonly message: string;
  @Flag('True if a running container was recreated, which restarts its programs.')
  readonly restarted: boolean;
  @ApiRootKept()
  readonly root_kept?: boolean;
  @ApiProperty({ type: ContainerFactsView })
  readonly container: ContainerFactsView;
}

/** The response of `POST /api/admin/containers/:id/move`. */
export class ContainerMovedView extends PickType(ContainerFactsView, ['id', 'db_id', 'name', 'status']) {
  @Choice(['container moved']) readonly message: string;
  @Text('Node that the container is on now.', { example: 'node-2' })
  readonly node: string;
  @Flag('True if the container was running and was recreated, which restarts its programs.')
  readonly restarted: boolean;
  @ApiRootKept()
  readonly root_kept?: boolean;
}

/** The response to a creation, with the limits of the container's run: the caller's session, and the tier's. */
export function created(
  row: ContainerRow,
  { session, tier }: { session: { sessionExpiresAt: Date | null }; tier: Pick<Tier, 'sessionSeconds'> },
): ContainerCreatedView {
  const { id, db_id, name, image, role, labels, status, resources, network } = containerFacts(row);
  return {
    id,
    db_id,
    user_id: row.userId,
    name,
    image,
    role,
    status,
    created_at: row.createdAt.toISOString(),
    async: true,
    message: status === 'creating' ? 'container is being created' : 'container created',
    resources,
    network,
    labels,
    start: row.start,
    template: usedTemplate(row),
    ...(session.sessionExpiresAt && { expires_at: session.sessionExpiresAt.toISOString() }),
    ...(tier.sessionSeconds !== null && { session_limit_seconds: tier.sessionSeconds }),
  };
}

export function started({ row, ...recreation }: Started): ContainerStartedView {
  const { id, name, status } = containerFacts(row);
  const message = recreation.recreated ? 'container recreated and started' : 'container started';
  return { message, id, name, status, ...recreation };
}

export function stopped({ row, resumed }: { row: ContainerRow; resumed: boolean }): ContainerStoppedView {
  const { id, name, status } = containerFacts(row);
  return { message: 'container stopped', id, name, status, ...(resumed && { resumed }) };
}

export function paused(row: ContainerRow): ContainerPausedView {
  const { id, name, status } = containerFacts(row);
  return { message: 'container paused', id, name, status };
}

export function resumed(row: ContainerRow): ContainerResumedView {
  const { id, name, status } = containerFacts(row);
  return { message: 'container resumed', id, name, status };
}

export function deleted({ row, resumed }: { row: ContainerRow; resumed: boolean }): ContainerDeletedView {
  const { id, db_id, name } = containerFacts(row);
  const purge_at = row.purgeAt?.toISOString() ?? null;
  const pending = row.removalPendingSince === null ? {} : { removal_pending: true as const };
  return { message: 'container deleted', id, db_id, name, purge_at, ...pending, ...(resumed && { resumed }) };
}

export function restored(row: ContainerRow): ContainerRestoredView {
  const { id, db_id, name, status } = containerFacts(row);
  return { message: 'container restored', id, db_id, name, status };
}

export function updated({
  row,
  restarted,
  rootKept,
}: {
  row: ContainerRow;
  restarted: boolean;
  rootKept?: boolean;
}): ContainerUpdatedView {
  return { message: 'settings updated', restarted, ...rootOf(rootKept), container: containerFacts(row) };
}

export function moved(
  row: ContainerRow,
  { node, restarted, rootKept }: { node: string; restarted: boolean; rootKept?: boolean },
): ContainerMovedView {
  const { id, db_id, name, status } = containerFacts(row);
  return { message: 'container moved', id, db_id, name, status, node, restarted, ...rootOf(rootKept) };
}

function rootOf(kept: boolean | undefined): { root_kept?: boolean } {
  return kept === undefined ? {} : { root_kept: kept };
}
