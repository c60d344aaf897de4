/** The parts of an image reference, as written. */
interface ImageReference {
  /** Registry and path, such as `ubuntu` or `registry.example/owner/image`. */
  readonly repository: string;
  readonly tag: string | null;
  readonly digest: string | null;
}

/** Longer ones are refused, though the grammar sets no limit. */
export const MAX_IMAGE_REFERENCE_LENGTH = 255;

// The grammar of https://pkg.go.dev/github.com/distribution/reference, which Docker and the OCI specification share.
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PATH = `${COMPONENT}(?:/${COMPONENT})*`;
const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = `(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?`;
const REFERENCE = new RegExp(
  `^(?<repository>(?:${DOMAIN}/)?${PATH})(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})))?$`,
);
/**
 * What Docker 26 takes for an image id if no image has that name: any number of leading digits, with or without the
 * algorithm.
 */
const ID = /^(?:[0-9a-f]{1,64}|sha(?:256|384|512):.*)$/;

/**
 * @returns null if the text is not a reference. A possible image id is refused, as it could name any image of the
 *   daemon
 */
export function parseImageReference(text: string): ImageReference | null {
  if (text.length > MAX_IMAGE_REFERENCE_LENGTH || ID.test(text)) return null;
  const groups = REFERENCE.exec(text)?.groups;
  if (groups?.['repository'] === undefined) return null;
  return { repository: groups['repository'], tag: groups['tag'] ?? null, digest: groups['digest'] ?? null };
}

/** Docker Hub: the default registry of references that name none. */
export const DOCKER_HUB = 'docker.io';

/** The host, with its port if given, that Docker pulls the image from. */
export function registryOf({ repository }: Pick<ImageReference, 'repository'>): string {
  const [first = '', ...path] = repository.split('/');
  // Docker's own rule to distinguish a host from the start of a path.
  const isHost = path.length > 0 && (/[.:A-Z]/.test(first) || first === 'localhost');
  const host = isHost ? first.toLowerCase() : DOCKER_HUB;
  return host === 'index.docker.io' ? DOCKER_HUB : host;
}

/** The repository prefix of images that are built on the machine itself, for example by `npm run images`. */
const BUILT_HERE = 'berth/';

/**
 * Whether an image is built on the machine and never pulled. Anyone may register this name in a public registry, and
 * every user's sandbox would run that image.
 */
export function isBuiltHere(reference: string): boolean {
  const parsed = parseImageReference(reference);
  if (parsed === null || registryOf(parsed) !== DOCKER_HUB) return false;
  return familiarRepository(parsed.repository.toLowerCase()).startsWith(BUILT_HERE);
}

/** The repository of images that are made of writable layers: of snapshots, and of containers that were resized. */
const LAYERS = 'berth/layer';

/** The name of the image of a snapshot's writable layer. */
export function snapshotImage(snapshotId: string): string {
  return `${LAYERS}:${snapshotId}`;
}

/** Whether this is the name of a snapshot's image. */
export function isSnapshotImage(reference: string): boolean {
  return reference.startsWith(`${LAYERS}:`) && containerOfLayer(reference) === null;
}

/** The name of the image of the layer that a container had before this generation. */
export function layerImage(containerId: string, generation: number): string {
  return `${LAYERS}:${containerId}-g${String(generation)}`;
}

/** @returns the container of a name that {@link layerImage} makes; null: it is no such name */
export function containerOfLayer(reference: string): string | null {
  return /^berth\/layer:(.+)-g\d+$/.exec(reference)?.[1] ?? null;
}

/** Whether an image is made of a writable layer: it may hold any user's files, so no user may name it. */
export function isLayerImage(reference: string): boolean {
  const parsed = parseImageReference(reference);
  if (parsed === null || registryOf(parsed) !== DOCKER_HUB) return false;
  return familiarRepository(parsed.repository.toLowerCase()) === LAYERS;
}

/**
 * The reference of one version of an image: its repository with the version's digest, without a tag.
 *
 * @returns null if `reference` is not valid
 */
export function versionReference(reference: string, digest: string): string | null {
  const parsed = parseImageReference(reference);
  return parsed && `${parsed.repository}@${digest}`;
}

/** A repository as Docker lists it, without the implied `docker.io/` and `library/`. */
export function familiarRepository(repository: string): string {
  return repository.replace(/^(?:index\.)?docker\.io\//, '').replace(/^library\//, '');
}
