/** An image that users can choose by name. */
export interface CatalogImage {
  /** What a user writes. */
  readonly name: string;
  /** What Docker is given. */
  readonly reference: string;
  /** For people, in a sentence. */
  readonly description: string;
  /** Whether a client should offer it first; exactly one is. */
  readonly default: boolean;
}

/** The `image` that means: the one that `custom_image` names. */
export const CUSTOM = 'custom';

/** The catalogue, unless the operator's `IMAGES_FILE` replaces it. */
export const DEFAULT_IMAGES: readonly CatalogImage[] = [
  {
    name: 'sandbox',
    reference: 'berth/sandbox:latest',
    description: 'Debian with bash, curl and the tools of every day; built on this machine, so it is always here',
    default: true,
  },
  { name: 'debian', reference: 'debian:13-slim', description: 'Debian 13, minimal', default: false },
  { name: 'ubuntu', reference: 'ubuntu:24.04', description: 'Ubuntu 24.04 LTS', default: false },
  { name: 'alpine', reference: 'alpine:3.22', description: 'Alpine Linux 3.22, small, on musl', default: false },
  { name: 'node', reference: 'node:22-bookworm-slim', description: 'Node.js 22 LTS on Debian', default: false },
  { name: 'python', reference: 'python:3.13-slim', description: 'Python 3.13 on Debian', default: false },
];
