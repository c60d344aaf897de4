import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { isDeepStrictEqual } from 'node:util';
import { ConfigError } from '../../config';
import { Database, sql } from '../../database';
import { invalidParameters } from '../../errors';
import { LOGGER, type Logger } from '../../logging';
import { Poll } from '../../scheduling';
import { Secrets, SecretsError } from '../../secrets';
import { ContainerEntity, type ContainerRow } from '../model/container.entity';
import type { CreateContainerDto } from '../dto/requests';

/** Environment variables by their names. */
export type Variables = Readonly<Record<string, string>>;

/** New environment variables of a container, encrypted, and a comparison with the current ones. */
export interface NewEnvironment {
  readonly sealed: string;
  /** True also if the current variables cannot be decrypted: they are then replaced. */
  differsFrom(row: Sealed): boolean;
}

type Sealed = Pick<ContainerRow, 'id' | 'sealedEnv'>;

/** The first character of unencrypted JSON, in rows of earlier versions. */
const PLAIN = '{';

/** Rows per query. */
const BATCH = 200;

/** Other processes may keep writing with the previous key until all have been restarted with the new one. */
const RESEAL_EVERY_MS = 3_600_000;

const HINT =
  'set it to that key again or, where it was replaced on purpose, SECRETS_KEY_PREVIOUS to the former key. ' +
  'If that key is lost: "Secrets" in docs/operations.md';

/**
 * The environment variables of containers, which hold users' secrets. They are encrypted in the database, and
 * decrypted only to start a program, to compare new variables with them, to install a role (its output is searched for
 * them), or to encrypt them with a new key. Rows are passed around with the encrypted text.
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
   * Before any request is served: checks that the key of every row is configured, and encrypts rows in plain text.
   *
   * @throws ConfigError if rows are encrypted with a key that is not configured
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

  /** @throws SecretsError if the row was changed by other means than Berth, or its key is unknown */
  open({ id, sealedEnv }: Sealed): Variables {
    // During an upgrade, processes of an earlier version may still insert unencrypted rows.
    const text = sealedEnv.startsWith(PLAIN) ? sealedEnv : this.secrets.open(sealedEnv, placeOf(id));
    return JSON.parse(text) as Variables;
  }

  /**
   * The variables of a program that a user, or a start command, runs in a container. They are added to the image's.
   *
   * @param own the program's own variables, which take precedence over the container's
   * @throws SecretsError as {@link open} does
   */
  ofProgram(row: Sealed, own: Variables = {}): Variables {
    return { ...this.open(row), ...own };
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

  /**
   * Encrypts all rows that are not encrypted with the current key, until none is left or the process ends.
   *
   * @returns the number of rows
   */
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
    if (!this.database.isSqlite) {
      await this.reseal();
      return;
    }
    // Otherwise the overwritten plain text would remain in the file, in free space and in the write-ahead log.
    await this.database.run(sql`PRAGMA secure_delete = ON`);
    await this.reseal();
    await this.database.run(sql`PRAGMA wal_checkpoint(TRUNCATE)`);
    await this.database.run(sql`PRAGMA secure_delete = OFF`);
  }

  /** Skips a row that was changed since it was read: its writer sealed it with the writer's current key. */
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
      // One unreadable row must not keep the others from being sealed.
      if (!(error instanceof SecretsError)) throw error;
      this.logger.error({ err: error, container_id: id }, 'the env of a container cannot be read');
      return 0;
    }
  }

  /** Rows, including deleted ones, whose value begins with none of these prefixes. */
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
 * The variables of a request, under either name of the field. If both names were accepted, the answer could not show
 * which one won, because answers never contain the variables.
 *
 * @returns null if the request has neither field
 * @throws DomainError `invalid_parameters` if it has both
 */
export function environmentOf({
  env,
  environment,
}: Pick<CreateContainerDto, 'env' | 'environment'>): Record<string, string> | null {
  if (env != null && environment != null) {
    throw invalidParameters([{ field: 'environment', message: 'is an alias of "env"; give only one of the two' }]);
  }
  return env == null && environment == null ? null : { ...env, ...environment };
}
