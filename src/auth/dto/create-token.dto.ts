import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import {
  ArrayNotEmpty,
  ArrayUnique,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Matches,
  Max,
  Min,
  ValidateIf,
} from 'class-validator';
import { RouteScope } from '../principal';

const GRANTABLE: readonly RouteScope[] = ['read', 'write', 'admin'];

/** What `POST /api/tokens` takes. */
export class CreateTokenDto {
  @ApiProperty({ example: 'laptop', minLength: 1, maxLength: 64, description: 'A name to recognise the token by.' })
  // Printable, and no blank at either end: \p{C} is control, format and unassigned characters, lone surrogates among them.
  @IsString()
  @Matches(/^(?![\s])[^\p{C}]{1,64}(?<![\s])$/u, { message: 'must be 1 to 64 printable characters' })
  readonly name: string;

  @ApiPropertyOptional({
    enum: GRANTABLE,
    isArray: true,
    description: 'At most what the calling token holds. By default read and write, as far as it holds them.',
  })
  @ValidateIf((dto: CreateTokenDto) => dto.scopes !== undefined)
  @IsArray({ message: 'must be an array' })
  @ArrayNotEmpty({ message: 'must not be empty' })
  @ArrayUnique({ message: 'must not name a scope twice' })
  @IsIn(GRANTABLE, { each: true, message: `must be of ${GRANTABLE.join(', ')}` })
  readonly scopes?: RouteScope[];

  @ApiPropertyOptional({
    type: 'integer',
    nullable: true,
    minimum: 1,
    maximum: 3650,
    example: 90,
    description: 'Days. By default it ends with the calling token, which it cannot outlast, or not at all.',
  })
  @IsOptional()
  @IsInt({ message: 'must be a whole number of days' })
  @Min(1, { message: 'must be at least 1' })
  @Max(3650, { message: 'must be at most 3650' })
  readonly expires_in?: number | null;
}
