import { Account, Agents, Tokens } from './account.ts';
import { Admin } from './admin.ts';
import type * as api from './api-types.ts';
import { Code } from './code.ts';
import { type CommandOptions, Commands } from './commands.ts';
import { Containers, type WaitOptions } from './containers.ts';
import { Events, Stats } from './events.ts';
import { Files } from './files.ts';
import { type BerthOptions, Http } from './http.ts';
import { Ports } from './ports.ts';
import { Processes } from './processes.ts';
import { Snapshots } from './snapshots.ts';
import { Ssh } from './ssh.ts';
import { Terminal, type TerminalOptions, Terminals } from './terminal.ts';
import { ContainerWatch } from './watch.ts';
import { Webhooks } from './webhooks.ts';

/** One user's access to one server. */
export class Berth {
  readonly url: string;
  readonly containers: Containers;
  readonly commands: Commands;
  readonly code: Code;
  readonly processes: Processes;
  readonly files: Files;
  readonly terminals: Terminals;
  readonly snapshots: Snapshots;
  readonly webhooks: Webhooks;
  readonly ports: Ports;
  readonly ssh: Ssh;
  readonly stats: Stats;
  readonly events: Events;
  readonly account: Account;
  readonly tokens: Tokens;
  readonly agents: Agents;
  readonly admin: Admin;
  private readonly http: Http;

  constructor(options: BerthOptions) {
    this.http = new Http(options);
    this.url = this.http.url;
    this.containers = new Containers(this.http);
    this.commands = new Commands(this.http);
    this.code = new Code(this.http);
    this.processes = new Processes(this.http);
    this.files = new Files(this.http);
    this.terminals = new Terminals(this.http);
    this.snapshots = new Snapshots(this.http);
    this.webhooks = new Webhooks(this.http);
    this.ports = new Ports(this.http);
    this.ssh = new Ssh(this.http);
    this.stats = new Stats(this.http);
    this.events = new Events(this.http);
    this.account = new Account(this.http);
    this.tokens = new Tokens(this.http);
    this.agents = new Agents(this.http);
    this.admin = new Admin(this.http);
  }

  /** Runs a command in a container and waits for its end. */
  exec(id: string, command: readonly string[], options?: CommandOptions): Promise<api.CommandResultView> {
    return this.commands.run(id, command, options);
  }

  /** Opens a terminal in a container, or attaches to an open one. */
  terminal(id: string, options: TerminalOptions): Terminal {
    return new Terminal(this.http, id, options);
  }

  /** Watches all containers. Starts at once; `close()` ends it. */
  watch(): ContainerWatch {
    return new ContainerWatch(this.http, this.containers);
  }

  /**
   * Creates a temporary container: resolves once it runs, and deletes it at the end of an `await using`. A container
   * that fails to start is deleted at once.
   */
  async sandbox(body: api.CreateContainerDto, options: WaitOptions = {}): Promise<Sandbox> {
    const { db_id: id } = await this.containers.create(body, options);
    const sandbox = new Sandbox(this, id);
    try {
      await this.containers.wait(id, 'running', options);
      return sandbox;
    } catch (error) {
      await sandbox[Symbol.asyncDispose]().catch(() => undefined);
      throw error;
    }
  }
}

/**
 * A container that is deleted at the end of its block: `await using sandbox = await berth.sandbox({ image: 'sandbox'
 * })`.
 */
export class Sandbox implements AsyncDisposable {
  constructor(
    private readonly berth: Berth,
    /** The container's `db_id`. */
    readonly id: string,
  ) {}

  exec(command: readonly string[], options?: CommandOptions): Promise<api.CommandResultView> {
    return this.berth.exec(this.id, command, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.berth.containers.delete(this.id);
  }
}
