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
const PROCESS_ID: Schema = { type: 'string', format: 'uuid', description: 'Process id.' };
const IMAGE_CHANGED = {
  optional: {
    type: 'boolean',
    enum: [true],
    description: 'Present if the original image version was lost and another one was used.',
  },
};

const ROOT_KEPT = {
  optional: {
    type: 'boolean',
    description: 'Present if the container was recreated: true if files outside its home directory were kept.',
  },
};

const RESUMED = {
  optional: {
    type: 'boolean',
    enum: [true],
    description: 'Present if the container was paused, and resumed so that its processes could end.',
  },
};

const EVENTS: { readonly [T in EventType]: Described<T> } = {
  container_created: {
    about: CONTAINER,
    when: 'The creation of a container was accepted.',
    adds: {
      forked_from: {
        optional: { type: 'string', format: 'uuid', description: 'Present for a fork: database id of its source.' },
      },
    },
  },
  container_started: {
    about: CONTAINER,
    when: 'A container was started, by a request or otherwise.',
    adds: {
      recreated: {
        optional: { type: 'boolean', enum: [true], description: 'Present if the container was missing from Docker.' },
      },
      old_id: { optional: word(DOCKER_ID, 'Previous Docker id.') },
      volume_kept: { optional: { type: 'boolean', description: 'True if the data volume still existed.' } },
      image_changed: IMAGE_CHANGED,
    },
  },
  container_stopped: {
    about: CONTAINER,
    when: 'A container was stopped or ended.',
    adds: {
      reason: {
        optional: word(
          'exited',
          'Present if the stop was not requested: exited, oom, missing, session_expired, lifetime_over, idle, ' +
            'user_suspended.',
        ),
      },
      exit_code: {
        optional: { type: 'integer', example: 1, description: 'Exit code of the main process, if known.' },
      },
      message: { optional: word('it needed more memory than its limit', 'Description for users; only with oom.') },
      resumed: RESUMED,
    },
  },
  container_paused: {
    about: CONTAINER,
    when: 'A container was paused; its processes keep their memory.',
    adds: { reason: { optional: word('idle', 'Present if the pause was not requested: idle, lifetime_over.') } },
  },
  container_resumed: { about: CONTAINER, when: 'A container was resumed.', adds: {} },
  container_deleted: {
    about: DELETED_CONTAINER,
    when: 'A container was deleted; its data is kept until purge_at.',
    adds: {
      purge_at: {
        type: 'string',
        format: 'date-time',
        nullable: true,
        description: 'The data is kept at least until this time; null if kept forever.',
      },
      reason: {
        optional: word(
          'auto_delete',
          'Present if the deletion was not requested: auto_delete, session_expired, lifetime_over, user_deleted, ' +
            'interrupted.',
        ),
      },
      resumed: RESUMED,
    },
  },
  container_restored: { about: CONTAINER, when: 'A deleted container was restored; it is stopped.', adds: {} },
  container_expiring: {
    about: CONTAINER,
    when: 'A container will be stopped, paused or deleted automatically.',
    adds: {
      action: { type: 'string', enum: ['stop', 'pause', 'delete'], example: 'stop' },
      reason: word('idle', 'Reason that the stop, pause or deletion will have.'),
      expires_at: { type: 'string', format: 'date-time' },
      seconds_left: integer(600, 'Time left in seconds.'),
    },
  },
  container_updated: {
    about: CONTAINER,
    when: 'The name, resources, labels or other settings of a container were updated.',
    adds: {
      restarted: { type: 'boolean', description: 'True if the container was running and was recreated.' },
      old_id: { optional: word(DOCKER_ID, 'Previous Docker id; present if the container was recreated.') },
      root_kept: ROOT_KEPT,
      image_changed: IMAGE_CHANGED,
    },
  },
  container_moved: {
    about: CONTAINER,
    when: 'A container was moved to another node with its data.',
    adds: {
      restarted: { type: 'boolean', description: 'True if the container was running and was recreated.' },
      old_id: { optional: word(DOCKER_ID, 'Previous Docker id, if there was one.') },
      root_kept: ROOT_KEPT,
      image_changed: IMAGE_CHANGED,
    },
  },
  container_unreachable: {
    about: CONTAINER,
    when: 'The node of a container is unreachable. The container may still be running; its status is not `error`.',
    adds: {},
  },
  container_reachable: { about: CONTAINER, when: 'The node of a container is reachable again.', adds: {} },
  container_progress: {
    about: CONTAINER,
    when: 'Progress of a creation, a role installation, or a move of the data or the container.',
    adds: {
      stage: word('image', 'Current stage: volume, image, create, start, role, disk, move.'),
      message: word('preparing the image', 'Description for users.'),
      progress: { type: 'number', minimum: 0, maximum: 100, example: 5, description: 'Total progress in percent.' },
    },
  },
  container_error: {
    about: CONTAINER,
    when: 'A creation failed, or a role could not be installed.',
    adds: {
      reason: word('role_failed', 'Machine-readable reason.'),
      message: word('the role could not be installed', 'Description for users.'),
      output: { optional: word('E: Unable to locate package', 'Last output of the failed program.') },
    },
  },
  process_started: { about: PROCESS, when: 'A managed process was started.', adds: {} },
  process_exited: {
    about: PROCESS,
    when: 'A managed process ended.',
    adds: {
      exit_code: { type: 'integer', nullable: true, example: 0, description: 'Null if unknown.' },
      reason: word('exited', 'exited, ended, container_stopped; for a start command also command_not_started.'),
    },
  },
  process_lost: {
    about: PROCESS,
    when: 'The container of a process ended while no server process observed it; the exit code is unknown.',
    adds: {},
  },
  container_ready: {
    about: CONTAINER,
    when: 'The start command of a container is ready.',
    adds: { process_id: PROCESS_ID, seconds: seconds(1.5, 'Seconds since the start.') },
  },
  container_not_ready: {
    about: CONTAINER,
    when: 'The start command of a container did not become ready in time.',
    adds: { process_id: PROCESS_ID, within_seconds: seconds(60, 'The time limit in seconds.') },
  },
  snapshot_created: { about: SNAPSHOT, when: 'The creation of a snapshot began.', adds: {} },
  snapshot_progress: {
    about: SNAPSHOT,
    when: 'Progress of a snapshot.',
    adds: {
      message: word('copying the data', 'Description for users.'),
      percent: { type: 'number', minimum: 0, maximum: 100, example: 40, description: 'Total progress in percent.' },
    },
  },
  snapshot_ready: {
    about: SNAPSHOT,
    when: 'A snapshot is complete; containers can be created from it.',
    adds: { downtime_ms: integer(350, 'How long the container was suspended; 0 if it was not running.') },
  },
  snapshot_failed: {
    about: SNAPSHOT,
    when: 'A snapshot could not be created; its container is unchanged.',
    adds: {
      reason: word('copy_failed', 'Machine-readable reason.'),
      message: word('the data could not be copied', 'Description for users.'),
    },
  },
  snapshot_deleted: { about: SNAPSHOT, when: 'A snapshot was deleted.', adds: {} },
  node_drained: {
    about: NODE,
    when:
      'For administrators: a node was drained. No containers are placed or started on it; running containers keep ' +
      'running.',
    adds: {},
  },
  node_activated: {
    about: NODE,
    when: 'For administrators: a node was activated and accepts containers again.',
    adds: {},
  },
  node_unreachable: {
    about: NODE,
    when: "For administrators: a node's Docker is unreachable. Its containers may still be running.",
    adds: {},
  },
  node_reachable: { about: NODE, when: "For administrators: a node's Docker is reachable again.", adds: {} },
  node_forgotten: { about: NODE, when: 'For administrators: a node was given up, with all data on it.', adds: {} },
  node_readmitted: {
    about: NODE,
    when: 'For administrators: a node that was given up is reachable again; leftovers on it are removed.',
    adds: {},
  },
  agent_connected: { about: AGENT, when: 'An agent connected.', adds: {} },
  agent_disconnected: {
    about: AGENT,
    when: 'An agent disconnected.',
    adds: { reason: word('closed', 'closed, silent, stopped or deleted.') },
  },
  webhook_disabled: {
    about: WEBHOOK,
    when: 'A webhook was disabled. When it is activated again, deliveries continue from where they stopped.',
    adds: {
      reason: word('failing', 'failing: deliveries failed for too long. gone: the receiver responded with 410.'),
    },
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
      seq: { type: 'integer', minimum: 1, example: 41, description: 'Increases by one with each event of the user.' },
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
    event_seq: {
      type: 'integer',
      minimum: 0,
      example: 41,
      description: 'Position after which events continue; list the containers again.',
    },
  },
};
