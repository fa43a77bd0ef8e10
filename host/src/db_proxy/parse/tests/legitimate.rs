//! What people write, and must be able to.

use super::*;

/// Each passes, and so does what is cut out of it.
fn passes(mode: Mode, statements: &[&str]) {
    for sql in statements {
        let parsed = parse(sql, &demo(), mode).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
        for statement in parsed.statements {
            let alone = parse(&sql[statement.text.clone()], &demo(), mode).unwrap().statements.remove(0);
            assert_eq!(alone.text, 0..statement.text.len(), "{sql}");
            assert_eq!(Statement { text: statement.text.clone(), ..alone }, statement, "{sql}");
        }
    }
}

#[test]
fn a_query_may_use_all_of_sql_that_only_reads() {
    passes(
        Mode::Query,
        &[
            "SELECT DISTINCT plan FROM app_demo__customers",
            "SELECT (c).name, (c).* FROM (SELECT c FROM app_demo__customers c) s",
            "SELECT c.version, c.oid, c.system FROM app_demo__customers c",
            "SELECT g.n, g.name FROM generate_series(1, 3) AS g(n)",
            "SELECT e.key, e.value FROM app_demo__customers c, jsonb_each(c.meta) e",
            "SELECT x.a, x.b FROM jsonb_to_recordset('[]') AS x(a int, b numeric(10,2)[])",
            "SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a'])) WITH ORDINALITY AS t(a, b, n)",
            "SELECT (regexp_match('a1', '(\\d)'))[1], (ARRAY[1,2,3])[2:3], (meta -> 'a')::text FROM app_demo__customers",
            "SELECT count(*) FILTER (WHERE plan = 'pro'), percentile_cont(0.5) WITHIN GROUP (ORDER BY balance) FROM app_demo__customers",
            "SELECT rank() OVER w, lag(name, 1, '') OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING EXCLUDE TIES) FROM app_demo__customers WINDOW w AS (PARTITION BY plan ORDER BY balance DESC NULLS LAST)",
            "SELECT plan, grouping(plan) FROM app_demo__customers GROUP BY GROUPING SETS (CUBE (plan), ROLLUP (plan, name), ())",
            "SELECT * FROM app_demo__a JOIN app_demo__b USING (id) AS j WHERE j.id = 1",
            "SELECT * FROM app_demo__a FULL JOIN (app_demo__b CROSS JOIN app_demo__c) ON true",
            "SELECT now() AT TIME ZONE 'UTC', date '2026-01-01' + interval '1 day 2 hours', extract(epoch FROM now())",
            "SELECT interval '1' DAY, timestamp(3) '2026-01-01', current_timestamp(3), localtimestamp",
            "SELECT date(now()), text(5), to_char(now(), 'YYYY-MM'), (now())::date",
            "SELECT make_interval(days => 3, hours => $1)",
            "SELECT concat_ws(',', VARIADIC ARRAY['a', 'b'])",
            "SELECT 'a' COLLATE \"C\" < 'b' COLLATE pg_catalog.\"default\", 'a' COLLATE \"en_US\", 'a' COLLATE \"de-x-icu\"",
            "SELECT 1 OPERATOR(pg_catalog.+) 2, 1 <> ALL (ARRAY[1,2]), 'a' !~* 'b', NOT true",
            "SELECT (1, 2) OVERLAPS (3, 4), (a, b) = (SELECT 1, 2), (a, b) IN (SELECT 1, 2) FROM app_demo__a",
            "SELECT a IS DISTINCT FROM b, a IS NOT TRUE, a ISNULL, a BETWEEN SYMMETRIC 1 AND 2, a NOT SIMILAR TO 'x' FROM app_demo__a",
            "SELECT nullif(a, 0), coalesce(a, b), greatest(a, b), CASE a WHEN 1 THEN 'x' ELSE 'y' END FROM app_demo__a",
            "SELECT trim(LEADING 'x' FROM a), overlay(a PLACING 'b' FROM 2 FOR 1), position('a' IN b), normalize(a, NFC), a IS NFC NORMALIZED FROM app_demo__a",
            "SELECT JSON_OBJECT('a': 1, 'b' VALUE 2 NULL ON NULL RETURNING jsonb), JSON_ARRAY(1, 2), JSON_ARRAY(SELECT id FROM app_demo__a)",
            "SELECT JSON_OBJECTAGG(k: v), JSON_ARRAYAGG(v ORDER BY v RETURNING jsonb) FROM app_demo__a",
            "SELECT JSON_VALUE(meta, '$.a' RETURNING int DEFAULT 0 ON EMPTY ERROR ON ERROR), JSON_QUERY(meta, '$.b' WITH WRAPPER), JSON_EXISTS(meta, '$.c') FROM app_demo__customers",
            "SELECT jt.* FROM app_demo__customers, JSON_TABLE(meta, '$[*]' COLUMNS (n FOR ORDINALITY, a int PATH '$.a', NESTED PATH '$.b[*]' COLUMNS (c text EXISTS PATH '$.c'))) jt",
            "SELECT '{}' IS JSON OBJECT WITH UNIQUE KEYS, JSON('{}'), JSON_SCALAR(1), JSON_SERIALIZE('{}' RETURNING text)",
            "SELECT meta @> '{\"a\":1}', meta #>> '{a,b}', meta ? 'a', meta @? '$.a', tags && ARRAY['x'], tags || 'y' FROM app_demo__customers",
            "SELECT to_tsvector('english', body) @@ websearch_to_tsquery('english', $1), ts_rank(tsv, plainto_tsquery('x')), ts_headline(body, to_tsquery('a & b')) FROM app_demo__docs",
            "SELECT int4range(1, 10) * int4range(5, 15), upper(r), lower_inc(r), range_agg(r) FROM app_demo__a GROUP BY r",
            "SELECT inet '10.0.0.1' << cidr '10.0.0.0/8', host(ip), masklen(ip) FROM app_demo__a",
            "SELECT point(1, 2) <-> point '(3,4)', box '((0,0),(1,1))' @> point(0, 0), area(circle '((0,0),1)')",
            "SELECT gen_random_uuid(), uuidv7(), md5('a'), sha256('a'), encode(digest, 'hex'), random() FROM app_demo__a",
            "SELECT stddev(a), corr(a, b), regr_slope(a, b), mode() WITHIN GROUP (ORDER BY a), any_value(b), bit_xor(a) FROM app_demo__a",
            "WITH a AS (SELECT 1 x), b AS NOT MATERIALIZED (SELECT * FROM a) SELECT * FROM b, a",
            "WITH a AS (SELECT 1) SELECT * FROM (WITH b AS (SELECT * FROM a) SELECT * FROM b) x",
            "WITH RECURSIVE t(id, path) AS (SELECT 1, ARRAY[1] UNION ALL SELECT id + 1, path || id FROM t WHERE id < 5) SEARCH DEPTH FIRST BY id SET o CYCLE id SET c USING p SELECT * FROM t",
            "WITH app_demo__a AS (SELECT * FROM app_demo__b) SELECT * FROM app_demo__a",
            "(SELECT 1 UNION ALL SELECT 2) INTERSECT SELECT 1 ORDER BY 1 LIMIT ALL",
            "VALUES (1, 'a'), (2, NULL) ORDER BY 1 OFFSET 1 ROW FETCH FIRST ROW WITH TIES",
            "SELECT * FROM app_demo__a AS v(id, name) TABLESAMPLE BERNOULLI (10) REPEATABLE (1)",
            "SELECT FROM app_demo__a",
            "SELECT a.* FROM app_demo__a AS a(x, y) WHERE a IS NOT NULL",
            "SELECT lower('X'), pg_catalog.lower('X'), \"left\"('abc', 2)",
            "SELECT E'\\'', $$it's$$, U&'\\0041', B'101', X'1F', 0x1F, 1_000, 1e3, .5",
            "SELECT string_agg(DISTINCT name, ',' ORDER BY name) FROM app_demo__customers",
        ],
    );
}

#[test]
fn changes_and_definitions_of_own_relations_pass() {
    passes(
        Mode::Execute,
        &[
            "INSERT INTO app_demo__a (x, y[1], z.w) VALUES (DEFAULT, $1, 'a'), (1, 2, 'b') ON CONFLICT ON CONSTRAINT k DO NOTHING",
            "INSERT INTO app_demo__a AS t (id) VALUES (1) ON CONFLICT (lower(id) COLLATE \"C\" text_ops) WHERE id > 0 DO UPDATE SET id = excluded.id + t.id WHERE t.id < 5 RETURNING *, id AS x",
            "WITH s AS (SELECT 1 id) INSERT INTO app_demo__a SELECT * FROM s",
            "INSERT INTO app_demo__a WITH s AS (SELECT 1 id) SELECT * FROM s",
            "INSERT INTO app_demo__a DEFAULT VALUES RETURNING id",
            "UPDATE app_demo__a a SET (x, y) = (SELECT 1, 2), z = DEFAULT, w[1] = 5 FROM app_demo__b b WHERE a.id = b.id RETURNING old.x, new.x",
            "WITH gone AS (DELETE FROM app_demo__a WHERE old RETURNING *), kept AS (INSERT INTO app_demo__b SELECT * FROM gone RETURNING id) UPDATE app_demo__c SET n = n + 1 WHERE id IN (SELECT id FROM kept)",
            "DELETE FROM app_demo__a USING app_demo__b b WHERE b.id = app_demo__a.id RETURNING *",
            "MERGE INTO app_demo__a t USING (SELECT * FROM app_demo__b) s ON t.id = s.id WHEN MATCHED AND s.gone THEN DELETE WHEN MATCHED THEN UPDATE SET x = s.x WHEN NOT MATCHED BY SOURCE THEN DO NOTHING WHEN NOT MATCHED THEN INSERT (id, x) VALUES (s.id, DEFAULT) RETURNING merge_action(), t.*",
            "TRUNCATE TABLE app_demo__a, app_demo__b RESTART IDENTITY",
            "CREATE TABLE IF NOT EXISTS app_demo__n (id bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 10 INCREMENT BY 5 NO CYCLE) PRIMARY KEY, code text COLLATE \"C\" UNIQUE NOT NULL CHECK (code <> ''), price numeric(12, 2) DEFAULT 0, tags text[] DEFAULT '{}', at timestamptz DEFAULT now(), low text GENERATED ALWAYS AS (lower(code)) STORED, kind text CHECK (kind IN ('a', 'b')))",
            "CREATE TABLE app_demo__n (a int, b int, CONSTRAINT app_demo__n_key PRIMARY KEY (a), CONSTRAINT positive CHECK (a > 0) NO INHERIT, UNIQUE NULLS NOT DISTINCT (b) INCLUDE (a), FOREIGN KEY (b) REFERENCES app_demo__n (a) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, EXCLUDE USING gist (int4range(a, b) WITH &&) WHERE (a > 0))",
            "CREATE TABLE app_demo__n (id serial PRIMARY KEY, parent int REFERENCES app_demo__n, LIKE app_demo__a INCLUDING ALL EXCLUDING INDEXES)",
            "CREATE TABLE app_demo__n (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, n bigint DEFAULT nextval('app_demo__ticket_seq'))",
            "CREATE TABLE app_demo__n (a, b) AS WITH x AS (SELECT 1, 2) SELECT * FROM x WITH NO DATA",
            "CREATE TABLE app_demo__n AS VALUES (1)",
            "CREATE INDEX IF NOT EXISTS app_demo__i ON app_demo__a USING gin (meta jsonb_path_ops, (lower(name)) DESC NULLS LAST) INCLUDE (id) WHERE x IS NOT NULL",
            "CREATE UNIQUE INDEX ON app_demo__a (lower(email) COLLATE \"C\" text_pattern_ops)",
            "CREATE OR REPLACE VIEW app_demo__v (a, b) WITH (security_invoker = true, security_barrier) AS SELECT id, x FROM app_demo__a WHERE x > 0 WITH LOCAL CHECK OPTION",
            "CREATE RECURSIVE VIEW app_demo__v (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM app_demo__v WHERE n < 5",
            "CREATE SEQUENCE IF NOT EXISTS app_demo__s AS int INCREMENT -1 MINVALUE -100 MAXVALUE 100 START 5 CACHE 10 CYCLE OWNED BY app_demo__a.id",
            "ALTER TABLE IF EXISTS app_demo__a ADD COLUMN IF NOT EXISTS x int DEFAULT 5, ALTER COLUMN y TYPE bigint USING y::bigint, ALTER z DROP NOT NULL, ALTER z DROP DEFAULT, DROP COLUMN IF EXISTS w",
            "ALTER TABLE app_demo__a ADD CONSTRAINT app_demo__u UNIQUE USING INDEX app_demo__i, ADD CONSTRAINT c CHECK (x > 0) NOT VALID, VALIDATE CONSTRAINT c, DROP CONSTRAINT IF EXISTS d",
            "ALTER TABLE app_demo__a ALTER id ADD GENERATED ALWAYS AS IDENTITY, ALTER id SET GENERATED BY DEFAULT SET START 100 RESTART WITH 100, ALTER id DROP IDENTITY IF EXISTS, ALTER l DROP EXPRESSION",
            "ALTER TABLE app_demo__a RENAME TO app_demo__b",
            "ALTER TABLE app_demo__a RENAME x TO y",
            "ALTER TABLE app_demo__a RENAME CONSTRAINT app_demo__c TO app_demo__d",
            "ALTER INDEX app_demo__i RENAME TO app_demo__j",
            "ALTER VIEW app_demo__v RENAME TO app_demo__w",
            "ALTER SEQUENCE app_demo__s RENAME TO app_demo__t",
            "DROP TABLE IF EXISTS app_demo__a, app_demo__b RESTRICT",
            "DROP VIEW app_demo__v",
            "DROP SEQUENCE app_demo__s",
            "DROP INDEX IF EXISTS app_demo__i CASCADE",
            "COMMENT ON TABLE app_demo__a IS NULL",
            "ANALYZE app_demo__a, app_demo__b (x, y)",
            "CREATE TABLE app_demo__n (id int PRIMARY KEY); INSERT INTO app_demo__n VALUES (1); CREATE INDEX ON app_demo__n (id)",
        ],
    );
}
