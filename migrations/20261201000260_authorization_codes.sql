-- Why: a program on a person's own machine opens their browser, and is let in there (RFC 6749 with PKCE, RFC 8252).

-- What a person allowed: one row for each code that was sent back to a program.
create table authorization_codes (
  -- SHA-256 of pepper and code, as of tokens: the code is not kept
  code_hash      bytea primary key,
  -- to whom it was sent, by which way, and what it has to show for it
  client_id      text not null,
  redirect_uri   text not null,
  code_challenge text not null,
  -- who allowed it, for what, and until when what it leads to lives
  user_id        uuid not null references users on delete cascade,
  scopes         text[] not null,
  app_ids        uuid[],
  ends_at        timestamptz not null,
  -- the session it was allowed in: where that ended, the code is none any more
  credential_id  uuid not null references credentials on delete cascade,
  created_at     timestamptz not null,
  expires_at     timestamptz not null,
  -- when it came, rightly or not: it is good once
  used_at        timestamptz,
  -- what it led to, which ends when it comes again
  family_id      uuid,
  check (used_at is not null or family_id is null)
);
create index authorization_codes_user on authorization_codes (user_id);
create index authorization_codes_credential on authorization_codes (credential_id);
create index authorization_codes_expiry on authorization_codes (expires_at);

alter table authorization_codes enable row level security; alter table authorization_codes force row level security;
-- Whoever redeems one is not known yet: the service's alone.
create policy service on authorization_codes to opg_service using (true) with check (true);
grant select, insert, update, delete on authorization_codes to opg_service;
