import { holdsScope, insufficientScope, type Principal } from '../../auth';
import { WITHOUT_NUL } from '../../http';

/** Whether a start command is restarted after it ends: never, or if its exit code is not 0. */
const RESTARTS = ['never', 'on-failure'] as const;

/**
 * When a start command counts as ready: once a program listens on a port, or once a command in the container exits
 * with 0.
 */
type ReadyCondition = { readonly within_seconds: number } & ReadyBy;
type ReadyBy = { readonly port: number } | { readonly command: readonly string[] };

/** The command that runs in a container after each start. */
export interface StartCommand {
  /** The program and its arguments; not parsed by a shell. */
  readonly command: readonly string[];
  readonly restart: (typeof RESTARTS)[number];
  readonly ready: ReadyCondition | null;
}

const MOST_ITEMS = 256;
const MOST_BYTES = 16 * 1024;
const WITHIN_SECONDS = { min: 1, max: 3600, usual: 60 };

const COMMAND = {
  type: 'array' as const,
  minItems: 1,
  maxItems: MOST_ITEMS,
  items: { type: 'string' as const, pattern: WITHOUT_NUL },
  description: 'Program and arguments, at most 16 KiB in total; not interpreted by a shell.',
};
const READY = {
  type: 'object' as const,
  nullable: true,
  oneOf: [{ required: ['port'] }, { required: ['command'] }],
  additionalProperties: false,
  properties: {
    port: {
      type: 'integer' as const,
      minimum: 1,
      maximum: 65_535,
      example: 8080,
      description: 'TCP port that must accept connections.',
    },
    command: { ...COMMAND, description: 'Command that must exit with 0 within 10 s. Mutually exclusive with port.' },
    within_seconds: {
      type: 'integer' as const,
      minimum: WITHIN_SECONDS.min,
      maximum: WITHIN_SECONDS.max,
      default: WITHIN_SECONDS.usual,
      description: 'Time limit after each start of the command, in seconds.',
    },
  },
};

/** The OpenAPI schema of a {@link StartCommand}, in requests. */
export const START_COMMAND_SCHEMA = {
  title: 'StartCommandRequest',
  type: 'object' as const,
  nullable: true,
  required: ['command'],
  additionalProperties: false,
  properties: {
    command: { ...COMMAND, example: ['node', 'server.js'] },
    restart: { type: 'string' as const, enum: [...RESTARTS], default: 'on-failure' },
    ready: READY,
  },
};

/** The OpenAPI schema of a change of a {@link StartCommand}: what it omits stays, and null takes the default. */
export const START_PATCH_SCHEMA = {
  title: 'StartCommandPatch',
  type: 'object' as const,
  nullable: true,
  additionalProperties: false,
  properties: {
    command: START_COMMAND_SCHEMA.properties.command,
    restart: { ...START_COMMAND_SCHEMA.properties.restart, nullable: true },
    ready: {
      type: 'object' as const,
      nullable: true,
      additionalProperties: false,
      properties: {
        port: { ...READY.properties.port, nullable: true },
        command: { ...READY.properties.command, nullable: true },
        within_seconds: { ...READY.properties.within_seconds, nullable: true },
      },
    },
  },
};

/** The OpenAPI schema of a {@link StartCommand} in answers, with all fields that a request may omit. */
export const SHOWN_START_SCHEMA = {
  ...START_COMMAND_SCHEMA,
  title: 'StartCommand',
  required: ['command', 'restart', 'ready'],
  properties: Object.assign({}, START_COMMAND_SCHEMA.properties, {
    ready: Object.assign({ required: ['within_seconds'] }, READY),
  }),
};

/** Validates a start command from outside. @returns what is wrong with it; null if it is valid */
export function faultOfStart(value: unknown): string | null {
  if (!isPlain(value)) return 'start must be an object with a command';
  const unknown = unknownKey(value, ['command', 'restart', 'ready']);
  if (unknown !== null) return `start has no field ${unknown}`;
  const { command, restart, ready } = value;
  if (restart !== undefined && !RESTARTS.some((each) => each === restart)) {
    return `start.restart must be one of ${RESTARTS.join(', ')}`;
  }
  return faultOfCommand(command, 'start.command') ?? (ready == null ? null : faultOfReady(ready));
}

function faultOfReady(ready: unknown): string | null {
  if (!isPlain(ready)) return 'start.ready must be an object with a port or a command';
  const unknown = unknownKey(ready, ['port', 'command', 'within_seconds']);
  if (unknown !== null) return `start.ready has no field ${unknown}`;
  const { port, command, within_seconds: within } = ready;
  if ((port === undefined) === (command === undefined)) return 'start.ready must have either a port or a command';
  if (port !== undefined && !isInteger(port, 1, 65_535)) return 'start.ready.port must be from 1 to 65535';
  if (within !== undefined && !isInteger(within, WITHIN_SECONDS.min, WITHIN_SECONDS.max)) {
    return 'start.ready.within_seconds must be from 1 to 3600';
  }
  return command === undefined ? null : faultOfCommand(command, 'start.ready.command');
}

function faultOfCommand(command: unknown, field: string): string | null {
  const isList = Array.isArray(command) && command.length > 0 && command.length <= MOST_ITEMS;
  const items: readonly unknown[] = isList ? command : [];
  const isCommand = isList && items.every((each) => typeof each === 'string' && !each.includes('\0'));
  if (!isCommand) {
    return `${field} must be a program and its arguments: 1 to ${String(MOST_ITEMS)} strings without NUL`;
  }
  return Buffer.byteLength(items.join('')) > MOST_BYTES ? `${field} must have at most 16 KiB` : null;
}

/**
 * The stored form of a start command, with the defaults of omitted fields.
 *
 * @param asked valid by {@link faultOfStart}
 */
export function startCommandOf(asked: AskedStart): StartCommand {
  const { command, restart = 'on-failure', ready } = asked;
  if (ready == null) return { command, restart, ready: null };
  const { within_seconds = WITHIN_SECONDS.usual, ...condition } = ready;
  const kept = condition.port === undefined ? { command: condition.command ?? [] } : { port: condition.port };
  return { command, restart, ready: { ...kept, within_seconds } };
}

/** A start command as a client sends it. */
export interface AskedStart {
  readonly command: readonly string[];
  readonly restart?: StartCommand['restart'];
  readonly ready?: {
    readonly port?: number;
    readonly command?: readonly string[];
    readonly within_seconds?: number;
  } | null;
}

/** A start command as a merge patch changes it; validated once it is merged. */
export type StartPatch = { readonly [Key in keyof AskedStart]?: unknown };

/**
 * A request that sets a start command runs code in the container, so it needs the scope `exec`.
 *
 * @throws DomainError `insufficient_permissions`
 */
export function assertMayStart(caller: Pick<Principal, 'scopes'>, { start }: { start?: object | null }): void {
  if (start !== undefined && !holdsScope(caller, 'exec')) throw insufficientScope('exec');
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unknownKey(value: Record<string, unknown>, known: readonly string[]): string | null {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  return unknown === undefined ? null : JSON.stringify(unknown.slice(0, 64));
}

function isInteger(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}
