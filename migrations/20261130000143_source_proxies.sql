-- Why: some machines reach the internet through a proxy alone, and some sources are to be asked from elsewhere. What a
-- proxy wants to be told (a user and a password) is sealed like a source's key.
create table ai_source_proxies (
  source_id          uuid primary key references ai_sources on delete cascade,
  -- without user and password
  url                text not null,
  encrypted_value    bytea,
  nonce              bytea,
  encrypted_data_key bytea,
  data_key_nonce     bytea,
  key_version        int
);
alter table ai_source_proxies enable row level security; alter table ai_source_proxies force row level security;
create policy service on ai_source_proxies to opg_service using (true) with check (true);
grant select, insert, update, delete on ai_source_proxies to opg_service;
create constraint trigger version after insert or delete or update on ai_source_proxies
  deferrable initially deferred for each row execute function platform_changed();
