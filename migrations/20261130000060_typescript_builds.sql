-- Why: a component made of a TypeScript file is the JavaScript runtime around it. A release with another runtime makes
-- active versions anew; what a version is, and what was reviewed, stays in plugin_versions.

-- What was made of a version's file for a runtime: at its upload, or later in the background.
create table typescript_builds (
  plugin_id uuid not null,
  app_id    uuid not null references apps on delete cascade,
  version   int not null,
  -- the SHA-256 of the runtime's module
  runtime   text not null,
  -- the component that runs on a host with this runtime; none: the version's own goes on
  sha256    text,
  -- why there is none
  refused   text,
  made_at   timestamptz not null,
  primary key (plugin_id, version, runtime),
  foreign key (plugin_id, version) references plugin_versions on delete cascade,
  check ((sha256 is null) <> (refused is null))
);

alter table typescript_builds enable row level security; alter table typescript_builds force row level security;
create policy tenant on typescript_builds to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on typescript_builds to opg_service using (true) with check (true);
grant select, insert on typescript_builds to opg_app, opg_service;

-- Which versions are to be made anew, and which of them were used last: no more than that takes.
create policy service on plugins         for select to opg_service using (true);
create policy service on plugin_versions for select to opg_service using (true);
create policy service on tool_runs       for select to opg_service using (true);
grant select (plugin_id, app_id, kind, name, active_version) on plugins to opg_service;
grant select (plugin_id, app_id, version, source_sha256, description, requested, created_at) on plugin_versions to opg_service;
grant select (app_id, plugin_name, occurred_at) on tool_runs to opg_service;
