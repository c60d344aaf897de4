import { applyDecorators } from '@nestjs/common';
import { ApiHeader, ApiOkResponse, ApiResponse } from '@nestjs/swagger';
import type { ApiFault } from '../../errors';
import { ApiInside, RESUMING } from '../access/inside-errors';

export const BINARY = { schema: { type: 'string' as const, format: 'binary' } };
const text = (description: string, example: string) => ({
  description,
  schema: { type: 'string' as const },
  example,
});
export const OF_FILES = {
  ETag: text('Derived from the path, size and modification time.', '"Zr3l1kK0m9aPq2Xv"'),
  'Content-Disposition': text('File name.', 'attachment; filename="notes.txt"'),
};
export const COMMON = [
  ...RESUMING,
  'container_not_running',
  'path_not_found',
  'path_denied',
  'path_not_directory',
  'tools_failed',
  'too_many_transfers',
  'file_access_failed',
] as const;
const OF_DOWNLOADS = [
  'path_is_directory',
  'path_not_file',
  'range_not_satisfiable',
  'file_too_large',
  'precondition_failed',
] as const;
export const WRITING = [...COMMON, 'path_exists', 'path_is_directory', 'no_space'] as const;

/** Conditions of RFC 9110, 13. */
export const ApiConditions = () =>
  applyDecorators(
    ApiHeader({ name: 'If-Match', required: false, description: 'ETags, one of which must be current; or *.' }),
    ApiHeader({
      name: 'If-None-Match',
      required: false,
      description: 'ETags, none of which may be current; or *.',
    }),
    ApiHeader({ name: 'If-Modified-Since', required: false, description: 'HTTP date; for GET and HEAD.' }),
    ApiHeader({ name: 'If-Unmodified-Since', required: false, description: 'HTTP date.' }),
  );

/** Documents a route that sends a file. @param faults its own errors, beside those of every such route */
export const ApiDownload = (...faults: readonly ApiFault[]): MethodDecorator =>
  applyDecorators(
    ApiInside(...COMMON, ...OF_DOWNLOADS, ...faults),
    ApiResponse({ status: 304, description: 'The file still has the given ETag.', headers: { ETag: OF_FILES.ETag } }),
    ApiResponse({
      status: 206,
      description: 'The requested range.',
      headers: Object.assign({ 'Content-Range': text('Range and total size.', 'bytes 0-1023/4096') }, OF_FILES),
      content: { 'application/octet-stream': BINARY },
    }),
    ApiOkResponse({
      description: 'The file.',
      headers: OF_FILES,
      content: { 'application/octet-stream': BINARY },
    }),
    ApiConditions(),
    ApiHeader({
      name: 'If-Range',
      required: false,
      description: 'The range is used only if this is the current ETag.',
    }),
    ApiHeader({ name: 'Range', required: false, description: 'One range of bytes, such as bytes=0-1023.' }),
  );
