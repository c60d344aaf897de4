import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type Docker from 'dockerode';
import { boundedCall } from './bounded-call';
import { containerOf, remove, start } from './container-verbs';
import { abortable } from './docker-client';
import type { DockerClients } from './docker-client';
import { readable } from './docker-streams';
import { EngineError } from './engine-error';
import { volumeWorkerOptions } from './volume-worker-options';
import type { WorkerSpec } from './volume-worker-options';

/** How much of what its programs complain about is kept for the log. */
const COMPLAINT_CHARS = 2000;

/** A worker that reports nothing for longer hangs. Writing gigabytes out to a slow disk goes without a word, too. */
const STALL_MS = 5 * 60_000;

export interface WorkerRun {
  /** Unique in Docker; a leftover of this name is replaced. */
  readonly name: string;
  /** Called for each line that the script reports. */
  readonly onReport: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
  readonly stallMs?: number;
}

export interface WorkerResult {
  readonly exitCode: number;
  /** The end of what its programs wrote to the log; may hold names of files. */
  readonly complaint: string;
}

/**
 * Runs a script on volumes in a container that is removed afterwards. If this process dies, the container is found by its
 * labels.
 *
 * @param timeoutMs of each call to Docker; the run itself is bounded by its reports
 * @throws EngineError `aborted`, `docker_unavailable` when it hangs; whatever Docker refuses
 */
export async function runVolumeWorker(
  clients: DockerClients,
  spec: WorkerSpec,
  { timeoutMs, ...run }: WorkerRun & { timeoutMs: number },
): Promise<WorkerResult> {
  const bounded = <T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> => boundedCall(timeoutMs, call);
  throwIfAborted(run.signal);
  const leftover = containerOf(clients.calls, run.name);
  await bounded((signal) => remove(leftover, signal));
  const container = await bounded((signal) =>
    clients.streams.createContainer(
      abortable(signal, { _query: { name: run.name }, _body: volumeWorkerOptions(spec) }),
    ),
  );
  try {
    // Attached before it starts, so that no report is missed.
    const output = readable(await bounded((signal) => attach(container, signal)));
    const ended = listen(clients.streams, output, run);
    ended.catch(() => undefined);
    await bounded((signal) => start(container, signal));
    const complaint = await ended;
    const answer: unknown = await bounded((signal) => container.wait(abortable(signal, {})));
    return { exitCode: exitCodeOf(answer), complaint };
  } finally {
    // Where even this fails, it is a container that no row knows.
    await bounded((signal) => remove(container, signal)).catch(() => undefined);
  }
}

function attach(container: Docker.Container, signal: AbortSignal): Promise<NodeJS.ReadWriteStream> {
  return container.attach(abortable(signal, { stream: true, stdout: true, stderr: true }));
}

/** @returns the complaint, when the container has ended */
async function listen(docker: Docker, output: Readable, run: WorkerRun): Promise<string> {
  const { onReport, signal, stallMs = STALL_MS } = run;
  const [reports, complaints] = [new PassThrough(), new PassThrough()];
  let complaint = '';
  complaints.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-COMPLAINT_CHARS);
  });
  const stall = setTimeout(() => {
    output.destroy(new EngineError('docker_unavailable', 'the work on a volume hangs'));
  }, stallMs);
  const abort = (): void => {
    output.destroy(aborted());
  };
  signal?.addEventListener('abort', abort, { once: true });
  createInterface({ input: reports }).on('line', (line) => {
    stall.refresh();
    onReport(line);
  });
  try {
    throwIfAborted(signal);
    docker.modem.demuxStream(output, reports, complaints);
    await finished(output, { writable: false });
    reports.end();
    await finished(reports);
    return complaint.trim();
  } finally {
    clearTimeout(stall);
    signal?.removeEventListener('abort', abort);
    reports.destroy();
    complaints.destroy();
  }
}

function exitCodeOf(answer: unknown): number {
  const { StatusCode } = (answer ?? {}) as { StatusCode?: unknown };
  if (typeof StatusCode === 'number') return StatusCode;
  throw new EngineError('docker_unavailable', "Docker's answer to a wait cannot be read");
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted();
}

function aborted(): EngineError {
  return new EngineError('aborted', 'the work on a volume was aborted');
}
