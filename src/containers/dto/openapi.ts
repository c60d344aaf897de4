import { applyDecorators, type Type } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiOkResponse, ApiParam, getSchemaPath } from '@nestjs/swagger';
import { type ApiFault, ApiFaults } from '../../errors';

const DOCKER_ID = '4f1d2c3b'.repeat(8);

/** Documents a route on one container: the forms of `:id`, the given errors, and those of every such route. */
export function ApiContainerById(...faults: readonly ApiFault[]): MethodDecorator {
  return applyDecorators(
    ApiParam({
      name: 'id',
      description:
        'The database id (a UUID), an unambiguous prefix of it (at least 8 characters), the Docker id (64 hex ' +
        'digits), its short form (12 hex digits), or any former Docker id of the container in either form. The id ' +
        'of an agent is "agent:" and a UUID; agents can be read, stopped and deleted here.',
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

/** Headers of answers about one container. */
export const TAG_HEADERS = {
  ETag: {
    description:
      'For containers: entity tag of the settings, for `If-Match` in a PATCH. It does not cover the status and ' +
      'timestamps, so `If-None-Match` has no effect on GET.',
    schema: { type: 'string' as const },
    example: '"pVq4XwT1f0b9yEo2sKd3Zg"',
  },
  'Accept-Patch': {
    description: 'For containers: media types accepted by PATCH.',
    schema: { type: 'string' as const },
    example: 'application/json, application/merge-patch+json',
  },
};

/** Documents `If-Match`. */
export const ApiIfMatch = (): MethodDecorator =>
  ApiHeader({
    name: 'If-Match',
    required: false,
    description:
      'The `ETag` of an earlier response. The update is made only if the settings have not changed since; ' +
      'otherwise the response is 412. Of concurrent updates with the same tag, exactly one succeeds.',
    schema: { type: 'string' },
    example: '"pVq4XwT1f0b9yEo2sKd3Zg"',
  });

/** Documents the response of a route that accepts ids of containers and of agents. */
export function ApiOkEither(container: Type, agent: Type, headers: Partial<typeof TAG_HEADERS> = {}): MethodDecorator {
  const oneOf = [container, agent].map((view) => ({ $ref: getSchemaPath(view) }));
  return applyDecorators(ApiExtraModels(container, agent), ApiOkResponse({ schema: { oneOf }, headers }));
}
