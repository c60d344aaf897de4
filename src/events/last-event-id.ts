import { invalidParameters } from '../errors';

/**
 * What an event stream's client says, when it comes back, that it has seen last.
 *
 * @param header the value of `Last-Event-ID`; empty, as some clients send it at first, is as good as none
 * @throws DomainError `invalid_parameters` if it is no id that a stream gave
 */
export function parseLastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  if (/^\d{1,15}$/.test(header)) return Number(header);
  throw invalidParameters([{ field: 'last-event-id', message: 'must be the id of an event' }]);
}
