-- Why: a tool uploaded as a TypeScript file is kept as the component made of it, and as the file.

alter table plugin_versions drop constraint plugin_versions_format_check;
alter table plugin_versions add constraint plugin_versions_format_check
  check (format in ('component', 'markdown', 'typescript'));

-- The file's digest; none where what runs is what was uploaded.
alter table plugin_versions add column source_sha256 text;
