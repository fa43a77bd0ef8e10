-- Why: an Extism plugin is kept as the core module it is; what runs it and what may be said of it differ from a
-- component's.

alter table plugin_versions drop constraint plugin_versions_format_check;
alter table plugin_versions add constraint plugin_versions_format_check
  check (format in ('component', 'markdown', 'typescript', 'extism'));
