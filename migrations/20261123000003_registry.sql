-- Why: what tenants upload (tools and agents), version by version, and what they granted it.

create table plugins (
  plugin_id      uuid primary key,
  app_id         uuid not null references apps on delete cascade,
  kind           text not null check (kind in ('tool', 'agent')),
  name           text not null check (name ~ '^[a-z0-9-]{1,64}$'),
  -- none: every version still waits for review
  active_version int,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  unique (app_id, kind, name)
);

-- Immutable: a new upload is a new version.
create table plugin_versions (
  plugin_id    uuid not null references plugins on delete cascade,
  app_id       uuid not null references apps on delete cascade,
  version      int not null check (version > 0),
  format       text not null check (format in ('component', 'markdown')),
  sha256       text not null,
  size_bytes   bigint not null,
  -- what `describe` said at upload: tool definitions, or the agent's definition
  description  jsonb not null,
  -- the capabilities it asks for: [{kind, target, reason}]
  requested    jsonb not null,
  created_by   uuid,
  created_at   timestamptz not null,
  primary key (plugin_id, version)
);
create index plugin_versions_app on plugin_versions (app_id, created_at desc);

-- What the tenant granted, for the plugin as a whole. A version may use what it requested and what stands here.
-- By name, not by id: predefined plugins have no row in `plugins`.
create table plugin_grants (
  app_id      uuid not null references apps on delete cascade,
  plugin_kind text not null check (plugin_kind in ('tool', 'agent')),
  plugin_name text not null,
  kind        text not null,
  target      text not null,
  granted_by  uuid,
  granted_at  timestamptz not null,
  primary key (app_id, plugin_kind, plugin_name, kind, target)
);

-- Which version was reviewed, and how: a version that asks for something waits until it is.
create table plugin_reviews (
  plugin_id   uuid not null references plugins on delete cascade,
  app_id      uuid not null references apps on delete cascade,
  version     int not null,
  reviewed_by uuid,
  reviewed_at timestamptz not null,
  primary key (plugin_id, version)
);

create table plugin_kv (
  app_id     uuid not null references apps on delete cascade,
  -- the plugin's kind and name: predefined plugins have no row in `plugins`
  namespace  text not null,
  key        text not null,
  value      bytea not null,
  updated_at timestamptz not null,
  primary key (app_id, namespace, key)
);

alter table plugins         enable row level security; alter table plugins         force row level security;
alter table plugin_versions enable row level security; alter table plugin_versions force row level security;
alter table plugin_grants   enable row level security; alter table plugin_grants   force row level security;
alter table plugin_reviews  enable row level security; alter table plugin_reviews  force row level security;
alter table plugin_kv       enable row level security; alter table plugin_kv       force row level security;
create policy tenant on plugins         to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on plugin_versions to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on plugin_grants   to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on plugin_reviews  to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on plugin_kv       to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());

grant select, insert, delete, update (active_version, updated_at) on plugins to opg_app;
grant select, insert on plugin_versions to opg_app;
grant select, insert, delete on plugin_grants, plugin_reviews to opg_app;
grant select, insert, delete, update (value, updated_at) on plugin_kv to opg_app;
