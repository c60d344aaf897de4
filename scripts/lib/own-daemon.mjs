/**
 * A Docker daemon of the project's own, for a machine that has none: data in the project's folder, sockets in a short
 * one, nothing shared with a Docker that may be there already.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { searchPath } from './command.mjs';
import { DockerApi } from './docker-api.mjs';
import { keepingFirewallRules } from './firewall-rules.mjs';
import { clearLeftovers, daemonProcess } from './own-daemon-processes.mjs';
import { Problem } from './problem.mjs';
import { endProcess, identityOf, isAlive, sendSignal } from './process-identity.mjs';
import { runtimeFolder } from './project.mjs';
import { say } from './steps.mjs';

const START_TIMEOUT_MS = 180_000;
const RELOAD_TIMEOUT_MS = 60_000;
/** Docker itself gives containers 15 s at its own end, then kills them. */
const STOP_TIMEOUT_MS = 30_000;

export class OwnDaemon {
  /**
   * @param {string} folder where its data and configuration lie
   * @param {{ programs?: string, within?: string[], hosts?: () => string[] }} [options]
   *   programs: a folder that leads its PATH, for another dockerd than the system's; within: a command that runs it in
   *   a network namespace of its own; hosts: where else it listens, known at its start
   */
  constructor(folder, { programs, within = [], hosts = () => [] } = {}) {
    Object.assign(this, { within, hosts });
    this.searchPath = programs ? `${programs}:${searchPath}` : searchPath;
    const runtime = runtimeFolder(folder);
    this.paths = {
      folder,
      dataRoot: join(folder, 'data'),
      config: join(folder, 'daemon.json'),
      log: join(folder, 'dockerd.log'),
      runtime,
      execRoot: join(runtime, 'exec'),
      pidFile: join(runtime, 'docker.pid'),
    };
    this.host = `unix://${join(runtime, 'docker.sock')}`;
    this.api = new DockerApi(this.host);
    this.identity = undefined;
  }

  hasData() {
    return existsSync(this.paths.dataRoot);
  }

  readConfig() {
    try {
      return JSON.parse(readFileSync(this.paths.config, 'utf8'));
    } catch {
      return {};
    }
  }

  writeConfig(config) {
    mkdirSync(this.paths.folder, { recursive: true, mode: 0o700 });
    writeFileSync(`${this.paths.config}.new`, `${JSON.stringify(config, null, 2)}\n`);
    renameSync(`${this.paths.config}.new`, this.paths.config);
  }

  /** Makes a running daemon read its configuration again, and waits until `isApplied` holds of its info. */
  async reload(isApplied) {
    sendSignal(this.identity.pid, 'SIGHUP');
    const until = performance.now() + RELOAD_TIMEOUT_MS;
    do {
      if (isApplied(await this.api.info())) return;
      await sleep(100);
    } while (performance.now() < until);
    throw new Problem('The Docker daemon did not take its new configuration.', [`See ${this.paths.log}`]);
  }

  /**
   * Starts it, or takes over the one that a killed run left, if that is healthy.
   * @returns {Promise<'started' | 'taken over'>}
   * @throws Problem with the end of its log
   */
  async start() {
    const alive = daemonProcess(this.paths);
    if (alive !== undefined) {
      this.identity = identityOf(alive);
      // A daemon that is just starting answers late, one that is just ending does not answer: give it the time.
      if (await this.api.answers(20_000)) return 'taken over';
      await endProcess(this.identity, { graceMs: 10_000 });
    }
    await clearLeftovers(this.paths);
    if (this.within.length > 0) await this.launchPatiently();
    else await keepingFirewallRules(() => this.launchPatiently());
    return 'started';
  }

  /** Docker gives its containerd some seconds to start, which a busy disk may not allow: then it is started again. */
  async launchPatiently() {
    try {
      await this.launch();
    } catch (error) {
      if (!readFileSync(this.paths.log, 'utf8').includes('timeout waiting for containerd')) throw error;
      say('! the Docker daemon did not start in time: starting it again');
      await clearLeftovers(this.paths);
      await this.launch();
    }
  }

  async launch() {
    const { folder, dataRoot, config, log, runtime, execRoot, pidFile } = this.paths;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    mkdirSync(runtime, { recursive: true, mode: 0o700 });
    if (existsSync(log)) renameSync(log, `${log}.1`);
    const output = openSync(log, 'w');
    const options = ['--config-file', config, '--host', this.host, '--data-root', dataRoot];
    // No docker0: Berth makes a network of its own, without traffic between containers.
    options.push(
      '--exec-root',
      execRoot,
      '--pidfile',
      pidFile,
      '--bridge',
      'none',
      '--group',
      String(process.getgid()),
    );
    for (const host of this.hosts()) options.push('--host', host);
    const [command, ...args] = [...this.within, 'dockerd', ...options];
    const child = spawn(command, args, {
      stdio: ['ignore', output, output],
      // Go collects garbage at once above this: what a container's files make Docker read is not kept.
      env: { GOMEMLIMIT: '1GiB', ...process.env, PATH: this.searchPath },
      // A session of its own: the terminal's Ctrl-C must not end it before the server has finished.
      detached: true,
    });
    closeSync(output);
    const failed = new Promise((_, reject) => child.once('error', reject));
    const started = this.untilAnswers(child);
    await Promise.race([failed, started]);
    child.unref();
  }

  async untilAnswers(child) {
    this.identity = identityOf(child.pid);
    const until = performance.now() + START_TIMEOUT_MS;
    while (!(await this.api.answers(5000))) {
      if (!isAlive(this.identity)) throw this.failure('The Docker daemon did not start.');
      if (performance.now() > until)
        throw this.failure(`The Docker daemon did not answer within ${START_TIMEOUT_MS / 1000} s.`);
      await sleep(100);
    }
  }

  failure(what) {
    const lines = readFileSync(this.paths.log, 'utf8').trim().split('\n').slice(-5);
    return new Problem(what, [
      ...lines.map((line) => line.slice(0, 300)),
      `The whole log: ${this.paths.log}`,
      'Its own daemon needs a machine (or a privileged container) whose root may mount and use cgroups and iptables.',
      'Otherwise install Docker and name it: DOCKER_HOST=unix:///path/to/docker.sock npm start',
    ]);
  }

  /**
   * Calls back when the daemon ends without having been stopped. It is no child after a takeover, so it is looked at.
   */
  onUnexpectedEnd(callback) {
    this.watch = setInterval(() => {
      if (isAlive(this.identity)) return;
      clearInterval(this.watch);
      callback(this.failure('The Docker daemon ended by itself.'));
    }, 1000);
    this.watch.unref();
  }

  /** @param {{ kill: boolean }} how kill: as a power cut, its containers with it; otherwise in good order */
  async restart({ kill }) {
    if (kill) await endProcess(this.identity, { signal: 'SIGKILL' });
    else await this.stop();
    await this.start();
  }

  /** Stops it and its containers, bounded, and leaves no process, mount or socket. */
  async stop({ hurry } = {}) {
    clearInterval(this.watch);
    if (!this.identity) return;
    const ended = await endProcess(this.identity, { graceMs: STOP_TIMEOUT_MS, hurry });
    if (!ended) say('! the Docker daemon did not stop in time and was killed');
    await clearLeftovers(this.paths);
    this.identity = undefined;
  }
}
