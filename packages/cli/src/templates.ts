import type * as api from '@berth/client';
import type { Command } from 'commander';
import { doing } from './advice.ts';
import { CliError, USAGE } from './exit.ts';
import { age, note, sayJson, sayList } from './output.ts';
import { confirm } from './prompt.ts';
import { findSnapshotId, openSession, type Session } from './session.ts';
import { cpuShares, mebibytes, networkOption, several, startOption } from './values.ts';

interface PutOptions {
  readonly image?: string;
  readonly snapshot?: string;
  readonly data?: boolean;
  readonly description?: string;
  readonly memory?: number;
  readonly cpus?: number;
  readonly disk?: number;
  readonly start?: string[];
  readonly role?: string;
  readonly network?: api.NetworkPolicy;
  readonly tier?: readonly string[];
}

/** `berth admin templates`. */
export function addTemplateCommands(templates: Command): void {
  templates
    .command('ls', { isDefault: true })
    .description('List templates')
    .action(async (_: unknown, command: Command) => list(await openSession(command)));
  templates
    .command('put <name> <version>')
    .description('Create or replace a template, from an image or a snapshot')
    .option('--image <image>', 'Image on the machine, or a catalogue name')
    .option('--snapshot <snapshot>', 'One of your snapshots; its files are copied')
    .option('--data', "Include the snapshot's /home/user")
    .option('--description <text>', 'Description')
    .option('--memory <size>', 'Default memory, such as 512m or 2g', mebibytes)
    .option('--cpus <number>', 'Default CPUs, such as 0.5', cpuShares)
    .option('--disk <size>', 'Default disk, such as 10g', mebibytes)
    .addOption(startOption())
    .option('--role <role>', 'Role: software to install')
    .addOption(networkOption())
    .option('--tier <tier>', 'Tier that may use it (default: all; repeatable)', several)
    .action(async (name: string, version: string, options: PutOptions, command: Command) =>
      put(await openSession(command), { name, version }, options),
    );
  templates
    .command('rm <name...>')
    .description('Delete templates; containers created from them are kept')
    .option('-y, --yes', 'Do not ask for confirmation')
    .action(async (names: readonly string[], { yes }: { yes?: boolean }, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      doing.subject = names[0];
      if (!yes) await confirm(`Delete ${names.join(', ')}?`);
      for (const name of names) {
        doing.subject = name;
        const deleted = await berth.admin.deleteTemplate(name, { signal });
        if (isJson) sayJson(deleted);
        else note(`${deleted.name}: ${deleted.message}`);
      }
    });
}

async function list({ berth, isJson, signal }: Session): Promise<void> {
  const all = await berth.admin.templates({ signal });
  sayList(all, {
    isJson,
    head: ['NAME', 'VERSION', 'IMAGE', 'SNAPSHOT', 'DATA', 'ROLE', 'TIERS', 'AGE'],
    ifEmpty: 'No templates yet. Create one: berth admin templates put',
    row: (each) => [
      each.name,
      each.version,
      each.image,
      each.snapshot?.slice(0, 8) ?? null,
      each.data ? 'yes' : 'no',
      each.role,
      each.tiers?.join(', ') ?? 'all',
      age(each.updated_at),
    ],
  });
}

async function put(
  session: Session,
  { name, version }: { name: string; version: string },
  options: PutOptions,
): Promise<void> {
  const { berth, isJson, signal } = session;
  const { image, snapshot, start, tier } = options;
  if ((image === undefined) === (snapshot === undefined)) {
    throw new CliError('a template is created from an image or a snapshot. Use either --image or --snapshot', USAGE);
  }
  const settings = {
    image,
    snapshot: snapshot === undefined ? undefined : await findSnapshotId(session, snapshot),
    data: options.data,
    description: options.description,
    memory_mb: options.memory,
    cpu_shares: options.cpus,
    disk_mb: options.disk,
    start: start === undefined ? undefined : { command: start },
    role: options.role,
    network: options.network,
    tiers: tier && [...tier],
  };
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const answer = await berth.admin.putTemplate(name, { version, ...given }, { signal });
  if (isJson) sayJson(answer);
  else note(`${name}: ${answer.message}`);
}
