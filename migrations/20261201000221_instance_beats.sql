-- Why: the runners of a host that died were known to be gone only when somebody needed one. A host says now and then of
-- each that it has that it is there; where that was not said for long, another host ends it. While one is made ready,
-- each of its steps says so.

alter table session_instances add column beat_at timestamptz not null default now();
grant update (beat_at) on session_instances to opg_app, opg_service;
create index session_instances_beats on session_instances (beat_at) where driver = 'process' and state = 'running';
