import type { CallToolResult, StandardSchemaWithJSON, ToolAnnotations } from '@modelcontextprotocol/server';
import { z } from 'zod';
import type { AuditIntent } from '../audit';
import type { Principal, RouteScope } from '../auth';
import { type AnswerCode, DomainError, errorAnswer, GUIDANCE } from '../errors';
import { beginningOf } from './answer-bounds';

/** A call of a tool: who calls, and from where. */
export interface ToolCall {
  readonly caller: Principal;
  readonly address: string;
  readonly requestId: string;
  /** Aborted when the client disconnects. */
  readonly signal: AbortSignal;
}

/** How a call is audited; null: not at all, like the route of the API that does the same. */
interface ToolAudit {
  readonly action: AuditIntent['action'];
  /** See `@AuditedLook()`. */
  readonly isLook?: boolean;
}

type Shape = Readonly<Record<string, z.ZodType>>;

/** A tool, as a module defines it. */
interface ToolDefinition<I extends Shape, O extends Shape> {
  readonly name: string;
  readonly title: string;
  /** For the model: what the tool does, and what to do next. A constant: never text from a sandbox. */
  readonly description: string;
  readonly annotations: Pick<ToolAnnotations, 'readOnlyHint' | 'destructiveHint' | 'idempotentHint'>;
  readonly input: I;
  readonly output: O;
  /** The scope of the route of the API that does the same. */
  readonly scopeOf: (args: z.output<z.ZodObject<I>>) => RouteScope;
  readonly auditOf: (args: z.output<z.ZodObject<I>>) => ToolAudit | null;
  /** Whether the call makes something of Docker's, and so counts for the limit of creations. */
  readonly isCreation?: (args: z.output<z.ZodObject<I>>) => boolean;
  readonly run: (args: z.output<z.ZodObject<I>>, call: ToolCall) => Promise<z.output<z.ZodObject<O>>>;
}

/** A tool of the server. Its arguments have been validated when its functions get them. */
export interface Tool extends Pick<ToolDefinition<Shape, Shape>, 'name' | 'title' | 'description' | 'annotations'> {
  readonly input: StandardSchemaWithJSON<unknown, object>;
  readonly output: StandardSchemaWithJSON;
  readonly scopeOf: (args: object) => RouteScope;
  readonly auditOf: (args: object) => ToolAudit | null;
  readonly isCreation: (args: object) => boolean;
  readonly run: (args: object, call: ToolCall) => Promise<object>;
}

/** Unknown arguments are refused: a model that sends one expects an effect. */
export function defineTool<I extends Shape, O extends Shape>(definition: ToolDefinition<I, O>): Tool {
  type Args = z.output<z.ZodObject<I>>;
  const { input, output, scopeOf, auditOf, isCreation, run, ...rest } = definition;
  return Object.assign(rest, {
    input: withoutDialect(z.strictObject(input)),
    output: withoutDialect(z.object(output)),
    scopeOf: (args: object) => scopeOf(args as Args),
    auditOf: (args: object) => auditOf(args as Args),
    isCreation: (args: object) => isCreation?.(args as Args) ?? false,
    run: (args: object, call: ToolCall) => run(args as Args, call),
  });
}

/** A schema whose JSON does not name its dialect, which is that of the protocol: a model has no use for it. */
function withoutDialect(schema: z.ZodObject): StandardSchemaWithJSON<unknown, object> {
  const standard = schema['~standard'];
  const shownAs =
    (direction: 'input' | 'output') =>
    (options: Parameters<typeof standard.jsonSchema.input>[0]): Record<string, unknown> => {
      const { $schema: _dialect, ...shown } = standard.jsonSchema[direction](options);
      return shown;
    };
  const jsonSchema = { input: shownAs('input'), output: shownAs('output') };
  return { '~standard': Object.assign({}, standard, { jsonSchema }) };
}

/** The container of a call, as the tools' argument. */
export const SANDBOX = z.string().min(1).max(255).describe('Name or id');

export const PATH = z.string().min(1).max(4095).describe('Absolute path');

/** The result of a call: the fields, and the same as JSON text for clients that do not read them. */
export function resultOf(answer: object): CallToolResult {
  return {
    content: [{ type: 'text', text: JSON.stringify(answer) }],
    structuredContent: answer,
  };
}

/** What a model does about an error, where a tool helps; for all others the error catalogue has advice. */
const NEXT: Readonly<Partial<Record<string, string>>> = {
  invalid_parameters: 'Correct the arguments that the details name.',
  container_not_found: 'sandbox_list lists the sandboxes; sandbox_create makes one.',
  not_authorized: 'It belongs to another user. sandbox_list lists your own.',
  insufficient_permissions: "The token lacks this tool's scope. Ask the user for a token that has it.",
  container_limit_reached: 'Delete a sandbox that is not needed with sandbox_delete, if the user agrees.',
  snapshot_limit_reached: 'Ask the user to delete a snapshot.',
  container_not_running: 'Start it: sandbox_control with the action start.',
  container_paused: 'Start it: sandbox_control with the action start.',
  restart_required: 'Stop it, then start it, with sandbox_control; its files are kept.',
  container_broken: 'Stop it, then start it, with sandbox_control; its files are kept.',
  status_unreachable: 'sandbox_list with this sandbox shows its status_reason.',
  status_not_reached: 'It goes on in the background. Look again with sandbox_list in a few seconds.',
  image_not_found: 'Omit image, or ask the user which images the server has.',
  code_unavailable: 'Create a sandbox with the image code, or use command_run.',
  path_not_found: 'List the directory with file_find.',
  path_is_directory: 'List it with file_find.',
  path_not_file: 'Read it with command_run.',
  directory_not_empty: 'Set recursive to true if everything in it is to be deleted.',
  precondition_failed: 'The file has changed, or exists. Read it again with file_read, then decide anew.',
  range_not_satisfiable: 'The offset is beyond the end; size says where that is.',
  process_not_found: 'process_output without a process lists the processes.',
  process_limit_reached: 'Stop a process with process_stop.',
  command_not_started: 'Check cwd and user, and that the image has /bin/sh.',
  file_too_large: 'Write it in parts with command_run, or read it in parts.',
  no_capacity: 'Try again later, or ask for less memory, CPU or disk.',
  too_many_connections: 'Wait until other calls have ended; make fewer at once.',
  rate_limit_exceeded: 'Wait before the next call.',
  previews_disabled: 'The server shows no ports. Check the program with command_run instead.',
};

/** Most characters of an error's fields. */
const FIELDS_CHARS = 4_000;

/** The result of a call that failed: what, and what to do next. Internals are never shown. */
export function failureOf(error: unknown, requestId: string): CallToolResult {
  const { body, headers } = errorAnswer(error, requestId);
  const { error: message, code, request_id: id, ...fields } = body;
  const advice = NEXT[code] ?? (code in GUIDANCE ? GUIDANCE[code as AnswerCode].advice : '');
  const wait = headers['retry-after'] === undefined ? '' : ` Retry after ${headers['retry-after']} s.`;
  const more = Object.keys(fields).length === 0 ? '' : `\n${beginningOf(JSON.stringify(fields), FIELDS_CHARS)}`;
  const text = `Error ${code}: ${message}.${wait} ${advice}${more}\n(request ${id})`;
  return { content: [{ type: 'text', text }], isError: true };
}

/** True for errors that an operator has to see: faults of the server, but not that it has no room or is busy. */
export function isServerFault(error: unknown): boolean {
  if (!(error instanceof DomainError)) return true;
  const { status } = errorAnswer(error, '');
  return status >= 500 && status !== 503;
}
