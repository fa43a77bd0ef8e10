-- Why: an agent hands work on to another, which does it in a session below; what ends the one ends the other.

-- The turn that asked for this one; null: somebody's prompt did.
alter table session_turns add column parent_turn_id uuid;
create index session_turns_below on session_turns (parent_turn_id) where state = 'running';
