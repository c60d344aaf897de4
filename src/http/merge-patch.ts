import { applyDecorators, Injectable, type PipeTransform, SetMetadata, type Type } from '@nestjs/common';
import { ApiBody, ApiExtension, ApiExtraModels } from '@nestjs/swagger';
import { invalidParameters } from '../errors';
import { createValidationPipe, isObject } from './validation';

/** The media type of JSON merge patches (RFC 7396). */
export const MERGE_PATCH = 'application/merge-patch+json';
const JSON_TYPE = 'application/json';

/** The media types that routes accept, as in `Accept-Patch` (RFC 5789, 3.1). */
export const ACCEPT_JSON = JSON_TYPE;
export const ACCEPT_PATCHES = `${JSON_TYPE}, ${MERGE_PATCH}`;

/** True if the list of media types has this `Content-Type`; its parameters are ignored. */
export function isAccepted(list: string, contentType: string | undefined): boolean {
  const [type = ''] = (contentType ?? '').split(';', 1);
  return list.split(', ').includes(type.trim().toLowerCase());
}

/** A body with the media type {@link MERGE_PATCH}. */
export class MergePatch {
  constructor(readonly changes: object) {}
}

export const MERGE_FORMS = Symbol('the classes of the bodies of a route that takes merge patches');
/** Names the class's schema in the OpenAPI document, until the document is complete. */
export const MERGE_EXTENSION = 'x-merge-patch';

/** The classes of a body by its media type. */
interface Forms<Whole, Patch> {
  /** The class of `application/json`. */
  readonly whole: Type<Whole>;
  /** The class of merge patches, whose properties are all optional. */
  readonly patch: Type<Patch>;
  /** The patch that a whole body is. */
  readonly patchOf: (whole: Whole) => Patch;
}

/** Lets a PATCH route take JSON and merge patches; its body needs a {@link PatchPipe}. */
export function TakesMergePatch({ whole, patch }: Record<'whole' | 'patch', Type<object>>): MethodDecorator {
  return applyDecorators(
    SetMetadata(MERGE_FORMS, [whole, patch]),
    ApiExtraModels(patch),
    ApiBody({ type: whole }),
    ApiExtension(MERGE_EXTENSION, patch.name),
  );
}

/** Validates a body by the class of its media type; both become patches. A merge patch must have at least one field. */
@Injectable()
export class PatchPipe<Whole extends object, Patch extends object> implements PipeTransform {
  private readonly validation = createValidationPipe();

  constructor(private readonly forms: Forms<Whole, Patch>) {}

  async transform(body: unknown): Promise<Patch> {
    const { whole, patch, patchOf } = this.forms;
    if (!(body instanceof MergePatch)) return patchOf(await this.validated(body, whole));
    if (Object.keys(body.changes).length === 0) {
      throw invalidParameters([{ field: 'body', message: 'must have at least one field' }]);
    }
    return this.validated(body.changes, patch);
  }

  private async validated<T>(value: unknown, metatype: Type<T>): Promise<T> {
    return (await this.validation.transform(value, { type: 'body', metatype })) as T;
  }
}

/**
 * Applies a merge patch (RFC 7396, 2): objects are merged by key, `null` removes a key, any other value replaces the
 * target. Changes neither argument.
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}
