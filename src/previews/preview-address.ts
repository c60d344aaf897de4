import { type Config, isBelowLocalhost } from '../config';
import { timesIn } from '../http';
import type { IncomingMessage } from 'node:http';

/** A port of a container. */
export interface PreviewTarget {
  /** The database id. */
  readonly containerId: string;
  readonly port: number;
}

export type PreviewSettings = Pick<Config, 'PREVIEW_PORT' | 'PREVIEW_DOMAIN'>;

/** The first label of a preview's name: the port and the container's database id. A label has 63 characters at most. */
const LABEL = /^([1-9][0-9]{0,4})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const HIGHEST_PORT = 65_535;

/** @returns null if the text is not a port number */
export function portOf(text: string): number | null {
  return /^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= HIGHEST_PORT ? Number(text) : null;
}

/** The preview that a request is for. @returns null if its `Host` names none */
export function targetOf(request: IncomingMessage, domain: string): PreviewTarget | null {
  const { host = '' } = request.headers;
  if (timesIn(request.rawHeaders, 'host') !== 1) return null;
  const name = host
    .toLowerCase()
    .replace(/:\d{1,5}$/, '')
    .replace(/\.$/, '');
  if (!name.endsWith(`.${domain}`)) return null;
  const [, digits = '', containerId = ''] = LABEL.exec(name.slice(0, -domain.length - 1)) ?? [];
  const port = portOf(digits);
  return port === null ? null : { containerId, port };
}

/**
 * The public URL of a preview, without a path. A name below `localhost` leads to this machine, where the listener is
 * reached directly. Any other leads to a proxy in front, which ends TLS.
 */
export function originOf({ containerId, port }: PreviewTarget, settings: PreviewSettings): string {
  const { PREVIEW_DOMAIN: domain, PREVIEW_PORT: listener } = settings;
  const name = `${String(port)}-${containerId}.${domain}`;
  return isBelowLocalhost(domain) ? `http://${name}:${String(listener)}` : `https://${name}`;
}
