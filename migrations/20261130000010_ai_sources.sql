-- Why: models the operator pays for: where they are (sources), which there are, and which apps may use them. Names an
-- app gives models. Keys that belong to one user of an app.

-- Where the operator's models are. An envelope like those of apps' provider keys.
create table ai_sources (
  source_id          uuid primary key,
  name               text not null unique check (name ~ '^[a-z][a-z0-9-]{0,39}$'),
  kind               text not null check (kind in ('openai-compatible', 'openai-responses', 'anthropic', 'google')),
  base_url           text not null,
  last4              text,
  encrypted_value    bytea,
  nonce              bytea,
  encrypted_data_key bytea,
  data_key_nonce     bytea,
  key_version        int,
  -- lower ones are asked first; among equals, each as often as its weight says
  position           int not null check (position between 0 and 1000),
  weight             int not null check (weight between 1 and 1000),
  enabled            boolean not null,
  created_at         timestamptz not null,
  updated_at         timestamptz not null
);

-- What it costs stands in `model_prices`; without a price it is not offered.
create table ai_models (
  provider       text not null,
  model          text not null,
  alias          text unique,
  kind           text not null check (kind in ('chat', 'embedding', 'image', 'speech', 'transcription', 'moderation')),
  context_tokens bigint check (context_tokens > 0),
  enabled        boolean not null,
  updated_at     timestamptz not null,
  primary key (provider, model)
);

create table ai_model_sources (
  provider       text not null,
  model          text not null,
  source_id      uuid not null references ai_sources on delete cascade,
  -- null: as `model`
  upstream_model text,
  -- null: as the source's own
  position       int check (position between 0 and 1000),
  weight         int check (weight between 1 and 1000),
  primary key (provider, model, source_id),
  foreign key (provider, model) references ai_models on delete cascade
);
create index ai_model_sources_source on ai_model_sources (source_id);

-- Which of them an app may use: `*`, `provider/*` or `provider/model`. No row: none.
create table app_models (
  app_id  uuid not null references apps on delete cascade,
  pattern text not null,
  primary key (app_id, pattern)
);

alter table ai_sources       enable row level security; alter table ai_sources       force row level security;
alter table ai_models        enable row level security; alter table ai_models        force row level security;
alter table ai_model_sources enable row level security; alter table ai_model_sources force row level security;
alter table app_models       enable row level security; alter table app_models       force row level security;

-- The operator's alone: an app is told which models it may use, and nothing of where they are.
create policy service on ai_sources       to opg_service using (true) with check (true);
create policy service on ai_models        to opg_service using (true) with check (true);
create policy service on ai_model_sources to opg_service using (true) with check (true);
create policy tenant  on app_models for select to opg_app using (app_id = current_app_id());
create policy service on app_models       to opg_service using (true) with check (true);
grant select, insert, update, delete on ai_sources, ai_models, ai_model_sources, app_models to opg_service;
grant select on app_models to opg_app;

-- An app's own names for models: `{"fast": "openai/gpt-5-mini"}`.
alter table apps add column model_aliases jsonb not null default '{}' check (jsonb_typeof(model_aliases) = 'object');
grant update (model_aliases) on apps to opg_app;

-- A key of one user; null: the app's own. `version` counts the keys a row has had.
alter table provider_keys add column user_id uuid;
alter table provider_keys add column version int not null default 1;
alter table provider_keys add column last_used_at timestamptz;
alter table provider_keys drop constraint provider_keys_app_id_provider_key;
alter table provider_keys add constraint provider_keys_owner unique nulls not distinct (app_id, provider, user_id);
grant select (user_id, version, last_used_at), update (version) on provider_keys to opg_app;
grant update (last_used_at) on provider_keys to opg_service;

-- How many providers were asked for a call, and whose key the last of them was asked with.
alter table usage_events add column attempts smallint not null default 1 check (attempts >= 0);
alter table usage_events add column paid_by text check (paid_by in ('user', 'app', 'platform'));
