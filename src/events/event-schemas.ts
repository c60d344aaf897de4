import type {
  AgentFacts,
  BerthEvent,
  ContainerFacts,
  EventMap,
  NodeFacts,
  ProcessFacts,
  SnapshotFacts,
  WebhookFacts,
} from './map';

/** A JSON Schema. */
type Schema = Readonly<Record<string, unknown>>;

type EventType = BerthEvent['type'];

/** The fields of an event's `data` beside the facts about its subject. */
type OwnFields<T extends EventType> = Exclude<
  keyof EventMap[T],
  EventMap[T] extends ContainerFacts
    ? keyof ContainerFacts
    : EventMap[T] extends AgentFacts
      ? keyof AgentFacts
      : EventMap[T] extends NodeFacts
        ? keyof NodeFacts
        : EventMap[T] extends SnapshotFacts
          ? keyof SnapshotFacts
          : EventMap[T] extends WebhookFacts
            ? keyof WebhookFacts
            : keyof ProcessFacts
>;

/** A field that may be absent. */
interface Optional {
  readonly optional: Schema;
}

/** An event's subject and additional fields. The types require exactly the fields of {@link EventMap}. */
interface Described<T extends EventType> {
  readonly about: EventMap[T] extends ContainerFacts
    ? typeof CONTAINER | typeof DELETED_CONTAINER
    : EventMap[T] extends AgentFacts
      ? typeof AGENT
      : EventMap[T] extends NodeFacts
        ? typeof NODE
        : EventMap[T] extends SnapshotFacts
          ? typeof SNAPSHOT
          : EventMap[T] extends WebhookFacts
            ? typeof WEBHOOK
            : typeof PROCESS;
  readonly when: string;
  readonly adds: {
    readonly [F in OwnFields<T>]-?: undefined extends EventMap[T][F]
      ? Optional
      : Schema & { readonly optional?: never };
  };
}

// References: the modules that define these schemas import this one.
const CONTAINER = { $ref: '#/components/schemas/ContainerFactsView' };
const DELETED_CONTAINER = { $ref: '#/components/schemas/DeletedContainerFactsView' };
const AGENT = { $ref: '#/components/schemas/AgentFactsView' };
const NODE = { $ref: '#/components/schemas/NodeFactsView' };
const SNAPSHOT = { $ref: '#/components/schemas/SnapshotFactsView' };
const WEBHOOK = { $ref: '#/components/schemas/WebhookFactsView' };
const PROCESS = { $ref: '#/components/schemas/ProcessFactsView' };

const word = (example: string, description: string): Schema => ({ type: 'string', example, description });
const integer = (example: number, description: string): Schema => ({
  type: 'integer',
  minimum: 0,
  example,
  description,
});
const seconds = (example: number, description: string): Schema => ({
  type: 'number',
  minimum: 0,
  example,
  description,
});
const DOCKER_ID = '9a8b7c6d'.repeat(8);
const PROCESS_ID: Schema = { type: 'string', format: 'uuid', description: "The process's." };
const IMAGE_CHANGED = {
  optional: { type: 'boolean', enum: [true], description: 'The version of its image was lost, and another one taken.' },
};

const ROOT_KEPT = {
  optional: {
    type: 'boolean',
    description: 'Where it was recreated: whether the files outside its home are kept.',
  },
};

const RESUMED = {
  optional: {
    type: 'boolean',
    enum: [true],
    description: 'It was paused, and resumed so that its processes could end.',
  },
};

const EVENTS: { readonly [T in EventType]: Described<T> } = {
  container_created: { about: CONTAINER, when: 'A creation was accepted.', adds: {} },
  container_started: {
    about: CONTAINER,
    when: 'It runs, whoever started it.',
    adds: {
      recreated: { optional: { type: 'boolean', enum: [true], description: 'It was missing from Docker.' } },
      old_id: { optional: word(DOCKER_ID, 'The Docker id until now.') },
      volume_kept: { optional: { type: 'boolean', description: 'Whether its data was still there.' } },
      image_changed: IMAGE_CHANGED,
    },
  },
  container_stopped: {
    about: CONTAINER,
    when: 'It does not run any more.',
    adds: {
      reason: {
        optional: word('exited', 'Where nobody asked: exited, oom, missing, session_expired, idle, user_suspended.'),
      },
      exit_code: {
        optional: { type: 'integer', example: 1, description: 'Of its main process, where that is known.' },
      },
      message: { optional: word('it needed more memory than its limit', 'A sentence for people, with oom.') },
      resumed: RESUMED,
    },
  },
  container_paused: {
    about: CONTAINER,
    when: 'Its processes are suspended, and keep their memory.',
    adds: { reason: { optional: word('idle', 'Only if the pause was not requested: idle.') } },
  },
  container_resumed: { about: CONTAINER, when: 'Its processes go on.', adds: {} },
  container_deleted: {
    about: DELETED_CONTAINER,
    when: 'It is deleted, and its data kept for a while.',
    adds: {
      purge_at: {
        type: 'string',
        format: 'date-time',
        nullable: true,
        description: 'Until when the data is kept at least; null: for good.',
      },
      reason: {
        optional: word(
          'auto_delete',
          'Only without a request: auto_delete, session_expired, user_deleted, interrupted.',
        ),
      },
      resumed: RESUMED,
    },
  },
  container_restored: { about: CONTAINER, when: 'It was brought back, as stopped.', adds: {} },
  container_expiring: {
    about: CONTAINER,
    when: 'It will be stopped, paused or deleted by itself.',
    adds: {
      action: { type: 'string', enum: ['stop', 'pause', 'delete'], example: 'stop' },
      reason: word('idle', 'The reason that the stop, pause or deletion will have.'),
      expires_at: { type: 'string', format: 'date-time' },
      seconds_left: integer(600, 'Until then.'),
    },
  },
  container_updated: {
    about: CONTAINER,
    when: 'It was renamed, resized, labelled, or set otherwise.',
    adds: {
      restarted: { type: 'boolean', description: 'Whether it ran and was recreated.' },
      old_id: { optional: word(DOCKER_ID, 'The Docker id until now, where it was recreated.') },
      root_kept: ROOT_KEPT,
      image_changed: IMAGE_CHANGED,
    },
  },
  container_moved: {
    about: CONTAINER,
    when: 'Of several machines, it is on another one now, with its data.',
    adds: {
      restarted: { type: 'boolean', description: 'Whether it ran and was recreated.' },
      old_id: { optional: word(DOCKER_ID, 'The Docker id until now, where it had one.') },
      root_kept: ROOT_KEPT,
      image_changed: IMAGE_CHANGED,
    },
  },
  container_unreachable: {
    about: CONTAINER,
    when: 'Of several machines, the one that it is on does not answer; it may go on to run there. Not in `error`.',
    adds: {},
  },
  container_reachable: { about: CONTAINER, when: 'Its machine answers again.', adds: {} },
  container_progress: {
    about: CONTAINER,
    when: "A creation, a role's installation, a move of data or of the whole container goes on.",
    adds: {
      stage: word('image', 'Of what goes on: volume, image, create, start, role, disk, move.'),
      message: word('preparing the image', 'A sentence for people.'),
      progress: { type: 'number', minimum: 0, maximum: 100, example: 5, description: 'Percent of the whole.' },
    },
  },
  container_error: {
    about: CONTAINER,
    when: 'A creation failed, or a role could not be installed.',
    adds: {
      reason: word('role_failed', 'A machine word.'),
      message: word('the role could not be installed', 'A sentence for people.'),
      output: { optional: word('E: Unable to locate package', 'The end of what a failed program said.') },
    },
  },
  process_started: { about: PROCESS, when: 'A process that is kept was started.', adds: {} },
  process_exited: {
    about: PROCESS,
    when: 'It has ended.',
    adds: {
      exit_code: { type: 'integer', nullable: true, example: 0, description: 'null where it is not known.' },
      reason: word('exited', 'exited, ended, container_stopped; of a start command also command_not_started.'),
    },
  },
  process_lost: {
    about: PROCESS,
    when: 'Its container ended while no server process saw it: the exit code is unknown.',
    adds: {},
  },
  container_ready: {
    about: CONTAINER,
    when: 'What was started with it is ready.',
    adds: { process_id: PROCESS_ID, seconds: seconds(1.5, 'Since its start.') },
  },
  container_not_ready: {
    about: CONTAINER,
    when: 'What was started with it did not become ready in its time.',
    adds: { process_id: PROCESS_ID, within_seconds: seconds(60, 'That time.') },
  },
  snapshot_created: { about: SNAPSHOT, when: 'It is being made.', adds: {} },
  snapshot_progress: {
    about: SNAPSHOT,
    when: 'The making of it goes on.',
    adds: {
      message: word('copying the data', 'A sentence for people.'),
      percent: { type: 'number', minimum: 0, maximum: 100, example: 40, description: 'Of the whole.' },
    },
  },
  snapshot_ready: {
    about: SNAPSHOT,
    when: 'Containers can be created from it.',
    adds: { downtime_ms: integer(350, 'How long its container was suspended; 0 if it did not run.') },
  },
  snapshot_failed: {
    about: SNAPSHOT,
    when: 'It could not be made; its container is as it was.',
    adds: {
      reason: word('copy_failed', 'A machine word.'),
      message: word('the data could not be copied', 'A sentence for people.'),
    },
  },
  snapshot_deleted: { about: SNAPSHOT, when: 'It was deleted.', adds: {} },
  node_drained: {
    about: NODE,
    when: 'To administrators: nothing is placed or started on it any more; what runs goes on.',
    adds: {},
  },
  node_activated: { about: NODE, when: 'To administrators: it takes containers again.', adds: {} },
  node_unreachable: {
    about: NODE,
    when: 'To administrators: its Docker does not answer any more; what runs there may go on.',
    adds: {},
  },
  node_reachable: { about: NODE, when: 'To administrators: its Docker answers again.', adds: {} },
  node_forgotten: { about: NODE, when: 'To administrators: it was given up, and what was there with it.', adds: {} },
  node_readmitted: {
    about: NODE,
    when: 'To administrators: it answers after it was given up; what it still has is removed.',
    adds: {},
  },
  agent_connected: { about: AGENT, when: 'It came.', adds: {} },
  agent_disconnected: {
    about: AGENT,
    when: 'It went.',
    adds: { reason: word('closed', 'closed, silent, stopped or deleted.') },
  },
  webhook_disabled: {
    about: WEBHOOK,
    when: 'Its deliveries have ended; they go on where they stopped when it is activated again.',
    adds: { reason: word('failing', 'failing: for too long; gone: its receiver answered 410.') },
  },
};

/** The title of an event's schema, such as `ContainerStartedEvent`. */
function titleOf(type: string): string {
  return `${type.replace(/(?:^|_)(\w)/g, (_match, letter: string) => letter.toUpperCase())}Event`;
}

/** The schema of one event type, as clients receive it. */
function eventSchema([type, { about, when, adds }]: [string, { about: Schema; when: string; adds: object }]): Schema {
  const fields = Object.entries(adds as Record<string, Schema | Optional>);
  const properties = fields.map(([name, field]) => [name, 'optional' in field ? field.optional : field]);
  const required = fields.flatMap(([name, field]) => ('optional' in field ? [] : [name]));
  const own = { type: 'object', properties: Object.fromEntries(properties) as object, required };
  return {
    title: titleOf(type),
    type: 'object',
    required: ['type', 'seq', 'timestamp', 'data'],
    properties: {
      type: { type: 'string', enum: [type], description: when },
      seq: { type: 'integer', minimum: 1, example: 41, description: "Grows by one with each of the user's events." },
      timestamp: { type: 'string', format: 'date-time' },
      data: fields.length > 0 ? { allOf: [about, own] } : about,
    },
  };
}

/** The schema of each event type, by its name. */
export const EVENT_SCHEMAS: Readonly<Record<string, Schema>> = Object.fromEntries(
  Object.entries(EVENTS).map((event) => [event[0], eventSchema(event)]),
);

/** The type of every event. */
export const EVENT_TYPES: readonly string[] = Object.keys(EVENTS);

/** Any event. More types may be added. */
export const EVENT_SCHEMA: Schema = {
  title: 'Event',
  oneOf: Object.values(EVENT_SCHEMAS),
  discriminator: {
    propertyName: 'type',
    mapping: Object.fromEntries(
      Object.keys(EVENT_SCHEMAS).map((type) => [type, `#/components/schemas/${titleOf(type)}`]),
    ),
  },
};

/** Sent in place of events that are no longer kept. */
export const RESYNC_SCHEMA: Schema = {
  title: 'ResyncRequired',
  type: 'object',
  required: ['type', 'event_seq'],
  properties: {
    type: { type: 'string', enum: ['resync_required'] },
    event_seq: { type: 'integer', minimum: 0, example: 41, description: 'Where events go on; list again.' },
  },
};
