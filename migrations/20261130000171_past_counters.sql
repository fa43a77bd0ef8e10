-- Why: what was counted against a budget in a day or a month that is over was kept for ever. The ledger has it; the
-- counters go.
grant delete on budget_counters to opg_service;
create index budget_counters_start on budget_counters (period_start);
