-- Why: what an object store missed to remove was known to one process until it ended. What is to be removed is written
-- down with the end of the row that named it, and tried until it is gone. It outlives its app.

create table artifact_removals (
  -- in the object store: an artifact, or with a slash at its end all of a session
  path       text primary key,
  app_id     uuid not null,
  tries      int not null default 0,
  next_at    timestamptz not null,
  created_at timestamptz not null
);
create index artifact_removals_next on artifact_removals (next_at);
alter table artifact_removals enable row level security; alter table artifact_removals force row level security;
create policy tenant on artifact_removals to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on artifact_removals to opg_service using (true) with check (true);
grant select, insert on artifact_removals to opg_app;
grant select, insert, delete, update (tries, next_at) on artifact_removals to opg_service;
