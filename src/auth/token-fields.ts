import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayNotEmpty, ArrayUnique, IsArray, IsIn, IsInt, IsOptional, Max, Min, ValidateIf } from 'class-validator';
import { type RouteScope, SCOPES } from './principal';

/** The scopes that users can give to tokens. */
const GRANTABLE = SCOPES.filter((scope): scope is RouteScope => scope !== 'agent');

const LONGEST_DAYS = 3650;

/** The optional scopes of a token to be created. */
export function TokenScopesField(description: string): PropertyDecorator {
  return applyDecorators(
    ApiPropertyOptional({ enum: GRANTABLE, isArray: true, description }),
    ValidateIf((_body, value) => value !== undefined),
    IsArray({ message: 'must be an array' }),
    ArrayNotEmpty({ message: 'must not be empty' }),
    ArrayUnique({ message: 'must not contain duplicates' }),
    IsIn(GRANTABLE, { each: true, message: `must be of ${GRANTABLE.join(', ')}` }),
  );
}

/** The optional days after which a token to be created expires. */
export function TokenDaysField(description: string, { nullable = false } = {}): PropertyDecorator {
  return applyDecorators(
    ApiPropertyOptional({ type: 'integer', ...(nullable && { nullable }), example: 90, description }),
    IsOptional(),
    IsInt({ message: 'must be a whole number of days' }),
    Min(1, { message: 'must be at least 1' }),
    Max(LONGEST_DAYS, { message: `must be at most ${String(LONGEST_DAYS)}` }),
  );
}
