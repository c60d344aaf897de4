/** `restricted`: for sandboxes that have an allow list. */
export type NetworkKind = 'open' | 'restricted';

/** Chosen so that, for any instance's name, a network's name of one kind is never one of the other kind. */
export const PREFIXES: Readonly<Record<NetworkKind, string>> = { open: 'berth-', restricted: 'berth.allow-' };

/** Identifies a network of an instance: the number counts within the kind. */
export interface Place {
  readonly kind: NetworkKind;
  readonly number: number;
}

/** @returns the name of an instance's network; the first of a kind has no number */
export function networkName(instance: string, { kind, number }: Place): string {
  const base = `${PREFIXES[kind]}${instance}`;
  return number === 1 ? base : `${base}-${String(number)}`;
}

/** @returns the kind and number in the name of a network of this instance; null if the name has another form */
export function placeIn(name: string, instance: string): Place | null {
  const kind = name.startsWith(PREFIXES.restricted) ? 'restricted' : 'open';
  const base = networkName(instance, { kind, number: 1 });
  if (name === base) return { kind, number: 1 };
  const number = name.startsWith(`${base}-`) ? /^[1-9]\d{0,3}$/.exec(name.slice(base.length + 1))?.[0] : undefined;
  return number === undefined || number === '1' ? null : { kind, number: Number(number) };
}

/** @returns whether a name is that of a sandbox network of this instance, of the given kind or of any */
export function isNetworkOf(instance: string, kind?: NetworkKind): (name: string) => boolean {
  return (name) => {
    const found = placeIn(name, instance)?.kind;
    return found !== undefined && (kind ?? found) === found;
  };
}
