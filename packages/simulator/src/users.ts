/** The users that all images have. */
export const USERS: readonly { readonly name: string; readonly id: number; readonly home: string }[] = [
  { name: 'root', id: 0, home: '/root' },
  { name: 'daemon', id: 1, home: '/usr/sbin' },
  { name: 'user', id: 1000, home: '/home/user' },
  { name: 'nobody', id: 65_534, home: '/nonexistent' },
];

/** @param text a name or a number @returns null if there is no such user */
export function userId(text: string): number | null {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  return USERS.find(({ name }) => name === text)?.id ?? null;
}

export function userName(id: number): string {
  return USERS.find((user) => user.id === id)?.name ?? String(id);
}
