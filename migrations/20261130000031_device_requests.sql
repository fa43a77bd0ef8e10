-- Why: a command line is let in by a person who types its code into a browser (RFC 8628).

create table device_requests (
  -- SHA-256 of pepper and code, as of tokens: neither code is kept
  device_code_hash bytea primary key,
  user_code_hash   bytea not null unique,
  -- what the program says of itself, for the person who decides
  client           text not null,
  hostname         text not null,
  ip               text,
  scopes           text[] not null,
  status           text not null default 'pending' check (status in ('pending', 'approved', 'denied', 'used')),
  -- who approved it, for what, and until when what it leads to lives
  user_id          uuid references users on delete cascade,
  app_ids          uuid[],
  ends_at          timestamptz,
  -- how often it may ask, and when it last did
  interval_s       int not null,
  polled_at        timestamptz,
  created_at       timestamptz not null,
  expires_at       timestamptz not null,
  check (status in ('pending', 'denied') or (user_id is not null and ends_at is not null))
);
create index device_requests_expiry on device_requests (expires_at);

alter table device_requests enable row level security; alter table device_requests force row level security;
-- Before anybody is known: the service's alone.
create policy service on device_requests to opg_service using (true) with check (true);
grant select, insert, update, delete on device_requests to opg_service;
