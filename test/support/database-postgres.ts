process.env['TEST_DATABASE'] = 'postgres';
process.env['DATABASE_URL'] = process.env['TEST_POSTGRES_URL'] ?? 'postgres://127.0.0.1:5432/postgres';
