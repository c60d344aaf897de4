import type { JSX } from 'preact';
import { counted } from './format';

/** The texts of the nodes of a cluster. */
export const nodeWords = {
  title: 'Nodes',
  about: 'Machines that run containers',
  empty: {
    title: 'Single machine',
    text: 'Set CLUSTER=swarm to run containers on the nodes of a Docker Swarm.',
  },
  caption: 'Nodes, by name',
  columns: {
    node: 'Node',
    state: 'State',
    memory: 'Memory',
    cpu: 'CPU',
    containers: 'Containers',
  },
  cells: {
    memory: 'memory',
    cpu: 'CPU',
    containers: 'containers',
  },
  lastDay: (name: string) => `${name}: last 24 hours`,
  manager: 'manager',
  pool: (name: string) => `pool ${name}`,
  memoryOf: (name: string) => `Memory of ${name}`,
  cpuOf: (name: string) => `CPU of ${name}`,
  node: 'node',
  idle: (containers: string) => `(${containers} idle)`,
  moreFor: (name: string) => `More for ${name}`,
  state: {
    active: 'Active',
    drained: 'Drained',
    paused: 'Paused',
    removed: 'Removed',
    unreachable: 'Not responding',
    neverAnswered: 'Never responded',
    lastAnswer: (ago: JSX.Element) => <>Last response {ago}</>,
    getsNone: 'Receives no containers',
    avoided: 'Avoided',
    avoidedFor: (reason: string) => `Creations fail here: ${reason}`,
    unusable: 'Not usable',
  },
  drain: {
    action: 'Drain',
    question: (name: string) => `Drain “${name}”?`,
    effect: 'The node no longer receives or starts containers. Running ones continue; nothing is moved.',
    done: (name: string) => `“${name}” is drained.`,
  },
  activate: {
    action: 'Activate',
    done: (name: string) => `“${name}” receives containers again.`,
  },
  remove: {
    item: 'Remove for good',
    action: 'Remove',
    question: (name: string) => `Remove “${name}” for good?`,
    effect: (containers: number) =>
      `The data of its ${counted(containers, 'container')} is lost: each will be recreated empty on another node when ` +
      'it is started. Wait instead if the machine may come back.',
  },
};
