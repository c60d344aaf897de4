import type { ContainerStatus, Operation } from './container-state';
import type { ContainerRow } from './container.entity';

/** Where a status leads without a request: a creation ends, a run ends. */
const BY_ITSELF: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  running: ['stopped'],
  stopped: [],
  error: [],
};

/**
 * What an operation that holds the container may make of it, its rollback included. One that looks at Docker may find that
 * the container runs, or does not.
 */
const OUTCOMES: Readonly<Record<Operation, readonly ContainerStatus[]>> = {
  create: ['running', 'error'],
  start: ['running'],
  stop: ['stopped'],
  expire: ['stopped'],
  idle: ['stopped'],
  delete: ['stopped'],
  update: ['running', 'stopped'],
  undo: ['running', 'stopped'],
  restart: ['running', 'stopped'],
  reconcile: ['running', 'stopped'],
  purge: [],
};

/** Why a container stopped whose run Docker's restart policy begins anew. */
const RESTARTED_BY_DOCKER: readonly (string | null)[] = ['exited', 'oom'];

/**
 * The statuses that a container has, or can come to have without another request. A start is such a request: a container that was
 * stopped, or whose creation failed, does not come to run by itself. None is left out that might come; that one does come is not said.
 */
export function reachableStatuses(
  row: Pick<ContainerRow, 'status' | 'statusReason' | 'operation'>,
): ReadonlySet<ContainerStatus> {
  const reached = new Set<ContainerStatus>([row.status]);
  if (row.operation !== null) OUTCOMES[row.operation].forEach((status) => reached.add(status));
  if (row.status === 'stopped' && RESTARTED_BY_DOCKER.includes(row.statusReason)) reached.add('running');
  // A set also gives what is added to it meanwhile.
  for (const status of reached) BY_ITSELF[status].forEach((next) => reached.add(next));
  return reached;
}
