-- Why: a session may run in a process of its own, which registers once and is then what the session runs on.

-- What a session runs on; it stays so when it is stopped and woken.
alter table sessions add column target text not null default 'wasm' check (target in ('wasm', 'process'));

alter table session_instances drop constraint session_instances_driver_check;
alter table session_instances add constraint session_instances_driver_check check (driver in ('wasm', 'process'));
alter table session_instances
  -- the hash of what its process registers with: good once, and not for long
  add column registration_hash    bytea,
  add column registration_until   timestamptz,
  add column registration_used_at timestamptz;
create unique index session_instances_registration on session_instances (registration_hash);
create index session_instances_runners on session_instances (instance_id)
  where driver = 'process' and state in ('provisioning', 'running');

grant update (registration_hash, registration_until) on session_instances to opg_app;
grant update (registration_used_at) on session_instances to opg_service;
