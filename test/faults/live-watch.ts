import { setTimeout as delay } from 'node:timers/promises';
import { httpCall } from '../support/clients/http-call';
import type { Excuses } from './excuses';
import type { FaultyCluster, Member } from './faulty-cluster';
import { Journal } from './journal';

const EVERY_MS = 500;
/** An idle machine answers at once; on a busy one the event loop is scheduled late. */
const ANSWERED_WITHIN_MS = 5_000;
/** Longer than any probe takes on a machine that is not overloaded. */
const LATE_MS = 2_000;
/** A supervisor probes several times before it restarts a process. */
const SILENT_TIMES = 3;

/** Probes every process's liveness all the time. A process must answer while it waits for anything else. */
export class LiveWatch {
  private closed = false;
  private readonly ended: Promise<unknown>;

  constructor(
    cluster: FaultyCluster,
    private readonly excuses: Excuses,
    private readonly journal: Journal,
  ) {
    this.ended = Promise.all(cluster.members.map((member) => this.watch(member)));
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.ended;
  }

  private async watch(member: Member): Promise<void> {
    let silent = 0;
    while (!this.closed) {
      const fault = member.up && !member.paused ? await this.look(member) : null;
      silent = fault === null ? 0 : silent + 1;
      if (silent === SILENT_TIMES) this.journal.complain(`${member.name} does not say that it lives: ${String(fault)}`);
      await delay(EVERY_MS);
    }
  }

  private async look(member: Member): Promise<string | null> {
    const looking = look(member);
    const onLate = (): void => {
      this.journal.note('late', member.name);
      void this.excuses.during('late', {}, () => looking);
    };
    const late = setTimeout(onLate, LATE_MS);
    const fault = await looking;
    clearTimeout(late);
    return fault;
  }
}

/** @returns a description of the fault; null if there is none, or if the run itself caused it */
async function look(member: Member): Promise<string | null> {
  const { deaths, pauses } = member;
  const fault = await fails(member.url);
  return !member.up || member.deaths > deaths || member.pauses > pauses ? null : fault;
}

/** @returns a description of the fault; null if there is none */
async function fails(url: string): Promise<string | null> {
  try {
    const { status } = await httpCall(url, '/health/live', { hangUpMs: ANSWERED_WITHIN_MS });
    return status === 200 ? null : `status ${String(status)}`;
  } catch (error) {
    return String(error);
  }
}
