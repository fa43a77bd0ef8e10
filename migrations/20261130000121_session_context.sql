-- Why: a conversation that grows long is summed up: later turns read the summary and what came after it.

alter table session_messages
  add column kind text not null default 'message' check (kind in ('message', 'summary'));
create index session_messages_summaries on session_messages (session_id, seq) where kind = 'summary';

alter table sessions
  -- whether it is summed up by itself
  add column compaction     text not null default 'auto' check (compaction in ('auto', 'off')),
  -- what its last model call read and wrote, and what that model takes; null: not known
  add column context_tokens bigint check (context_tokens >= 0),
  add column context_limit  bigint check (context_limit > 0);
grant update (compaction, context_tokens, context_limit) on sessions to opg_app;
grant update (context_tokens) on sessions to opg_service;
