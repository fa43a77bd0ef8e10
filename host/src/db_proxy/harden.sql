-- The third wall: what PUBLIC may do by default and an app has no use for, taken away. Run at every start, by the
-- owner of the apps' database; all of it may be run again. Parts of it need a superuser: a managed server refuses
-- them, and `posture` says which of the layers are up (host/src/db_proxy/posture.rs).
--
-- It stands behind the roles (which hold table data apart by themselves) and the parser (which sees statements
-- first), for what both leave open: names and settings in catalogs, functions that act on the server or run text
-- as SQL, functions an app could define itself, and objects outside its namespace.

-- Without a language there is no function to define.
revoke usage on language sql, plpgsql from public;

-- Catalogs tell of every app. What an app may know of itself, `opg.relations` says.
revoke select on all tables in schema pg_catalog, information_schema from public;
revoke usage on schema information_schema from public;

do $$
declare
  doomed text;
begin
  select string_agg(p.oid::regprocedure::text, ', ') into doomed
  from pg_proc p
  where p.pronamespace = 'pg_catalog'::regnamespace
    and p.prokind = 'f'
    and (p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0 and a.privilege_type = 'EXECUTE'))
    and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    and ((p.proname like 'pg\_%' and p.proname not in (
           'pg_backend_pid', 'pg_char_to_encoding', 'pg_client_encoding', 'pg_collation_for', 'pg_column_size',
           'pg_current_xact_id', 'pg_encoding_to_char', 'pg_input_error_info', 'pg_input_is_valid',
           'pg_size_bytes', 'pg_size_pretty', 'pg_typeof'))
      or p.proname ~ ('^(lo_|lowrite$|loread$|txid_|query_to_|table_to_|schema_to_|database_to_|cursor_to_|to_reg|has_'
           || '|row_security_active|obj_description|col_description|shobj_description|inet_server|inet_client'
           || '|current_query$|gin_clean|brin_|binary_upgrade|currtid|amvalidate|ts_stat$|set_config$|current_setting$'
           || '|xpath|xml_is|xmlexists$|dblink|dsnowball|dispell|satisfies_hash_partition)')
      or (p.proname = 'ts_rewrite' and p.pronargs = 2))
    -- What a type needs to be read, written and compared.
    and not exists (select from pg_type t where p.oid in (t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze))
    and not exists (select from pg_operator o where o.oprcode = p.oid or o.oprrest = p.oid or o.oprjoin = p.oid)
    and not exists (select from pg_amproc m where m.amproc = p.oid)
    and not exists (select from pg_cast k where k.castfunc = p.oid);
  if doomed is not null then
    execute format('revoke execute on function %s from public', doomed);
  end if;
end $$;

-- Names and dependencies of what an app's login defines, whatever the parser let through.
create or replace function opg.fence_definitions() returns event_trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  home    opg.workspaces := opg.own_workspace();
  command record;
  made    record;
begin
  if home.app_id is null then
    return;
  end if;
  for command in select * from pg_event_trigger_ddl_commands() loop
    if command.in_extension
       or command.command_tag not in ('CREATE TABLE', 'CREATE TABLE AS', 'ALTER TABLE', 'CREATE INDEX', 'ALTER INDEX',
                                      'CREATE SEQUENCE', 'ALTER SEQUENCE', 'CREATE VIEW', 'ALTER VIEW', 'COMMENT')
       or command.object_type not in ('table', 'table column', 'table constraint', 'index', 'sequence', 'view', 'view column')
    then
      raise exception '% is not available to apps', command.command_tag using errcode = '42501';
    end if;
    for made in
      select c.oid, c.relname, c.relpersistence, n.nspname
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where command.classid = 'pg_class'::regclass and c.oid = command.objid
    loop
      if made.nspname <> home.schema_name or made.relpersistence = 't'
         or not starts_with(made.relname, home.prefix) or length(made.relname) <= length(home.prefix)
      then
        raise exception 'the name "%" is not in the namespace %', made.relname, home.prefix using errcode = '42501';
      end if;
      -- Columns, defaults, checks and views lean on own relations and on what is built in.
      if exists (
        select from pg_depend d
        left join pg_rewrite w    on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
        left join pg_attrdef f    on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
        left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
        left join pg_class rc     on d.refclassid = 'pg_class'::regclass and rc.oid = d.refobjid
        left join pg_namespace rn on rn.oid = rc.relnamespace
        left join pg_proc rp      on d.refclassid = 'pg_proc'::regclass and rp.oid = d.refobjid
        left join pg_type rt      on d.refclassid = 'pg_type'::regclass and rt.oid = d.refobjid
        where coalesce(w.ev_class, f.adrelid, k.conrelid, case when d.classid = 'pg_class'::regclass then d.objid end) = made.oid
          and ((rc.oid is not null and rn.nspname <> home.schema_name)
            or (rp.oid is not null and rp.pronamespace <> 'pg_catalog'::regnamespace)
            or (rt.oid is not null and rt.typnamespace <> 'pg_catalog'::regnamespace
                and rt.typnamespace <> (select oid from pg_namespace where nspname = home.schema_name)))
      ) then
        raise exception '"%" depends on something outside the namespace %', made.relname, home.prefix using errcode = '42501';
      end if;
    end loop;
  end loop;
end $$;

do $$
begin
  if not exists (select from pg_event_trigger where evtname = 'opg_fence_definitions') then
    create event trigger opg_fence_definitions on ddl_command_end execute function opg.fence_definitions();
  end if;
end $$;
