import { dataSourceOptions } from '../../ormconfig';
import { connect } from '../../src/database';
import { openTestDatabase, TestDatabase } from '../support/test-database';

describe('the schema', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await openTestDatabase();
  });

  afterEach(() => database.drop());

  it('must be made by one of several processes that start at once on an empty database', async () => {
    const processes = process.env['TEST_DATABASE'] === 'postgres' ? 4 : 1;
    const connecting = Array.from({ length: processes }, () => connect(dataSourceOptions(database.url)));
    const connected = await Promise.all(connecting);
    for (const dataSource of connected) {
      expect(await dataSource.query('SELECT COUNT(*) AS count FROM containers')).toEqual([
        { count: expect.anything() },
      ]);
      await dataSource.destroy();
    }
  });

  it('must be exactly what the entities describe', async () => {
    const dataSource = await connect(dataSourceOptions(database.url));
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
    await dataSource.destroy();
  });

  it('must be taken down again by its migrations', async () => {
    const dataSource = await connect(dataSourceOptions(database.url));
    for (let left = dataSource.migrations.length; left > 0; left -= 1) await dataSource.undoLastMigration();
    await expect(dataSource.query('SELECT 1 FROM containers')).rejects.toThrow();
    await dataSource.destroy();
  });
});
