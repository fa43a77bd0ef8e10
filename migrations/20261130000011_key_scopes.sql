-- Why: two scopes are new, keys:read and keys:write. Whoever may change the keys of providers with the whole
-- configuration (tenant:write) may do so one at a time; no credential could be made that may, otherwise, since none
-- makes one wider than itself.

-- The owner of a table whose row-level security is forced sees no rows of it, unless it is a superuser.
alter table credentials no force row level security;
update credentials set scopes = scopes || '{keys:read,keys:write}'::text[]
where scopes @> '{tenant:write}'::text[] and not scopes && '{keys:read,keys:write}'::text[];
alter table credentials force row level security;
