-- Why: whoever may use a session may push its files to a repository, and may name a secret of the app in the place of a
-- token. A secret goes to no host but those that whoever may write it named for that.

alter table secrets add column push_hosts text[] not null default '{}';
grant select (push_hosts), update (push_hosts) on secrets to opg_app;
