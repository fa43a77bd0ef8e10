-- Why: an app may say which origins' pages may call its API from a browser (row M054): as a browser writes an origin,
-- or `*` alone for any. A preflight has no credential; for a path that names no app it is asked whether any app lists
-- the origin.

alter table apps add column cors_origins text[] not null default '{}';
grant update (cors_origins) on apps to opg_app;
create index apps_cors_origins on apps using gin (cors_origins) where cors_origins <> '{}';

-- The list is remembered as of a version of its app.
drop trigger version on apps;
create constraint trigger version
  after update of status, default_model, model_aliases, predefined_tools, predefined_agents, cors_origins on apps
  deferrable initially deferred for each row execute function app_changed();
