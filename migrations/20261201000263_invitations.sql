-- Why: somebody is invited into an app by their address, and is a member once they proved it and said yes (row M197);
-- and operators list people and disable them (row M079).

create table app_invitations (
  -- rises with time
  invitation_id uuid primary key,
  app_id        uuid not null references apps on delete cascade,
  -- as whoever invited wrote it, for them to read it again
  email         text not null,
  -- the same with ASCII's letters small: whoever proved exactly that is meant, and nobody whose letters only look alike
  address       text not null,
  role          text not null check (role in ('owner', 'admin', 'developer', 'viewer')),
  -- the person who invited: it stands as long as they may. Null: a token of the app or an operator did
  invited_by    uuid references users on delete cascade,
  -- the app's token that invited: it stands as long as that lives. Null: a person or an operator did
  credential_id uuid,
  created_at    timestamptz not null,
  expires_at    timestamptz not null,
  -- the next one takes the place of the one before
  unique (app_id, address)
);
create index app_invitations_app on app_invitations (app_id, invitation_id desc);
create index app_invitations_address on app_invitations (address, invitation_id desc);
create index app_invitations_invited_by on app_invitations (invited_by) where invited_by is not null;
create index app_invitations_expiry on app_invitations (expires_at);

alter table app_invitations enable row level security; alter table app_invitations force row level security;
create policy tenant on app_invitations to opg_app using (app_id = current_app_id()) with check (app_id = current_app_id());
-- Whose an address is, and whether it is proved, is for the service to say.
create policy service on app_invitations to opg_service using (true) with check (true);
grant select, insert, delete on app_invitations to opg_app;
grant select, delete on app_invitations to opg_service;

-- Operators look for those who are disabled, and for what still runs for one of them.
create index users_disabled on users (user_id desc) where disabled_at is not null;
create index tasks_running_of_user on tasks (user_id) where status = 'running' and user_id is not null;
