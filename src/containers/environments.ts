import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { isDeepStrictEqual } from 'node:util';
import { ConfigError } from '../config';
import { Database } from '../database';
import { invalidParameters } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { Poll } from '../scheduling';
import { Secrets, SecretsError } from '../secrets';
import { ContainerEntity, type ContainerRow } from './container.entity';
import type { CreateContainerDto } from './dto/requests';

/** Environment variables by their names. */
export type Variables = Readonly<Record<string, string>>;

/** New variables of a container, and whether they are others than those that it has. */
export interface NewEnvironment {
  readonly sealed: string;
  /** Also where those that it has cannot be read: they are replaced then. */
  differsFrom(row: Sealed): boolean;
}

type Sealed = Pick<ContainerRow, 'id' | 'sealedEnv'>;

/** What `JSON.stringify` begins with: rows of earlier versions, which did not encrypt. */
const PLAIN = '{';

/** Rows that are read at once. */
const BATCH = 200;

/** Other processes may go on writing with the previous key until each has been started with the new one. */
const RESEAL_EVERY_MS = 3_600_000;

const HINT =
  'set it to that key again or, where it was replaced on purpose, SECRETS_KEY_PREVIOUS to the former key. ' +
  'If that key is lost: "Secrets" in docs/operations.md';

/**
 * The environment variables of containers, which hold users' secrets: encrypted in the database, and decrypted only
 * where a container is created or a role's output is searched for them. Rows are passed around with the encrypted text.
 */
@Injectable()
export class Environments implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  private stopped = false;
  private readonly poll = new Poll({
    everyMs: RESEAL_EVERY_MS,
    work: () => this.reseal(),
    onFault: (error) => this.logger.error({ err: error }, 'env could not be encrypted with the present key yet'),
  });

  constructor(
    private readonly secrets: Secrets,
    private readonly database: Database,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Before anything is served: nothing is left in plain text, and everything can be read.
   *
   * @throws ConfigError if the key is not the one that rows are encrypted with
   */
  async onModuleInit(): Promise<void> {
    const unreadable = this.unlike([...this.secrets.readablePrefixes, PLAIN]);
    const foreign = await unreadable.select(['c.id', 'c.sealedEnv']).limit(1).getOne();
    if (foreign) {
      const count = await unreadable.getCount();
      const [, keyId = '?'] = foreign.sealedEnv.split(':');
      throw new ConfigError(
        `SECRETS_KEY is not the key that the env of ${String(count)} containers is encrypted with (key id ${keyId}, not ` +
          `${this.secrets.prefix.slice(3, -1)}): ${HINT}`,
      );
    }
    await this.sealPlain();
  }

  onApplicationBootstrap(): void {
    this.reseal().catch((error: unknown) =>
      this.logger.error({ err: error }, 'env could not be encrypted with the present key yet'),
    );
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.stopped = true;
    this.poll.stop();
  }

  seal(containerId: string, variables: Variables): string {
    return this.secrets.seal(JSON.stringify(variables), placeOf(containerId));
  }

  /** @throws SecretsError if the row was changed behind Berth's back, or its key is unknown */
  open({ id, sealedEnv }: Sealed): Variables {
    // A process of an earlier version may still insert rows while the last of them is replaced.
    const text = sealedEnv.startsWith(PLAIN) ? sealedEnv : this.secrets.open(sealedEnv, placeOf(id));
    return JSON.parse(text) as Variables;
  }

  replacement(containerId: string, variables: Variables): NewEnvironment {
    return {
      sealed: this.seal(containerId, variables),
      differsFrom: (row) => {
        try {
          return !isDeepStrictEqual({ ...this.open(row) }, { ...variables });
        } catch (error) {
          if (error instanceof SecretsError) return true;
          throw error;
        }
      },
    };
  }

  /** Encrypts with the present key whatever is not, until nothing is left or the process ends. @returns how many */
  async reseal(): Promise<number> {
    let resealed = 0;
    for (let after = ''; !this.stopped;) {
      const rows = await this.unlike([this.secrets.prefix])
        .andWhere('c.id > :after', { after })
        .select(['c.id', 'c.sealedEnv'])
        .orderBy('c.id')
        .limit(BATCH)
        .getMany();
      for (const row of rows) resealed += await this.resealRow(row);
      const last = rows.at(-1);
      if (!last || rows.length < BATCH) break;
      after = last.id;
    }
    if (resealed > 0) this.logger.info({ count: resealed }, 'env was encrypted with the present SECRETS_KEY');
    return resealed;
  }

  private async sealPlain(): Promise<void> {
    const plain = this.all().where('substr(c.sealedEnv, 1, 1) = :plain', { plain: PLAIN });
    if ((await plain.getCount()) === 0) return;
    const { manager } = this.database;
    if (!this.database.isSqlite) {
      await this.reseal();
      return;
    }
    // What is overwritten would stay in the file, in free space and in the write-ahead log.
    await manager.query('PRAGMA secure_delete = ON');
    await this.reseal();
    await manager.query('PRAGMA wal_checkpoint(TRUNCATE)');
    await manager.query('PRAGMA secure_delete = OFF');
  }

  /** Not if it was changed since it was read: what is written now is sealed with the key of who writes it. */
  private async resealRow({ id, sealedEnv }: Sealed): Promise<number> {
    try {
      const sealed = this.seal(id, this.open({ id, sealedEnv }));
      const { affected } = await this.database.manager.update(
        ContainerEntity,
        { id, sealedEnv },
        { sealedEnv: sealed },
      );
      return affected ?? 0;
    } catch (error) {
      // One row that somebody changed must not keep the others from being sealed.
      if (!(error instanceof SecretsError)) throw error;
      this.logger.error({ err: error, container_id: id }, 'the env of a container cannot be read');
      return 0;
    }
  }

  /** Rows, deleted ones too, whose value begins with none of these. */
  private unlike(prefixes: readonly string[]) {
    const query = this.all().where('1 = 1');
    prefixes.forEach((prefix, at) => {
      const [length, text] = [`length${String(at)}`, `prefix${String(at)}`];
      query.andWhere(`substr(c.sealedEnv, 1, :${length}) <> :${text}`, { [length]: prefix.length, [text]: prefix });
    });
    return query;
  }

  private all() {
    return this.database.manager.createQueryBuilder(ContainerEntity, 'c').withDeleted();
  }
}

function placeOf(containerId: string): string {
  return `containers.env:${containerId}`;
}

/**
 * Under either of its names. If both were accepted, the answer could not show which one won: it never contains them.
 *
 * @returns null if the request names none
 * @throws DomainError `invalid_parameters` if it gives both
 */
export function environmentOf({
  env,
  environment,
}: Pick<CreateContainerDto, 'env' | 'environment'>): Record<string, string> | null {
  if (env != null && environment != null) {
    throw invalidParameters([{ field: 'environment', message: 'is another name of "env"; give one of the two' }]);
  }
  return env == null && environment == null ? null : { ...env, ...environment };
}
