import { z } from 'zod';
import { readJson, validate } from '../config';
import { isBuiltHere, parseImageReference } from '../engine';

/**
 * When a creation asks the registry for an image. `missing`: if the image is missing. `daily`: also for a newer
 * version, if the last check was a day ago. `always`: each time. `never`: not at all, as for images that are built on
 * the machine.
 */
export const PULL_POLICIES = ['missing', 'daily', 'always', 'never'] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

/** An image that users can choose by name. */
export interface CatalogImage {
  /** The name that a user writes. */
  readonly name: string;
  readonly reference: string;
  /** For people, in a sentence. */
  readonly description: string;
  /** Whether a client should offer it first; exactly one is. */
  readonly default: boolean;
  readonly pull: PullPolicy;
}

/** The names of the catalogue's images, and of templates. */
export const IMAGE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** The value of `image` that refers to the image in `custom_image`. */
export const CUSTOM = 'custom';

/** The catalogue, unless the operator's `IMAGES_FILE` replaces it. */
export const DEFAULT_IMAGES: readonly CatalogImage[] = [
  {
    name: 'sandbox',
    reference: 'berth/sandbox:latest',
    description:
      'Debian with the tools of every day: bash, curl, git, make, vim, nano, tmux, jq, and Python with pip and venv',
    default: true,
    pull: 'never',
  },
  {
    name: 'minimal',
    reference: 'berth/minimal:latest',
    description: 'Debian with bash, curl and apt, and little else',
    default: false,
    pull: 'never',
  },
  {
    name: 'code',
    reference: 'berth/code:latest',
    description: 'Debian with Python, its libraries for data, and Node.js, whose kernels run code',
    default: false,
    pull: 'never',
  },
  {
    name: 'debian',
    reference: 'debian:13-slim',
    description: 'Debian 13, minimal',
    default: false,
    pull: 'missing',
  },
  {
    name: 'ubuntu',
    reference: 'ubuntu:24.04',
    description: 'Ubuntu 24.04 LTS',
    default: false,
    pull: 'missing',
  },
  {
    name: 'alpine',
    reference: 'alpine:3.22',
    description: 'Alpine Linux 3.22, small, on musl',
    default: false,
    pull: 'missing',
  },
  {
    name: 'node',
    reference: 'node:22-bookworm-slim',
    description: 'Node.js 22 LTS on Debian',
    default: false,
    pull: 'missing',
  },
  {
    name: 'python',
    reference: 'python:3.13-slim',
    description: 'Python 3.13 on Debian',
    default: false,
    pull: 'missing',
  },
];

const image = z.strictObject({
  name: z
    .string()
    .regex(IMAGE_NAME, 'expected 1 to 64 of a-z, 0-9, ".", "_" and "-"')
    .refine((name) => name !== CUSTOM, `"${CUSTOM}" means the user's own image`),
  reference: z
    .string()
    .refine((text) => parseImageReference(text) !== null, 'expected an image reference such as ubuntu:24.04'),
  description: z.string().max(500).default(''),
  default: z.boolean().default(false),
  pull: z.enum(PULL_POLICIES).default('missing'),
});

/** Images that are built here are never pulled, even if the file does not say so. */
const catalogImage = image.transform((entry, context) => {
  if (!isBuiltHere(entry.reference)) return entry;
  if (entry.pull === 'daily' || entry.pull === 'always') {
    const message = `${entry.reference} is built here and never pulled: leave it out`;
    context.addIssue({ code: 'custom', path: ['pull'], message });
  }
  return { ...entry, pull: 'never' as const };
});

const schema = z.strictObject({ images: z.array(catalogImage).min(1).max(1000) }).superRefine(({ images }, context) => {
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
  return file === undefined ? DEFAULT_IMAGES : parseImages(readJson({ setting: 'IMAGES_FILE', file }), file);
}

/** @throws ConfigError that lists every fault and names the file */
export function parseImages(json: unknown, file: string): readonly CatalogImage[] {
  return validate(schema, json, { setting: 'IMAGES_FILE', file, what: 'images' }).images;
}
