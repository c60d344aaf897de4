import Docker from 'dockerode';
import { setTimeout as delay } from 'node:timers/promises';
import { RealDocker } from '../support/real-docker';
import { SeededRandom } from '../support/seeded-random';
import { FaultyCluster, Member } from './faulty-cluster';
import { Cohabitation } from './cohabitation';
import { DatabaseOutages } from './database-outages';
import { restartService } from './fault-control';
import { Fault, ScheduledFault } from './fault-schedule';
import { Journal } from './journal';

const SERVICES = ['docker', 'postgres', 'redis'] as const;

interface Parts {
  readonly cluster: FaultyCluster;
  readonly docker: RealDocker;
  readonly outages: DatabaseOutages;
  readonly cohabitation: Cohabitation;
  readonly random: SeededRandom;
  readonly journal: Journal;
}

/** Does what the schedule says, beside everything else that goes on. */
export class FaultInjector {
  private readonly running = new Set<Promise<void>>();
  /** A service that is being started again is not ended meanwhile. */
  private readonly turns = new Map<string, Promise<void>>();

  constructor(
    private readonly schedule: ScheduledFault[],
    private readonly parts: Parts,
  ) {}

  /** To be told of each operation before it begins. */
  readonly onOperation = (operation: number): void => {
    while (this.schedule[0] && this.schedule[0].before <= operation) {
      const [{ fault }] = this.schedule.splice(0, 1) as [ScheduledFault];
      const done = this.inject(fault, operation);
      this.running.add(done);
      void done.finally(() => this.running.delete(done));
    }
  };

  /** Resolves when everything that was ended is there again. */
  async over(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running);
  }

  private async inject(fault: Fault, operation: number): Promise<void> {
    const { journal } = this.parts;
    const since = Date.now();
    try {
      const subject = await this.perform(fault);
      journal.note('fault', fault, { operation, subject, ms: Date.now() - since });
    } catch (error) {
      // Somebody who acts behind Berth's back meets the other faults as well.
      if (!fault.startsWith('container_')) journal.complain(`${fault} could not be done: ${String(error)}`);
      journal.note('fault', `${fault} in vain`, { operation, error: String(error) });
    }
  }

  private async perform(fault: Fault): Promise<string> {
    const { cluster, random, journal, outages } = this.parts;
    const service = SERVICES.find((name) => fault === `${name}_restart` || fault === `${name}_kill`);
    if (service) {
      const how = fault.endsWith('_kill') ? 'kill' : 'restart';
      return this.inTurn(service, async () => {
        journal.say(`${service}: ${how}`);
        const restart = (): Promise<void> => restartService(service, how);
        await (service === 'postgres' ? outages.during(restart) : restart());
        journal.say(`${service} is back`);
        return service;
      });
    }
    const member = random.pick(cluster.members);
    switch (fault) {
      case 'process_kill':
        return this.inTurn(member.name, () => this.killProcess(member));
      case 'docker_outage':
        member.proxy.down = true;
        member.proxy.cut();
        await delay(500 + 4_500 * random.next());
        member.proxy.down = false;
        return member.name;
      case 'docker_connections_cut':
        for (const { proxy } of cluster.members) proxy.cut();
        return 'all';
      case 'event_streams_corrupted':
        member.proxy.corruptEvents();
        return member.name;
      default:
        return this.behindBerthsBack(fault);
    }
  }

  private async killProcess(member: Member): Promise<string> {
    if (!member.up) return `${member.name} was down already`;
    await this.parts.cluster.kill(member);
    return member.name;
  }

  private async behindBerthsBack(fault: Fault): Promise<string> {
    const { docker, cluster, random, cohabitation } = this.parts;
    const filters = { label: [`berth.instance=${cluster.instance}`] };
    const listed = await docker.docker.listContainers({ all: true, filters });
    const fitting = listed.filter(
      ({ State }) => fault === 'container_remove' || (State === 'running') === (fault !== 'container_start'),
    );
    if (fitting.length === 0) throw new Error('there is no such container');
    const { Id, Labels } = random.pick(fitting);
    if (fault === 'container_start') cohabitation.meddle(Labels['berth.container_id'] ?? '');
    await this.meddle(fault, docker.docker.getContainer(Id));
    return Id;
  }

  private async meddle(fault: Fault, container: Docker.Container): Promise<void> {
    switch (fault) {
      case 'container_kill':
        await container.kill();
        return;
      case 'container_stop':
        await container.stop({ t: 2 });
        return;
      case 'container_remove':
        await container.remove({ force: true });
        return;
      case 'container_start':
        await container.start();
        return;
      default: {
        // Its main process dies, and Docker's restart policy brings it back.
        const { Pid } = (await container.inspect()).State;
        if (Pid > 0) process.kill(Pid, 'SIGKILL');
      }
    }
  }

  private async inTurn(subject: string, work: () => Promise<string>): Promise<string> {
    const before = this.turns.get(subject) ?? Promise.resolve();
    const mine = before.then(work);
    this.turns.set(
      subject,
      mine.then(
        () => undefined,
        () => undefined,
      ),
    );
    return mine;
  }
}
