import { ApiContainerById } from '../containers';
import type { ApiFault } from '../errors';

/** Documents a route to the inside of a container: its own errors beside those of every such route. */
export const ApiInside = (...faults: readonly ApiFault[]): MethodDecorator =>
  ApiContainerById('invalid_parameters', 'guest_session_expired', 'exec_not_allowed', ...faults);
