/** What the API answers, as far as the console shows it. */

export interface Resources {
  readonly memory_mb: number;
  readonly cpu_shares: number;
  readonly disk_mb: number;
}

export type Network = 'internet' | 'none' | { readonly allow: readonly string[] };
export type Status = 'creating' | 'running' | 'stopped' | 'error' | 'deleted';
export type RoleStatus = 'pending' | 'installing' | 'installed' | 'failed' | null;

export interface StartCommand {
  readonly command: readonly string[];
  readonly restart?: 'on-failure' | 'never';
  readonly ready?: { readonly port?: number; readonly command?: readonly string[]; readonly within_seconds?: number };
}

export interface Container {
  readonly id: string;
  readonly db_id: string;
  readonly name: string;
  readonly image: string;
  readonly role: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly resources: Resources;
  readonly network: Network;
  readonly user_id: string;
  readonly status: Status;
  readonly status_reason: string | null;
  readonly role_status: RoleStatus;
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_used_at: string;
  readonly idle_seconds: number;
  readonly expires_at: string | null;
  readonly auto_stop_seconds: number | null;
  readonly auto_delete_seconds: number | null;
  readonly ip_address: string | null;
  readonly runtime: string | null;
  readonly start: StartCommand | null;
  readonly ready: boolean | null;
  readonly deleted_at?: string;
  readonly purge_at?: string | null;
}

export interface Agent {
  readonly id: string;
  readonly type: 'agent';
  readonly name: string;
  readonly status: 'online' | 'offline';
  readonly os: string | null;
  readonly arch: string | null;
  readonly tags: readonly string[];
  readonly description?: string | null;
  readonly created_at?: string;
  readonly last_seen_at?: string | null;
}

export interface ContainerList {
  readonly containers: readonly (Container | Agent)[];
  readonly usage: { readonly containers: number; readonly limit: number };
  readonly event_seq: number;
  readonly next_cursor: string | null;
}

export interface Limits {
  readonly containers: number;
  readonly min: Resources;
  readonly max: Resources;
  readonly network: Network;
  readonly session_seconds: number | null;
  readonly session_once: boolean;
  readonly auto_stop_seconds: number | null;
  readonly auto_delete_seconds: number | null;
  readonly agents: number;
  readonly exec: boolean;
}

export type Scope = 'read' | 'write' | 'exec' | 'admin' | 'agent';

export interface Me {
  readonly user: { readonly id: string; readonly username: string; readonly tier: string };
  readonly tier: string;
  readonly limits: Limits;
  readonly usage: { readonly containers: number; readonly agents: number };
  readonly scopes: readonly Scope[];
  readonly session: { readonly expires_at: string } | null;
}

export interface BerthEvent {
  readonly type: string;
  readonly seq: number;
  readonly timestamp: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Token {
  readonly id: string;
  readonly name: string;
  readonly token_prefix: string;
  readonly scopes: readonly Scope[];
  readonly created_at: string;
  readonly expires_at: string | null;
}

export interface FileEntry {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly mode: string;
  readonly mod_time: string;
  readonly is_dir: boolean;
  readonly path_encoded?: string;
}

export interface Stats {
  readonly at: string;
  readonly cpu: { readonly percent_of_limit: number; readonly throttled_percent: number };
  readonly memory: { readonly used_bytes: number; readonly limit_bytes: number };
  readonly pids: number | null;
  readonly network: { readonly rx_bytes: number; readonly tx_bytes: number } | null;
}

export interface Image {
  readonly name: string;
  readonly description: string | null;
  readonly default: boolean;
  readonly available: boolean | null;
}

export interface Role {
  readonly name: string;
  readonly description: string | null;
  readonly default: boolean;
}

export interface UsageDay {
  readonly day: string;
  readonly running_seconds: number;
  readonly memory_mb_seconds: number;
  readonly cpu_share_seconds: number;
  readonly disk_mb_seconds: number;
}
