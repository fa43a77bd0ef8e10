-- Why: a session gets a state, one log of what happened in it, turns that wait and run, instances and permissions.

alter table sessions
  -- whose it is; null: the app's own
  add column user_id       uuid references users on delete cascade,
  -- the session whose agent started this one
  add column parent_id     uuid references sessions on delete cascade,
  -- the session whose messages it began with; it may be gone
  add column forked_from   uuid,
  add column title         text not null default '',
  add column status        text not null default 'stopped'
    check (status in ('creating', 'active', 'idle', 'stopped', 'error')),
  add column status_reason text,
  add column agent         text,
  add column model         text,
  add column permissions   jsonb not null default '{"mode": "allow", "rules": []}',
  -- the last event of the log, and the first that is still there
  add column last_seq      bigint not null default 0,
  add column first_seq     bigint not null default 1,
  -- messages from here on are taken back, until the next prompt removes them for good
  add column reverted_from int;
create index sessions_person on sessions (user_id, created_at desc) where user_id is not null;
create index sessions_parent on sessions (parent_id) where parent_id is not null;
create index sessions_live on sessions (app_id) where status in ('creating', 'active', 'idle');
create index sessions_leases on sessions (busy_until) where busy_until is not null;

-- Which state may follow which. Checked here, so that no host, however old, does otherwise.
create function check_session_status() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status in ('creating', 'active') then return new; end if;
    raise exception 'a session begins as creating or active, not %', new.status using errcode = 'check_violation';
  end if;
  if new.status = old.status or (old.status, new.status) in (
    ('creating', 'active'), ('creating', 'idle'), ('creating', 'stopped'), ('creating', 'error'),
    ('active', 'idle'), ('active', 'stopped'), ('active', 'error'),
    ('idle', 'active'), ('idle', 'stopped'), ('idle', 'error'),
    ('stopped', 'creating'), ('stopped', 'active'), ('error', 'creating'), ('error', 'active'), ('error', 'stopped')
  ) then
    return new;
  end if;
  raise exception 'a session cannot go from % to %', old.status, new.status using errcode = 'check_violation';
end $$;
create trigger status before insert or update of status on sessions
  for each row execute function check_session_status();

alter table session_messages
  add column message_id uuid not null default gen_random_uuid(),
  -- the turn that added it; null: from before turns were kept
  add column turn_id    uuid,
  -- what the model thought aloud before it
  add column reasoning  text;
create unique index session_messages_id on session_messages (session_id, message_id);

-- Append-only, one row for each thing that happened, without a gap in `seq`. Written in the transaction of what it tells.
create table session_events (
  session_id uuid not null references sessions on delete cascade,
  seq        bigint not null,
  app_id     uuid not null references apps on delete cascade,
  turn_id    uuid,
  kind       text not null,
  data       jsonb not null,
  created_at timestamptz not null,
  primary key (session_id, seq)
);
create index session_events_turn on session_events (turn_id, seq);

-- One user message to its final answer: waiting, running, or how it ended.
create table session_turns (
  turn_id       uuid primary key,
  session_id    uuid not null references sessions on delete cascade,
  app_id        uuid not null references apps on delete cascade,
  -- who waits comes in this order
  position      bigint not null,
  state         text not null check (state in ('queued', 'running', 'done', 'failed', 'aborted')),
  reason        text,
  message_id    uuid not null,
  -- the message and what was asked for with it
  prompt        jsonb not null,
  -- for whom it runs: asked again when it begins
  credential_id uuid,
  request_id    text not null,
  created_at    timestamptz not null,
  started_at    timestamptz,
  ended_at      timestamptz
);
create index session_turns_session on session_turns (session_id, created_at);
create index session_turns_waiting on session_turns (session_id, position) where state = 'queued';
create unique index session_turns_one_runs on session_turns (session_id) where state = 'running';

-- What a session runs on.
create table session_instances (
  instance_id   uuid primary key,
  session_id    uuid not null references sessions on delete cascade,
  app_id        uuid not null references apps on delete cascade,
  driver        text not null check (driver in ('wasm')),
  state         text not null check (state in ('provisioning', 'running', 'terminated', 'error')),
  reason        text,
  created_at    timestamptz not null,
  registered_at timestamptz,
  terminated_at timestamptz
);
create index session_instances_session on session_instances (session_id);
create unique index session_instances_one_lives on session_instances (session_id)
  where state in ('provisioning', 'running');

-- What an agent asked and somebody has to answer.
create table pending_permissions (
  permission_id uuid primary key,
  session_id    uuid not null references sessions on delete cascade,
  app_id        uuid not null references apps on delete cascade,
  turn_id       uuid not null,
  tool          text not null,
  input         jsonb not null,
  capabilities  text[] not null,
  created_at    timestamptz not null,
  expires_at    timestamptz not null,
  resolved_at   timestamptz,
  response      text check (response in ('once', 'always', 'reject')),
  message       text
);
create index pending_permissions_session on pending_permissions (session_id, created_at);
create index pending_permissions_open on pending_permissions (turn_id) where resolved_at is null;

-- Prompts with a name, to be filled in.
create table commands (
  app_id      uuid not null references apps on delete cascade,
  name        text not null,
  description text not null,
  template    text not null,
  agent       text,
  model       text,
  updated_at  timestamptz not null,
  primary key (app_id, name)
);
alter table commands enable row level security; alter table commands force row level security;
create policy tenant on commands to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
grant select, insert, update, delete on commands to opg_app;

alter table session_events      enable row level security; alter table session_events      force row level security;
alter table session_turns       enable row level security; alter table session_turns       force row level security;
alter table session_instances   enable row level security; alter table session_instances   force row level security;
alter table pending_permissions enable row level security; alter table pending_permissions force row level security;
create policy tenant on session_events to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_events.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_events.session_id));
create policy tenant on session_turns to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_turns.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_turns.session_id));
create policy tenant on session_instances to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_instances.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_instances.session_id));
create policy tenant on pending_permissions to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = pending_permissions.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = pending_permissions.session_id));
-- A session is the app's, seen by the app's own credentials, or one person's, seen by that person's; what belongs to it
-- is seen by whoever sees it.
drop policy tenant on sessions;
create policy tenant on sessions to opg_app
  using (app_id = current_app_id() and user_id is not distinct from current_user_id())
  with check (app_id = current_app_id() and user_id is not distinct from current_user_id());
drop policy tenant on session_messages;
create policy tenant on session_messages to opg_app
  using (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_messages.session_id))
  with check (app_id = current_app_id() and exists (select from sessions s where s.session_id = session_messages.session_id));
-- The platform itself ends what a host that died has left behind.
create policy service on session_events      to opg_service using (true) with check (true);
create policy service on session_turns       to opg_service using (true) with check (true);
create policy service on session_instances   to opg_service using (true) with check (true);
create policy service on pending_permissions to opg_service using (true) with check (true);
create policy service on session_messages    to opg_service using (true) with check (true);

grant update (title, status, status_reason, agent, model, permissions, last_seq, first_seq, reverted_from) on sessions to opg_app;
grant update (last_accessed_at, expires_at, busy_token, status, status_reason, permissions, last_seq, first_seq, reverted_from)
  on sessions to opg_service;
grant delete on session_messages to opg_app;
grant select, insert, delete on session_messages to opg_service;
-- No update: what happened has happened. Old ones are removed, oldest first.
grant select, insert, delete on session_events to opg_app, opg_service;
grant select, insert, update (state, reason, started_at, ended_at) on session_turns to opg_app, opg_service;
grant select, insert, update (state, reason, registered_at, terminated_at) on session_instances to opg_app, opg_service;
grant select, insert, update (resolved_at, response, message) on pending_permissions to opg_app, opg_service;

create index usage_events_session on usage_events (session_id) where session_id is not null;
