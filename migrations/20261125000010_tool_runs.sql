-- Why: how each run of a tool went and what it said, for its author. The ledger counts runs for ever; this tells of
-- the last ones.

create table tool_runs (
  run_id      uuid primary key,
  app_id      uuid not null references apps on delete cascade,
  -- by name, not by id: predefined plugins have no row in `plugins`
  plugin_name text not null,
  -- none: the plugin is predefined
  version     int,
  -- the tool's name inside its plugin
  tool        text not null,
  occurred_at timestamptz not null,
  duration_us bigint not null check (duration_us >= 0),
  status      text not null check (status in ('ok', 'failed', 'canceled')),
  -- what the caller was told, where it did not end well
  error_code  text,
  error_text  text,
  -- [{level, message}], the first ones
  logs        jsonb not null,
  logs_left_out int not null default 0,
  request_id  text not null
);
create index tool_runs_plugin on tool_runs (app_id, plugin_name, run_id desc);

alter table tool_runs enable row level security; alter table tool_runs force row level security;
create policy tenant on tool_runs to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
grant select, insert, delete on tool_runs to opg_app;
