import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runTokenCommand } from '../../src/cli/token-command';
import { parseConfig } from '../../src/config';
import { BerthProcess } from '../support/berth-process';
import { DockerProxy, type Strike } from '../support/docker-proxy';
import { freePort } from '../support/free-port';
import { SeededRandom } from '../support/seeded-random';
import { openTestDatabase, TestDatabase } from '../support/test-database';
import { Journal } from './journal';
import { PROCESSES, STRIKE_EVERY, TERMS, TIERS } from './setting';

const TIERS_FILE = 'tiers.json';

/** How soon whoever runs a server starts it again. */
const REVIVE_EVERY_MS = 300;

/** One API process, always at the same address, with a proxy of its own before Docker. */
export interface Member {
  readonly name: string;
  readonly url: string;
  readonly process: BerthProcess;
  readonly proxy: DockerProxy;
  /** Listening, as far as anybody knows. */
  up: boolean;
  /** How often it was killed. */
  deaths: number;
}

/** Several API processes on one PostgreSQL, one Redis and one Docker, started again whenever they are killed. */
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

  static async open(journal: Journal): Promise<FaultyCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-faults-'));
    writeFileSync(join(folder, TIERS_FILE), JSON.stringify(TIERS));
    const database = await openTestDatabase();
    const instance = `test-faults-${String(process.pid)}`;
    const environment = {
      ...{ DATABASE_URL: database.url, REDIS_URL: process.env['TEST_REDIS_URL'] ?? '', INSTANCE_ID: instance },
      ...{ TIERS_FILE: join(folder, TIERS_FILE), LOG_LEVEL: 'info', ...TERMS },
    };
    const members: Member[] = [];
    for (let index = 1; index <= PROCESSES; index += 1) {
      const port = await freePort();
      const proxy = await DockerProxy.open();
      members.push({
        ...{ name: `server-${String(index)}`, url: `http://127.0.0.1:${String(port)}`, proxy, up: false, deaths: 0 },
        process: new BerthProcess({ ...environment, PORT: String(port), DOCKER_HOST: proxy.dockerHost }),
      });
    }
    const cluster = new FaultyCluster(members, instance, database, folder, journal);
    await Promise.all(members.map((member) => cluster.revive(member)));
    return cluster;
  }

  /** @returns the token of a new user */
  async token(user: string, tier: string): Promise<string> {
    const config = parseConfig({ DATABASE_URL: this.database.url, TIERS_FILE: join(this.folder, TIERS_FILE) });
    const { stdout, stderr } = await runTokenCommand(['--user', user, '--tier', tier], config);
    if (stdout === '') throw new Error(stderr);
    return stdout.trim();
  }

  /** One that listens, if there is one. */
  pick(random: SeededRandom): Member {
    const up = this.members.filter((member) => member.up);
    return random.pick(up.length > 0 ? up : this.members);
  }

  /** SIGKILL; it is started again at once, and for as long as it takes. */
  async kill(member: Member): Promise<void> {
    member.up = false;
    member.deaths += 1;
    await member.process.kill();
    const reviving = this.revive(member);
    this.reviving.add(reviving);
    void reviving.finally(() => this.reviving.delete(reviving));
  }

  /** Lets the proxies strike calls at random. */
  strike(random: SeededRandom): void {
    for (const { proxy } of this.members) {
      proxy.onCall = (call) => {
        const strike = random.chance(1 / STRIKE_EVERY) ? strikeOf(random) : null;
        if (strike) this.journal.note('strike', strike.fault, { call });
        return strike;
      };
    }
  }

  /** From here on nothing is struck. Resolves when every process listens. */
  async calm(): Promise<void> {
    for (const { proxy } of this.members) {
      proxy.onCall = () => null;
      proxy.down = false;
    }
    while (this.reviving.size > 0) await Promise.all(this.reviving);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.reviving);
    await Promise.all(this.members.map(({ process: server }) => server.stop()));
    await Promise.all(this.members.map(({ proxy }) => proxy.close()));
    await this.database.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** It may not start while something that it needs is away: then once more. */
  private async revive(member: Member): Promise<void> {
    const log = this.journal.log(member.name);
    const onDeath = (how: string): void => {
      member.up = false;
      this.journal.complain(`${member.name} ended by itself ${how}`);
      if (!this.closed) void this.revive(member);
    };
    while (!this.closed) {
      try {
        await member.process.start({ onOutput: (chunk) => void log.write(chunk), onDeath });
        member.up = true;
        this.journal.note('process', 'started', { member: member.name });
        return;
      } catch (error) {
        this.journal.note('process', 'did not start', { member: member.name, error: String(error) });
        await delay(REVIVE_EVERY_MS);
      }
    }
  }
}

function strikeOf(random: SeededRandom): Strike {
  const fault = random.pick([
    ...(['refuse', 'lose', 'drop', 'drop', 'drop', 'truncate', 'truncate'] as const),
    ...(['corrupt', 'corrupt', 'corrupt', 'delay', 'delay', 'delay', 'delay'] as const),
  ]);
  return { fault, delayMs: Math.round(100 + 5_000 * random.next() ** 2) };
}
