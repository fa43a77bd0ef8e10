-- Why: an app may say whose plugins it takes: keys of minisign (Ed25519) one of which must have signed what is uploaded
-- (row M363). Of each version stands which of them did; null: none had to.

alter table apps add column trusted_keys text[] not null default '{}';
grant update (trusted_keys) on apps to opg_app;

alter table plugin_versions add column signed_by text;
