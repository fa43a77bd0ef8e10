-- Budgets: what an app, a credential or an end user may spend on models in a day, a month or ever; what calls under
-- way may still cost is held against them before a provider is asked. And the prices the costs are reckoned with.

-- The operator's prices, for every app.
create table model_prices (
  provider                        text not null,
  model                           text not null,
  input_micro_usd_per_mtok        bigint not null check (input_micro_usd_per_mtok >= 0),
  cached_input_micro_usd_per_mtok bigint not null check (cached_input_micro_usd_per_mtok >= 0),
  cache_write_micro_usd_per_mtok  bigint not null check (cache_write_micro_usd_per_mtok >= 0),
  output_micro_usd_per_mtok       bigint not null check (output_micro_usd_per_mtok >= 0),
  -- the longest reply, for requests that name no limit
  output_tokens_max               bigint check (output_tokens_max > 0),
  updated_at                      timestamptz not null,
  primary key (provider, model)
);

create table budgets (
  budget_id       uuid primary key,
  app_id          uuid not null references apps on delete cascade,
  name            text not null,
  set_by          text not null check (set_by in ('app', 'platform')),
  scope           text not null check (scope in ('app', 'credential', 'end_user')),
  -- which credential or end user; null: each of them by itself
  subject         text check (subject is null or scope <> 'app'),
  period          text not null check (period in ('day', 'month', 'total')),
  limit_micro_usd bigint not null check (limit_micro_usd >= 0),
  alert_percent   smallint not null check (alert_percent between 1 and 100),
  updated_at      timestamptz not null,
  unique (app_id, set_by, name)
);

-- What counts against a budget in one period: begun with what the ledger says, changed with it in one transaction.
create table budget_counters (
  budget_id          uuid not null references budgets on delete cascade,
  app_id             uuid not null references apps on delete cascade,
  -- the credential or end user; '' for the whole app
  subject            text not null,
  period_start       timestamptz not null,
  spent_micro_usd    bigint not null check (spent_micro_usd >= 0),
  reserved_micro_usd bigint not null default 0 check (reserved_micro_usd >= 0),
  primary key (budget_id, subject, period_start)
);

-- The most a call under way may cost, for each budget it counts against.
create table budget_holds (
  hold_id          uuid not null,
  budget_id        uuid not null,
  app_id           uuid not null references apps on delete cascade,
  subject          text not null,
  period_start     timestamptz not null,
  amount_micro_usd bigint not null check (amount_micro_usd >= 0),
  -- the process that makes the call, which renews its holds while it lives
  process_id       uuid not null,
  expires_at       timestamptz not null,
  primary key (hold_id, budget_id),
  foreign key (budget_id, subject, period_start) references budget_counters on delete cascade
);
create index budget_holds_process on budget_holds (process_id);
create index budget_holds_expiry on budget_holds (expires_at);

-- Whose request it was, where the client says so (`user`).
alter table usage_events add column end_user text;
create index usage_events_time on usage_events (app_id, occurred_at);

alter table model_prices    enable row level security; alter table model_prices    force row level security;
alter table budgets         enable row level security; alter table budgets         force row level security;
alter table budget_counters enable row level security; alter table budget_counters force row level security;
alter table budget_holds    enable row level security; alter table budget_holds    force row level security;

-- Every app reads all prices; who acts for none reads nothing.
create policy tenants on model_prices for select to opg_app using (exists (select from apps where app_id = current_app_id()));
create policy service on model_prices  to opg_service using (true) with check (true);
-- An app sees what the operator set for it and cannot change that.
create policy tenant_reads on budgets   for select to opg_app using (app_id = current_app_id());
create policy tenant_makes on budgets   for insert to opg_app with check (app_id = current_app_id() and set_by = 'app');
create policy tenant_changes on budgets for update to opg_app
  using (app_id = current_app_id() and set_by = 'app') with check (app_id = current_app_id() and set_by = 'app');
create policy tenant_removes on budgets for delete to opg_app using (app_id = current_app_id() and set_by = 'app');
create policy service on budgets to opg_service using (true) with check (true);
create policy tenant on budget_counters to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on budget_counters to opg_service using (true) with check (true);
create policy tenant on budget_holds to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on budget_holds to opg_service using (true) with check (true);

grant select on model_prices to opg_app;
grant select, insert, update, delete on model_prices to opg_service;
grant select, insert, update, delete on budgets to opg_app, opg_service;
grant select, insert, update on budget_counters to opg_app;
grant select, update on budget_counters to opg_service;
grant select, insert, delete on budget_holds to opg_app;
grant select, update, delete on budget_holds to opg_service;
