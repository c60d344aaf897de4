/**
 * A virtual machine whose Docker keeps disk quotas: its data lies on XFS with project quotas, which the kernel of the
 * machine that tests run on often does not have. Nothing in it is kept; to stop it is to kill it.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, createWriteStream, openSync, ftruncateSync, closeSync, statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';
import { DockerApi } from './docker-api.mjs';
import { freePort } from './free-port.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf, isAlive } from './process-identity.mjs';
import { makeDataFolder, testFolder } from './project.mjs';
import { quotaVmImage } from './quota-vm-image.mjs';
import { atEnd, isEnding } from './shutdown.mjs';
import { say, step } from './steps.mjs';
import { rememberGroup } from './test-remains.mjs';

/** What differs between processors. */
const MACHINES = {
  x64: {
    packages: { 'qemu-system-x86': 'qemu-system-x86_64' },
    kernel: 'linux-image-cloud-amd64',
    options: ['-machine', 'q35'],
    console: 'ttyS0',
  },
  arm64: {
    packages: { 'qemu-system-arm': 'qemu-system-aarch64' },
    kernel: 'linux-image-cloud-arm64',
    options: ['-machine', 'virt'],
    console: 'ttyAMA0',
  },
};

/** The fastest first. A `/dev/kvm` that is there may still not work, on a machine that is virtual itself. */
const ACCELERATORS = {
  kvm: { name: 'KVM', options: ['-accel', 'kvm', '-cpu', 'host'], timeoutMs: 90_000 },
  tcg: { name: 'software emulation', options: ['-accel', 'tcg,thread=multi', '-cpu', 'max'], timeoutMs: 600_000 },
};
const BROKEN = /KVM internal error|Kernel panic/;

const MEMORY_MB = 2048;
const GIB = 1024 ** 3;
/** Of Docker's data; sparse, so only what the tests write takes space on the machine. */
const DATA_BYTES = 8 * GIB;
const NEEDED_BYTES = 6 * GIB;
const LOG_TAIL_LINES = 12;

function hasKvm() {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function makeDataDisk(folder) {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < NEEDED_BYTES) {
    throw new Problem(`The quota tests need ${NEEDED_BYTES / GIB} GiB of free space.`, [`Make some at ${folder}.`]);
  }
  const disk = join(folder, 'data.img');
  const file = openSync(disk, 'w');
  ftruncateSync(file, DATA_BYTES);
  closeSync(file);
  return disk;
}

function argumentsFor({ machine, accelerator, image, disk, port }) {
  const kernelOptions = ['root=/dev/vda', 'rootfstype=ext4', 'rw', 'init=/usr/sbin/berth-vm-init', 'net.ifnames=0'];
  kernelOptions.push(`console=${machine.console}`, 'panic=-1', 'quiet');
  const drive = (file, more) => [
    '-drive',
    `file=${file.replaceAll(',', ',,')},format=raw,if=virtio,cache=unsafe${more}`,
  ];
  // Restricted: the machine reaches nothing, and its Docker, which asks for no password, is reached from here alone.
  const network = `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-10.0.2.15:2375`;
  return [
    ...machine.options,
    ...accelerator.options,
    '-smp',
    String(Math.min(4, availableParallelism())),
    '-m',
    String(MEMORY_MB),
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    '-display',
    'none',
    '-serial',
    'stdio',
    '-kernel',
    image.kernel,
    '-initrd',
    image.initrd,
    '-append',
    kernelOptions.join(' '),
    ...drive(image.disk, ',snapshot=on'),
    ...drive(disk, ''),
    '-netdev',
    network,
    '-device',
    'virtio-net-pci,netdev=net,romfile=',
  ];
}

/** One attempt. @returns {Promise<DockerApi>} once Docker answers */
async function boot({ machine, accelerator, image, folder, progress }) {
  const port = await freePort();
  const log = join(folder, 'console.log');
  const lines = [];
  const child = spawn(
    findCommand(Object.values(machine.packages)[0]),
    argumentsFor({ machine, accelerator, image, disk: makeDataDisk(folder), port }),
    // The changes to the image, which are thrown away, go into a file in TMPDIR that has no name.
    { cwd: folder, detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, TMPDIR: folder } },
  );
  let fault;
  child.once('error', (error) => (fault = error.message));
  if (child.pid) rememberGroup(child.pid);
  const identity = identityOf(child.pid);
  const stop = (hurry) => endProcess(identity, { graceMs: 5000, hurry });
  atEnd('stopping the virtual machine', stop);
  const file = createWriteStream(log);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      file.write(text);
      lines.push(...text.split(/[\r\n]+/).filter((line) => line.trim()));
      fault ??= lines.find((line) => BROKEN.test(line));
      lines.splice(0, lines.length - LOG_TAIL_LINES);
      progress(lines.at(-1) ?? '');
    });
  }
  const api = new DockerApi(`tcp://127.0.0.1:${port}`);
  const until = Date.now() + accelerator.timeoutMs;
  while (!(await api.answers())) {
    if (isEnding()) throw new Problem('stopped');
    const ended = isAlive(identity) ? undefined : 'it ended by itself';
    const why = fault ?? ended ?? (Date.now() > until ? 'no answer in time' : undefined);
    if (why) {
      await stop();
      throw new Problem(`The virtual machine did not start with ${accelerator.name}: ${why}`, lines.slice());
    }
    await sleep(250);
  }
  return api;
}

/**
 * @returns {Promise<{ api: DockerApi, how: string }>} its Docker, with gVisor registered and no image yet
 * @throws Problem where no such machine can be had
 */
export async function startQuotaVm() {
  const machine = process.platform === 'linux' ? MACHINES[process.arch] : undefined;
  if (!machine) {
    throw new Problem(`There is no virtual machine for ${process.platform} on ${process.arch}.`, [
      `The quota tests run on Linux on ${Object.keys(MACHINES).join(' or ')}.`,
    ]);
  }
  if (process.getuid() !== 0) {
    throw new Problem('The virtual machine is built by root alone.', ['Run this as root on a Debian system.']);
  }
  await ensurePackages({ ...machine.packages, mmdebstrap: 'mmdebstrap', e2fsprogs: 'mke2fs' });
  const image = await quotaVmImage(machine);
  const folder = makeDataFolder(join(testFolder, 'quota-vm'));
  const attempt = (accelerator) =>
    step(
      `starting the virtual machine with ${accelerator.name}`,
      (progress) => boot({ machine, accelerator, image, folder, progress }),
      { detail: ({ host }) => host },
    );
  if (hasKvm()) {
    try {
      return await attempt(ACCELERATORS.kvm);
    } catch (error) {
      if (isEnding()) throw error;
      say(`! ${error.message}`);
    }
  }
  return attempt(ACCELERATORS.tcg);
}
