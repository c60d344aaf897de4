import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, ConfigError } from '../../config';
import type { EngineCalls } from '../../engine';
import type { ClientCertificate } from '../connection/client';
import { ClusterEngine } from './cluster-engine';
import { SwarmMembers } from './swarm-members';

/**
 * @returns null if the settings name no cluster
 * @throws ConfigError if the certificates cannot be read
 */
export function clusterEngine(config: Config, calls: EngineCalls): ClusterEngine | null {
  const { CLUSTER, CLUSTER_MANAGERS: managers, CLUSTER_CERT_PATH: folder } = config;
  if (CLUSTER === undefined || managers === undefined || folder === undefined) return null;
  const addresses = [config.DATABASE_URL, config.REDIS_URL].flatMap((url) => hostOf(url) ?? []);
  const tls = readCertificate(folder);
  return new ClusterEngine(new SwarmMembers({ settings: config, managers, tls, calls, addresses }));
}

/** @throws ConfigError */
function readCertificate(folder: string): ClientCertificate {
  const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => {
    try {
      return readFileSync(join(folder, name));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConfigError(`CLUSTER_CERT_PATH: ${name} cannot be read: ${reason}`);
    }
  });
  if (!ca || !cert || !key) throw new ConfigError('CLUSTER_CERT_PATH: ca.pem, cert.pem and key.pem are needed');
  return { ca, cert, key };
}

/** The host in a connection string; null for a file. */
function hostOf(url: string | undefined): string | null {
  if (url === undefined || url.startsWith('sqlite:')) return null;
  return URL.canParse(url) ? new URL(url).hostname : null;
}
