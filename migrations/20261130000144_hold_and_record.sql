-- Why: what a call of a model holds and writes down took up to six round trips for each. Each is one statement now, and
-- so one transaction. Both functions say first which app they are for, so that row-level security is as ever; they have
-- no rights of their own. Each statement in them sees what was committed while it waited for the lock.

-- Holds an amount against budgets of an app, each with a subject and a period: against all, or against none. Begins
-- counters that are not there with what the ledger says. Which of them refused, counted from 1, and how it stands;
-- null: it is held. A budget that was deleted meanwhile does not count.
create function hold_budgets(
  of_app_id uuid, of_hold_id uuid, amount bigint, of_process_id uuid, until timestamptz,
  ids uuid[], subjects text[], starts timestamptz[],
  out refused_by int, out spent bigint, out reserved bigint
) language plpgsql as $$
declare
  b budgets;
begin
  perform set_config('opg.app_id', of_app_id::text, true);
  perform pg_advisory_xact_lock(hashtextextended('budgets/' || of_app_id, 0));
  for i in 1 .. cardinality(ids) loop
    select * into b from budgets where budget_id = ids[i];
    continue when not found;
    select spent_micro_usd, reserved_micro_usd into spent, reserved from budget_counters
    where budget_id = ids[i] and subject = subjects[i] and period_start = starts[i];
    if not found then
      insert into budget_counters (budget_id, app_id, subject, period_start, spent_micro_usd)
      select ids[i], of_app_id, subjects[i], starts[i], coalesce(sum(cost_micro_usd), 0) from usage_events
      where app_id = of_app_id and occurred_at >= starts[i]
        and (b.scope <> 'credential' or credential_id::text = subjects[i])
        and (b.scope <> 'end_user' or end_user = subjects[i])
      returning spent_micro_usd, reserved_micro_usd into spent, reserved;
    end if;
    if amount > b.limit_micro_usd - spent - reserved then
      refused_by := i;
      return;
    end if;
  end loop;
  insert into budget_holds (hold_id, budget_id, app_id, subject, period_start, amount_micro_usd, process_id, expires_at)
  select of_hold_id, c.budget_id, of_app_id, c.subject, c.period_start, amount, of_process_id, until
  from unnest(ids, subjects, starts) as wanted (id, subject, begun)
  join budget_counters c on (c.budget_id, c.subject, c.period_start) = (wanted.id, wanted.subject, wanted.begun);
  update budget_counters c set reserved_micro_usd = c.reserved_micro_usd + amount
  from budget_holds h
  where h.hold_id = of_hold_id and (c.budget_id, c.subject, c.period_start) = (h.budget_id, h.subject, h.period_start);
end $$;

-- Writes a use of a model down, charges the budgets it counts for and lets go of what was held for it. False, and nothing
-- is done, where that takes a budget over where somebody is told: what is told is written in the same transaction, which
-- takes several statements.
create function record_use(
  of_usage_id uuid, of_app_id uuid, occurred timestamptz, of_kind text, of_credential_id uuid, of_session_id uuid,
  of_request_id text, of_plugin text, of_provider text, of_model text, of_prompt_tokens bigint,
  of_completion_tokens bigint, of_cached_tokens bigint, of_cost bigint, of_price jsonb, took_ms bigint,
  of_status text, of_surface text, of_end_user text, of_attempts smallint, of_paid_by text, of_units bigint,
  of_hold_id uuid, day_start timestamptz, month_start timestamptz, total_start timestamptz
) returns boolean language plpgsql as $$
declare
  charged constant bigint := coalesce(of_cost, 0);
begin
  perform set_config('opg.app_id', of_app_id::text, true);
  if exists (select from budgets where app_id = of_app_id) then
    perform pg_advisory_xact_lock(hashtextextended('budgets/' || of_app_id, 0));
    if charged > 0 then
      if exists (
        select from budget_counters c join budgets b using (budget_id)
        where b.app_id = of_app_id
          and c.period_start = case b.period when 'day' then day_start when 'month' then month_start else total_start end
          and c.subject = case b.scope when 'app' then '' when 'credential' then of_credential_id::text else of_end_user end
          and (c.spent_micro_usd + charged)::numeric * 100 >= b.limit_micro_usd::numeric * b.alert_percent
          and c.spent_micro_usd::numeric * 100 < b.limit_micro_usd::numeric * b.alert_percent
      ) then
        return false;
      end if;
      update budget_counters c set spent_micro_usd = c.spent_micro_usd + charged from budgets b
      where b.budget_id = c.budget_id and b.app_id = of_app_id
        and c.period_start = case b.period when 'day' then day_start when 'month' then month_start else total_start end
        and c.subject = case b.scope when 'app' then '' when 'credential' then of_credential_id::text else of_end_user end;
    end if;
    if of_hold_id is not null then
      with gone as (delete from budget_holds where hold_id = of_hold_id
                    returning budget_id, subject, period_start, amount_micro_usd)
      update budget_counters c set reserved_micro_usd = c.reserved_micro_usd - gone.amount_micro_usd from gone
      where (c.budget_id, c.subject, c.period_start) = (gone.budget_id, gone.subject, gone.period_start);
    end if;
  end if;
  insert into usage_events (usage_id, app_id, occurred_at, kind, credential_id, session_id, request_id, plugin,
                            provider, model, prompt_tokens, completion_tokens, cached_tokens, cost_micro_usd,
                            price, duration_ms, status, surface, end_user, attempts, paid_by, units)
  values (of_usage_id, of_app_id, occurred, of_kind, of_credential_id, of_session_id, of_request_id, of_plugin,
          of_provider, of_model, of_prompt_tokens, of_completion_tokens, of_cached_tokens, of_cost,
          of_price, took_ms, of_status, of_surface, of_end_user, of_attempts, of_paid_by, of_units);
  return true;
end $$;
