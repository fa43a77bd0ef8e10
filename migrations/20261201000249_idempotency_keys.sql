-- Why: whoever sends a write with an `Idempotency-Key` may send it again and gets what the first one was answered,
-- for a day, without it being done twice (row M049).

create table idempotency_keys (
  -- of one try: who takes a key whose time is over gets another
  idempotency_key_id uuid primary key,
  -- by the installation's pepper: whose key it is, in which app, and what it says. The key itself is not kept
  key_hash           bytea not null unique,
  -- the same of whose it is alone: a credential in an app
  owner_hash         bytea not null,
  -- null: a token of the environment, a person in no app
  credential_id      uuid references credentials on delete cascade,
  app_id             uuid references apps on delete cascade,
  -- by the same pepper: method, path, query and body, which may hold a secret
  request_hash       bytea not null,
  -- the process that does what was asked, and keeps the key meanwhile
  process_id         uuid not null,
  created_at         timestamptz not null,
  -- when the key is free again: soon where nobody says that it is being worked on
  expires_at         timestamptz not null,
  -- null: not yet
  answered_at        timestamptz,
  answer_bytes       bigint not null default 0,
  -- the answer, an envelope whatever is in it; null: it was too large to be kept
  encrypted_value    bytea,
  nonce              bytea,
  encrypted_data_key bytea,
  data_key_nonce     bytea,
  key_version        int,
  check (num_nulls(encrypted_value, nonce, encrypted_data_key, data_key_nonce, key_version) in (0, 5)),
  check (answered_at is not null or encrypted_value is null)
);
create index idempotency_keys_expiry on idempotency_keys (expires_at);
create index idempotency_keys_owner on idempotency_keys (owner_hash, created_at desc) include (answer_bytes);
create index idempotency_keys_credential on idempotency_keys (credential_id) where credential_id is not null;
create index idempotency_keys_app on idempotency_keys (app_id) where app_id is not null;
-- A rotation of the master key looks for what older ones wrap.
create index idempotency_keys_version on idempotency_keys (key_version) where key_version is not null;

alter table idempotency_keys enable row level security; alter table idempotency_keys force row level security;
-- Answers hold what is shown once: the service's alone, and no tenant's transaction sees that one is there.
create policy service on idempotency_keys to opg_service using (true) with check (true);
grant select, insert, update, delete on idempotency_keys to opg_service;
