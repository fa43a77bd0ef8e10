-- Why: a person signs in with an account that they have at another provider (rows M073, M295).

create table user_identities (
  identity_id uuid primary key,
  user_id     uuid not null references users on delete cascade,
  provider    text not null check (provider in ('github', 'google')),
  -- whose accounts they are: a GitHub of one's own counts its people from one, as github.com did
  issuer      text not null,
  -- the account there, by what never changes of it
  subject     text not null,
  -- as it was verified there when it was linked: for its person to recognise it
  email       text not null,
  created_at  timestamptz not null,
  unique (provider, issuer, subject)
);
create index user_identities_user on user_identities (user_id);

-- Sign-ins that were begun in a browser and have not come back from the provider.
create table oauth_sign_ins (
  -- by the installation's pepper, of what the browser keeps: nothing that stands here finishes one
  sign_in_hash bytea primary key,
  provider     text not null,
  -- where to go on, a path of this server
  next         text not null,
  created_at   timestamptz not null,
  expires_at   timestamptz not null
);
create index oauth_sign_ins_expiry on oauth_sign_ins (expires_at);

alter table user_identities enable row level security; alter table user_identities force row level security;
alter table oauth_sign_ins enable row level security; alter table oauth_sign_ins force row level security;

create policy person on user_identities for select to opg_app
  using (current_app_id() is null and user_id = current_user_id());
create policy service on user_identities to opg_service using (true) with check (true);
-- Before anybody is known: the service's alone.
create policy service on oauth_sign_ins to opg_service using (true) with check (true);

grant select (identity_id, user_id, provider, email, created_at) on user_identities to opg_app;
grant select, insert, delete on user_identities to opg_service;
grant select, insert, delete on oauth_sign_ins to opg_service;
