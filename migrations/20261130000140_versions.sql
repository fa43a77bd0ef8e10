-- Why: most of what a model call has to know of its app was asked for anew with each request. A host may go by what it
-- read a moment ago if it knows that nothing changed: a version, changed by triggers in the transaction that changes
-- anything of what is remembered (`host/src/remembered.rs`), and read with each request's credential.

-- One row for each app.
create table app_versions (
  app_id  uuid primary key references apps on delete cascade,
  version bigint not null
);
-- One row: what the operator keeps for all apps.
create table platform_version (
  version bigint not null
);

-- The owner sees no rows of a table whose row-level security is forced, unless it is a superuser.
alter table apps no force row level security;
insert into app_versions select app_id, 0 from apps;
alter table apps force row level security;
insert into platform_version values (0);

alter table app_versions     enable row level security; alter table app_versions     force row level security;
alter table platform_version enable row level security; alter table platform_version force row level security;
create policy tenant  on app_versions     to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on app_versions     to opg_service using (true) with check (true);
create policy service on platform_version to opg_service using (true) with check (true);
grant select, update (version) on app_versions to opg_app;
grant select, insert, update (version) on app_versions to opg_service;
grant select, update (version) on platform_version to opg_service;

create function app_made() returns trigger language plpgsql as $$
begin
  insert into app_versions values (new.app_id, 0);
  return null;
end $$;
create trigger versioned after insert on apps for each row execute function app_made();

-- A transaction's number is no other's, and each sets its own once: no version ever comes back.
create function app_changed() returns trigger language plpgsql as $$
declare
  this constant bigint := pg_current_xact_id()::text::bigint;
begin
  update app_versions set version = this where app_id = coalesce(new.app_id, old.app_id) and version <> this;
  return null;
end $$;

create function platform_changed() returns trigger language plpgsql as $$
declare
  this constant bigint := pg_current_xact_id()::text::bigint;
begin
  update platform_version set version = this where version <> this;
  return null;
end $$;

-- Deferred to the commit: the row is the last that a transaction waits for, so no two wait for each other.
create constraint trigger version after update of status, default_model, model_aliases, predefined_tools, predefined_agents on apps
  deferrable initially deferred for each row execute function app_changed();
create constraint trigger version after insert or delete or update on plugins
  deferrable initially deferred for each row execute function app_changed();
create constraint trigger version after insert or delete or update on plugin_versions
  deferrable initially deferred for each row execute function app_changed();
create constraint trigger version after insert or delete or update on plugin_grants
  deferrable initially deferred for each row execute function app_changed();
create constraint trigger version after insert or delete or update on typescript_builds
  deferrable initially deferred for each row execute function app_changed();
-- All but when a key was last used.
create constraint trigger version after insert or delete or update of base_url, kind, encrypted_value, nonce,
    encrypted_data_key, data_key_nonce, key_version, user_id on provider_keys
  deferrable initially deferred for each row execute function app_changed();
create constraint trigger version after insert or delete or update on budgets
  deferrable initially deferred for each row execute function app_changed();
create constraint trigger version after insert or delete or update on app_models
  deferrable initially deferred for each row execute function app_changed();

create constraint trigger version after insert or delete or update on model_prices
  deferrable initially deferred for each row execute function platform_changed();
create constraint trigger version after insert or delete or update on ai_sources
  deferrable initially deferred for each row execute function platform_changed();
create constraint trigger version after insert or delete or update on ai_models
  deferrable initially deferred for each row execute function platform_changed();
create constraint trigger version after insert or delete or update on ai_model_sources
  deferrable initially deferred for each row execute function platform_changed();
