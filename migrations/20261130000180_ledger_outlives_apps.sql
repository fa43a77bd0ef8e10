-- Why: each row of the ledger took a lock on its app's row, to prove that the app is there, which its caller's credential
-- had just proved: a fifth of what writing a use took, and more where many write at once. Nor does the ledger go with
-- what it tells of.
alter table usage_events drop constraint usage_events_app_id_fkey;
