-- Why: what takes longer than a client waits (a picture) may be asked for as a task: it runs on, and is asked after.

create table tasks (
  -- rises with time
  task_id       uuid primary key,
  app_id        uuid not null references apps on delete cascade,
  -- whose it is; null: the app's own
  user_id       uuid references users on delete cascade,
  kind          text not null check (kind in ('image')),
  status        text not null check (status in ('running', 'done', 'failed', 'canceled')),
  -- what the request would have been answered with
  result        jsonb,
  error_code    text,
  error_detail  text,
  credential_id uuid,
  request_id    text not null,
  -- the process it runs in, which renews its lease while it lives
  process_id    uuid not null,
  lease_until   timestamptz not null,
  created_at    timestamptz not null,
  ended_at      timestamptz,
  -- when it is forgotten
  expires_at    timestamptz not null
);
create index tasks_app on tasks (app_id, task_id desc);
create index tasks_leases on tasks (lease_until) where status = 'running';
create index tasks_expiry on tasks (expires_at);

alter table tasks enable row level security; alter table tasks force row level security;
create policy tenant on tasks to opg_app
  using (app_id = current_app_id() and user_id is not distinct from current_user_id())
  with check (app_id = current_app_id() and user_id is not distinct from current_user_id());
create policy service on tasks to opg_service using (true) with check (true);
grant select, insert, update (status, result, error_code, error_detail, lease_until, ended_at) on tasks to opg_app;
grant select, update (status, error_code, error_detail, ended_at), delete on tasks to opg_service;
