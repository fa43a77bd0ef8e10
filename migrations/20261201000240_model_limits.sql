-- Why: a model of the platform has more limits than its context: how long a reply may be, how many requests and tokens a
-- minute takes, how many requests at once (row M182). Null: no limit. What is counted is counted in each process.

alter table ai_models add column output_tokens       bigint check (output_tokens > 0);
alter table ai_models add column requests_per_minute bigint check (requests_per_minute > 0);
alter table ai_models add column tokens_per_minute   bigint check (tokens_per_minute > 0);
alter table ai_models add column concurrent_requests bigint check (concurrent_requests > 0);
