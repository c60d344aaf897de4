import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runTokenCommand } from '../../src/cli/token-command';
import { parseConfig } from '../../src/config';
import { BerthProcess } from '../support/servers/berth-process';
import { DockerProxy, type Strike } from '../support/faults/docker-proxy';
import { freePort } from '../support/free-port';
import { MovingClock } from '../support/fakes/moving-clock';
import { SeededRandom } from '../support/seeded-random';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import type { TestNodes } from '../support/docker/test-nodes';
import { Journal } from './journal';
import { RunSetting, STRIKE_EVERY, TERMS, TIERS } from './setting';

const TIERS_FILE = 'tiers.json';

/** How often the start of a killed server is retried. */
const REVIVE_EVERY_MS = 300;

/** A server that cannot start because a service is away prints one line with this beginning. */
const SAYS_WHY = /^Berth did not start: /m;
/** How much of the server's output a complaint quotes. */
const SAID_CHARS = 1_000;

const START = /^POST .*\/containers\/:id\/start$/;

/**
 * One API process, always at the same address, with its own proxies in front of Docker and PostgreSQL and its own
 * clock.
 */
export interface Member {
  readonly name: string;
  readonly url: string;
  readonly process: BerthProcess;
  /** Null if there are several Dockers, which are reached over TLS. */
  readonly docker: DockerProxy | null;
  /** Null on SQLite. */
  readonly database: TcpProxy | null;
  readonly clock: MovingClock;
  /** Whether it is believed to listen. */
  up: boolean;
  paused: boolean;
  /** How often it was paused. */
  pauses: number;
  /** The database has connections of this process that the process no longer knows of. */
  leftConnections: boolean;
  /** Its proxy refuses every start of a container. */
  startsRefused: boolean;
  /** How often it was killed. */
  deaths: number;
}

/** API processes on one database, restarted after each death. Several processes share a Redis. */
export class FaultyCluster {
  private reviving = new Set<Promise<void>>();
  private closed = false;

  private constructor(
    readonly members: readonly Member[],
    readonly instance: string,
    readonly database: TestDatabase,
    private readonly folder: string,
    private readonly journal: Journal,
  ) {}

  /** @param nodes of a Swarm; null for one Docker */
  static async open(
    { name, processes }: RunSetting,
    { journal, nodes }: { journal: Journal; nodes: TestNodes | null },
  ): Promise<FaultyCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-faults-'));
    writeFileSync(join(folder, TIERS_FILE), JSON.stringify(TIERS));
    const database = await openTestDatabase();
    const instance = `test-faults-${name}-${String(process.pid)}`;
    const redis = isSqlite(database.url) ? {} : { REDIS_URL: process.env['TEST_REDIS_URL'] ?? '' };
    const environment = {
      DATABASE_URL: database.url,
      ...redis,
      INSTANCE_ID: instance,
      TIERS_FILE: join(folder, TIERS_FILE),
      LOG_LEVEL: 'info',
      ...TERMS,
      ...(nodes && { ...nodes.environment, SANDBOX_FIREWALL: 'required', DISK_QUOTA: 'off' }),
    };
    const members: Member[] = [];
    for (let index = 1; index <= processes; index += 1) {
      const docker = nodes ? null : await DockerProxy.open();
      members.push(await openMember(`server-${String(index)}`, environment, { folder, docker }));
    }
    const cluster = new FaultyCluster(members, instance, database, folder, journal);
    await Promise.all(members.map((member) => cluster.revive(member)));
    return cluster;
  }

  /** @returns the token of a new user */
  async token(user: string, tier: string, more: readonly string[] = []): Promise<string> {
    const config = parseConfig({ DATABASE_URL: this.database.url, TIERS_FILE: join(this.folder, TIERS_FILE) });
    const { stdout, stderr } = await runTokenCommand(['--user', user, '--tier', tier, ...more], config);
    if (stdout === '') throw new Error(stderr);
    return stdout.trim();
  }

  /** Picks a process that listens and is not paused, if there is one. */
  pick(random: SeededRandom): Member {
    const up = this.members.filter(({ up: listens, paused }) => listens && !paused);
    return random.pick(up.length > 0 ? up : this.members);
  }

  /** Sends SIGKILL. The process is restarted at once; the start is retried until it succeeds. */
  async kill(member: Member): Promise<void> {
    member.up = false;
    member.deaths += 1;
    await member.process.kill();
    const reviving = this.revive(member);
    this.reviving.add(reviving);
    void reviving.finally(() => this.reviving.delete(reviving));
  }

  /** Lets the proxies inject faults into random calls. */
  strike(random: SeededRandom): void {
    for (const member of this.members) {
      if (!member.docker) continue;
      member.docker.onCall = (call) => {
        if (member.startsRefused && START.test(call)) return { fault: 'refuse' };
        const strike = random.chance(1 / STRIKE_EVERY) ? strikeOf(random) : null;
        if (strike) this.journal.note('strike', strike.fault, { call });
        return strike;
      };
    }
  }

  /** Ends the random faults. Resolves when every process listens. */
  async calm(): Promise<void> {
    for (const { docker } of this.members) {
      if (!docker) continue;
      docker.onCall = () => null;
      docker.down = false;
    }
    while (this.reviving.size > 0) await Promise.all(this.reviving);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.reviving);
    await Promise.all(this.members.map(({ process: server }) => server.stop()));
    for (const { docker } of this.members) await docker?.close();
    for (const { database } of this.members) await database?.down();
    await this.database.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Starts the process; retries while a service that it needs is away. */
  private async revive(member: Member): Promise<void> {
    const log = this.journal.log(member.name);
    let output = '';
    const onOutput = (chunk: Buffer): void => {
      log.write(chunk);
      output = (output + chunk.toString()).slice(-SAID_CHARS);
    };
    const onDeath = (how: string): void => {
      member.up = false;
      this.journal.complain(`${member.name} ended by itself ${how}`);
      if (!this.closed) void this.revive(member);
    };
    while (!this.closed) {
      try {
        output = '';
        await member.process.start({ onOutput, onDeath });
        member.up = true;
        member.leftConnections = false;
        this.journal.note('process', 'started', { member: member.name });
        return;
      } catch (error) {
        this.journal.note('process', 'did not start', { member: member.name, error: String(error) });
        await delay(REVIVE_EVERY_MS);
        if (!SAYS_WHY.test(output)) this.journal.complain(`${member.name} did not start, and says only: ${output}`);
      }
    }
  }
}

type Environment = Readonly<Record<string, string>> & { readonly DATABASE_URL: string };

async function openMember(
  name: string,
  shared: Environment,
  { folder, docker }: { folder: string; docker: DockerProxy | null },
): Promise<Member> {
  const port = String(await freePort());
  const clock = new MovingClock(join(folder, `${name}.clock`));
  const database = isSqlite(shared.DATABASE_URL) ? null : await TcpProxy.before(shared.DATABASE_URL);
  const dockerHost = docker ? { DOCKER_HOST: docker.dockerHost } : {};
  const own = { PORT: port, ...dockerHost, DATABASE_URL: database?.url ?? shared.DATABASE_URL, ...clock.environment };
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    process: new BerthProcess({ ...shared, ...own }),
    docker,
    database,
    clock,
    up: false,
    paused: false,
    pauses: 0,
    leftConnections: false,
    startsRefused: false,
    deaths: 0,
  };
}

function isSqlite(databaseUrl: string): boolean {
  return databaseUrl.startsWith('sqlite:');
}

function strikeOf(random: SeededRandom): Strike {
  const fault = random.weighted({ refuse: 1, lose: 1, drop: 3, truncate: 2, corrupt: 3, delay: 4 });
  return { fault, delayMs: Math.round(100 + 5_000 * random.next() ** 2) };
}
