import { Injectable } from '@nestjs/common';
import { createHmac, randomBytes } from 'node:crypto';
import { Secrets } from '../secrets';
import type { WebhookRow } from './webhook.entity';

const PREFIX = 'whsec_';

/** Length of a secret, in bytes: as Standard Webhooks recommends. */
const SECRET_BYTES = 24;

/** One message as it is signed. */
export interface Signed {
  /** The `webhook-id`, the same for every attempt. */
  readonly id: string;
  readonly timestamp: Date;
  readonly body: string;
}

/**
 * The headers of a message by Standard Webhooks, with a signature for each secret.
 *
 * @param secrets in plain text (`whsec_…`)
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function signedHeaders({ id, timestamp, body }: Signed, secrets: readonly string[]) {
  const seconds = String(Math.floor(timestamp.getTime() / 1000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signatures.join(' ') };
}

/** The secrets of webhooks. The database has them sealed, each for its webhook. */
@Injectable()
export class WebhookSecrets {
  constructor(private readonly secrets: Secrets) {}

  /** @returns a new secret: `text` for its user, who sees it once, and `sealed` for the database */
  make(webhookId: string): { readonly text: string; readonly sealed: string } {
    const text = `${PREFIX}${randomBytes(SECRET_BYTES).toString('base64')}`;
    return { text, sealed: this.secrets.seal(text, placeOf(webhookId)) };
  }

  /** The secrets to sign with at this time, in plain text: the present one, and the former one during its overlap. */
  of({ id, secret, formerSecret, formerSecretUntil }: WebhookRow, now: Date): string[] {
    const isFormerValid = formerSecret !== null && formerSecretUntil !== null && formerSecretUntil > now;
    const sealed = isFormerValid ? [secret, formerSecret] : [secret];
    return sealed.map((each) => this.secrets.open(each, placeOf(id)));
  }
}

function placeOf(webhookId: string): string {
  return `webhooks.secret:${webhookId}`;
}
