/** The user's SSH keys. */
export const sshKeyWords = {
  title: 'SSH keys',
  about: 'What ssh, scp and editors sign in with',
  add: 'Add a key',
  off: 'SSH is off on this server. Its operator can turn it on with SSH_PORT.',
  /** How a person signs in. */
  command: ({ host, port }: { host: string; port: number }) => `ssh NAME@${host} -p ${String(port)}`,
  caption: 'Your SSH keys, the oldest first',
  columns: { fingerprint: 'Fingerprint', used: 'Used', expires: 'Expires' },
  empty: 'No SSH keys',

  remove: {
    title: (name: string) => `Delete “${name}”?`,
    text: 'Its open connections end, and a login with this key is refused from then on.',
  },
  create: {
    title: 'Add an SSH key',
    action: 'Add',
    nameHint: 'To recognise it by: laptop',
    publicKey: 'Public key',
    publicKeyHint: 'The line of ~/.ssh/id_ed25519.pub. The key ends with this session’s token, if that ends.',
  },
};
