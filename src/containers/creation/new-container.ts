import { randomInt } from 'node:crypto';
import type { NetworkPolicy } from '../../network-policy';
import { type CatalogRole, needsInstallation } from '../../roles';
import type { RequestedEnds, Resources } from '../../tiers';
import type { ContainerRow } from '../model/container.entity';
import type { TemplateRow } from '../../images';
import type { CreateContainerDto } from '../dto/requests';
import type { OperationColumns } from '../operations/container-leases';
import { containerName } from '../operations/steps';
import type { StartCommand } from '../model/start-command';

const QUALITIES = [
  'amber',
  'brisk',
  'calm',
  'clear',
  'deep',
  'early',
  'fair',
  'keen',
  'lucid',
  'mild',
  'north',
  'quiet',
];
const THINGS = ['anchor', 'bay', 'beacon', 'buoy', 'cove', 'dock', 'harbor', 'keel', 'mast', 'pier', 'quay', 'tide'];

/** Generates a name for a container whose user gave none, such as `quiet-harbor-4821`. */
function generateName(): string {
  return `${pick(QUALITIES)}-${pick(THINGS)}-${String(randomInt(1000, 10_000))}`;
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? 'berth';
}

/** The resolved settings of a creation. */
interface NewContainer {
  readonly id: string;
  readonly userId: string;
  readonly request: Pick<CreateContainerDto, 'name' | 'labels' | 'auto_start' | keyof RequestedEnds>;
  /** The image reference as given to Docker. */
  readonly image: string;
  /** null: it is created from none. */
  readonly template: Pick<TemplateRow, 'name' | 'version'> | null;
  /** null: nothing is installed besides the image. */
  readonly role: CatalogRole | null;
  readonly resources: Readonly<Resources>;
  readonly network: NetworkPolicy;
  /** What runs after each start; null: nothing. */
  readonly start: StartCommand | null;
  readonly lease: OperationColumns;
  /** The environment variables, encrypted. */
  readonly sealedEnv: string;
  /** The snapshot that it is made from; null: its image alone. */
  readonly seedSnapshotId?: string | null;
  /** The size of that snapshot's layers, in MiB. */
  readonly keptLayerMb?: number;
  readonly now: Date;
}

/**
 * The row of a new container, leased by its own creation.
 */
export function newContainer({
  id,
  userId,
  request,
  image,
  template,
  role,
  resources,
  network,
  start,
  lease,
  sealedEnv,
  seedSnapshotId = null,
  keptLayerMb = 0,
  now,
}: NewContainer): ContainerRow {
  return {
    id,
    userId,
    name: request.name ?? generateName(),
    image,
    imageId: null,
    imageDigest: null,
    role: role?.name ?? null,
    roleStatus: needsInstallation(role) ? 'pending' : null,
    roleClaimId: null,
    roleClaimHolder: null,
    roleClaimExpiresAt: null,
    sealedEnv,
    labels: { ...request.labels },
    memoryMb: resources.memory_mb,
    cpuShares: resources.cpu_shares,
    diskMb: resources.disk_mb,
    network,
    reservedMemoryMb: resources.memory_mb,
    reservedCpuShares: resources.cpu_shares,
    meteredSince: null,
    status: 'creating',
    statusReason: null,
    engineId: null,
    nodeId: null,
    otherNodeId: null,
    formerNodeId: null,
    notMovedBecause: null,
    unreachableSince: null,
    generation: 0,
    seedSnapshotId,
    keptLayerMb,
    templateName: template?.name ?? null,
    templateVersion: template?.version ?? null,
    volumeName: containerName(id),
    runtime: null,
    ipAddress: null,
    runStartedAt: null,
    runSince: null,
    expiresAt: null,
    expiryWarnedAt: null,
    lastUsedAt: now,
    autoStopSeconds: request.auto_stop_seconds ?? null,
    idleAction: request.idle_action ?? null,
    autoDeleteSeconds: request.auto_delete_seconds ?? null,
    autoStart: request.auto_start ?? false,
    idleWarnedAt: null,
    pausedAt: null,
    stoppedAt: null,
    deletionWarnedAt: null,
    start,
    startRun: null,
    startDueAt: null,
    startFailures: 0,
    startReady: null,
    ...lease,
    revision: 0,
    createdAt: now,
    updatedAt: now,
    deletedAt: null,
    purgeAt: null,
    purgedAt: null,
    removalPendingSince: null,
  };
}
