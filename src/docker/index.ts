export { clusterEngine } from './cluster/cluster-settings';
export { DockerEngine } from './docker-engine';
