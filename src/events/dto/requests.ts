import { QueryInteger } from '../../http';

/** Query of `GET /api/events`. */
export class ListEventsDto {
  @QueryInteger({ min: 0, default: 0, description: 'the last seq seen' })
  after?: number;

  @QueryInteger({ min: 1, max: 500, default: 100 })
  limit?: number;
}

/** Query of `GET /api/events/stream`. */
export class FollowEventsDto {
  @QueryInteger({
    min: 0,
    description: 'the last seq seen; what came after it is sent first, in order. From now on if absent',
  })
  after?: number;
}
