-- What models make and hear besides text: counted in the ledger in units of its own, priced, and pictures kept for a
-- while so that an answer can name them.

-- Micro-dollars for a million images, characters or seconds.
alter table model_prices add column unit_micro_usd_per_million bigint check (unit_micro_usd_per_million >= 0);

alter table usage_events add column units bigint not null default 0 check (units >= 0);
alter table usage_events drop constraint usage_events_kind_check;
alter table usage_events add constraint usage_events_kind_check
  check (kind in ('tokens', 'images', 'characters', 'seconds', 'tool', 'agent'));

create table ai_files (
  -- rises with time: the oldest of an app go first where it has too many
  file_id    uuid primary key,
  app_id     uuid not null references apps on delete cascade,
  media_type text not null,
  content    bytea not null,
  expires_at timestamptz not null
);
create index ai_files_app on ai_files (app_id, file_id desc);
create index ai_files_expiry on ai_files (expires_at);

alter table ai_files enable row level security; alter table ai_files force row level security;
create policy tenant on ai_files to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on ai_files to opg_service using (true) with check (true);

grant select, insert, delete on ai_files to opg_app;
grant select, delete on ai_files to opg_service;
