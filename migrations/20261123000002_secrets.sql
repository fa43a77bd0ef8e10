-- Why: tenants' secrets and provider keys, as envelopes.
--
-- A tenant's transaction may write an envelope and see that it is there; only opg_service reads one.

create table secrets (
  secret_id        uuid primary key,
  app_id           uuid not null references apps on delete cascade,
  name             text not null check (name ~ '^[A-Z][A-Z0-9_]*$' and length(name) <= 64),
  encrypted_value  bytea not null,
  nonce            bytea not null,
  encrypted_data_key bytea not null,
  data_key_nonce   bytea not null,
  key_version      int not null,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  unique (app_id, name)
);

create table provider_keys (
  provider_key_id  uuid primary key,
  app_id           uuid not null references apps on delete cascade,
  provider         text not null check (provider ~ '^[a-z][a-z0-9-]{0,39}$'),
  base_url         text,
  last4            text,
  encrypted_value  bytea,
  nonce            bytea,
  encrypted_data_key bytea,
  data_key_nonce   bytea,
  key_version      int,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  unique (app_id, provider)
);

alter table secrets       enable row level security; alter table secrets       force row level security;
alter table provider_keys enable row level security; alter table provider_keys force row level security;
create policy tenant on secrets       to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy tenant on provider_keys to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
create policy service on secrets       to opg_service using (true) with check (true);
create policy service on provider_keys to opg_service using (true) with check (true);

grant select (secret_id, app_id, name, key_version, created_at, updated_at), insert, delete,
      update (encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version, updated_at) on secrets to opg_app;
grant select (provider_key_id, app_id, provider, base_url, last4, key_version, created_at, updated_at), insert, delete,
      update (base_url, last4, encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version, updated_at) on provider_keys to opg_app;
grant select, insert on secrets, provider_keys to opg_service;
grant update (encrypted_data_key, data_key_nonce, key_version) on secrets, provider_keys to opg_service;
