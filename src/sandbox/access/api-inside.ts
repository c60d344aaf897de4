import { ApiContainerById } from '../../containers';
import type { ApiFault } from '../../errors';

/** The errors of a route that resumes a paused container. */
export const RESUMING = ['no_capacity', 'operation_in_progress', 'resume_failed', 'restart_required'] as const;

/** Documents a route to the inside of a container: its own errors beside those of every such route. */
export const ApiInside = (...faults: readonly ApiFault[]): MethodDecorator =>
  ApiContainerById('guest_session_expired', 'exec_not_allowed', 'sandbox_full', ...faults);
