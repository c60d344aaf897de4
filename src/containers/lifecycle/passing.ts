import { DomainError } from '../../errors';

const PASSING: readonly DomainError['kind'][] = ['operation_in_progress', 'container_not_found'];

/** Whether what a process wanted to do by itself is done by another one, or was: no failure where several look at the same. */
export function isPassing(error: unknown): boolean {
  return error instanceof DomainError && PASSING.includes(error.kind);
}
