import type * as api from './api-types.ts';
import { type CallOptions, type Http, path } from './http.ts';

/** The user's SSH keys, and the SSH server. */
export class Ssh {
  constructor(private readonly http: Http) {}

  /** Where the SSH server is, and its host keys. */
  server({ signal }: CallOptions = {}): Promise<api.SshServerView> {
    return this.http.json('GET', '/api/ssh', { signal });
  }

  /** Registers a public key. Not retried if the connection breaks: the key would be refused as registered already. */
  createKey(body: api.CreateSshKeyDto, { signal }: CallOptions = {}): Promise<api.SshKeyView> {
    return this.http.json('POST', '/api/me/ssh-keys', { json: body, signal });
  }

  async keys({ signal }: CallOptions = {}): Promise<api.SshKeyView[]> {
    return (await this.http.json<api.SshKeyListView>('GET', '/api/me/ssh-keys', { signal })).ssh_keys;
  }

  /** Deletes a key, and ends the connections that were opened with it. */
  deleteKey(id: string, { signal }: CallOptions = {}): Promise<api.SshKeyDeletedView> {
    return this.http.json('DELETE', path`/api/me/ssh-keys/${id}`, { signal });
  }
}
