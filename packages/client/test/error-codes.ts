import { readFileSync } from 'node:fs';
import type { BerthErrorCode } from '../src/index.ts';

interface Document {
  readonly components: { readonly schemas: { readonly ErrorCode: { readonly enum: readonly BerthErrorCode[] } } };
}

/** All codes of the API's errors, as its OpenAPI document lists them. */
export function apiErrorCodes(): readonly BerthErrorCode[] {
  const document = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as Document;
  return document.components.schemas.ErrorCode.enum;
}
