-- Why: a provider speaks the dialect its app says, where its id does not say it already.

-- None: by the provider's id.
alter table provider_keys add column kind text
  check (kind in ('openai-compatible', 'openai-responses', 'anthropic', 'google'));

grant select (kind), update (kind) on provider_keys to opg_app;
