-- Why: a version whose description or schema is new waits for review also where it asks for nothing. What may run is
-- then what passed, by a person or because nothing in it was new; until now only the former was written down.
alter table plugin_reviews add column passed_by text not null default 'person'
  check (passed_by in ('person', 'uploader', 'nothing_new'));

-- What ran under the rule before keeps running, and can be gone back to.
insert into plugin_reviews (plugin_id, app_id, version, reviewed_by, reviewed_at, passed_by)
select v.plugin_id, v.app_id, v.version, null, v.created_at, 'nothing_new'
from plugin_versions v join plugins p using (plugin_id)
where v.requested = '[]'::jsonb or v.version = p.active_version
on conflict (plugin_id, version) do nothing;
