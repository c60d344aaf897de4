import { ApiProperty } from '@nestjs/swagger';
import { Transform, type TransformFnParams } from 'class-transformer';
import { IsLabels } from '../labels';

/** Body of `PUT /api/containers/:id/labels`. */
export class ReplaceLabelsDto {
  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    example: { team: 'core', 'app/tier': 'backend' },
    description: 'all that the container has from now on',
  })
  @Transform(({ obj, key }: TransformFnParams) => (obj as Record<string, unknown>)[key])
  @IsLabels()
  labels: Record<string, string>;
}
