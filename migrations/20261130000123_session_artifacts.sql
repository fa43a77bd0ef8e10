-- Why: what is made of a session and kept elsewhere: itself as a document, to go back to, and pushes to repositories,
-- which take a while and say here how they ended.

create table session_artifacts (
  artifact_id uuid primary key,
  session_id  uuid not null references sessions on delete cascade,
  app_id      uuid not null references apps on delete cascade,
  kind        text not null check (kind in ('session_json', 'zip', 'git')),
  state       text not null check (state in ('running', 'done', 'failed')),
  -- where it is in the object store, where it is there
  path        text,
  bytes       bigint check (bytes >= 0),
  -- of its bytes, in lower-case hex
  sha256      text,
  -- where it went: a URL without any credential
  location    text,
  detail      jsonb not null default '{}',
  created_at  timestamptz not null,
  ended_at    timestamptz
);
create index session_artifacts_session on session_artifacts (session_id, created_at desc);
create index session_artifacts_running on session_artifacts (created_at) where state = 'running';
alter table session_artifacts enable row level security; alter table session_artifacts force row level security;
create policy tenant on session_artifacts to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_artifacts.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_artifacts.session_id));
create policy service on session_artifacts to opg_service using (true) with check (true);
grant select, insert, delete, update (state, detail, ended_at) on session_artifacts to opg_app;
-- What a host that died was doing is brought to an end by another.
grant select, update (state, detail, ended_at) on session_artifacts to opg_service;
