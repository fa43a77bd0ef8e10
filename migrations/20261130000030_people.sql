-- Why: people sign up, sign in, and act for the apps they are members of. A transaction may be a person's own: then
-- `opg.user_id` names the person and no app is named. In a tenant's transaction it says who acts, and opens nothing
-- by itself: every policy of a person's own rows asks that no app is named.

create function current_user_id() returns uuid
  language sql stable
  return nullif(current_setting('opg.user_id', true), '')::uuid;

alter table users
  -- argon2id, in the PHC string format
  add column password_hash text,
  add column locale        text,
  add column theme         text check (theme in ('system', 'light', 'dark'));

alter table credentials
  drop constraint credentials_kind_check,
  add constraint credentials_kind_check check (
    kind in ('tenant_token', 'dev_grant', 'console_session', 'platform_token', 'refresh_token', 'personal_token')),
  -- an app's or a person's, never both
  add constraint credentials_owner_check check (
    case when kind in ('tenant_token', 'dev_grant') then app_id is not null
         else app_id is null and user_id is not null end),
  -- the apps a person's credential acts for; null: all the person is a member of
  add column app_ids    uuid[],
  -- what ends together: the tokens one sign-in led to
  add column family_id  uuid,
  -- where a sign-in came from, for the person to recognise it
  add column ip         text,
  add column user_agent text;
create index credentials_user on credentials (user_id, credential_id desc) where user_id is not null;
create index credentials_family on credentials (family_id) where family_id is not null;
create index credentials_expiry on credentials (expires_at) where app_id is null;

-- Who acted, also where the credential is gone.
alter table audit_events add column user_id uuid;

create policy person on users to opg_app
  using (current_app_id() is null and user_id = current_user_id())
  with check (current_app_id() is null and user_id = current_user_id());
create policy person on credentials to opg_app
  using (current_app_id() is null and app_id is null and user_id = current_user_id())
  with check (current_app_id() is null and app_id is null and user_id = current_user_id());
create policy person_reads on app_members for select to opg_app
  using (current_app_id() is null and user_id = current_user_id());
create policy person_reads on apps for select to opg_app
  using (current_app_id() is null and exists (
    select from app_members m where m.app_id = apps.app_id and m.user_id = current_user_id()));
create policy person_writes on audit_events for insert to opg_app
  with check (current_app_id() is null and app_id is null and user_id = current_user_id());

-- Column by column now: a password's hash is read by the service alone.
revoke select on users from opg_app;
grant select (user_id, email, name, locale, theme, created_at, disabled_at), update (name, locale, theme) on users to opg_app;
grant insert, delete, update (role) on app_members to opg_app;
-- A rotated token ends sooner than it would have.
grant select (app_ids, family_id, ip, user_agent), update (expires_at) on credentials to opg_app;
grant delete on credentials to opg_service;
