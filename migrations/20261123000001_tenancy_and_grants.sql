-- Why: apps (tenants), people, credentials and the audit log, walled by row-level security.
--
-- Two roles do the work, neither owns a table, neither bypasses RLS:
--   opg_app      a tenant's transaction: sees the rows of the app named by `opg.app_id`, none without it
--   opg_service  what comes before a tenant is known (credential lookup, creating apps) and what a
--                tenant's transaction must not do (reading envelopes)
-- Roles belong to the whole server, which other databases of ours may share and migrate at the same time.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['opg_app', 'opg_service'] loop
    begin
      if not exists (select from pg_roles where rolname = wanted) then
        execute format('create role %I nologin noinherit', wanted);
      end if;
    exception when duplicate_object or unique_violation then
      null;
    end;
    if not pg_has_role(current_user, wanted, 'member') then
      execute format('grant %I to %I', wanted, current_user);
    end if;
  end loop;
end $$;

revoke all on schema public from public;
grant usage on schema public to opg_app, opg_service;

-- The app of this transaction. After a commit the setting reads '' rather than null, hence nullif.
create function current_app_id() returns uuid
  language sql stable
  return nullif(current_setting('opg.app_id', true), '')::uuid;

create table apps (
  app_id          uuid primary key,
  slug            text not null unique check (slug ~ '^[a-z][a-z0-9]*(-[a-z0-9]+)*$' and length(slug) between 3 and 30),
  name            text not null check (length(name) between 1 and 200),
  status          text not null default 'active' check (status in ('active', 'suspended', 'deleted')),
  contact_email   text,
  default_model   text,
  -- null: everything predefined is offered; a list: only what it names
  predefined_tools  text[],
  predefined_agents text[],
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  deleted_at      timestamptz
);

create table users (
  user_id     uuid primary key,
  email       text,
  name        text not null default '',
  created_at  timestamptz not null,
  disabled_at timestamptz
);
create unique index users_email on users (lower(email)) where email is not null;

create table app_members (
  app_id     uuid not null references apps on delete cascade,
  user_id    uuid not null references users on delete cascade,
  role       text not null check (role in ('owner', 'admin', 'developer', 'viewer')),
  created_at timestamptz not null,
  primary key (app_id, user_id)
);
create index app_members_user on app_members (user_id);

create table credentials (
  credential_id uuid primary key,
  kind          text not null check (kind in ('tenant_token', 'dev_grant')),
  app_id        uuid references apps on delete cascade,
  user_id       uuid references users on delete cascade,
  name          text not null default '',
  -- SHA-256 of pepper and secret; the secret itself is shown once and kept nowhere
  secret_hash   bytea not null unique,
  prefix        text not null,
  last4         text not null,
  scopes        text[] not null,
  expires_at    timestamptz,
  last_used_at  timestamptz,
  revoked_at    timestamptz,
  created_by    uuid references credentials on delete set null,
  created_at    timestamptz not null
);
create index credentials_app on credentials (app_id, created_at desc);

-- Append-only: no role may change or delete a row.
create table audit_events (
  audit_id      uuid primary key,
  app_id        uuid references apps on delete cascade,
  occurred_at   timestamptz not null,
  actor         text not null,
  credential_id uuid,
  surface       text not null check (surface in ('rest', 'cli', 'mcp', 'console', 'wasm')),
  action        text not null,
  target        text not null,
  result        text not null check (result in ('ok', 'denied', 'failed')),
  before_hash   text,
  after_hash    text,
  detail        jsonb not null default '{}',
  ip            text,
  request_id    text not null
);
create index audit_events_app on audit_events (app_id, audit_id desc);

alter table apps         enable row level security; alter table apps         force row level security;
alter table users        enable row level security; alter table users        force row level security;
alter table app_members  enable row level security; alter table app_members  force row level security;
alter table credentials  enable row level security; alter table credentials  force row level security;
alter table audit_events enable row level security; alter table audit_events force row level security;

create policy tenant on apps         to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on users        to opg_app using (exists (select from app_members m where m.user_id = users.user_id and m.app_id = current_app_id()));
create policy tenant on app_members  to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on credentials  to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on audit_events to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());

create policy service on apps         to opg_service using (true) with check (true);
create policy service on users        to opg_service using (true) with check (true);
create policy service on app_members  to opg_service using (true) with check (true);
create policy service on credentials  to opg_service using (true) with check (true);
create policy service on audit_events to opg_service using (true) with check (true);

grant select on apps, users, app_members to opg_app;
grant update (name, contact_email, default_model, predefined_tools, predefined_agents, updated_at) on apps to opg_app;
grant select (credential_id, kind, app_id, user_id, name, prefix, last4, scopes, expires_at, last_used_at, revoked_at, created_by, created_at),
      insert, update (name, revoked_at) on credentials to opg_app;
grant select, insert on audit_events to opg_app;

grant select, insert, update on apps, users to opg_service;
grant select, insert, update, delete on app_members to opg_service;
grant select, insert, update on credentials to opg_service;
grant select, insert on audit_events to opg_service;
