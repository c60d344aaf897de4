import type * as api from '@berth/client';
import type { Command } from 'commander';
import { CliError, USAGE } from './exit.ts';
import { age, note, sayJson, sayTable } from './output.ts';
import { confirm } from './prompt.ts';
import { findSnapshotId, openSession, type Session } from './session.ts';
import { cpuShares, mebibytes, network, several } from './values.ts';

interface PutOptions {
  readonly image?: string;
  readonly snapshot?: string;
  readonly data?: boolean;
  readonly description?: string;
  readonly memory?: number;
  readonly cpus?: number;
  readonly disk?: number;
  readonly start?: string;
  readonly role?: string;
  readonly network?: api.NetworkPolicy;
  readonly tier?: readonly string[];
}

/** `berth admin templates`. */
export function addTemplateCommands(templates: Command): void {
  templates
    .command('ls', { isDefault: true })
    .description('lists templates')
    .action(async (_: unknown, command: Command) => list(await openSession(command)));
  templates
    .command('put <name> <version>')
    .description('makes a template of an image or of a snapshot, or replaces it')
    .option('--image <image>', 'an image that the machine has, or a name of the catalogue')
    .option('--snapshot <snapshot>', 'one of your snapshots, whose files are copied')
    .option('--data', "with the snapshot's data too")
    .option('--description <text>', 'what it is for')
    .option('--memory <size>', 'memory of containers that are given none: 512, 512m or 2g', mebibytes)
    .option('--cpus <number>', 'CPUs likewise, such as 0.5', cpuShares)
    .option('--disk <size>', 'disk likewise: 1024, 10g', mebibytes)
    .option('--start <command>', 'is run by a shell after each start')
    .option('--role <role>', 'software that is installed in containers')
    .option('--network <policy>', 'internet, none, or a list: 203.0.113.0/24:443,198.51.100.7:53/udp', network)
    .option('--tier <tier>', 'a tier that may use it, all if absent; several times', several)
    .action(async (name: string, version: string, options: PutOptions, command: Command) =>
      put(await openSession(command), { name, version }, options),
    );
  templates
    .command('rm <name...>')
    .description('deletes templates; containers that were made from them go on')
    .option('-y, --yes', 'without being asked')
    .action(async (names: readonly string[], { yes }: { yes?: boolean }, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      if (!yes) await confirm(`delete ${names.join(', ')}?`);
      for (const name of names) {
        const deleted = await berth.admin.deleteTemplate(name, { signal });
        if (isJson) sayJson(deleted);
        else note(`${deleted.name}: ${deleted.message}`);
      }
    });
}

async function list({ berth, isJson, signal }: Session): Promise<void> {
  const all = await berth.admin.templates({ signal });
  if (isJson) {
    sayJson(all);
    return;
  }
  sayTable(
    ['NAME', 'VERSION', 'IMAGE', 'SNAPSHOT', 'DATA', 'ROLE', 'TIERS', 'AGE'],
    all.map((each) => [
      each.name,
      each.version,
      each.image,
      each.snapshot?.slice(0, 8) ?? null,
      each.data ? 'yes' : 'no',
      each.role,
      each.tiers?.join(', ') ?? 'all',
      age(each.updated_at),
    ]),
  );
}

async function put(
  session: Session,
  { name, version }: { name: string; version: string },
  options: PutOptions,
): Promise<void> {
  const { berth, isJson, signal } = session;
  const { image, snapshot, start, tier } = options;
  if ((image === undefined) === (snapshot === undefined)) {
    throw new CliError('an image or a snapshot is wanted', USAGE);
  }
  const settings = {
    image,
    snapshot: snapshot === undefined ? undefined : await findSnapshotId(session, snapshot),
    data: options.data,
    description: options.description,
    memory_mb: options.memory,
    cpu_shares: options.cpus,
    disk_mb: options.disk,
    start: start === undefined ? undefined : { command: ['sh', '-c', start] },
    role: options.role,
    network: options.network,
    tiers: tier && [...tier],
  };
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const answer = await berth.admin.putTemplate(name, { version, ...given }, { signal });
  if (isJson) sayJson(answer);
  else note(`${name}: ${answer.message}`);
}
