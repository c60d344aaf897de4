import { CONTAINER_STATUSES, type ContainerStatus, type Operation } from './model/container.entity';
import { reachableStatuses } from './status-wait';

type Row = [status: ContainerStatus, reason: string | null, operation: Operation | null, ...ContainerStatus[]];

describe('the statuses that a container can come to have without another request', () => {
  it.each<Row>([
    ['creating', null, 'create', 'creating', 'running', 'stopped', 'error'],
    ['running', null, null, 'running', 'stopped'],
    ['stopped', null, null, 'stopped'],
    ['stopped', 'session_expired', null, 'stopped'],
    ['stopped', 'idle', null, 'stopped'],
    ['stopped', 'missing', null, 'stopped'],
    // Docker's restart policy.
    ['stopped', 'exited', null, 'running', 'stopped'],
    ['stopped', 'oom', null, 'running', 'stopped'],
    ['error', 'image_not_found', null, 'error'],
    // A creation that something else takes over from has failed.
    ['creating', null, 'delete', 'creating', 'running', 'stopped', 'error'],
    ['running', null, 'stop', 'running', 'stopped'],
    ['running', null, 'expire', 'running', 'stopped'],
    ['running', null, 'idle', 'running', 'stopped'],
    ['running', null, 'delete', 'running', 'stopped'],
    ['running', null, 'update', 'running', 'stopped'],
    ['stopped', null, 'stop', 'stopped'],
    ['stopped', null, 'delete', 'stopped'],
    ['stopped', null, 'start', 'running', 'stopped'],
    ['stopped', null, 'update', 'running', 'stopped'],
    ['stopped', null, 'undo', 'running', 'stopped'],
    ['stopped', 'exited', 'restart', 'running', 'stopped'],
    ['stopped', null, 'reconcile', 'running', 'stopped'],
    ['error', 'docker_error', 'start', 'running', 'stopped', 'error'],
    ['error', 'docker_error', 'stop', 'stopped', 'error'],
    ['error', 'docker_error', 'delete', 'stopped', 'error'],
  ])('%s (%s) held by %s', (status, statusReason, operation, ...expected) => {
    const reached = reachableStatuses({ status, statusReason, operation });
    expect(CONTAINER_STATUSES.filter((each) => reached.has(each))).toEqual(
      CONTAINER_STATUSES.filter((each) => expected.includes(each)),
    );
  });
});
