-- Why: a conversation can be shown to whoever has its link, for a while, where its app allows it.

alter table apps add column session_sharing boolean not null default false;
grant update (session_sharing) on apps to opg_app;

create table session_shares (
  session_id  uuid primary key references sessions on delete cascade,
  app_id      uuid not null references apps on delete cascade,
  -- of the link's secret, which is nowhere
  secret_hash bytea not null unique,
  created_at  timestamptz not null,
  expires_at  timestamptz not null
);
alter table session_shares enable row level security; alter table session_shares force row level security;
create policy tenant on session_shares to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_shares.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_shares.session_id));
-- Who has the link is nobody's person and in no app.
create policy service on session_shares for select to opg_service using (true);
grant insert, delete, select (session_id, app_id, created_at, expires_at) on session_shares to opg_app;
grant select on session_shares to opg_service;
