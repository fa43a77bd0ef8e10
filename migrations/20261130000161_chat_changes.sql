-- What a chat request in a session changes of the session's files is kept as that of a turn is, to be shown and taken
-- back; its messages are part of no turn, and say here under which name.

alter table session_messages add column changes_id uuid;
