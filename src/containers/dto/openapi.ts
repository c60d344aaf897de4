import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiParam, getSchemaPath } from '@nestjs/swagger';
import { type ApiFault, ApiFaults } from '../../errors';

const DOCKER_ID = '4f1d2c3b'.repeat(8);

/** Documents a route on one container: the forms of `:id`, the given errors, and those of every such route. */
export function ApiContainerById(...faults: readonly ApiFault[]): MethodDecorator {
  return applyDecorators(
    ApiParam({
      name: 'id',
      description:
        'The database id (a UUID), its beginning (8 characters or more, where no other of the user’s begins alike), the ' +
        'Docker id (64 hex), its short form (12 hex), or any Docker id that the container had before, in either form. An agent’s is "agent:" and a UUID; agents can be read, stopped and deleted here.',
      schema: { type: 'string' },
      examples: {
        database_id: { value: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' },
        beginning: { value: '3f0c8a52-6d1' },
        docker_id: { value: DOCKER_ID },
        docker_short_id: { value: DOCKER_ID.slice(0, 12) },
        agent: { value: 'agent:3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' },
      },
    }),
    ApiFaults(
      ...faults,
      'ambiguous_id',
      'insufficient_permissions',
      'not_authorized',
      'container_not_found',
      'agent_not_found',
    ),
  );
}

/** Documents the response of a route that accepts ids of containers and of agents. */
export function ApiOkEither(container: Type, agent: Type): MethodDecorator {
  const oneOf = [container, agent].map((view) => ({ $ref: getSchemaPath(view) }));
  return applyDecorators(ApiExtraModels(container, agent), ApiOkResponse({ schema: { oneOf } }));
}
