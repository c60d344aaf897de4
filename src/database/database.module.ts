import { DynamicModule, Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { Clock } from '../scheduling';
import { connect } from './connect';
import { Database } from './database';
import { DatabaseClock } from './database-clock';
import { OutageLog } from './outage-log';
import { ProcessPresence } from './process-presence';
import { SqliteLock } from './sqlite-lock';

async function connectReporting(options: DataSourceOptions): Promise<DataSource> {
  const logger = new OutageLog();
  const dataSource = await connect({ ...options, logger });
  logger.watch(dataSource);
  return dataSource;
}

/** Connects, migrates, and provides the {@link Database} to every module. */
@Global()
@Module({})
export class DatabaseModule {
  /**
   * @param options with all entities and migrations. The modules that own them import this module, so it cannot
   *   import them.
   */
  static forRoot(options: DataSourceOptions): DynamicModule {
    return {
      module: DatabaseModule,
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () => ({ ...options, retryAttempts: 0 }),
          dataSourceFactory: () => connectReporting(options),
        }),
      ],
      providers: [
        Database,
        {
          provide: SqliteLock,
          inject: [DataSource],
          useFactory: (dataSource: DataSource) => SqliteLock.acquire(dataSource),
        },
        {
          provide: ProcessPresence,
          inject: [DataSource],
          useFactory: (dataSource: DataSource) => ProcessPresence.establish(dataSource),
        },
        {
          provide: DatabaseClock,
          inject: [DataSource, Clock],
          useFactory: (dataSource: DataSource, clock: Clock) => DatabaseClock.establish(dataSource, clock),
        },
      ],
      exports: [Database, ProcessPresence],
    };
  }
}
