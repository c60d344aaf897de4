import { Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { type Config, CONFIG } from '../config';
import { connect } from './connect';
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
        retryAttempts: 0,
      }),
      dataSourceFactory: (options) => {
        if (!options) throw new Error('the database has no options');
        return connect(options);
      },
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
