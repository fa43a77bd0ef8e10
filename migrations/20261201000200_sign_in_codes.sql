-- Why: a person signs in with a code that is mailed to them, which proves the address as well.

-- When a code that was mailed there came back; null: nobody has proved that the address is theirs.
alter table users add column email_proved_at timestamptz;
grant select (email_proved_at) on users to opg_app;

create table sign_in_codes (
  -- by the installation's pepper, as in the audit log: one code for an address, whether it has an account or not
  email_hash bytea primary key,
  -- whose the code is; null: nobody has an account of this address
  user_id    uuid references users on delete cascade,
  -- by the same pepper: six digits alone would be found by trying
  code_hash  bytea not null,
  tries      int not null default 0,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index sign_in_codes_user on sign_in_codes (user_id) where user_id is not null;
create index sign_in_codes_expiry on sign_in_codes (expires_at);

alter table sign_in_codes enable row level security; alter table sign_in_codes force row level security;
-- Before anybody is known: the service's alone.
create policy service on sign_in_codes to opg_service using (true) with check (true);
grant select, insert, update, delete on sign_in_codes to opg_service;
