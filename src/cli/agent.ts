import { freemem, loadavg, totalmem, uptime } from 'node:os';
import type { AgentStats } from '../agents/agent-protocol';
import { environmentSchema } from '../config';
import { createLogger } from '../logging';
import { AGENT_USAGE, parseAgentArguments } from './agent-arguments';
import { AgentEnd, AgentLink } from './agent-link';

const MEGABYTE = 2 ** 20;

/** The current load and memory of this machine. */
function machineReport(): AgentStats {
  const total = totalmem();
  return {
    load: loadavg().map((average) => Math.round(average * 100) / 100),
    memory_total_mb: Math.round(total / MEGABYTE),
    // `freemem` counts caches as free, as far as the operating system reports them.
    memory_used_mb: Math.round((total - freemem()) / MEGABYTE),
    uptime_seconds: Math.floor(uptime()),
  };
}

/**
 * Exit codes of sysexits.h (no permission; wrong configuration), for which a service manager can be told not to
 * restart.
 */
const EXIT: Readonly<Record<AgentEnd, number>> = { told_to: 0, refused: 77, replaced: 78 };
const EXIT_MISUSED = 2;

const FAREWELL: Readonly<Record<AgentEnd, string>> = {
  told_to: 'the agent is shutting down',
  refused: 'unauthorized: the agent was deleted or its token revoked; create another with POST /api/agents',
  replaced: 'another program has connected with the same token and replaced this one',
};

/** Time limit for a proper disconnect. */
const GOODBYE_MS = 2_000;

async function main(): Promise<void> {
  const parsed = parseAgentArguments(process.argv.slice(2), process.env);
  if ('faults' in parsed) {
    process.stderr.write(`${parsed.faults.join('\n')}\n\n${AGENT_USAGE}`);
    process.exitCode = EXIT_MISUSED;
    return;
  }
  const { url, token } = parsed;
  const logger = createLogger({ LOG_LEVEL: environmentSchema.shape.LOG_LEVEL.catch('info').parse(levelAsked()) });
  const version = process.env['npm_package_version'];
  const hello = { os: process.platform, arch: process.arch, ...(version !== undefined && { version }) };
  logger.info({ url, ...hello, pid: process.pid }, 'connecting');
  if (crossesNetworkInClear(url)) logger.warn('the token is sent unencrypted; use https://');

  const link = new AgentLink({ url, token, hello, report: machineReport, logger });
  const stop = (): void => link.end('told_to');
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', stop);
  // The parent process is gone, and so will not stop this one.
  process.on('disconnect', stop);
  const why = await link.run();
  logger[why === 'told_to' ? 'info' : 'fatal']({ reason: why }, FAREWELL[why]);
  process.exitCode = EXIT[why];
  // Otherwise the parent's channel keeps the process alive.
  if (process.connected) process.disconnect();
  setTimeout(() => process.exit(), GOODBYE_MS).unref();
}

function levelAsked(): string | undefined {
  return process.env['LOG_LEVEL'] === '' ? undefined : process.env['LOG_LEVEL'];
}

function crossesNetworkInClear(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

void main();
