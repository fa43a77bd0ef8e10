-- An app may have its sessions' artifacts kept for less time than the installation keeps them (row M352).

alter table apps add column artifact_retention_days integer check (artifact_retention_days between 1 and 366);
grant update (artifact_retention_days) on apps to opg_app;
