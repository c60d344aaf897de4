import { Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { type Config, CONFIG } from '../config';
import { Database } from './database';
import { SqliteLock } from './sqlite-lock';

/** Connects, migrates, and offers the one {@link Database} to every module. */
@Global()
@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      inject: [CONFIG],
      useFactory: (config: Config) => ({
        ...dataSourceOptions(config.DATABASE_URL),
        migrationsRun: true,
        retryAttempts: 0,
      }),
    }),
  ],
  providers: [
    Database,
    {
      provide: SqliteLock,
      inject: [DataSource],
      useFactory: (dataSource: DataSource) => SqliteLock.acquire(dataSource),
    },
  ],
  exports: [Database],
})
export class DatabaseModule {}
