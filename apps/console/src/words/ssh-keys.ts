/** The user's SSH keys. */
export const sshKeyWords = {
  title: 'SSH keys',
  about: 'Keys for ssh, scp and editors',
  add: 'Add key',
  off: 'SSH is off on this server. An administrator can turn it on with SSH_PORT.',
  /** How a person signs in. */
  command: ({ host, port }: { host: string; port: number }) => `ssh NAME@${host} -p ${String(port)}`,
  caption: 'Your SSH keys, oldest first',
  columns: { fingerprint: 'Fingerprint', used: 'Used', expires: 'Expires' },
  empty: 'No SSH keys',

  remove: {
    title: (name: string) => `Delete “${name}”?`,
    text: 'Its open connections end, and the key no longer works.',
  },
  create: {
    title: 'Add an SSH key',
    action: 'Add',
    nameHint: 'e.g. laptop',
    publicKey: 'Public key',
    publicKeyHint: 'The contents of ~/.ssh/id_ed25519.pub. The key expires no later than this session’s token.',
  },
};
