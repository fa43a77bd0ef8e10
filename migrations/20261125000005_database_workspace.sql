-- Why: each app has two logins in the apps' own database; their passwords are envelopes.
--
-- A tenant's transaction sees that they are there; only opg_service reads and writes them. The logins themselves,
-- and the schema they work in, are in the other database: migrations/apps.

create table database_logins (
  login_id         uuid primary key,
  app_id           uuid not null references apps on delete cascade,
  access           text not null check (access in ('reader', 'owner')),
  encrypted_value  bytea not null,
  nonce            bytea not null,
  encrypted_data_key bytea not null,
  data_key_nonce   bytea not null,
  key_version      int not null,
  created_at       timestamptz not null,
  unique (app_id, access)
);

alter table database_logins enable row level security; alter table database_logins force row level security;
create policy tenant on database_logins  to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on database_logins to opg_service using (true) with check (true);

grant select (login_id, app_id, access, created_at) on database_logins to opg_app;
grant select, insert, delete on database_logins to opg_service;
grant update (encrypted_data_key, data_key_nonce, key_version) on database_logins to opg_service;

-- What was applied to an app's database, newest first (row M158).
create index audit_events_database on audit_events (app_id, audit_id desc) where action = 'db.apply';
