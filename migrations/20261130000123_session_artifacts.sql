-- Why: what a session comes to is kept outside the database as well, to go back to.

create table session_artifacts (
  artifact_id uuid primary key,
  session_id  uuid not null references sessions on delete cascade,
  app_id      uuid not null references apps on delete cascade,
  kind        text not null check (kind in ('session_json', 'zip', 'git')),
  -- where it is in the object store
  path        text not null,
  bytes       bigint not null check (bytes >= 0),
  -- of its bytes, in lower-case hex
  sha256      text not null,
  created_at  timestamptz not null
);
create index session_artifacts_session on session_artifacts (session_id, created_at desc);
alter table session_artifacts enable row level security; alter table session_artifacts force row level security;
create policy tenant on session_artifacts to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_artifacts.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_artifacts.session_id));
grant select, insert, delete on session_artifacts to opg_app;
