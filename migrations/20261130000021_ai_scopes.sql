-- Two scopes are new: ai:read and ai:invoke. A tenant's token that could do everything in its app can do these as well;
-- nobody could give them to it otherwise, since no credential makes one wider than itself. Narrower ones stay as they are.

-- The owner of a table whose row-level security is forced sees no rows of it, unless it is a superuser.
alter table credentials no force row level security;
update credentials set scopes = scopes || '{ai:read,ai:invoke}'::text[]
where kind = 'tenant_token' and not scopes && '{ai:read,ai:invoke}'::text[]
  and scopes @> '{chat:read,chat:write,sessions:read,sessions:write,tenant:read,tenant:write,tools:read,tools:write,
    tools:approve,tools:run,agents:read,agents:write,agents:run,secrets:read,secrets:write,tokens:read,tokens:write,
    usage:read,audit:read,db:read,db:write,db:apply}'::text[];
alter table credentials force row level security;
