-- Why: a person signs in with a passkey (rows M072, M295).

create table user_passkeys (
  passkey_id    uuid primary key,
  user_id       uuid not null references users on delete cascade,
  -- the name of this server that it is good at, and no other
  rp_id         text not null,
  -- what its authenticator calls it
  credential_id bytea not null,
  -- what its person calls it
  name          text not null,
  -- its public key, its counter, and what else it is checked by; nothing of it is secret
  passkey       jsonb not null,
  created_at    timestamptz not null,
  last_used_at  timestamptz,
  unique (rp_id, credential_id)
);
create index user_passkeys_user on user_passkeys (user_id);

-- What was begun with a browser and is not finished: making a passkey, or signing in with one.
create table passkey_ceremonies (
  -- by the installation's pepper, of what the browser was told
  ceremony_hash bytea primary key,
  -- who makes a passkey; nobody yet where somebody signs in
  user_id       uuid references users on delete cascade,
  -- the challenge, and what is asked of the answer
  state         jsonb not null,
  created_at    timestamptz not null,
  expires_at    timestamptz not null
);
create index passkey_ceremonies_user on passkey_ceremonies (user_id);
create index passkey_ceremonies_expiry on passkey_ceremonies (expires_at);

alter table user_passkeys enable row level security; alter table user_passkeys force row level security;
alter table passkey_ceremonies enable row level security; alter table passkey_ceremonies force row level security;

create policy person on user_passkeys for select to opg_app
  using (current_app_id() is null and user_id = current_user_id());
create policy service on user_passkeys to opg_service using (true) with check (true);
-- Before anybody is known: the service's alone.
create policy service on passkey_ceremonies to opg_service using (true) with check (true);

grant select (passkey_id, user_id, rp_id, name, created_at, last_used_at) on user_passkeys to opg_app;
grant select, insert, delete on user_passkeys to opg_service;
grant update (passkey, last_used_at) on user_passkeys to opg_service;
grant select, insert, delete on passkey_ceremonies to opg_service;
