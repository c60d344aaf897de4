process.env['TEST_DATABASE'] = 'postgres';
// With SQLite a server creates its key beside the database file. PostgreSQL's databases have no such folder.
process.env['SECRETS_KEY'] ??= '0'.repeat(64);
process.env['DATABASE_URL'] = process.env['TEST_POSTGRES_URL'] ?? 'postgres://127.0.0.1:5432/postgres';
