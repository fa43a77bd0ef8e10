-- Why: chat sessions (history that outlives a request) and the ledger of what was used.

create table sessions (
  session_id       uuid primary key,
  app_id           uuid not null references apps on delete cascade,
  created_at       timestamptz not null,
  last_accessed_at timestamptz not null,
  expires_at       timestamptz not null,
  -- one turn at a time: who holds the session, and until when if its host dies
  busy_token       uuid,
  busy_until       timestamptz
);
create index sessions_app on sessions (app_id, created_at desc);
create index sessions_expiry on sessions (expires_at);

create table session_messages (
  session_id uuid not null references sessions on delete cascade,
  app_id     uuid not null references apps on delete cascade,
  seq        int not null,
  message    jsonb not null,
  created_at timestamptz not null,
  primary key (session_id, seq)
);

-- Append-only: one row for what was used once, with the price it was charged at.
create table usage_events (
  usage_id          uuid primary key,
  app_id            uuid not null references apps on delete cascade,
  occurred_at       timestamptz not null,
  kind              text not null check (kind in ('tokens', 'tool', 'agent')),
  credential_id     uuid,
  session_id        uuid,
  request_id        text not null,
  -- the plugin that ran or asked; null where the gateway was called directly
  plugin            text,
  provider          text,
  model             text,
  prompt_tokens     bigint not null default 0 check (prompt_tokens >= 0),
  completion_tokens bigint not null default 0 check (completion_tokens >= 0),
  cached_tokens     bigint not null default 0 check (cached_tokens >= 0),
  -- null: no price is known for this model
  cost_micro_usd    bigint check (cost_micro_usd >= 0),
  price             jsonb,
  duration_ms       bigint not null default 0 check (duration_ms >= 0),
  status            text not null check (status in ('ok', 'failed', 'canceled')),
  surface           text not null
);
create index usage_events_app on usage_events (app_id, usage_id desc);

alter table sessions         enable row level security; alter table sessions         force row level security;
alter table session_messages enable row level security; alter table session_messages force row level security;
alter table usage_events     enable row level security; alter table usage_events     force row level security;
create policy tenant on sessions         to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on session_messages to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on usage_events     to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on sessions        to opg_service using (true) with check (true);

grant select, insert, delete, update (last_accessed_at, expires_at, busy_token, busy_until) on sessions to opg_app;
grant select, insert on session_messages to opg_app;
grant select, insert on usage_events to opg_app;
-- Updating a column is what `for update` asks for.
grant select, delete, update (busy_until) on sessions to opg_service;
