-- Why: the database of the apps' own SQL. What is ours here lives in the schema `opg`; each app has a schema and two
-- logins of its own, made when the app is made (host/src/db_proxy/provision.rs) and listed in `opg.workspaces`.
--
-- An app's login reaches nothing of ours but the functions below. They run as their owner, take nobody's word for
-- who asks (`session_user` is who signed in, whatever the session says later), and answer for that login's own
-- schema alone.

do $$
begin
  execute format('revoke all on database %I from public', current_database());
end $$;
revoke all on schema public from public;
alter default privileges revoke execute on functions from public;

create schema opg;
grant usage on schema opg to public;

create table opg.workspaces (
  app_id      uuid primary key,
  -- `app_demo`, and the prefix of every name in it: `app_demo__`
  schema_name text not null unique,
  prefix      text not null unique,
  owner_role  text not null unique,
  reader_role text not null unique
);

-- The workspace of whoever signed in; no row for anybody who is no app.
create function opg.own_workspace() returns opg.workspaces
  language sql stable security definer set search_path = pg_catalog, pg_temp
  return (select w from opg.workspaces w where session_user in (w.owner_role, w.reader_role));

-- Tables, views and sequences of the own schema, with all a reader wants to know. `sizes`: also how large they are,
-- which asks the file system.
create function opg.relations(sizes boolean) returns jsonb
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'name', c.relname,
    'kind', case c.relkind when 'v' then 'view' when 'm' then 'materialized_view' when 'S' then 'sequence' else 'table' end,
    'columns', case when c.relkind = 'S' then '[]'::jsonb else coalesce((
      select jsonb_agg(jsonb_build_object(
        'name', a.attname,
        'type', replace(format_type(a.atttypid, a.atttypmod), n.nspname || '.', ''),
        'nullable', not a.attnotnull,
        'default', case when a.attgenerated = '' then replace(pg_get_expr(d.adbin, d.adrelid), n.nspname || '.', '') end,
        'generated', case
          when a.attgenerated <> '' then replace(pg_get_expr(d.adbin, d.adrelid), n.nspname || '.', '')
          when a.attidentity = 'a' then 'identity always'
          when a.attidentity = 'd' then 'identity'
        end
      ) order by a.attnum)
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'::jsonb) end,
    'primary_key', coalesce((
      select jsonb_agg(a.attname order by k.ord)
      from pg_index i, unnest(i.indkey) with ordinality k(attnum, ord), pg_attribute a
      where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = k.attnum), '[]'::jsonb),
    'indexes', coalesce((
      select jsonb_agg(jsonb_build_object(
        'name', x.relname,
        'unique', i.indisunique,
        'definition', replace(pg_get_indexdef(i.indexrelid), n.nspname || '.', '')
      ) order by x.relname collate "C")
      from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid), '[]'::jsonb),
    'constraints', coalesce((
      select jsonb_agg(jsonb_build_object(
        'name', k.conname,
        'definition', replace(pg_get_constraintdef(k.oid), n.nspname || '.', '')
      ) order by k.conname collate "C")
      from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'f', 'u', 'x')), '[]'::jsonb),
    'rows_estimate', case when c.relkind in ('r', 'm') and c.reltuples >= 0 then c.reltuples::bigint end,
    'bytes', case when sizes and c.relkind in ('r', 'm') then pg_total_relation_size(c.oid) end
  ) order by c.relname collate "C"), '[]'::jsonb)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = (select (opg.own_workspace()).schema_name) and c.relkind in ('r', 'p', 'v', 'm', 'S')
$$;

-- How much the own schema holds: bytes on disk, with indexes and what is stored out of line, and tables.
create function opg.own_usage(out bytes bigint, out tables bigint)
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(sum(pg_total_relation_size(c.oid)) filter (where c.relkind in ('r', 'm')), 0)::bigint,
         count(*) filter (where c.relkind in ('r', 'p', 'm'))
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = (select (opg.own_workspace()).schema_name) and c.relkind in ('r', 'p', 'm')
$$;

grant execute on function opg.relations(boolean), opg.own_usage() to public;
