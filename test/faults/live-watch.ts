import { setTimeout as delay } from 'node:timers/promises';
import { httpCall } from '../support/http-call';
import type { FaultyCluster, Member } from './faulty-cluster';
import { Journal } from './journal';

const EVERY_MS = 500;
/** At once on an idle machine; on a busy one its loop gets its turn late. */
const ANSWERED_WITHIN_MS = 5_000;

/** Asks every process all the time whether it lives: whatever it waits for, it must say so. */
export class LiveWatch {
  private closed = false;
  private readonly ended: Promise<unknown>;

  constructor(
    cluster: FaultyCluster,
    private readonly journal: Journal,
  ) {
    this.ended = Promise.all(cluster.members.map((member) => this.watch(member)));
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.ended;
  }

  private async watch(member: Member): Promise<void> {
    while (!this.closed) {
      if (member.up && !member.paused) await this.look(member);
      await delay(EVERY_MS);
    }
  }

  private async look(member: Member): Promise<void> {
    const { deaths, pauses } = member;
    const fault = await fails(member.url);
    const explained = !member.up || member.deaths > deaths || member.pauses > pauses;
    if (fault !== null && !explained) this.journal.complain(`${member.name} does not say that it lives: ${fault}`);
  }
}

/** @returns in words; null if all is well */
async function fails(url: string): Promise<string | null> {
  try {
    const { status } = await httpCall(url, '/health/live', { hangUpMs: ANSWERED_WITHIN_MS });
    return status === 200 ? null : `status ${String(status)}`;
  } catch (error) {
    return String(error);
  }
}
