//! Attacks, by what stops them.

use super::*;

fn refused(mode: Mode, kind: RefusedKind, attacks: &[&str]) {
    for sql in attacks {
        match parse(sql, &demo(), mode) {
            Ok(_) => panic!("passed: {sql}"),
            Err(refused) => assert_eq!(refused.kind, kind, "{sql}: {refused}"),
        }
    }
}

#[test]
fn a_query_calls_no_function_that_is_not_on_the_list() {
    refused(
        Mode::Query,
        RefusedKind::Function,
        &[
            "SELECT ('app_other__secrets'::text).to_regclass",
            "SELECT f.to_regclass FROM unnest(ARRAY['app_other__secrets']) f",
            "SELECT unnest.to_regclass FROM unnest(ARRAY['app_other__secrets'])",
            "SELECT (v).pg_read_file FROM app_demo__scratch",
            "SELECT (10::float8).pg_sleep",
            "SELECT g.pg_sleep FROM generate_series(1.0,2.0) g",
            "SELECT f.current_setting FROM (SELECT 1) x, unnest(ARRAY['role']) AS f",
            "SELECT (SELECT f.pg_sleep) FROM generate_series(1,2) f",
            "SELECT f.pg_sleep FROM ROWS FROM (generate_series(1,2)) f",
            "SELECT f.app_other__lookup FROM generate_series(1,1) f",
            "SELECT (1).app_other__lookup",
            "SELECT ((c)).app_demo__peek FROM app_demo__customers c",
            "SELECT (c.meta).app_x__f FROM app_demo__customers c",
            "SELECT * FROM ROWS FROM (generate_series(1,2), pg_ls_dir('.')) AS t(a,b)",
            "SELECT * FROM JSON_TABLE('[]'::jsonb, '$[*]' COLUMNS (NESTED PATH '$' COLUMNS (a text PATH '$' DEFAULT pg_read_file('x') ON EMPTY))) t",
            "SELECT JSON_QUERY(query_to_xml('','','','')::text::jsonb, '$')",
            "SELECT JSON_ARRAYAGG(x ORDER BY pg_sleep(1)) FROM generate_series(1,2) x",
            "SELECT JSON_OBJECTAGG(k: v) FILTER (WHERE set_config('a','b',true)='') FROM (VALUES (1,2)) t(k,v)",
            "SELECT count(*) FROM app_demo__customers GROUP BY ROLLUP (pg_sleep(1))",
            "SELECT sum(1) OVER w FROM app_demo__customers WINDOW w AS (ORDER BY id ROWS pg_backend_pid() PRECEDING)",
            "SELECT 1 ORDER BY 1 USING OPERATOR(public.<)",
            "SELECT 1 OPERATOR(public.+) 2",
            "SELECT 1 OPERATOR(public.=) ANY (SELECT 1)",
            "SELECT (SELECT 1 FROM app_demo__x) COLLATE \"app_other__c\"",
            "SELECT 'a' COLLATE \"evil\"",
            "SELECT system_user",
            "SELECT current_user",
            "SELECT current_catalog",
            "SELECT current_role, user",
            "SELECT current_schema",
            "SELECT current_schemas(true)",
            "SELECT version()",
            "SELECT COLLATION FOR ('a')",
            "SELECT setseed(0.5)",
            "SELECT pg_typeof(1)",
            "SELECT nextval('app_demo__ticket_seq')",
            "SELECT * FROM app_demo__c TABLESAMPLE app_demo__m(1)",
            "SELECT ts_rewrite('a','select')",
            "SELECT public.lower('x')",
            "SELECT lower(variadic array[pg_sleep(1)])",
            "SELECT make_interval(secs => pg_sleep(1))",
            "SELECT (ROW(1,2)).f1, (now()).to_regclass",
            "SELECT c.app_demo__peek FROM app_demo__customers c",
            "SELECT (SELECT c FROM app_demo__customers c LIMIT 1).app_demo__peek",
            "SELECT ('10 seconds'::interval).pg_sleep_for",
            "SELECT ('role'::text).current_setting",
            "SELECT ('x'::text).ts_stat",
            "SELECT ('{a}'::text[])[1].to_regclass",
            "SELECT f.lo_unlink FROM generate_series(1,2) f",
            "SELECT x.to_regclass FROM app_demo__a a CROSS JOIN LATERAL unnest(a.names) x",
            "SELECT 1 FROM app_demo__a, unnest(names) n WHERE n.pg_sleep IS NULL",
            "SELECT lo_get(1)",
            "SELECT xpath('/a', '<a/>')",
            "SELECT pg_input_is_valid('x', 'app_other__status')",
            "SELECT ts_debug('x')",
            "SELECT enum_range(NULL::app_other__status)",
            "SELECT row_security_active('app_other__secrets')",
            "SELECT obj_description(1, 'pg_class')",
            "SELECT DISTINCT ON (pg_sleep(1)) 1",
            "SELECT jsonb_path_query('[]', pg_read_file('x')::jsonpath)",
            "SELECT 'a' LIKE 'b' ESCAPE pg_read_file('x')",
            "SELECT substring('a' FROM 1 FOR pg_backend_pid())",
            "SELECT extract(epoch FROM pg_postmaster_start_time())",
            "SELECT now() AT TIME ZONE current_setting('role')",
            "SELECT GROUPING(pg_sleep(1))",
            "SELECT JSON(pg_read_file('x'))",
            "SELECT JSON_SCALAR(pg_backend_pid())",
            "SELECT bpchar(3) 'abc' COLLATE pg_catalog.app_other__c",
        ],
    );
}

#[test]
fn a_query_reaches_no_foreign_name() {
    refused(
        Mode::Query,
        RefusedKind::Namespace,
        &[
            "SELECT public.app_other__secrets.secret FROM app_demo__customers",
            "SELECT public.app_other__secrets.* FROM app_demo__customers",
            "SELECT * FROM JSON_TABLE('[]'::jsonb, '$[*]' PASSING (SELECT secret FROM app_other__secrets) AS x COLUMNS (a int PATH '$')) t",
            "SELECT JSON_OBJECT('a': (SELECT secret FROM app_other__secrets))",
            "SELECT JSON_ARRAY(SELECT secret FROM app_other__secrets)",
            "SELECT 1 = ANY (SELECT id FROM app_other__secrets)",
            "SELECT ARRAY(SELECT secret FROM app_other__secrets)",
            "SELECT a.* FROM app_demo__customers a, LATERAL (WITH app_demo__x AS (SELECT 1) SELECT * FROM app_other__secrets) b",
            "WITH a AS (SELECT 1), b AS (SELECT * FROM a), c AS (SELECT * FROM d), d AS (SELECT 1) SELECT 1",
            "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b) SELECT * FROM b",
            "(WITH a AS (SELECT 1) SELECT * FROM a) UNION SELECT * FROM a",
            "WITH pg_class AS (SELECT 1) SELECT * FROM pg_class",
            "WITH a AS (SELECT 1) SELECT * FROM public.a",
            "SELECT * FROM app_demo__",
            "SELECT x.y.z FROM app_demo__t x",
            "SELECT 1 WHERE (1, 2) IN (SELECT 1, 2 FROM app_other__secrets)",
            "SELECT 1 BETWEEN SYMMETRIC 0 AND (SELECT 1 FROM app_other__secrets)",
            "SELECT JSON_EXISTS('{}'::jsonb, '$' PASSING (SELECT 1 FROM app_other__secrets) AS x)",
            "SELECT JSON_VALUE('{}'::jsonb, '$.a' DEFAULT (SELECT secret FROM app_other__secrets) ON EMPTY)",
            "SELECT (SELECT secret FROM app_other__secrets) IS JSON",
            "SELECT * FROM \"App_demo__x\"",
            "SELECT * FROM \"app_demo__x\".\"y\"",
        ],
    );
}

#[test]
fn a_query_uses_built_in_types_only() {
    refused(
        Mode::Query,
        RefusedKind::Type,
        &[
            "SELECT * FROM JSON_TABLE('[]'::jsonb, '$[*]' COLUMNS (a app_other__status PATH '$')) t",
            "SELECT JSON_VALUE('{}'::jsonb, '$.a' RETURNING regclass)",
            "SELECT JSON_SERIALIZE('{}' RETURNING xml)",
            "SELECT 'x'::_regclass",
            "SELECT '{x}'::regclass[]",
            "SELECT cast('x' as pg_catalog.regclass)",
            "SELECT 1::oid",
            "SELECT * FROM json_to_record('{}') AS x(a xml)",
            "SELECT (json_populate_record(NULL::app_demo__customers,'{}')).*",
            "SELECT CAST(ROW(1) AS app_other__secrets)",
            "SELECT json_populate_recordset(NULL::app_other__secrets, '[]')",
            "SELECT JSON_OBJECT('a' VALUE 1 RETURNING app_other__t)",
            "SELECT interval(3) '1' + app_other__d '1'",
            "SELECT * FROM app_demo__a a(x) JOIN LATERAL ROWS FROM (json_to_record('{}') AS (y app_other__t)) r ON true",
        ],
    );
}

#[test]
fn a_query_only_reads() {
    refused(
        Mode::Query,
        RefusedKind::Statement,
        &[
            "SELECT XMLELEMENT(name a, 1)",
            "SELECT XMLSERIALIZE(CONTENT 'a' AS text)",
            "SELECT xmlparse(document '<a/>')",
            "WITH a AS MATERIALIZED (INSERT INTO app_demo__scratch VALUES (1,'x') RETURNING *) SELECT 1",
            "SELECT * FROM app_demo__customers FOR UPDATE OF app_demo__customers",
            "SELECT * INTO app_demo__new FROM app_demo__customers",
            "EXPLAIN SELECT 1",
            "SHOW ALL",
            "SELECT * FROM XMLTABLE('/r' PASSING '<r/>' COLUMNS a text)",
            "DECLARE c CURSOR FOR SELECT 1",
            "CREATE TABLE app_demo__x (id int)",
        ],
    );
}

#[test]
fn no_change_reaches_a_foreign_name() {
    refused(
        Mode::Execute,
        RefusedKind::Namespace,
        &[
            "INSERT INTO app_demo__a AS app_other__a (x) SELECT x FROM app_other__a",
            "UPDATE ONLY public.app_demo__a SET x = 1",
            "UPDATE app_demo__a SET x[(SELECT 1 FROM app_other__secrets)] = 1",
            "WITH x AS (INSERT INTO app_other__a VALUES (1) RETURNING *) INSERT INTO app_demo__a SELECT * FROM x",
            "CREATE TABLE app_demo__n (x int, CONSTRAINT n_pk PRIMARY KEY (x))",
            "CREATE TABLE app_demo__n (x int CONSTRAINT n_u UNIQUE)",
            "CREATE SEQUENCE app_demo__s OWNED BY app_other__a.id",
            "CREATE INDEX ON app_demo__a (x) WHERE (SELECT true FROM app_other__a)",
            "CREATE INDEX ON app_other__a (x)",
            "ALTER TABLE app_demo__a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES app_other__a",
            "ALTER TABLE app_demo__a ADD CONSTRAINT k PRIMARY KEY (x)",
            "ALTER TABLE app_demo__a RENAME CONSTRAINT a TO b",
            "INSERT INTO app_demo__scratch VALUES (nextval('app_other__ticket_seq'::regclass),'x')",
            "INSERT INTO app_demo__scratch (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET v=(SELECT secret FROM app_other__secrets)",
            "TRUNCATE app_demo__scratch, public.app_demo__orders",
            "WITH x AS (SELECT 1 id) UPDATE x SET id=2",
            "CREATE TABLE app_demo__n (a int, CONSTRAINT app_other__pk PRIMARY KEY (a))",
            "CREATE TABLE app_demo__n (a int, CONSTRAINT n_pk PRIMARY KEY (a) INCLUDE (a) WITH (fillfactor=10))",
            "CREATE TABLE app_demo__n (a int REFERENCES app_demo__customers, b int, FOREIGN KEY (b) REFERENCES public.app_demo__x (id))",
            "CREATE TABLE app_demo__n (LIKE app_other__customers)",
            "CREATE VIEW app_demo__v (a,b) AS SELECT id, v FROM app_demo__scratch WHERE id IN (SELECT id FROM app_other__secrets)",
            "CREATE SEQUENCE app_demo__s OWNED BY public.app_demo__customers.id",
            "DROP TABLE public.app_demo__a",
            "ALTER TABLE app_demo__a ADD CONSTRAINT u UNIQUE USING INDEX app_other__i",
            "ALTER TABLE app_demo__a RENAME CONSTRAINT x TO app_other__y",
            "ALTER TABLE app_demo__a RENAME CONSTRAINT x TO y",
            "ALTER TABLE public.app_demo__a RENAME TO app_demo__b",
            "COMMENT ON COLUMN public.app_demo__a.b IS 'x'",
            "COMMENT ON COLUMN app_other__a.b IS 'x'",
        ],
    );
}

#[test]
fn no_change_calls_a_function_that_is_not_on_the_list() {
    refused(
        Mode::Execute,
        RefusedKind::Function,
        &[
            "UPDATE app_demo__a SET (x, y) = ROW(1, app_other__f())",
            "MERGE INTO app_demo__a a USING app_demo__b b ON a.x = b.x WHEN MATCHED THEN UPDATE SET x = app_other__f()",
            "MERGE INTO app_demo__a a USING app_demo__b b ON app_other__f() WHEN MATCHED THEN DELETE",
            "CREATE TABLE app_demo__n (x int DEFAULT app_other__f())",
            "CREATE TABLE app_demo__n (x int GENERATED ALWAYS AS (pg_backend_pid()) STORED)",
            "CREATE TABLE app_demo__n (x text COLLATE app_other__c)",
            "CREATE INDEX ON app_demo__a (x COLLATE app_other__c)",
            "ALTER TABLE app_demo__a ADD x int CHECK (app_other__f(x))",
            "ALTER TABLE app_demo__a ALTER x SET EXPRESSION AS (app_other__f())",
            "INSERT INTO app_demo__scratch VALUES (nextval('app_demo__x.app_other__t'),'x')",
            "INSERT INTO app_demo__scratch VALUES (nextval(v),'x')",
            "INSERT INTO app_demo__scratch VALUES (nextval($1),'x')",
            "INSERT INTO app_demo__scratch SELECT setval('app_demo__ticket_seq',1)",
            "INSERT INTO app_demo__scratch (id) VALUES (1) ON CONFLICT ((pg_sleep(1))) DO NOTHING",
            "INSERT INTO app_demo__scratch (id) VALUES (1) ON CONFLICT (id) WHERE pg_sleep(1) IS NULL DO UPDATE SET v=excluded.v WHERE app_other__f(1)",
            "MERGE INTO app_demo__scratch d USING app_demo__tree t ON d.id=t.id WHEN MATCHED AND pg_sleep(1) IS NULL THEN DELETE",
            "CREATE TABLE app_demo__n (a int, EXCLUDE USING gist (a WITH OPERATOR(public.=)))",
            "CREATE TABLE app_demo__n (a int, EXCLUDE (a app_other__ops WITH =) WHERE (pg_sleep(1) IS NULL))",
            "CREATE INDEX app_demo__i ON app_demo__scratch ((app_other__lookup(id)))",
            "CREATE INDEX app_demo__i ON app_demo__scratch (v public.text_ops)",
            "ALTER TABLE app_demo__a ALTER d SET DEFAULT pg_sleep(1)",
            "INSERT INTO app_demo__a (b.app_other__x) VALUES (1)",
        ],
    );
}

#[test]
fn only_listed_statements_and_clauses_change_anything() {
    refused(
        Mode::Execute,
        RefusedKind::Statement,
        &[
            "CREATE TABLE app_demo__n (x int) INHERITS (app_demo__a)",
            "CREATE VIEW app_demo__n AS WITH d AS (DELETE FROM app_demo__a RETURNING *) SELECT * FROM d",
            "CREATE MATERIALIZED VIEW app_demo__n AS SELECT 1",
            "CREATE TEMP SEQUENCE app_demo__s",
            "ALTER TABLE app_demo__a NO INHERIT app_other__a",
            "ALTER TABLE app_demo__a SET UNLOGGED",
            "ALTER TABLE app_demo__a DISABLE RULE r",
            "ALTER DOMAIN app_demo__d ADD CHECK (true)",
            "ALTER FUNCTION app_demo__leak() SECURITY INVOKER",
            "REINDEX TABLE app_demo__a",
            "SET CONSTRAINTS ALL DEFERRED",
            "DROP AGGREGATE app_demo__a(int)",
            "DROP OWNED BY CURRENT_USER",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
            "CREATE OPERATOR @@@@ (LEFTARG = int, PROCEDURE = app_other__f)",
            "UPDATE app_demo__scratch SET v='x' WHERE CURRENT OF c",
            "CREATE TABLE app_demo__n (id int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME app_other__s))",
            "CREATE TABLE app_demo__n (a int PRIMARY KEY USING INDEX TABLESPACE x)",
            "CREATE TABLE app_demo__n (a int) WITH (fillfactor=10)",
            "CREATE TABLE app_demo__n (a int) PARTITION BY RANGE (a)",
            "CREATE TABLE app_demo__n (a int) USING heap",
            "CREATE TEMP TABLE app_demo__n (a int) ON COMMIT DROP",
            "CREATE TABLE app_demo__n (a text STORAGE external)",
            "CREATE TABLE app_demo__n (a text COMPRESSION lz4)",
            "CREATE TABLE app_demo__n AS EXECUTE p",
            "CREATE TABLE app_demo__n AS WITH x AS (DELETE FROM app_demo__scratch RETURNING *) SELECT * FROM x",
            "CREATE VIEW app_demo__v WITH (security_invoker=false) AS SELECT 1",
            "CREATE VIEW app_demo__v AS SELECT 1; SELECT 2",
            "ALTER SEQUENCE app_demo__s RESTART",
            "CREATE INDEX app_demo__i ON app_demo__scratch USING app_other__am (v)",
            "CREATE INDEX app_demo__i ON app_demo__scratch (v) WITH (fillfactor=10)",
            "CREATE INDEX app_demo__i ON app_demo__scratch (v) TABLESPACE x",
            "DROP INDEX CONCURRENTLY app_demo__i",
            "DROP MATERIALIZED VIEW app_demo__a",
            "DROP TYPE app_demo__a",
            "DROP FUNCTION app_demo__leak()",
            "DROP SCHEMA app_demo",
            "ALTER TABLE app_demo__a ALTER b SET STATISTICS 100",
            "ALTER TABLE app_demo__a ALTER b SET (n_distinct=5)",
            "ALTER TABLE app_demo__a ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE app_demo__a SET LOGGED",
            "ALTER TABLE app_demo__a OF app_demo__t",
            "ALTER TABLE app_demo__a ENABLE TRIGGER x",
            "ALTER TABLE app_demo__a REPLICA IDENTITY FULL",
            "ALTER TABLE app_demo__a SET WITHOUT CLUSTER",
            "ALTER TABLE ALL IN TABLESPACE x SET TABLESPACE y",
            "ALTER INDEX app_demo__i SET (fillfactor=10)",
            "ALTER MATERIALIZED VIEW app_demo__a RENAME TO app_demo__b",
            "ALTER TYPE app_demo__t RENAME TO app_demo__u",
            "COMMENT ON VIEW app_demo__v IS 'x'",
            "COMMENT ON FUNCTION lower(text) IS 'x'",
            "COMMENT ON CONSTRAINT c ON app_demo__a IS 'x'",
            "ANALYZE",
            "ANALYZE VERBOSE app_demo__a",
            "VACUUM",
            "CREATE TYPE app_demo__t AS (a int)",
            "CREATE TYPE app_demo__t AS ENUM ('a')",
            "CREATE FUNCTION app_demo__f() RETURNS int RETURN 1",
            "CREATE EXTENSION dblink",
            "DO 'x'",
            "COPY app_demo__a TO STDOUT",
            "SET a=1",
            "BEGIN",
            "SELECT 1",
            "SELECT 1 INTO app_demo__x",
            "VALUES (1)",
            "INSERT INTO app_demo__a SELECT * FROM app_demo__b FOR UPDATE",
        ],
    );
}

#[test]
fn columns_have_built_in_types_only() {
    refused(
        Mode::Execute,
        RefusedKind::Type,
        &[
            "ALTER TABLE app_demo__a ADD x app_other__t",
            "CREATE TABLE app_demo__n (a app_demo__customers)",
            "CREATE TABLE app_demo__n (a SETOF int)",
            "CREATE SEQUENCE app_demo__s AS app_other__d",
            "ALTER TABLE app_demo__a ALTER d TYPE regclass",
        ],
    );
}
