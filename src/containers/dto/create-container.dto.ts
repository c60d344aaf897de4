import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, type TransformFnParams } from 'class-transformer';
import { IsInt, IsOptional, IsString, Matches, MaxLength } from 'class-validator';
import { CONTAINER_NAME, CONTAINER_NAME_RULE } from './container-name';
import { IsLabels } from '../labels';
import { IsEnvironment } from './is-environment';

/** Body of `POST /api/containers`. */
export class CreateContainerDto {
  @ApiProperty({ example: 'sandbox', description: 'a name of GET /api/images, or "custom" with custom_image' })
  @IsString()
  @MaxLength(255)
  image: string;

  @ApiPropertyOptional({ example: 'alpine:3.21' })
  @IsOptional()
  @IsString()
  @MaxLength(255)
  custom_image?: string;

  @ApiPropertyOptional({ example: 'dev-environment', description: `${CONTAINER_NAME_RULE}; made up if absent` })
  @IsOptional()
  @IsString()
  @Matches(CONTAINER_NAME, { message: CONTAINER_NAME_RULE })
  name?: string;

  @ApiPropertyOptional({ example: 'node', description: 'a name of GET /api/roles; nothing is installed if absent' })
  @IsOptional()
  @IsString()
  @MaxLength(64)
  role?: string;

  @ApiPropertyOptional({ type: 'object', additionalProperties: { type: 'string' }, example: { EDITOR: 'vi' } })
  @IsOptional()
  @Transform(({ obj, key }: TransformFnParams) => (obj as Record<string, unknown>)[key]) // else keys such as `toString` get lost
  @IsEnvironment()
  env?: Record<string, string>;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: 'another name of "env"; one of the two at most',
  })
  @IsOptional()
  @Transform(({ obj, key }: TransformFnParams) => (obj as Record<string, unknown>)[key])
  @IsEnvironment()
  environment?: Record<string, string>;

  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { team: 'core', 'app/tier': 'backend' },
    description: 'at most 32, keys of a-z, 0-9, ".", "_", "/" and "-"; nothing but Berth reads them',
  })
  @IsOptional()
  @Transform(({ obj, key }: TransformFnParams) => (obj as Record<string, unknown>)[key])
  @IsLabels()
  labels?: Record<string, string>;

  @ApiPropertyOptional({ example: 2048, description: "the tier's maximum if absent" })
  @IsOptional()
  @IsInt()
  memory_mb?: number;

  @ApiPropertyOptional({ example: 1000, description: "millicores: 1000 is one CPU; the tier's maximum if absent" })
  @IsOptional()
  @IsInt()
  cpu_shares?: number;

  @ApiPropertyOptional({ example: 10240, description: "the tier's maximum if absent" })
  @IsOptional()
  @IsInt()
  disk_mb?: number;
}
