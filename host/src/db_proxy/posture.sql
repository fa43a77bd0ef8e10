-- What PUBLIC, and so every app, may do in the apps' database. `what` is stable, for programs.
select what, holds, advice from (values
  ('catalogs_closed',
   not has_table_privilege('public', 'pg_catalog.pg_class', 'select')
     and not has_schema_privilege('public', 'information_schema', 'usage'),
   'every app can read the names of all tables in this database; a superuser can run host/src/db_proxy/harden.sql'),
  ('functions_closed',
   not has_function_privilege('public', 'pg_catalog.set_config(text,text,boolean)', 'execute')
     and not has_function_privilege('public', 'pg_catalog.query_to_xml(text,boolean,boolean,text)', 'execute')
     and not has_function_privilege('public', 'pg_catalog.pg_sleep(double precision)', 'execute')
     and not has_function_privilege('public', 'pg_catalog.lo_create(oid)', 'execute'),
   'functions that act on the server are kept from apps by the parser alone; a superuser can run host/src/db_proxy/harden.sql'),
  ('languages_closed',
   not exists (select from pg_language where lanname in ('sql', 'plpgsql') and has_language_privilege('public', oid, 'usage')),
   'defining functions is kept from apps by the parser alone; a superuser can run: REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC'),
  ('definitions_fenced',
   exists (select from pg_event_trigger where evtname = 'opg_fence_definitions' and evtenabled <> 'D'),
   'names of new tables are checked by the parser alone; a superuser can run host/src/db_proxy/harden.sql'),
  ('schema_public_closed',
   not has_schema_privilege('public', 'public', 'create') and not has_schema_privilege('public', 'public', 'usage'),
   'run: REVOKE ALL ON SCHEMA public FROM PUBLIC'),
  ('database_closed',
   not has_database_privilege('public', current_database(), 'connect')
     and not has_database_privilege('public', current_database(), 'temporary'),
   'run: REVOKE ALL ON DATABASE … FROM PUBLIC, for the apps'' database'),
  ('temporary_files_limited',
   current_setting('temp_file_limit') <> '-1',
   'a sort of one app can fill the disk; set temp_file_limit on the server'),
  ('logins_bare',
   not exists (
     select from opg.workspaces w join pg_roles r on r.rolname in (w.owner_role, w.reader_role)
     where r.rolsuper or r.rolinherit or r.rolcreaterole or r.rolcreatedb or r.rolbypassrls or r.rolreplication
        or exists (select from pg_auth_members m where m.member = r.oid)),
   'a login of an app was given rights of somebody else''s; see pg_roles and pg_auth_members')
) as findings (what, holds, advice)
