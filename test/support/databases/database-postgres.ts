process.env['TEST_DATABASE'] = 'postgres';
// Beside an SQLite database a server makes its own; these are in no folder of a test's.
process.env['SECRETS_KEY'] ??= '0'.repeat(64);
process.env['DATABASE_URL'] = process.env['TEST_POSTGRES_URL'] ?? 'postgres://127.0.0.1:5432/postgres';
