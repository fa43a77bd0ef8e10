-- Why: keys of single persons came before there were people; now they are a person's, go with them, and are seen by nobody else.

alter table provider_keys add constraint provider_keys_person foreign key (user_id) references users on delete cascade;
drop policy tenant on provider_keys;
create policy tenant on provider_keys to opg_app
  using (app_id = current_app_id() and (user_id is null or user_id = current_user_id()))
  with check (app_id = current_app_id() and (user_id is null or user_id = current_user_id()));
