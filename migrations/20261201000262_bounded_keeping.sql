-- Why: versions of plugins and their bytes were kept for ever (row M368). Which versions stay is the host's to decide; of
-- bytes, which are stored by digest and may be several apps', a note here says when to look whether anything refers to
-- them. What nothing refers to then goes. How nothing is lost by that stands in `host/src/registry/kept/mod.rs`.

create table blob_checks (
  sha256 text not null,
  -- whose upload or version it was; null: found in the store, and nobody's. Outlives its app
  app_id uuid,
  due_at timestamptz not null,
  unique nulls not distinct (sha256, app_id)
);
create index blob_checks_due on blob_checks (due_at);
alter table blob_checks enable row level security; alter table blob_checks force row level security;
create policy tenant on blob_checks to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on blob_checks to opg_service using (true) with check (true);
grant select, insert, update (due_at) on blob_checks to opg_app;
grant select, insert, delete, update (due_at) on blob_checks to opg_service;

-- Whether anything refers to a digest.
create index plugin_versions_sha256 on plugin_versions (sha256);
create index plugin_versions_source on plugin_versions (source_sha256) where source_sha256 is not null;
create index typescript_builds_sha256 on typescript_builds (sha256) where sha256 is not null;

-- Versions go with the upload that makes them too many, or by upkeep; what was made for older runtimes with what is made
-- for a newer one.
grant delete on plugin_versions, typescript_builds to opg_app, opg_service;
create policy removal on plugin_versions for delete to opg_service using (true);
grant select (sha256) on plugin_versions to opg_service;

-- And all of it with the app, some days after that was deleted.
create policy removal on plugins   for delete to opg_service using (true);
create policy removal on tool_runs for delete to opg_service using (true);
create policy service on plugin_reviews to opg_service using (true) with check (true);
create policy service on plugin_grants  to opg_service using (true) with check (true);
create policy service on plugin_kv      to opg_service using (true) with check (true);
grant select (plugin_id, app_id, version) on plugin_reviews to opg_service;
grant select (app_id) on plugin_grants to opg_service;
grant select (app_id, namespace, key) on plugin_kv to opg_service;
grant select (run_id) on tool_runs to opg_service;
grant delete on plugins, plugin_reviews, plugin_grants, plugin_kv, tool_runs to opg_service;
