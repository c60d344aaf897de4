import { QueryInteger } from '../../http';

/** Query of `GET /api/events`. */
export class ListEventsDto {
  @QueryInteger({ min: 0, default: 0, description: 'Last seq received.' })
  after?: number;

  @QueryInteger({ min: 1, max: 500, default: 100 })
  limit?: number;
}

/** Query of `GET /api/events/stream`. */
export class FollowEventsDto {
  @QueryInteger({
    min: 0,
    description: 'Last seq received. Later events are replayed in order first. Omitted: only new events.',
  })
  after?: number;
}
