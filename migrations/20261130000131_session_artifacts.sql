-- Why: what was made of a session and where it went: a push to a repository takes a while, and says here how it ended.

create table session_artifacts (
  artifact_id uuid primary key,
  session_id  uuid not null references sessions on delete cascade,
  app_id      uuid not null references apps on delete cascade,
  kind        text not null check (kind in ('session_json', 'zip', 'git')),
  state       text not null check (state in ('running', 'done', 'failed')),
  -- a URL or a path, without any credential
  location    text not null,
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

grant select, insert, update (state, detail, ended_at) on session_artifacts to opg_app;
-- What a host that died was doing is brought to an end by another.
grant select, update (state, detail, ended_at) on session_artifacts to opg_service;
