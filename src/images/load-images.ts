import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError } from '../config';
import { parseImageReference } from '../docker';
import { type CatalogImage, CUSTOM, DEFAULT_IMAGES } from './catalog-image';

const image = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'expected 1 to 64 of a-z, 0-9, ".", "_" and "-"')
    .refine((name) => name !== CUSTOM, `"${CUSTOM}" means the user's own image`),
  reference: z
    .string()
    .refine((text) => parseImageReference(text) !== null, 'expected an image reference such as ubuntu:24.04'),
  description: z.string().max(500).default(''),
  default: z.boolean().default(false),
});

const schema = z.strictObject({ images: z.array(image).min(1).max(1000) }).superRefine(({ images }, context) => {
  const names = images.map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) === index) continue;
    context.addIssue({ code: 'custom', path: ['images', index, 'name'], message: `"${name}" is there twice` });
  }
  const defaults = images.filter((entry) => entry.default).length;
  if (defaults !== 1) {
    context.addIssue({
      code: 'custom',
      path: ['images'],
      message: `exactly one must have "default": true, not ${String(defaults)}`,
    });
  }
});

/**
 * The images of the operator's file, or the default ones.
 *
 * @throws ConfigError that lists every fault of the file
 */
export function loadImages(file: string | undefined): readonly CatalogImage[] {
  return file === undefined ? DEFAULT_IMAGES : parseImages(readJson(file), file);
}

/** @throws ConfigError that lists every fault and names the `source` */
export function parseImages(json: unknown, source: string): readonly CatalogImage[] {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data.images;
  const faults = parsed.error.issues.map((issue) => `  ${issue.path.join('.') || 'file'}: ${issue.message}`);
  throw new ConfigError(`IMAGES_FILE: the images in ${source} are not valid:\n${faults.join('\n')}`);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`IMAGES_FILE: ${file} cannot be read as JSON: ${reason}`);
  }
}
