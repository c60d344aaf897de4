process.env['TEST_DATABASE'] = 'sqlite';
process.env['DATABASE_URL'] = 'sqlite::memory:';
