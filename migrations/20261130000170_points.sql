-- Why: an operator may count what apps use of its models in points of its own. A model's price says how many milli-points
-- a dollar of its cost is; the ledger keeps that and the milli-points of each use; an app's allowance for a month is a
-- budget of the operator's whose unit is milli-points, held and charged like any other. And what a failed attempt used
-- can be held on top of what is held already, before the next is made.

alter table model_prices add column points_rate bigint check (points_rate >= 0);

-- Null: it cost no points, because the key was not the platform's or the model has no rate.
alter table usage_events add column points_rate bigint check (points_rate >= 0);
alter table usage_events add column milli_points bigint check (milli_points >= 0);

-- What a budget, its counters and its holds are counted in. The columns keep the name of what they mostly hold.
alter table budgets add column unit text not null default 'micro_usd' check (unit in ('micro_usd', 'milli_points'));

grant update (amount_micro_usd) on budget_holds to opg_app;

-- As before, but each budget has an amount of its own, and a hold that is there grows. The earlier one stays for hosts of
-- the release before.
create function hold_budgets(
  of_app_id uuid, of_hold_id uuid, of_process_id uuid, until timestamptz,
  ids uuid[], subjects text[], starts timestamptz[], amounts bigint[],
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
      select ids[i], of_app_id, subjects[i], starts[i],
             coalesce(sum(case b.unit when 'milli_points' then milli_points else cost_micro_usd end), 0)
      from usage_events
      where app_id = of_app_id and occurred_at >= starts[i]
        and (b.scope <> 'credential' or credential_id::text = subjects[i])
        and (b.scope <> 'end_user' or end_user = subjects[i])
      returning spent_micro_usd, reserved_micro_usd into spent, reserved;
    end if;
    if amounts[i] > b.limit_micro_usd - spent - reserved then
      refused_by := i;
      return;
    end if;
  end loop;
  insert into budget_holds (hold_id, budget_id, app_id, subject, period_start, amount_micro_usd, process_id, expires_at)
  select of_hold_id, c.budget_id, of_app_id, c.subject, c.period_start, wanted.amount, of_process_id, until
  from unnest(ids, subjects, starts, amounts) as wanted (id, subject, begun, amount)
  join budget_counters c on (c.budget_id, c.subject, c.period_start) = (wanted.id, wanted.subject, wanted.begun)
  on conflict (hold_id, budget_id) do update
    set amount_micro_usd = budget_holds.amount_micro_usd + excluded.amount_micro_usd;
  update budget_counters c set reserved_micro_usd = c.reserved_micro_usd + wanted.amount
  from unnest(ids, subjects, starts, amounts) as wanted (id, subject, begun, amount)
  where (c.budget_id, c.subject, c.period_start) = (wanted.id, wanted.subject, wanted.begun);
end $$;

-- As before, with the points.
create function record_use(
  of_usage_id uuid, of_app_id uuid, occurred timestamptz, of_kind text, of_credential_id uuid, of_session_id uuid,
  of_request_id text, of_plugin text, of_provider text, of_model text, of_prompt_tokens bigint,
  of_completion_tokens bigint, of_cached_tokens bigint, of_cost bigint, of_price jsonb, took_ms bigint,
  of_status text, of_surface text, of_end_user text, of_attempts smallint, of_paid_by text, of_units bigint,
  of_points_rate bigint, of_milli_points bigint,
  of_hold_id uuid, day_start timestamptz, month_start timestamptz, total_start timestamptz
) returns boolean language plpgsql as $$
declare
  charged constant bigint := coalesce(of_cost, 0);
  points constant bigint := coalesce(of_milli_points, 0);
begin
  perform set_config('opg.app_id', of_app_id::text, true);
  if exists (select from budgets where app_id = of_app_id) then
    perform pg_advisory_xact_lock(hashtextextended('budgets/' || of_app_id, 0));
    if charged > 0 or points > 0 then
      if exists (
        select from budget_counters c join budgets b using (budget_id),
          lateral (select case b.unit when 'milli_points' then points else charged end as amount) as a
        where b.app_id = of_app_id
          and c.period_start = case b.period when 'day' then day_start when 'month' then month_start else total_start end
          and c.subject = case b.scope when 'app' then '' when 'credential' then of_credential_id::text else of_end_user end
          and (c.spent_micro_usd + a.amount)::numeric * 100 >= b.limit_micro_usd::numeric * b.alert_percent
          and c.spent_micro_usd::numeric * 100 < b.limit_micro_usd::numeric * b.alert_percent
      ) then
        return false;
      end if;
      update budget_counters c
      set spent_micro_usd = c.spent_micro_usd + case b.unit when 'milli_points' then points else charged end
      from budgets b
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
                            price, duration_ms, status, surface, end_user, attempts, paid_by, units, points_rate,
                            milli_points)
  values (of_usage_id, of_app_id, occurred, of_kind, of_credential_id, of_session_id, of_request_id, of_plugin,
          of_provider, of_model, of_prompt_tokens, of_completion_tokens, of_cached_tokens, of_cost,
          of_price, took_ms, of_status, of_surface, of_end_user, of_attempts, of_paid_by, of_units, of_points_rate,
          of_milli_points);
  return true;
end $$;

-- The earlier one, for hosts of the release before: they know no points, and must not charge dollars as such.
create or replace function record_use(
  of_usage_id uuid, of_app_id uuid, occurred timestamptz, of_kind text, of_credential_id uuid, of_session_id uuid,
  of_request_id text, of_plugin text, of_provider text, of_model text, of_prompt_tokens bigint,
  of_completion_tokens bigint, of_cached_tokens bigint, of_cost bigint, of_price jsonb, took_ms bigint,
  of_status text, of_surface text, of_end_user text, of_attempts smallint, of_paid_by text, of_units bigint,
  of_hold_id uuid, day_start timestamptz, month_start timestamptz, total_start timestamptz
) returns boolean language plpgsql as $$
begin
  return record_use(of_usage_id, of_app_id, occurred, of_kind, of_credential_id, of_session_id, of_request_id, of_plugin,
                    of_provider, of_model, of_prompt_tokens, of_completion_tokens, of_cached_tokens, of_cost, of_price,
                    took_ms, of_status, of_surface, of_end_user, of_attempts, of_paid_by, of_units, null::bigint,
                    null::bigint, of_hold_id, day_start, month_start, total_start);
end $$;
