import { ApiProperty, ApiPropertyOptional, ApiSchema } from '@nestjs/swagger';
import {
  ArrayMaxSize,
  ArrayNotEmpty,
  ArrayUnique,
  IsArray,
  IsBoolean,
  IsOptional,
  IsString,
  Matches,
  MaxLength,
} from 'class-validator';
import { Choice, Flag, Text, Timestamp, Uuid } from '../../api-fields';
import { IsUuidText, printableName } from '../../http';
import type { TemplateRow } from '../../images';
import { type NetworkPolicy, NETWORK_POLICY_SCHEMA } from '../../network-policy';
import { type AskedStart, SHOWN_START_SCHEMA, type StartCommand } from '../model/start-command';
import { DescriptionProperty, Given, NetworkProperty, ResourceProperty, StartProperty } from './requests';

const MAX_VERSION = 64;
const MAX_TIERS = 32;

/** What a template's name must be. */
export const TEMPLATE_NAME_RULE = '1 to 64 of a-z, 0-9, ".", "_" and "-", starting with a letter or digit';

/** Schemas of combinations that `TemplateSources` refuses. */
const DATA_OF_IMAGE = {
  properties: { image: { type: 'string' }, data: { const: true } },
  required: ['image', 'data'],
};

/** Body of `PUT /api/admin/templates/:name`. */
@ApiSchema({
  examples: [{ image: 'sandbox', version: '2026-11', memory_mb: 512 }],
  oneOf: [{ required: ['image'] }, { required: ['snapshot'] }],
  not: DATA_OF_IMAGE,
} as object)
export class PutTemplateDto {
  @Text('An image on the machine, or a catalogue name; it is never pulled. Alternatively, give a snapshot.', {
    minLength: 1,
    example: 'my-tools:1',
  })
  @Given()
  @IsString()
  @MaxLength(255)
  image?: string;

  @Uuid("One of your snapshots, whose files are copied, or the current template's snapshot, even if it is deleted.")
  @Given()
  @IsString()
  @IsUuidText()
  snapshot?: string;

  @Text(`1 to ${String(MAX_VERSION)} printable characters`, { example: '2026-11' })
  @IsString()
  @Matches(printableName(MAX_VERSION), { message: `1 to ${String(MAX_VERSION)} printable characters` })
  version: string;

  @DescriptionProperty({ example: 'Node.js and the tools' })
  description?: string | null;

  @IsOptional()
  @ResourceProperty(2048, "Default memory in MiB, limited by the tier's maximum.")
  memory_mb?: number | null;

  @IsOptional()
  @ResourceProperty(1000, "Default CPU in millicores, limited by the tier's maximum.")
  cpu_shares?: number | null;

  @IsOptional()
  @ResourceProperty(10_240, "Default disk size in MiB, limited by the tier's maximum.")
  disk_mb?: number | null;

  @StartProperty('Start command of containers whose creation gives none. Requires the scope exec.')
  start?: AskedStart | null;

  @Text("A name of GET /api/roles, if a creation gives none. Omitted: the snapshot's role.", { example: 'node' })
  @IsOptional()
  @IsString()
  @MaxLength(64)
  role?: string | null;

  @NetworkProperty('Network access of containers whose creation gives none. Omitted: the tier default.')
  network?: NetworkPolicy | null;

  @ApiPropertyOptional({
    type: [String],
    example: ['pro', 'enterprise'],
    description: 'Tiers that can use the template. Omitted: all.',
  })
  @IsOptional()
  @IsArray({ message: 'must be an array' })
  @IsString({ each: true, message: 'each must be a string' })
  @ArrayNotEmpty({ message: 'must name at least one tier' })
  @ArrayMaxSize(MAX_TIERS, { message: `at most ${String(MAX_TIERS)} tiers` })
  @ArrayUnique({ message: 'must not contain duplicates' })
  tiers?: string[] | null;

  @Flag("Only with snapshot: create containers with the snapshot's data. They do not use warm slots.", {
    default: false,
  })
  @Given()
  @IsBoolean()
  data?: boolean;
}

const OPTIONAL_SIZE = { type: 'integer', nullable: true, minimum: 1 } as const;

/** A template as administrators see it. */
export class TemplateView {
  @Text({ example: 'node-tools' }) readonly name: string;
  @Text({ example: '2026-11' }) readonly version: string;
  @Text({ nullable: true, example: 'Node.js and the tools' })
  readonly description: string | null;
  @Text('Image reference; for a snapshot, that of its container.', { example: 'my-tools:1' })
  readonly image: string;
  @Uuid('Snapshot that the template was created from, which may be deleted; null if created from an image.', {
    nullable: true,
    example: null,
  })
  readonly snapshot: string | null;
  @Flag("True if containers start with the snapshot's data.", { example: false })
  readonly data: boolean;
  @ApiProperty({ ...OPTIONAL_SIZE, example: 2048, description: 'Default memory in MiB; null if none.' })
  readonly memory_mb: number | null;
  @ApiProperty({ ...OPTIONAL_SIZE, example: 1000, description: 'Default CPU in millicores; null if none.' })
  readonly cpu_shares: number | null;
  @ApiProperty({ ...OPTIONAL_SIZE, example: null, description: 'Default disk size in MiB; null if none.' })
  readonly disk_mb: number | null;
  @ApiProperty({ ...SHOWN_START_SCHEMA, selfRequired: true, example: null })
  readonly start: StartCommand | null;
  @Text({ nullable: true, example: 'node' }) readonly role: string | null;
  @ApiProperty({ ...NETWORK_POLICY_SCHEMA, nullable: true, description: 'Null: the tier default.' })
  readonly network: NetworkPolicy | null;
  @ApiProperty({ type: [String], nullable: true, example: ['pro'], description: 'Null: all.' })
  readonly tiers: readonly string[] | null;
  @Timestamp() readonly created_at: string;
  @Timestamp() readonly updated_at: string;
}

export function templateView(row: TemplateRow): TemplateView {
  return {
    name: row.name,
    version: row.version,
    description: row.description,
    image: row.image,
    snapshot: row.snapshotId,
    data: row.hasData,
    memory_mb: row.memoryMb,
    cpu_shares: row.cpuShares,
    disk_mb: row.diskMb,
    start: row.start as StartCommand | null,
    role: row.role,
    network: row.network,
    tiers: row.tiers,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}

/** The answer of `PUT /api/admin/templates/:name`. */
export class TemplatePutView {
  @Choice(['template created', 'template replaced'])
  readonly message: 'template created' | 'template replaced';
  @ApiProperty({ type: TemplateView }) readonly template: TemplateView;
}

/** The answer of `GET /api/admin/templates`. */
export class TemplateListView {
  @ApiProperty({ type: [TemplateView], description: 'Sorted by name.' })
  readonly templates: readonly TemplateView[];
}

/** The answer of `DELETE /api/admin/templates/:name`. */
export class TemplateDeletedView {
  @Choice(['template deleted']) readonly message: string;
  @Text({ example: 'node-tools' }) readonly name: string;
}
