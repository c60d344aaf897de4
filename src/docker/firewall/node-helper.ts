import type Docker from 'dockerode';
import type { ContainerCreateOptions } from 'dockerode';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { within } from '../../scheduling';
import { EngineError } from '../../engine';
import { abortable } from '../connection/client';
import { containerOf, start } from '../connection/container-verbs';
import { containerLabels, LABELS } from '../model/labels';
import type { DockerDaemon } from '../connection/daemon';
import { DockerExec, refusedWith } from '../connection/docker-exec';
import { hasStatus } from '../connection/errors';
import { OutputFrames } from '../connection/output-frames';
import { labelsOfImage } from '../images/images';
import { IptablesError, refusalIn } from './iptables';

const MEMORY = 128 * 1024 * 1024;
const PIDS_LIMIT = 64;

/** Maximum duration of a program, including iptables' wait for another process that changes rules. */
const TIMEOUT_MS = 15_000;
/** Maximum output: far more than the rules of all sandboxes of a machine. */
const MOST_BYTES = 64 * 1024 * 1024;
const COMPLAINT_CHARS = 2_000;

/** Errors if the helper does not exist or does not run: it is created or started, and the program is run again. */
const MISSING = new Set(['container_not_found', 'container_not_running']);
/** Maximum retries: about five seconds in all. */
const MOST_MISSED = 10;

/**
 * The body of Docker's create call. The helper reaches the machine's network configuration, and nothing else.
 *
 * @param claimedLabels the image's labels with Berth's prefix
 */
export function helperOptions(image: string, claimedLabels: readonly string[]): ContainerCreateOptions {
  return {
    Image: image,
    User: '0:0',
    Entrypoint: ['sleep', 'infinity'],
    Cmd: [],
    Labels: containerLabels({ [LABELS.managed]: 'true', [LABELS.helper]: 'firewall' }, claimedLabels),
    Healthcheck: { Test: ['NONE'] },
    // The helper has nothing to finish, and a daemon that shuts down should not wait for it.
    StopSignal: 'SIGKILL',
    HostConfig: {
      Runtime: 'runc',
      NetworkMode: 'host',
      ReadonlyRootfs: true,
      Tmpfs: { '/run': 'rw,noexec,nosuid,nodev,size=1m' },
      Memory: MEMORY,
      MemorySwap: MEMORY,
      PidsLimit: PIDS_LIMIT,
      CapDrop: ['ALL'],
      CapAdd: ['NET_ADMIN', 'NET_RAW'],
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      IpcMode: 'private',
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'none', Config: {} },
    },
  };
}

/**
 * A container on another machine, in which Berth runs programs in that machine's network namespace. It keeps running,
 * all processes share it, and it is created again if it is gone.
 */
export class NodeHelper {
  private readonly name: string;

  /**
   * @param image with `sh`, `cat`, `sleep` and the programs of iptables
   * @param ensureImage pulls the image unless the machine has it
   */
  constructor(
    private readonly daemon: DockerDaemon,
    private readonly options: { readonly image: string; readonly ensureImage: (image: string) => Promise<unknown> },
  ) {
    // One name per image, so that two versions of Berth do not replace each other's helper.
    this.name = `berth-firewall-${createHash('sha256').update(options.image).digest('hex').slice(0, 12)}`;
  }

  /**
   * Runs a program in the helper.
   *
   * @returns what it writes to stdout
   * @throws IptablesError if it fails, or the helper cannot be created; EngineError `docker_unavailable`
   */
  async run(program: string, args: readonly string[], input = ''): Promise<string> {
    try {
      for (let missed = 0; ; missed += 1) {
        try {
          return await this.exec(program, args, input);
        } catch (error) {
          if (!isMissing(error) || missed === MOST_MISSED) throw error;
        }
        // While another process creates the helper, Docker knows the name (409) before it finds the container by it
        // (404).
        await setTimeout(missed * 100);
        await this.makeSure();
      }
    } catch (error) {
      throw inFirewallsWords(error);
    }
  }

  private async exec(program: string, args: readonly string[], input: string): Promise<string> {
    const command = [program, ...args];
    const exec = await DockerExec.open(this.daemon, this.name, { command, user: '0:0', cwd: '/' });
    try {
      exec.stream.end(input);
      const late = (): Error => new IptablesError(`${program} did not end within ${String(TIMEOUT_MS)} ms`);
      const { output, complaint } = await within(outputOf(exec.stream), { ms: TIMEOUT_MS, late });
      const { hasStarted, exitCode } = await exec.ended();
      if (!hasStarted) throw refusedWith(output + complaint);
      if (exitCode === 0) return output;
      throw new IptablesError(refusalIn(program, complaint, `it ended with ${String(exitCode)}`));
    } finally {
      exec.close();
    }
  }

  /** Starts the helper, after creating it if necessary. Several processes may do so at once. */
  private async makeSure(): Promise<void> {
    const { image, ensureImage } = this.options;
    if (!(await this.startIt())) {
      await ensureImage(image);
      await this.daemon.call('create container', (signal, docker) => create(docker, this.name, image, signal));
      await this.startIt();
    }
  }

  /** @returns false if the helper does not exist */
  private async startIt(): Promise<boolean> {
    try {
      await this.daemon.call('start container', (signal, docker) => start(containerOf(docker, this.name), signal));
      return true;
    } catch (error) {
      if (error instanceof EngineError && error.code === 'container_not_found') return false;
      throw error;
    }
  }
}

async function create(docker: Docker, name: string, image: string, signal: AbortSignal): Promise<void> {
  const options = helperOptions(image, await labelsOfImage(docker, image));
  try {
    await docker.createContainer(abortable(signal, { _query: { name }, _body: options }));
  } catch (error) {
    // Another process has created it.
    if (!hasStatus(error, 409)) throw error;
  }
}

async function outputOf(stream: Readable): Promise<{ output: string; complaint: string }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let complaint = '';
  const frames = new OutputFrames(({ stream: from, data }) => {
    if (from === 'stderr') complaint = (complaint + data.toString()).slice(0, COMPLAINT_CHARS);
    else chunks.push(data);
  });
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    if (bytes > MOST_BYTES) throw new IptablesError('the rules of the machine are larger than can be');
    frames.take(chunk as Buffer);
  }
  return { output: Buffer.concat(chunks).toString(), complaint };
}

function isMissing(error: unknown): boolean {
  return error instanceof EngineError && MISSING.has(error.code);
}

/** Keeps `docker_unavailable`: a Docker that does not answer is not a firewall that refuses. */
function inFirewallsWords(error: unknown): unknown {
  if (!(error instanceof EngineError) || error.code === 'docker_unavailable') return error;
  return new IptablesError(`the firewall's helper does not run: ${error.message}`, { cause: error });
}
