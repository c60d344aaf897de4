import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, getSchemaPath } from '@nestjs/swagger';

/** Documents what a route answers that takes the ids of containers and of agents. */
export function ApiOkEither(container: Type, agent: Type): MethodDecorator {
  const oneOf = [container, agent].map((view) => ({ $ref: getSchemaPath(view) }));
  return applyDecorators(ApiExtraModels(container, agent), ApiOkResponse({ schema: { oneOf } }));
}
