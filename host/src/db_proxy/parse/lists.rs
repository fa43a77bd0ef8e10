//! The lists: the functions, types and collations that apps may use.
//!
//! A function is on the list when its answer depends on nothing but its
//! arguments, the clock and chance. Not on it, on purpose: what runs SQL text
//! (`query_to_xml`, `ts_stat`, the short `ts_rewrite`), reads settings,
//! catalogs, files or other sessions, resolves names of relations (`to_reg…`,
//! `pg_get_…`, `has_…_privilege`), takes locks, sleeps, notifies, writes large
//! objects or keeps state in the session (`setseed`, `set_config`), and all XML.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Aggregates, window functions and hypothetical-set aggregates.
const AGGREGATES: &str = "
any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist
dense_rank every first_value json_agg json_agg_strict json_object_agg json_object_agg_strict
json_object_agg_unique json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg
jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict lag last_value lead max min mode
nth_value ntile percent_rank percentile_cont percentile_disc range_agg range_intersect_agg rank regr_avgx
regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy row_number stddev stddev_pop
stddev_samp string_agg sum var_pop var_samp variance
";

const MATHEMATICS: &str = "
abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd
degrees div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10 min_scale mod pi pow power radians
random random_normal round scale sign sin sind sinh sqrt tan tand tanh trim_scale trunc width_bucket
";

const STRINGS: &str = "
ascii bit_count bit_length btrim casefold char_length character_length chr concat concat_ws convert convert_from
convert_to crc32 crc32c decode encode format get_bit get_byte initcap is_normalized left length like
like_escape lower lpad ltrim md5 normalize notlike octet_length overlay parse_ident position quote_ident
quote_literal quote_nullable regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad rtrim set_bit
set_byte sha224 sha256 sha384 sha512 similar_to_escape split_part starts_with string_to_array string_to_table
strpos substr substring to_ascii to_bin to_char to_hex to_number to_oct translate unistr upper
";

const DATES: &str = "
age clock_timestamp date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days
justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz now overlaps
statement_timestamp timeofday timezone to_date to_timestamp transaction_timestamp
";

const ARRAYS: &str = "
array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
array_prepend array_remove array_replace array_reverse array_sample array_shuffle array_sort array_to_string
array_upper cardinality generate_series generate_subscripts num_nonnulls num_nulls trim_array unnest
";

const JSON: &str = "
array_to_json json_array_elements json_array_elements_text json_array_length json_build_array json_build_object
json_each json_each_text json_extract_path json_extract_path_text json_object json_object_keys
json_populate_record json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_to_tsvector
json_typeof jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
jsonb_build_object jsonb_concat jsonb_contained jsonb_contains jsonb_each jsonb_each_text jsonb_exists
jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object
jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query
jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz
jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax
jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_to_tsvector jsonb_typeof row_to_json to_json to_jsonb
";

const TEXT_SEARCH: &str = "
array_to_tsvector numnode phraseto_tsquery plainto_tsquery querytree setweight strip to_tsquery to_tsvector
ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsquery_and tsquery_not tsquery_or tsquery_phrase
tsvector_to_array websearch_to_tsquery
";

const RANGES: &str = "
isempty lower_inc lower_inf multirange range_adjacent range_contained_by range_contains range_merge
range_overlaps upper_inc upper_inf
";

const IDENTIFIERS: &str = "
gen_random_uuid uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7
";

const NETWORK: &str = "
abbrev broadcast family host hostmask inet_merge inet_same_family macaddr8_set7bit masklen netmask network
set_masklen
";

const GEOMETRY: &str = "
area bound_box center diagonal diameter height isclosed ishorizontal isopen isparallel isperp isvertical
npoints pclose popen radius slope width
";

/// The types. Their names are functions too: `date(x)`, `int4range(1, 2)`.
const TYPES: &str = "
bigint bigserial bit bool boolean box bpchar bytea char cidr circle date datemultirange daterange decimal float4
float8 inet int int2 int4 int4multirange int4range int8 int8multirange int8range integer interval json jsonb
jsonpath line lseg macaddr macaddr8 money name numeric nummultirange numrange path point polygon real record
serial serial2 serial4 serial8 smallint smallserial text time timestamp timestamptz timetz tsmultirange tsquery
tsrange tstzmultirange tstzrange tsvector uuid varbit varchar
";

/// Functions of PostgreSQL 15 to 18 that take one argument and are not on the
/// list above, without those that begin with `pg_`. Made on both with
/// `select distinct proname from pg_proc where prokind <> 'p' and pronargs > 0 and
/// (pronargs - pronargdefaults <= 1 or provariadic <> 0) and 'internal'::regtype <> all (proargtypes)`.
const ATTRIBUTE_FUNCTIONS: &str = include_str!("attribute_functions.txt");

/// Collations that come with PostgreSQL and are no language.
const COLLATIONS: [&str; 8] =
    ["C", "POSIX", "default", "ucs_basic", "unicode", "C.utf8", "pg_c_utf8", "pg_unicode_fast"];

static FUNCTION_SET: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    [
        AGGREGATES,
        MATHEMATICS,
        STRINGS,
        DATES,
        ARRAYS,
        JSON,
        TEXT_SEARCH,
        RANGES,
        IDENTIFIERS,
        NETWORK,
        GEOMETRY,
        TYPES,
    ]
    .into_iter()
    .flat_map(str::split_whitespace)
    .collect()
});

/// The functions, for a reader, in order.
pub fn functions() -> Vec<&'static str> {
    let mut names: Vec<_> = FUNCTION_SET.iter().copied().collect();
    names.sort_unstable();
    names
}

static TYPE_SET: LazyLock<HashSet<&'static str>> = LazyLock::new(|| TYPES.split_whitespace().collect());

static ATTRIBUTE_SET: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| ATTRIBUTE_FUNCTIONS.split_whitespace().collect());

/// Whether apps may call this function.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTION_SET.contains(name)
}

/// Whether apps may use this type.
pub(super) fn is_type(name: &str) -> bool {
    TYPE_SET.contains(name)
}

/// Whether `(value).name` could call a function that apps may not call.
pub(super) fn is_attribute_function(name: &str) -> bool {
    name.starts_with("pg_") || ATTRIBUTE_SET.contains(name)
}

/// Whether this is a collation of PostgreSQL or a language: `en_US`, `de-x-icu`, `sv_SE.utf8`.
pub(super) fn is_collation(name: &str) -> bool {
    let language = name.split(['_', '-', '.']).next().unwrap_or_default();
    COLLATIONS.contains(&name)
        || (2..=3).contains(&language.len())
            && language.bytes().all(|b| b.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b))
            && !name.contains("__")
}
