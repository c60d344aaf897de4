import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiPropertyOptional, ApiSchema, PartialType, PickType } from '@nestjs/swagger';
import { Transform, type TransformFnParams } from 'class-transformer';
import {
  IsBoolean,
  IsIn,
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateIf,
  type ValidationArguments,
} from 'class-validator';
import { Choice, Count, Text, Uuid } from '../../api-fields';
import { isObjectOf, IsUuidText, printable, QueryInteger, validatedBy, WITHOUT_NUL } from '../../http';
import { faultOfPolicy, type NetworkPolicy, NETWORK_POLICY_SCHEMA } from '../../network-policy';
import { AUTO_END_SECONDS, IDLE_ACTIONS, type IdleAction, RESOURCE_BOUNDS } from '../../tiers';
import {
  CONTAINER_STATUSES,
  type ContainerStatus,
  END_ACTIONS,
  type EndAction,
  MAX_LIFETIME_SECONDS,
} from '../model/container.entity';
import {
  IsLabels,
  IsLabelSelectors,
  IsLabelsPatch,
  LABELS_PATCH_SCHEMA,
  LABELS_SCHEMA,
  MAX_LABELS,
} from '../model/labels';
import {
  type AskedStart,
  faultOfStart,
  START_COMMAND_SCHEMA,
  START_PATCH_SCHEMA,
  type StartPatch,
} from '../model/start-command';
import { LISTED_STATUSES, type ListedStatus } from './responses';

/** Permitted names of containers. */
export const CONTAINER_NAME = /^[A-Za-z0-9-]{1,64}$/;
export const CONTAINER_NAME_RULE = '1 to 64 of A-Z, a-z, 0-9 and "-"';

const MAX_VARIABLES = 64;
const MAX_VALUE_LENGTH = 4096;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

const RULE =
  `at most ${String(MAX_VARIABLES)} variables, names of letters, digits and "_", ` +
  `values strings of at most ${String(MAX_VALUE_LENGTH)} characters without NUL`;

/** Keeps the object as it was sent; class-transformer would lose keys such as `toString`. */
export function AsSent(): PropertyDecorator {
  return Transform(({ obj, key }: TransformFnParams) => (obj as Record<string, unknown>)[key]);
}

/** The JSON Schema of a variable's value. */
const VALUE = { type: 'string', maxLength: MAX_VALUE_LENGTH, pattern: WITHOUT_NUL };

const ALIAS = { description: 'Alias of "env"; only one of the two is allowed.' };

/** An optional property with environment variables. */
export function EnvironmentProperty(words: { example?: object; description?: string }): PropertyDecorator {
  const schema = {
    type: 'object' as const,
    maxProperties: MAX_VARIABLES,
    propertyNames: { pattern: NAME.source },
    additionalProperties: VALUE,
  };
  return applyDecorators(ApiPropertyOptional(Object.assign(schema, words)), IsOptional(), AsSent(), IsEnvironment());
}

/** Validates a plain object of environment variables: POSIX names, string values that fit through `execve`. */
function IsEnvironment(): PropertyDecorator {
  return isObjectOf('isEnvironment', { validate: isEnvironment, rule: RULE });
}

function isEnvironment(value: object): boolean {
  const variables = Object.entries(value);
  return variables.length <= MAX_VARIABLES && variables.every(([name, text]) => NAME.test(name) && isValue(text));
}

function isValue(text: unknown): boolean {
  return typeof text === 'string' && text.length <= MAX_VALUE_LENGTH && !text.includes('\0');
}

/** @returns what is wrong with a plain object of environment variables; null if it is valid */
export function faultOfEnvironment(value: object): string | null {
  return isEnvironment(value) ? null : RULE;
}

/** Validates a change of environment variables: null removes one. */
function IsEnvironmentPatch(): PropertyDecorator {
  const validate = (value: object): boolean =>
    Object.entries(value).every(([name, text]) => NAME.test(name) && (text === null || isValue(text)));
  return isObjectOf('isEnvironmentPatch', { validate, rule: `${RULE}; null removes one` });
}

/** A property with the name of a container or a snapshot. */
export const NameProperty = (example: string, description = CONTAINER_NAME_RULE): PropertyDecorator =>
  // From the last to the first: decorators above a property are evaluated in this order.
  applyDecorators(
    Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE }),
    IsString(),
    Text(description, { example }),
  );

/** A property with an amount of a resource. */
export const ResourceProperty = (example: number, description: string): PropertyDecorator =>
  applyDecorators(Count(description, Object.assign({}, RESOURCE_BOUNDS, { example })), IsInt());

const IdleLimitProperty = (example: number, description: string): PropertyDecorator =>
  applyDecorators(
    Count(description, { minimum: AUTO_END_SECONDS.min, maximum: AUTO_END_SECONDS.max, example }),
    IsOptional(),
    IsInt(),
  );

/** An optional property with the time until a container is idle. */
const AutoStopProperty = (absent: string): PropertyDecorator =>
  IdleLimitProperty(3600, `Seconds of inactivity until the container is idle, within the tier's limit. ${absent}`);

/** An optional property with the time until a stopped container is deleted. */
const AutoDeleteProperty = (absent: string): PropertyDecorator =>
  IdleLimitProperty(604_800, `Seconds until a stopped container is deleted, within the tier's limit. ${absent}`);

/** An optional property of a patch that null cannot remove. */
export const Given = (): PropertyDecorator => ValidateIf((_object, value) => value !== undefined);

/** The longest description of a snapshot or a template, in characters. */
const MAX_DESCRIPTION = 500;

/** An optional property with a description, of which null stands for none. */
export function DescriptionProperty(options: { example: string; description?: string }): PropertyDecorator {
  return applyDecorators(
    ApiPropertyOptional({ type: String, maxLength: MAX_DESCRIPTION, ...options }),
    IsOptional(),
    IsString(),
    Matches(printable(MAX_DESCRIPTION), { message: `at most ${String(MAX_DESCRIPTION)} printable characters` }),
  );
}

/** A property with labels. */
export const LabelsProperty = (example: Readonly<Record<string, string>>, description: string): PropertyDecorator =>
  applyDecorators(ApiProperty({ ...LABELS_SCHEMA, example, description }), AsSent(), IsLabels());

/** An optional query parameter that selects by labels. */
export const LabelFilter = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      type: [String],
      maxItems: MAX_LABELS,
      example: ['team:core'],
      description: '`key:value`, or only a key. Repeatable; all must match.',
    }),
    IsOptional(),
    IsLabelSelectors(),
  );

/** An optional property with a network policy. */
export function NetworkProperty(description: string): PropertyDecorator {
  const message = ({ value }: ValidationArguments): string => faultOfPolicy(value) ?? '';
  return applyDecorators(
    ApiPropertyOptional({ ...NETWORK_POLICY_SCHEMA, description }),
    IsOptional(),
    AsSent(),
    validatedBy('isNetworkPolicy', (value) => faultOfPolicy(value) === null, { message }),
  );
}

/** An optional property with the action for an idle container. */
function IdleActionProperty(absent: string): PropertyDecorator {
  const description =
    "Action when the container is idle, within the tier's limit: `stop`, `pause`, or `pause_then_stop`, which stops it " +
    `when it has been paused for the same time again. ${absent}`;
  return applyDecorators(
    ApiPropertyOptional({ type: String, enum: [...IDLE_ACTIONS], example: 'pause', description }),
    IsOptional(),
    IsString(),
    IsIn(IDLE_ACTIONS, { message: `must be one of ${IDLE_ACTIONS.join(', ')}` }),
  );
}

/** An optional property with the lifetime of each run. */
const LifetimeProperty = (absent: string): PropertyDecorator =>
  applyDecorators(
    Count(
      'Seconds from each start or resumption, and from a change, until `end_action` is done. The tier and the session ' +
        `may end the run earlier. ${absent}`,
      { minimum: 1, maximum: MAX_LIFETIME_SECONDS, example: 300 },
    ),
    IsOptional(),
    IsInt(),
    Min(1),
    Max(MAX_LIFETIME_SECONDS),
  );

/** An optional property with what happens at the end of the lifetime. */
const EndActionProperty = (absent: string): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({
      type: String,
      enum: [...END_ACTIONS],
      example: 'delete',
      description: `Action at the end of the lifetime; a deletion can be undone as any other. ${absent}`,
    }),
    IsOptional(),
    IsString(),
    IsIn(END_ACTIONS, { message: `must be one of ${END_ACTIONS.join(', ')}` }),
  );

/** An optional property that says whether a preview starts the container. */
function AutoStartProperty(absent: string): PropertyDecorator {
  const description = `Start the stopped container on a preview request or an SSH session. ${absent}`;
  return applyDecorators(ApiPropertyOptional({ type: Boolean, example: true, description }), IsOptional(), IsBoolean());
}

/** An optional property with a start command. */
export function StartProperty(description: string): PropertyDecorator {
  const message = ({ value }: ValidationArguments): string => faultOfStart(value) ?? '';
  return applyDecorators(
    ApiProperty({ ...START_COMMAND_SCHEMA, selfRequired: false, description }),
    IsOptional(),
    AsSent(),
    validatedBy('isStartCommand', (value) => faultOfStart(value) === null, { message }),
  );
}

/** Schemas of property combinations that are refused; `ImageCatalog` and `environmentOf` enforce the rules. */
const TWO_ENVIRONMENTS = {
  properties: { env: { type: 'object' }, environment: { type: 'object' } },
  required: ['env', 'environment'],
};
const CUSTOM_WITHOUT_IMAGE = { properties: { image: { const: 'custom' }, custom_image: { type: 'null' } } };
const IMAGE_WITHOUT_CUSTOM = {
  properties: { image: { not: { const: 'custom' } }, custom_image: { type: 'string' } },
  required: ['image', 'custom_image'],
};

const IMAGE_AND_SNAPSHOT = {
  properties: { image: { type: 'string' }, snapshot: { type: 'string' } },
  required: ['image', 'snapshot'],
};

/** Example bodies that every tier accepts. The creation has no name, so it can be sent repeatedly. */
const CREATION = { image: 'sandbox', memory_mb: 512, cpu_shares: 500, disk_mb: 2048, labels: { team: 'core' } };
const SETTINGS = { name: 'dev-environment', memory_mb: 512, cpu_shares: 500, disk_mb: 2048, auto_stop_seconds: 3600 };

/** Adds JSON Schema keywords that Nest's typed options lack. */
const Keywords = (keywords: object): ClassDecorator => ApiSchema(keywords);

/** Body of `POST /api/containers`. */
@Keywords({
  examples: [CREATION],
  not: { anyOf: [TWO_ENVIRONMENTS, CUSTOM_WITHOUT_IMAGE, IMAGE_WITHOUT_CUSTOM, IMAGE_AND_SNAPSHOT] },
  anyOf: [{ required: ['image'] }, { required: ['snapshot'] }],
})
export class CreateContainerDto {
  @Text('A name of GET /api/images, or "custom" with custom_image. Required without snapshot.', {
    minLength: 1,
    example: 'sandbox',
  })
  @ValidateIf(({ snapshot, image }: CreateContainerDto) => snapshot === undefined || image !== undefined)
  @IsString()
  @MaxLength(255)
  image?: string;

  @Uuid('Snapshot to create the container from, instead of an image.', {
    example: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11',
  })
  @IsOptional()
  @IsString()
  @IsUuidText()
  snapshot?: string;

  @Text('An image reference; only with the image "custom".', { minLength: 1, example: 'alpine:3.21' })
  @IsOptional()
  @IsString()
  @MaxLength(255)
  custom_image?: string;

  @IsOptional()
  @NameProperty('dev-environment', `${CONTAINER_NAME_RULE}. Generated if omitted.`)
  name?: string;

  @Text('A name of GET /api/roles. If omitted, nothing is installed.', { example: 'node' })
  @IsOptional()
  @IsString()
  @MaxLength(64)
  role?: string;

  @EnvironmentProperty({
    example: { EDITOR: 'vi' },
    description:
      'Environment variables of all commands, processes, terminals and the start command. They override those of ' +
      'the image.',
  })
  env?: Record<string, string>;

  @EnvironmentProperty(ALIAS)
  environment?: Record<string, string>;

  @IsOptional()
  @LabelsProperty(
    { team: 'core', 'app/tier': 'backend' },
    'At most 32; keys of a-z, 0-9, ".", "_", "/" and "-". Only used by Berth.',
  )
  labels?: Record<string, string>;

  @IsOptional()
  @ResourceProperty(1024, "MiB, within the tier's limits. Default: 1,024, or the tier's maximum if lower.")
  memory_mb?: number;

  @IsOptional()
  @ResourceProperty(1000, "Millicores; 1000 is one CPU. Default: 1000, or the tier's maximum if lower.")
  cpu_shares?: number;

  @IsOptional()
  @ResourceProperty(10240, "MiB, within the tier's limits. Default: 10,240, or the tier's maximum if lower.")
  disk_mb?: number;

  @AutoStopProperty('Null or omitted: the tier default.')
  auto_stop_seconds?: number | null;

  @IdleActionProperty('Null or omitted: the tier default.')
  idle_action?: IdleAction | null;

  @AutoDeleteProperty('Null or omitted: the tier default.')
  auto_delete_seconds?: number | null;

  @AutoStartProperty('Null or omitted: false.')
  auto_start?: boolean | null;

  @LifetimeProperty('Null or omitted: unlimited.')
  lifetime_seconds?: number | null;

  @EndActionProperty('Null or omitted: `stop`.')
  end_action?: EndAction | null;

  @NetworkProperty(
    'Outbound network access: `internet`, `none`, or only the listed addresses. Omitted: the tier default.',
  )
  network?: NetworkPolicy;

  @StartProperty('Command to run after each start. Requires the scope exec.')
  start?: AskedStart | null;
}

/** Query of `GET /api/containers`. */
export class ListContainersDto {
  @Choice(
    LISTED_STATUSES,
    '`deleted` lists the containers that can still be restored, with `deleted_at` and `purge_at`. Default: all ' +
      'existing containers.',
    { enumName: 'ListedStatus' },
  )
  @IsOptional()
  @IsIn(LISTED_STATUSES)
  status?: ListedStatus;

  @Text('Filter by exact name.')
  @IsOptional()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @LabelFilter()
  label?: string | readonly string[];

  @QueryInteger({ min: 1, max: 100, default: 100 })
  limit?: number;

  @Text('`next_cursor` of the previous page.')
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,128}$/, { message: 'cursor must be a next_cursor of an earlier response' })
  cursor?: string;
}

/** Body of `PATCH /api/containers/:id`; name and resources are required. */
@Keywords({ examples: [SETTINGS], not: TWO_ENVIRONMENTS })
export class UpdateContainerDto {
  @NameProperty('production-api')
  name: string;

  @ResourceProperty(4096, "MiB, within the tier's limits (GET /api/tiers).")
  memory_mb: number;

  @ResourceProperty(4000, 'Millicores; 1000 is one CPU.')
  cpu_shares: number;

  @ResourceProperty(20480, "MiB, within the tier's limits.")
  disk_mb: number;

  @AutoStopProperty('Null: the tier default. Omitted: unchanged.')
  auto_stop_seconds?: number | null;

  @IdleActionProperty('Null: the tier default. Omitted: unchanged.')
  idle_action?: IdleAction | null;

  @AutoDeleteProperty('Null: the tier default. Omitted: unchanged.')
  auto_delete_seconds?: number | null;

  @AutoStartProperty('Null: false. Omitted: unchanged.')
  auto_start?: boolean | null;

  @LifetimeProperty('Null: unlimited. Omitted: unchanged.')
  lifetime_seconds?: number | null;

  @EndActionProperty('Null: `stop`. Omitted: unchanged.')
  end_action?: EndAction | null;

  @EnvironmentProperty({
    example: { EDITOR: 'vi' },
    description:
      'Replaces all environment variables. Omitted: unchanged. Running programs keep their variables; programs ' +
      'started later get the new ones.',
  })
  env?: Record<string, string>;

  @EnvironmentProperty(ALIAS)
  environment?: Record<string, string>;

  @NetworkProperty('Outbound network access. Omitted: unchanged. A change recreates the container, as a resize does.')
  network?: NetworkPolicy;

  @StartProperty(
    'Command to run after each start. Null: none. Omitted: unchanged. A changed command replaces the running one. ' +
      'Requires the scope exec.',
  )
  start?: AskedStart | null;
}

/** A merge patch for `PATCH /api/containers/:id`: absent fields stay as they are. */
@Keywords({ examples: [{ memory_mb: 512, env: { EDITOR: 'vi', PAGER: null } }], minProperties: 1 })
export class PatchContainerDto extends PartialType(
  PickType(UpdateContainerDto, ['name', 'memory_mb', 'cpu_shares', 'disk_mb']),
  { skipNullProperties: false },
) {
  @AutoStopProperty('Null: the tier default.')
  auto_stop_seconds?: number | null;

  @IdleActionProperty('Null: the tier default.')
  idle_action?: IdleAction | null;

  @AutoDeleteProperty('Null: the tier default.')
  auto_delete_seconds?: number | null;

  @AutoStartProperty('Null: false. Omitted: unchanged.')
  auto_start?: boolean | null;

  @LifetimeProperty('Null: unlimited.')
  lifetime_seconds?: number | null;

  @EndActionProperty('Null: `stop`.')
  end_action?: EndAction | null;

  @ApiPropertyOptional({
    type: 'object',
    nullable: true,
    propertyNames: { pattern: NAME.source },
    additionalProperties: { ...VALUE, nullable: true },
    example: { EDITOR: 'vi', PAGER: null },
    description: `Variables to set; null removes one. Null instead of an object removes all. At most ${String(MAX_VARIABLES)} variables in total.`,
  } as object)
  @IsOptional()
  @AsSent()
  @IsEnvironmentPatch()
  env?: Readonly<Record<string, string | null>> | null;

  @ApiPropertyOptional({
    ...LABELS_PATCH_SCHEMA,
    example: { team: 'core', 'app/tier': null },
    description: `Labels to set; null removes one. Null instead of an object removes all. At most ${String(MAX_LABELS)} labels in total.`,
  })
  @IsOptional()
  @AsSent()
  @IsLabelsPatch()
  labels?: Readonly<Record<string, string | null>> | null;

  @NetworkProperty(
    'Outbound network access. Null: the tier default. A change recreates the container, as a resize does.',
  )
  network?: NetworkPolicy | null;

  @ApiProperty({
    ...START_PATCH_SCHEMA,
    selfRequired: false,
    description:
      'Fields of the start command to change. Null: none. A changed command replaces the running one. Requires the ' +
      'scope exec.',
  })
  @IsOptional()
  @AsSent()
  @IsObject()
  start?: StartPatch | null;
}

/**
 * A change of a container's settings; absent ones stay. `isWhole`: its `env`, `labels` and `start` replace the present
 * ones. Otherwise they are merged with the present ones by key (RFC 7396).
 */
export type SettingsPatch =
  | (Readonly<PatchContainerDto> & { readonly isWhole?: never })
  | (Readonly<Partial<UpdateContainerDto & ReplaceLabelsDto>> & { readonly isWhole: true });

/** What a whole body changes. Unlike in a merge patch, null variables and a null network count as absent. */
export function patchOf({ network, env, environment, ...settings }: UpdateContainerDto): SettingsPatch {
  return {
    ...settings,
    ...(network != null && { network }),
    ...(env != null && { env }),
    ...(environment != null && { environment }),
    isWhole: true,
  };
}

/** Query of `GET /api/containers/:id/wait`. */
export class WaitContainerDto {
  @Choice(CONTAINER_STATUSES, { enumName: 'ContainerStatus' })
  @IsIn(CONTAINER_STATUSES)
  status: ContainerStatus;

  @QueryInteger({ min: 0, max: 120, default: 30, description: 'Timeout in seconds.' })
  timeout?: number;
}

/** Body of `PUT /api/containers/:id/labels`. */
export class ReplaceLabelsDto {
  @LabelsProperty({ team: 'core', 'app/tier': 'backend' }, 'Replaces all labels of the container.')
  labels: Record<string, string>;
}

/** Query of `DELETE /api/containers/:id`. */
export class DeleteContainerDto {
  @Choice(
    ['true', 'false'],
    'Delete the container even if Docker fails or does not respond; the removal continues in the background.',
    { default: 'false' },
  )
  @IsOptional()
  @IsIn(['true', 'false'])
  force?: 'true' | 'false';
}
