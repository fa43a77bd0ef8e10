-- Why: a turn that waits belongs to the trace of the request that asked for it (W3C `traceparent`).
alter table session_turns add column traceparent text;
