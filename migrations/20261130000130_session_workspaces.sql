-- Why: a session has files, on the disk of one host. That it has is remembered here: where they are not found they are
-- lost or on another host, and not "none".

create table session_workspaces (
  session_id uuid primary key references sessions on delete cascade,
  app_id     uuid not null references apps on delete cascade,
  created_at timestamptz not null
);

alter table session_workspaces enable row level security; alter table session_workspaces force row level security;
create policy tenant on session_workspaces to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_workspaces.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_workspaces.session_id));

grant select, insert on session_workspaces to opg_app;
