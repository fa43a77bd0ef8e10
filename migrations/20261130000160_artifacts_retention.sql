-- Artifacts are kept for so long and no longer (row M352): the platform removes what is older.

grant delete on session_artifacts to opg_service;
create index session_artifacts_age on session_artifacts (created_at);
