import { CONTAINER_STATUSES, type ContainerStatus, type Operation } from './model/container.entity';
import { reachableStatuses } from './status-wait';

type Row = [status: ContainerStatus, reason: string | null, operation: Operation | null, ...ContainerStatus[]];

describe('the statuses that a container can come to have without another request', () => {
  it.each<Row>([
    ['creating', null, 'create', 'creating', 'running', 'paused', 'stopped', 'error'],
    // An idle container may be paused.
    ['running', null, null, 'running', 'paused', 'stopped'],
    ['paused', null, null, 'paused', 'stopped'],
    ['paused', null, 'resume', 'running', 'paused', 'stopped'],
    ['running', null, 'pause', 'running', 'paused', 'stopped'],
    ['stopped', null, null, 'stopped'],
    ['stopped', 'session_expired', null, 'stopped'],
    ['stopped', 'idle', null, 'stopped'],
    ['stopped', 'missing', null, 'stopped'],
    // Docker's restart policy.
    ['stopped', 'exited', null, 'running', 'paused', 'stopped'],
    ['stopped', 'oom', null, 'running', 'paused', 'stopped'],
    ['error', 'image_not_found', null, 'error'],
    // A creation that something else takes over from has failed.
    ['creating', null, 'delete', 'creating', 'running', 'paused', 'stopped', 'error'],
    ['running', null, 'stop', 'running', 'paused', 'stopped'],
    ['running', null, 'expire', 'running', 'paused', 'stopped'],
    ['running', null, 'idle', 'running', 'paused', 'stopped'],
    ['running', null, 'delete', 'running', 'paused', 'stopped'],
    ['running', null, 'update', 'running', 'paused', 'stopped'],
    ['stopped', null, 'stop', 'stopped'],
    ['stopped', null, 'delete', 'stopped'],
    ['stopped', null, 'start', 'running', 'paused', 'stopped'],
    ['stopped', null, 'update', 'running', 'paused', 'stopped'],
    ['stopped', null, 'undo', 'running', 'paused', 'stopped'],
    ['stopped', 'exited', 'restart', 'running', 'paused', 'stopped'],
    ['stopped', null, 'reconcile', 'running', 'paused', 'stopped'],
    ['error', 'docker_error', 'start', 'running', 'paused', 'stopped', 'error'],
    ['error', 'docker_error', 'stop', 'stopped', 'error'],
    ['error', 'docker_error', 'delete', 'stopped', 'error'],
  ])('%s (%s) held by %s', (status, statusReason, operation, ...expected) => {
    const reached = reachableStatuses({ status, statusReason, operation });
    expect(CONTAINER_STATUSES.filter((each) => reached.has(each))).toEqual(
      CONTAINER_STATUSES.filter((each) => expected.includes(each)),
    );
  });
});
